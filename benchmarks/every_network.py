"""Every network of the five papers takes a training step, is saved, loaded and predicts: what that costs.

    python benchmarks/every_network.py --out every_network.json
    python benchmarks/every_network.py --only "VGG19; ConvNeXt-T"

Each is trained by `handlens train` and judged with by `handlens predict`, in processes of their own whose
largest memory is measured, on two cores of the processor and on pictures that are drawn here. All of each
network trains, from random weights, at 224 x 224 with Adam, for one step of as many pictures as its paper
takes; where these do not fit, of fewer at a time whose gradients are gathered.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from handlens.evaluate.predictions import Predictions
from handlens.run import RunFolder
from stamped import write_stamped

CORES = 2
LIMIT_MIB = 6 * 1024
NUM_CLASSES = 5
SIDE = 240


@dataclass(frozen=True)
class Case:
    """A network, as a recipe says it, and the pictures a step of its paper."""

    backbone: str
    batch: int
    gather: int = 1
    """Into how many parts the batch is divided so that it fits."""
    pool: str = "own"
    head: str = "linear"
    edits: tuple[dict[str, Any], ...] = ()


def inserted(name: str, **settings: Any) -> dict[str, Any]:
    return {"insert": name, "after": "residual", "start": "paper", **settings}


GSCONV = {"replace": "conv3x3", "with": "gsconv", "in": "blocks", "start": "paper"}
CASES = {
    "AlexNet": Case("alexnet", 64),
    "VGG16": Case("vgg16", 32),
    "VGG19": Case("vgg19", 32),
    "GoogLeNet": Case("googlenet", 64),
    "ResNet18": Case("resnet18", 64),
    "ResNet34": Case("resnet34", 64),
    "ResNet50": Case("resnet50", 32),
    "ResNeXt50": Case("resnext50_32x4d", 32),
    "MobileNetV2": Case("mobilenet_v2", 64),
    "MobileNetV3-small": Case("mobilenet_v3_small", 64),
    "ShuffleNetV2 x1.0": Case("shufflenet_v2_x1_0", 64),
    "Swin-v2-t": Case("swin_v2_t", 64, 2),
    "ConvNeXt-T": Case("convnext_tiny", 32),
    "ECA-ConvNeXt-T": Case("convnext_tiny", 32, edits=(inserted("eca", after="blocks"),)),
    "ResNet18, SE": Case("resnet18", 64, edits=(inserted("se"),)),
    "ResNet18, Multi-SE, 8 heads": Case("resnet18", 64, edits=(inserted("multi_se", heads=8),)),
    "ResNet18, GSConv": Case("resnet18", 64, edits=(GSCONV,)),
    "ResNet18, SE, GSConv": Case("resnet18", 64, edits=(GSCONV, inserted("se"))),
    "Ours-ResNet18, 4 heads": Case("resnet18", 64, edits=(GSCONV, inserted("multi_se", heads=4))),
    "Ours-ResNet18, 8 heads": Case("resnet18", 64, edits=(GSCONV, inserted("multi_se", heads=8))),
    "Ours-ResNet18, 16 heads": Case("resnet18", 64, edits=(GSCONV, inserted("multi_se", heads=16))),
    "I-VGG16": Case("vgg16", 32, pool="average", head="graphite"),
    "I-ResNet34": Case("resnet34", 32, pool="average", head="graphite"),
    "I-MobileNetV2": Case("mobilenet_v2", 32, pool="average", head="graphite"),
}


def recipe_of(case: Case) -> dict[str, Any]:
    """One step with the whole network."""
    model = {"backbone": f"torchvision/{case.backbone}", "weights": "none", "freeze": "none"}
    return {
        "name": "one-step",
        "split": {"ratios": "8:2"},
        "views": {"judge": {"size": 224}},
        "model": {**model, "pool": case.pool, "head": {"kind": case.head}, "edits": list(case.edits)},
        "train": {
            "epochs": 1,
            "folds": 0,
            "batch_size": case.batch // case.gather,
            "gather": case.gather,
            "optimiser": {"name": "adam"},
        },
    }


def draw(folder: Path, num: int) -> None:
    """Stripes, a direction for each class."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    for number in range(num):
        generator = np.random.default_rng(number)
        kind = number % NUM_CLASSES
        angle = kind * np.pi / NUM_CLASSES
        waves = np.sin((x * np.cos(angle) + y * np.sin(angle)) * generator.uniform(0.1, 0.3))
        pixels = 128 + 60 * waves[..., None] + generator.normal(0, 20, (SIDE, SIDE, 3))
        path = folder / f"class-{kind}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def measured(*words: object, cache: Path) -> tuple[str, float, float]:
    """What a command printed, its seconds and the largest memory of its own process, in MiB."""
    command = [sys.executable, "-m", "handlens", *map(str, words)]
    environment = os.environ | {"HANDLENS_CACHE": str(cache)}
    before = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, env=environment, stdout=out, stderr=errors)
        # Of this child alone; the usual figure is the largest of all children so far. It is never below
        # what this process itself has, which therefore builds no networks.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            why = errors.read()[-600:]
            raise RuntimeError(f"{' '.join(command[2:5])} ended with {child.returncode}: {why}")
        return out.read(), time.monotonic() - before, usage.ru_maxrss / 1024


