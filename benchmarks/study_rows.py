"""What the rows of the graphite paper's table take.

    python benchmarks/study.py rows --data DIR/trashnet6 --out rows.json

All nine at `--quick`, as a newcomer tries them, under both protocols. Then three of them on one frozen
MobileNetV2 (the plain head, the paper's, and the paper's with the focal loss) at 100 epochs of the head: all
three, whose features are computed once, are to take at most 1.6 times the first alone. Without --data only
the nine are timed.

Whole processes are timed, start to exit, each with an empty cache; the processor's time stands beside the
clock's, because machines are shared. HANDLENS_WEIGHTS must name a folder with mobilenet_v2.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handlens.base.spec import write_yaml
from stamped import write_stamped

ASKED = 1.6
"""Times the first row alone that three rows may take."""

PAPER = {"model.head.kind": "graphite", "model.head.standardise": False}
FOCAL = {"train.loss": {"name": "focal", "gamma": 0.25}}


def graphite_study(epochs: int, batch_size: int, views: int, folds: int) -> dict[str, Any]:
    """The MobileNetV2 rows of the graphite table, as far as a frozen network goes."""
    shown: dict[str, Any] = {"judge": {"size": 224, "normalise": "half"}, "count": views}
    if views > 1:
        shown["train"] = [{"name": "crops", "rotate": 0}]
    return {
        "recipe": {
            "views": shown,
            "model": {"backbone": "torchvision/mobilenet_v2", "weights": "pretrained"},
            "train": {
                # As often as the paper shows each picture, whatever the number of its views.
                "epochs": max(1, epochs // views),
                "batch_size": batch_size,
                "folds": folds,
                "optimiser": {"name": "nadam", "learning_rate": 2e-4},
            },
        },
        "axes": {
            "row": {"MobileNetV2": {}, "I-MobileNetV2": PAPER, "I-MobileNetV2 + FL": {**PAPER, **FOCAL}}
        },
    }


def timed(words: Sequence[str], cache: Path) -> tuple[dict[str, float], Any]:
    """What a command takes in a process of its own, with an empty cache, and what it tells as JSON."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "handlens", *words, "--json"],
        env=os.environ | {"HANDLENS_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    took, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        told = f"{done.stdout}{done.stderr}"
        sys.exit(f"handlens {' '.join(words[:3])} ended with {done.returncode}:\n{told}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(took, 1), "cpu_seconds": round(cpu, 1)}, json.loads(done.stdout)


def of_study(study: dict[str, Any], data: Path, scratch: Path, processes: int) -> dict[str, Any]:
    """What one study takes, and each of its cells."""
    scratch.mkdir()
    (scratch / "study.yaml").write_text(write_yaml(study), encoding="utf-8")
    words = ["study", str(scratch / "study.yaml"), str(data), "--no-time", "--no-maps"]
    words += ["--out", str(scratch / "out"), "--processes", str(processes)]
    took, told = timed(words, scratch / "cache")
    cells = {
        cell["cell"]: {
            "seconds": cell["seconds"],
            "accuracy": cell["figures"]["accuracy"]["value"],
        }
        for cell in told["cells"]
    }
    return {**took, "cells": cells}


def nine_quick() -> dict[str, Any]:
    """The paper's whole table at --quick, on pictures that it draws."""
    with tempfile.TemporaryDirectory() as scratch:
        words = ["reproduce", "graphite", "--quick", "--no-time", "--out", str(Path(scratch) / "out")]
        took, told = timed(words, Path(scratch) / "cache")
    measured = {each["row"] for each in told["figures"] if any(each["ours"].values())}
    found = {**took, "rows": len(measured), "protocols": len(told["figures"][0]["ours"])}
    print("| at --quick | protocols | seconds | of processor |\n|---|--:|--:|--:|")
    row = (f"{found['rows']} rows", found["protocols"], found["seconds"], found["cpu_seconds"])
    print(f"| {' | '.join(map(str, row))} |\n", flush=True)
    return found


def three_frozen(given: argparse.Namespace) -> dict[str, Any]:
    """The first row alone and all three, in turn, so that a noisy machine is noisy for both."""
    whole = graphite_study(given.epochs, given.batch_size, given.views, given.folds)
    (first, settings), *_ = whole["axes"]["row"].items()
    alone = whole | {"axes": {"row": {first: settings}}}
    rounds = []
    print(f"| {given.epochs} epochs, frozen MobileNetV2 | accuracy | seconds | of processor |")
    print("|---|--:|--:|--:|")
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            found = {
                name: of_study(study, given.data, Path(scratch) / name, given.processes)
                for name, study in (("first", alone), ("three", whole))
            }
        rounds.append(found)
        for name, cell in found["three"]["cells"].items():
            print(f"| {name} | {100 * cell['accuracy']:.1f} | {cell['seconds']:.1f} | |")
        for name, each in found.items():
            print(
                f"| round {number + 1}: {name} | | {each['seconds']} | {each['cpu_seconds']} |",
                flush=True,
            )
    ratios = {
        key: round(statistics.median(each["three"][key] / each["first"][key] for each in rounds), 3)
        for key in ("seconds", "cpu_seconds")
    }
    print(f"| three / first, asked: {ASKED} at most | | {ratios['seconds']} | {ratios['cpu_seconds']} |")
    return {"asked": ASKED, "study": whole, "processes": given.processes, "rounds": rounds, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="the folder of pictures for the three rows")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32, help="the paper's is 32")
    parser.add_argument("--views", type=int, default=1, help="kept views of each training picture")
    parser.add_argument("--folds", type=int, default=0, help="cross-validation on the training side")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {"nine_quick": nine_quick()}
    if given.data is not None:
        found["rows"] = three_frozen(given)
    write_stamped(given.out, **found)


if __name__ == "__main__":
    main()
