"""What training the whole network costs and brings: speed, bfloat16 and the recipe `best`, side by side.

    python benchmarks/finetune.py speed --data DIR/minerals7 --out speed.json
    python benchmarks/finetune.py bf16  --data DIR/minerals7 --out bf16.json
    python benchmarks/finetune.py best  --data DIR --out best.json

`speed` trains all of MobileNetV2 at 224 in batches of 32 on new views of every picture in every epoch, with
Handlens and in a plain PyTorch loop by turns, and compares the pictures a second of every epoch but the
first. `bf16` fine-tunes in both precisions on three train seeds. `best` trains two recipes on every set and
split seed. Only ratios and differences within one run hold: machines differ and are shared.
HANDLENS_WEIGHTS must name a folder with mobilenet_v2; `--pictures 64` tries each part on few pictures.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from frozen import SETS, SPLIT_SEEDS, handlens, timed, weights_file
from stamped import write_stamped

TRAIN_SEEDS = (0, 1, 2)
AT_LEAST = 2.5
"""How many times as many pictures a second as the plain loop it is to train."""
AT_MOST_S = 600
"""What `best` may take for minerals7."""
KEPT = ("accuracy", "f1_macro")
SUFFIXES = (".jpg", ".jpeg", ".png")

# The plain way, as it stands in tutorials: float32, the usual layout, every picture decoded in every epoch.
PLAIN = """
import json, sys, time
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import mobilenet_v2

folder, weights, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
view = transforms.Compose([
    transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
pictures = ImageFolder(folder, view)
loader = DataLoader(pictures, 32, shuffle=True, num_workers=2, persistent_workers=True)
network = mobilenet_v2()
network.load_state_dict(load_file(weights))
network.classifier[1] = torch.nn.Linear(1280, len(pictures.classes))
network.train()
optimiser = torch.optim.AdamW(network.parameters(), 1e-4)
ended = [time.monotonic()]
for _ in range(epochs):
    for x, y in loader:
        loss = torch.nn.functional.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    ended.append(time.monotonic())
print(json.dumps({"num": len(pictures), "ended": ended}))
"""


def whole_network(epochs: int) -> dict[str, Any]:
    """The same training as a recipe; its views are those of torchvision's RandomResizedCrop."""
    still = {"rotate": 0, "brightness": 0, "contrast": 0, "saturation": 0}
    view = {"name": "crop", "crop": 0.08, "stretch": 4 / 3, **still}
    return {
        "name": "whole-network",
        "views": {"judge": {"size": 224}, "fresh": True, "train": [view]},
        "model": {"pool": "average", "head": {"kind": "linear"}, "freeze": "none"},
        "train": {
            "epochs": epochs,
            "folds": 0,
            "batch_size": 32,
            "optimiser": {"name": "adamw", "learning_rate": 1e-4},
        },
    }


def ours(folder: Path, scratch: Path, epochs: int) -> None:
    """Train on all pictures of a folder as a run does, and print when each epoch ended."""
    from handlens.data.check import check
    from handlens.data.samples import Samples
    from handlens.data.sides import Sides
    from handlens.data.split import split
    from handlens.learn import aims_of
    from handlens.recipe import Recipe
    from handlens.training.device import choose_device
    from handlens.training.extract import Extractor
    from handlens.training.finetune import NetworkTrainer
    from handlens.training.state import TrainingState

    recipe = Recipe.parse(whole_network(epochs), "the recipe")
    checked = check(Samples.from_folder(folder), recipe.data)
    divided, _ = split(checked.samples, recipe.split)
    table = divided.table.with_columns(split=np.full(len(divided), "train"))
    sides = Sides.of(Samples(table, divided.root))
    device = choose_device(recipe.train.precision)
    extractor = Extractor(recipe.model, recipe.views, device)
    trainer = NetworkTrainer(extractor, recipe.train, sides, aims_of(recipe, sides, None), "crop")
    network = trainer.network(None)
    before = time.monotonic()
    assert trainer.source is not None
    decoded_s = time.monotonic() - before
    ended = [time.monotonic()]
    trainer.fit(
        network,
        sides.places("train"),
        None,
        None,
        TrainingState(scratch / "state.pt").saver("final"),
        epoch_done=lambda _: ended.append(time.monotonic()),
    )
    told = {"num": len(sides.ids), "ended": ended, "decoded_s": decoded_s, "precision": str(device.training)}
    print(json.dumps(told))


def rate(told: dict[str, Any]) -> float:
    """Pictures a second over all epochs but the first, in which either way still starts up."""
    ended = told["ended"]
    return float(told["num"] * (len(ended) - 2) / (ended[-1] - ended[1]))


def told_by(command: list[str], **environment: str) -> dict[str, Any]:
    """What a process printed last."""
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:2])} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def speed(data: Path, rounds: int, epochs: int) -> dict[str, Any]:
    rows = []
    plain = [sys.executable, "-c", PLAIN, str(data), str(weights_file()), str(epochs)]
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            mine = [sys.executable, __file__, "ours", str(data), scratch, str(epochs)]
            # By turns, so that whatever else the machine does falls on both.
            first = told_by(mine, HANDLENS_CACHE=f"{scratch}/cache")
            second = told_by(plain)
        row = {"handlens": rate(first), "plain": rate(second), "decoded_s": first["decoded_s"]}
        row["ratio"] = row["handlens"] / row["plain"]
        print(
            f"round {number + 1}: handlens {row['handlens']:.1f} pictures a second ({first['precision']}, "
            f"decoded before in {row['decoded_s']:.1f} s), plain {row['plain']:.1f}, "
            f"ratio {row['ratio']:.2f}",
            flush=True,
        )
        rows.append(row)
    ratios = [row["ratio"] for row in rows]
    found = {"least": min(ratios), "median": float(np.median(ratios))}
    print(f"ratio: least {found['least']:.2f}, median {found['median']:.2f} (at least {AT_LEAST})")
    return {"epochs": epochs, "pictures": first["num"], "rounds": rows, **found}