def tried(case: Case, scratch: Path) -> dict[str, Any]:
    """Trained, saved, loaded, predicted; what was measured on the way."""
    pictures, recipe, out = scratch / "pictures", scratch / "recipe.yaml", scratch / "run"
    # A fifth is the test side: what is left is one step.
    draw(pictures, case.batch * 5 // 4)
    recipe.write_text(yaml.safe_dump(recipe_of(case)))
    cache = scratch / "cache"
    told, _, _ = measured("model", recipe, "--classes", NUM_CLASSES, "--json", cache=cache)
    figures = json.loads(told)
    _, train_s, train_mib = measured(
        "train", pictures, "--recipe", recipe, "--out", out, "--no-maps", cache=cache
    )
    run = RunFolder(out)
    judged = Predictions.read(run.predictions_path("test"))
    paths = [pictures / name for name in judged.ids]
    told, predict_s, predict_mib = measured("predict", out, *paths, "--json", cache=cache)
    provenance = json.loads(run.provenance_path.read_text())
    return {
        "parameters": figures["num_parameters"],
        "mib": figures["size_mib"],
        "batch": case.batch,
        "gather": case.gather,
        "precision": provenance["precision"],
        "step_s": provenance["seconds"]["training"],
        "train_s": train_s,
        "predict_s": predict_s,
        "peak_mib": max(train_mib, predict_mib),
        "history": [json.loads(row) for row in run.history_path.read_text().splitlines()],
        "differs": difference(judged, json.loads(told)),
    }


def difference(judged: Predictions, told: list[dict[str, Any]]) -> float:
    """The most that a probability differs between the trained network and the one loaded from its file."""
    again = [[row[f"p:{name}"] for name in judged.classes] for row in told]
    return float(np.abs(judged.probabilities - np.asarray(again, np.float32)).max())


def problems_of(row: dict[str, Any]) -> list[str]:
    """Why a network does not pass."""
    found = []
    if len(row["history"]) != 1 or not np.isfinite(row["history"][0]["train_loss"]):
        found.append("did not train")
    if row["differs"] > 1e-6:
        found.append(f"predicts otherwise after loading, by {row['differs']:.2g}")
    if row["peak_mib"] > LIMIT_MIB:
        found.append("needs more than 6 GiB")
    return found


def measure(names: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    print("| network | parameters | MiB | pictures a step | peak MiB | seconds a step | |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as scratch:
            try:
                row = tried(case, Path(scratch))
            except RuntimeError as error:
                told[name] = {"problems": [str(error)]}
                print(f"| {name} | | | | | | {error} |", flush=True)
                continue
        row["problems"] = problems_of(row)
        batch = f"{case.batch}" + (f" in {case.gather} parts" if case.gather > 1 else "")
        print(
            f"| {name} | {row['parameters']:,} | {row['mib']:.2f} | {batch} | {row['peak_mib']:,.0f} "
            f"| {row['step_s']:.1f} | {', '.join(row['problems']) or 'ok'} |",
            flush=True,
        )
        told[name] = row
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="names of networks, with semicolons between them")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names = [name.strip() for name in given.only.split(";")] if given.only else list(CASES)
    strange = [name for name in names if name not in CASES]
    if strange:
        sys.exit(f"There is no network {strange[0]!r} here. There are {'; '.join(CASES)}.")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    threads = int(os.environ.get("OMP_NUM_THREADS", CORES))
    print(f"{CORES} cores, {threads} threads of arithmetic, {NUM_CLASSES} classes\n")
    started = time.monotonic()
    found = measure(names)
    failed = [name for name, row in found.items() if row["problems"]]
    print(f"\n{len(found) - len(failed)} of {len(found)} ok, {time.monotonic() - started:.0f} s")
    write_stamped(given.out, threads=threads, classes=NUM_CLASSES, networks=found)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
