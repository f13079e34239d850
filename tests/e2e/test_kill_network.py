"""A network that trains, killed at any moment, goes on and ends with the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from drawn import draw_folder

NANO = {"model.backbone": "handlens/nano", "model.weights": "none", "views.judge.size": 32}
VIEWS = "[{name: a, rotate: 10, crop: 0.6}]"
HEAD = "{kind: layers, hidden: 16, dropout: 0.5, input_dropout: 0.3, members: 2}"
RECIPES = {
    # Everything random at once: fresh views, mixing, dropout, and what is kept beside the weights.
    "fresh": NANO
    | {"views.train": VIEWS, "views.fresh": True, "model.head": HEAD, "model.freeze": "{thaw_every: 2}"}
    | {"train.epochs": 5, "train.folds": 2, "train.batch_size": 4, "train.mixup": 0.4, "train.cutmix": 1.0}
    | {"train.average": 0.9, "train.gather": 3, "train.balanced": True, "train.clip": 1.0}
    | {"train.head_first": "{epochs: 2}", "train.beside_head": "auto"},
    # The upper part, from kept activations.
    "kept": NANO
    | {"views.train": VIEWS, "views.count": 3, "views.average": "auto", "model.freeze": "{stages: 3}"}
    | {"model.edits": "[{insert: eca, after: stage4}]", "train.epochs": 4, "train.folds": 2}
    | {"train.batch_size": 8, "train.gather": 2, "train.average": 0.95, "train.optimiser": "{name: nadam}"}
    | {"train.mixup": 0.4, "model.head": HEAD},
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_network_killed_at_any_moment_ends_with_the_same_bytes(
    recipe: str, environment: dict[str, str], tmp_path: Path
) -> None:
    pictures = draw_folder(tmp_path / "photos", 10)
    settings = [word for name, value in RECIPES[recipe].items() for word in ("--set", f"{name}={value}")]
    words = ["train", str(pictures), "--recipe", "quick", *settings, "--out"]
    given = json.dumps({"folder": str(tmp_path), "words": words, "times": 3})
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), given],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 2
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for name in (
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "predictions/test.parquet",
        "predictions/val.parquet",
        "metrics.json",
        "history.jsonl",
    ):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    relative = [{path.relative_to(run) for path in run.rglob("*")} for run in (whole, killed)]
    assert relative[0] == relative[1]
