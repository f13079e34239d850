"""What studies are to reach, measured.

    python benchmarks/study.py rows --data DIR/trashnet6 --out rows.json

`rows`: three rows of the graphite paper's table on one frozen MobileNetV2 (the plain head, the paper's, and
the paper's with the focal loss) at 100 epochs of the head. All three, whose features are computed once, are
to take at most 1.6 times the first alone. Whole processes are timed, start to exit, each round with an empty
cache; the processor's time stands beside the clock's, because machines are shared. HANDLENS_WEIGHTS must
name a folder with mobilenet_v2.
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


def timed(study: dict[str, Any], data: Path, scratch: Path, processes: int) -> dict[str, Any]:
    """One study in a process of its own, with an empty cache."""
    scratch.mkdir()
    (scratch / "study.yaml").write_text(write_yaml(study), encoding="utf-8")
    command = [sys.executable, "-m", "handlens", "study", str(scratch / "study.yaml"), str(data), "--json"]
    command += ["--out", str(scratch / "out"), "--processes", str(processes)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        command,
        env=os.environ | {"HANDLENS_CACHE": str(scratch / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    took, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])} failed:\n{done.stdout}{done.stderr}")
    cells = {
        cell["cell"]: {
            "seconds": cell["seconds"],
            "accuracy": cell["figures"]["accuracy"]["value"],
        }
        for cell in json.loads(done.stdout)["cells"]
    }
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(took, 1), "cpu_seconds": round(cpu, 1), "cells": cells}


def rows(given: argparse.Namespace) -> dict[str, Any]:
    """The first row alone and all three, in turn, so that a noisy machine is noisy for both."""
    whole = graphite_study(given.epochs, given.batch_size, given.views, given.folds)
    (first, settings), *_ = whole["axes"]["row"].items()
    alone = whole | {"axes": {"row": {first: settings}}}
    rounds = []
    for number in range(given.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            found = {
                name: timed(study, given.data, Path(scratch) / name, given.processes)
                for name, study in (("first", alone), ("three", whole))
            }
        rounds.append(found)
        told = ", ".join(
            f"{name} {each['seconds']} s ({each['cpu_seconds']} s of processor)"
            for name, each in found.items()
        )
        print(f"round {number + 1}: {told}")
        for name, cell in found["three"]["cells"].items():
            print(f"  {name:<28} {cell['seconds']:8.1f} s   accuracy {cell['accuracy']:.4f}", flush=True)
    ratios = {
        key: round(statistics.median(each["three"][key] / each["first"][key] for each in rounds), 3)
        for key in ("seconds", "cpu_seconds")
    }
    print(f"three rows / the first: {ratios['seconds']} (asked: at most {ASKED})")
    print(f"of the processor's time: {ratios['cpu_seconds']}")
    return {"asked": ASKED, "study": whole, "processes": given.processes, "rounds": rounds, "ratios": ratios}


MEASURES = {"rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(MEASURES))
    parser.add_argument("--data", type=Path, required=True, help="the folder of pictures")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32, help="the paper's is 32")
    parser.add_argument("--views", type=int, default=1, help="kept views of each training picture")
    parser.add_argument("--folds", type=int, default=0, help="cross-validation on the training side")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    write_stamped(given.out, **{given.what: MEASURES[given.what](given)})


if __name__ == "__main__":
    main()
