"""What a frozen backbone costs and brings: speed, accuracy and memory, side by side in one run.

    python benchmarks/frozen.py speed    --data DIR/trashnet6 --out speed.json
    python benchmarks/frozen.py accuracy --data DIR --out accuracy.json
    python benchmarks/frozen.py memory   --out memory.json

`speed` times whole processes, start to exit: a bare pass of decode and forward in plain PyTorch, the plain
loop that forwards in every epoch, and Handlens with an empty and with a warm cache. Only the ratios hold:
machines differ and are shared. HANDLENS_WEIGHTS must name a folder with mobilenet_v2.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stamped import write_stamped

SETS = {"minerals7": 0.90, "neu6": 0.995, "trashnet6": 0.915, "weld2": 0.94}
"""The accuracy that each set is to reach, as the mean over the split seeds."""
SPLIT_SEEDS = (0, 1, 2)
EPOCHS = 10

# The plain way, as it stands in tutorials, in the same precision as Handlens chooses on this machine.
PLAIN = """
import sys
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import mobilenet_v2

folder, weights, dtype, epochs = sys.argv[1], sys.argv[2], getattr(torch, sys.argv[3]), int(sys.argv[4])
network = mobilenet_v2()
network.load_state_dict(load_file(weights))
network = network.eval().to(dtype).to(memory_format=torch.channels_last)
view = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
pictures = ImageFolder(folder, view)
loader = DataLoader(pictures, 64, shuffle=epochs > 0, num_workers=2)
head = torch.nn.Linear(1280, len(pictures.classes))
optimiser = torch.optim.AdamW(head.parameters(), 1e-3)
for _ in range(max(1, epochs)):
    for x, y in loader:
        with torch.inference_mode():
            features = network.features(x.to(dtype).contiguous(memory_format=torch.channels_last))
            features = features.mean((2, 3)).float()
        if epochs:
            loss = torch.nn.functional.cross_entropy(head(features.clone()), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
"""


def timed(command: list[str], **environment: str) -> tuple[float, float]:
    """Seconds from start to exit, and the largest memory of any of its processes, in MiB."""
    before = time.monotonic()
    child = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    _, errors = child.communicate()
    if child.returncode:
        sys.exit(f"{' '.join(command[:6])} failed:\n{errors}")
    return time.monotonic() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def handlens(*words: str) -> list[str]:
    return [sys.executable, "-m", "handlens", *words]


def weights_file() -> Path:
    for folder in os.environ.get("HANDLENS_WEIGHTS", "").split(os.pathsep):
        if (Path(folder) / "mobilenet_v2.safetensors").is_file():
            return Path(folder) / "mobilenet_v2.safetensors"
    sys.exit("HANDLENS_WEIGHTS must name a folder with mobilenet_v2.safetensors.")


def precision() -> str:
    from handlens.training.device import choose_device

    return str(choose_device("auto").dtype).removeprefix("torch.")


def speed(data: Path, rounds: int, with_loop: bool) -> dict[str, Any]:
    rows: list[dict[str, float]] = []
    plain = [sys.executable, "-c", PLAIN, str(data), str(weights_file()), precision()]
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            out, cache = Path(scratch) / "run", str(Path(scratch) / "cache")
            train = handlens(
                "train", str(data), "--recipe", "quick", "--set", f"train.epochs={EPOCHS}", "--no-maps"
            )
            row = {"bare pass": timed([*plain, "0"])[0]}
            row["handlens, empty cache"] = timed([*train, "--out", f"{out}1"], HANDLENS_CACHE=cache)[0]
            seed = ["--set", "train.seed=1", "--out", f"{out}2"]
            row["handlens, other seed"] = timed([*train, *seed], HANDLENS_CACHE=cache)[0]
            head = ["--set", "model.head.kind=layers", "--set", "model.head.hidden=64", "--out", f"{out}3"]
            row["handlens, other head"] = timed([*train, *head], HANDLENS_CACHE=cache)[0]
            if with_loop and number == 0:
                row["plain loop"] = timed([*plain, str(EPOCHS)])[0]
        print(f"round {number + 1}: " + ", ".join(f"{name} {value:.1f} s" for name, value in row.items()))
        rows.append(row)
    best = {name: min(row[name] for row in rows if name in row) for name in rows[0]}
    ratios = {
        "empty cache / bare pass (at most 1.5)": best["handlens, empty cache"] / best["bare pass"],
        "other seed / empty cache (at most 0.2)": best["handlens, other seed"]
        / best["handlens, empty cache"],
        "other head / empty cache (at most 0.2)": best["handlens, other head"]
        / best["handlens, empty cache"],
    }
    if with_loop:
        # Both from the first round, minutes apart, not the best of several against one.
        ratios["empty cache / plain loop (at most 0.125)"] = (
            rows[0]["handlens, empty cache"] / rows[0]["plain loop"]
        )
    show("ratio", ratios)
    return {"epochs": EPOCHS, "precision": precision(), "rounds": rows, "ratios": ratios}


def accuracy(data: Path, recipes: list[str], sets: list[str], cache: Path | None) -> dict[str, Any]:
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in sets:
            for recipe in recipes:
                found, seconds = [], []
                for seed in SPLIT_SEEDS:
                    out = Path(scratch) / f"{name}-{recipe}-{seed}"
                    command = handlens(
                        "train", str(data / name), "--recipe", recipe, "--out", str(out), "--no-maps"
                    )
                    command += ["--set", "split.ratios=8:2", "--set", f"split.seed={seed}"]
                    took, _ = timed(command, HANDLENS_CACHE=str(cache or Path(scratch) / "cache"))
                    test = json.loads((out / "metrics.json").read_text())["sides"]["test"]["figures"]
                    found.append({key: test[key]["value"] for key in ("accuracy", "f1_macro")})
                    seconds.append(took)
                mean = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
                told[f"{name} {recipe}"] = {
                    "mean": mean,
                    "bar": SETS[name],
                    "seeds": found,
                    "seconds": seconds,
                }
                each = " ".join(f"{row['accuracy']:.3f}" for row in found)
                print(
                    f"{name:<10} {recipe:<8} accuracy {mean['accuracy']:.4f} (bar {SETS[name]:.3f}; {each})  "
                    f"macro F1 {mean['f1_macro']:.4f}  first {seconds[0]:.0f} s, others {min(seconds):.0f} s",
                    flush=True,
                )
    return told


def draw(folder: Path, num: int) -> None:
    """Small JPEGs in ten classes of stripes, quick to draw and all different."""
    y, x = np.mgrid[0:96, 0:96].astype(np.float32)
    for number in range(num):
        generator = np.random.default_rng(number)
        kind = number % 10
        angle = kind * np.pi / 10
        waves = np.sin((x * np.cos(angle) + y * np.sin(angle)) * generator.uniform(0.2, 0.5))
        pixels = 128 + 60 * waves[..., None] + generator.normal(0, 20, (96, 96, 3))
        path = folder / f"class-{kind}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=85)


def memory(counts: list[int], size: int) -> dict[str, Any]:
    peaks = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            draw(Path(scratch) / "pictures", count)
            # A process of its own for each count: the peak of children is never forgotten.
            probe = [sys.executable, __file__, "peak", str(Path(scratch)), str(size)]
            told = subprocess.run(probe, capture_output=True, text=True, check=True).stdout
            peaks[count] = json.loads(told)
        print(
            f"{count:,} pictures: {peaks[count]['mib']:,.0f} MiB, {peaks[count]['seconds']:,.0f} s",
            flush=True,
        )
    first, last = peaks[counts[0]]["mib"], peaks[counts[-1]]["mib"]
    show("memory", {f"MiB at {counts[0]:,} (at most 2048)": first, "growth (at most 1.1)": last / first})
    return {"size": size, "peaks": peaks, "growth": last / first}


def peak(scratch: Path, size: int) -> None:
    command = handlens(
        "train", str(scratch / "pictures"), "--recipe", "quick", "--out", str(scratch / "run"), "--no-maps"
    )
    command += ["--set", f"views.judge.size={size}"]
    seconds, mib = timed(command, HANDLENS_CACHE=str(scratch / "cache"))
    print(json.dumps({"mib": mib, "seconds": seconds}))


def show(title: str, values: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, value in values.items():
        print(f"  {name:<46} {value:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "accuracy", "memory", "peak"))
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--data", type=Path, help="the folder of pictures (speed) or of the four sets (accuracy)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--no-loop", action="store_true", help="leave out the plain loop, which takes longest"
    )
    parser.add_argument("--recipes", default="quick,careful")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--cache", type=Path, help="keep the features of the accuracy runs here")
    parser.add_argument("--counts", default="20000,40000")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "peak":
        peak(Path(given.rest[0]), int(given.rest[1]))
        return
    if given.what == "speed":
        found = speed(given.data, given.rounds, not given.no_loop)
    elif given.what == "accuracy":
        found = accuracy(given.data, given.recipes.split(","), given.sets.split(","), given.cache)
    else:
        found = memory([int(count) for count in given.counts.split(",")], given.size)
    write_stamped(given.out, **{given.what: found})


if __name__ == "__main__":
    main()