def trained(data: Path, recipe: Path | str, out: Path, cache: Path, *settings: str) -> dict[str, Any]:
    """The test figures of one run, with its seconds from start to exit."""
    command = handlens("train", str(data), "--recipe", str(recipe), "--out", str(out), "--no-maps")
    command += [word for setting in ("split.ratios=8:2", *settings) for word in ("--set", setting)]
    seconds, _ = timed(command, HANDLENS_CACHE=str(cache))
    figures = json.loads((out / "metrics.json").read_text())["sides"]["test"]["figures"]
    kept = {key: {end: figures[key][end] for end in ("value", "low", "high")} for key in KEPT}
    return {**kept, "seconds": seconds}


def bf16(data: Path, epochs: int) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        recipe = Path(scratch) / "recipe.yaml"
        # JSON is YAML.
        recipe.write_text(json.dumps(whole_network(epochs)))
        for seed in TRAIN_SEEDS:
            row = {}
            for precision in ("float32", "bfloat16"):
                out = Path(scratch) / f"{precision}-{seed}"
                settings = (f"train.precision={precision}", f"train.seed={seed}")
                row[precision] = trained(data, recipe, out, Path(scratch) / "cache", *settings)
            single, half = row["float32"]["accuracy"], row["bfloat16"]["accuracy"]
            inside = single["low"] <= half["value"] <= single["high"]
            print(
                f"seed {seed}: float32 {single['value']:.3f} ({single['low']:.3f} to {single['high']:.3f}) "
                f"in {row['float32']['seconds']:.0f} s, bfloat16 {half['value']:.3f} in "
                f"{row['bfloat16']['seconds']:.0f} s: {'inside' if inside else 'OUTSIDE'}",
                flush=True,
            )
            rows.append({"seed": seed, "inside": inside, **row})
    means = {
        precision: float(np.mean([row[precision]["accuracy"]["value"] for row in rows]))
        for precision in ("float32", "bfloat16")
    }
    print(f"mean accuracy: float32 {means['float32']:.4f}, bfloat16 {means['bfloat16']:.4f}")
    return {"epochs": epochs, "seeds": rows, "mean": means, "inside": all(row["inside"] for row in rows)}


def best(
    data: Path,
    recipes: list[str],
    sets: list[str],
    seeds: list[int],
    pictures: int | None,
    cache: Path | None,
) -> dict[str, Any]:
    """The first of two recipes beside the second, paired by split."""
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in sets:
            with some_of(data / name, pictures) as folder:
                told[name] = [
                    {
                        "seed": seed,
                        **{
                            recipe: trained(
                                folder,
                                recipe,
                                Path(scratch) / f"{name}-{recipe}-{seed}",
                                cache or Path(scratch) / "cache",
                                f"split.seed={seed}",
                            )
                            for recipe in recipes
                        },
                    }
                    for seed in seeds
                ]
            show_set(name, told[name], recipes)
    new, old = recipes
    gains = {name: float(np.mean([gain(row, new, old) for row in rows])) for name, rows in told.items()}
    below = [
        f"{name}, seed {row['seed']}"
        for name, rows in told.items()
        for row in rows
        if row[new]["f1_macro"]["value"] < row[old]["f1_macro"]["low"]
    ]
    mean = float(np.mean(list(gains.values())))
    print(f"macro F1, {new} less {old}: {mean:+.4f} in the mean over the sets")
    print(f"below the interval of {old}: {'; '.join(below) or 'nowhere'}")
    return {"recipes": recipes, "sets": told, "gains": gains, "mean_gain": mean, "below": below}


def gain(row: dict[str, Any], new: str, old: str) -> float:
    return float(row[new]["f1_macro"]["value"] - row[old]["f1_macro"]["value"])


def show_set(name: str, rows: list[dict[str, Any]], recipes: list[str]) -> None:
    for recipe in recipes:
        f1 = [row[recipe]["f1_macro"]["value"] for row in rows]
        accuracy = np.mean([row[recipe]["accuracy"]["value"] for row in rows])
        seconds = [row[recipe]["seconds"] for row in rows]
        bar = f" (at most {AT_MOST_S})" if (name, recipe) == ("minerals7", recipes[0]) else ""
        print(
            f"{name:<10} {recipe:<8} macro F1 {np.mean(f1):.4f} ({' '.join(f'{each:.3f}' for each in f1)})  "
            f"accuracy {accuracy:.4f}  first {seconds[0]:.0f} s, most {max(seconds):.0f} s{bar}",
            flush=True,
        )
    print(f"{'':<19} gained {' '.join(f'{gain(row, *recipes):+.3f}' for row in rows)}", flush=True)


@contextmanager
def some_of(data: Path, num: int | None) -> Iterator[Path]:
    """The folder, or another one with about so many of its pictures, from all classes alike."""
    if num is None:
        yield data
        return
    classes = sorted(path for path in data.iterdir() if path.is_dir())
    with tempfile.TemporaryDirectory() as scratch:
        for folder in classes:
            pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
            (Path(scratch) / folder.name).mkdir()
            for path in pictures[: -(-num // len(classes))]:
                shutil.copy(path, Path(scratch) / folder.name)
        yield Path(scratch)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "bf16", "best", "ours"))
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help="the folder of pictures, or of the four sets (best)")
    parser.add_argument("--pictures", type=int, help="take only about so many pictures of each set")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--recipes", default="best,careful", help="the new one and the one it is held to")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default=",".join(map(str, SPLIT_SEEDS)), help="split seeds (best)")
    parser.add_argument("--cache", type=Path, help="keep the features of `best` here")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "ours":
        ours(Path(given.rest[0]), Path(given.rest[1]), int(given.rest[2]))
        return
    weights_file()
    if given.what == "best":
        seeds = [int(seed) for seed in given.seeds.split(",")]
        recipes, sets = given.recipes.split(","), given.sets.split(",")
        found = best(given.data, recipes, sets, seeds, given.pictures, given.cache)
    else:
        with some_of(given.data, given.pictures) as folder:
            found = (
                speed(folder, given.rounds, given.epochs)
                if given.what == "speed"
                else bf16(folder, given.epochs)
            )
    write_stamped(given.out, **{given.what: found})


if __name__ == "__main__":
    main()
