"""The sentences below a paper's tables: its limit of time, further tasks, and folders that were moved."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from handlens.base.errors import HandlensError
from handlens.data.samples import Samples
from handlens.evaluate.comparison import Entry
from handlens.evaluate.predictions import Predictions
from handlens.reproduce.measured import RowRuns
from handlens.reproduce.notes import of_further_tasks, of_generated, of_the_limit
from handlens.reproduce.paper import Paper


def judged(right: list[bool]) -> Predictions:
    """Each picture of its own group, called what it is or not."""
    targets = np.arange(len(right)) % 2
    said = np.where(right, targets, 1 - targets)
    ids = tuple(map(str, range(len(right))))
    return Predictions(ids, ids, targets, ("a", "b"), np.eye(2, dtype=np.float32)[said])


def row(*trainings: Predictions, **more: object) -> SimpleNamespace:
    return SimpleNamespace(trainings=trainings, **more)


def test_networks_over_the_papers_limit_are_named_with_their_milliseconds():
    costs = {
        name: SimpleNamespace(median_ms=median)
        for name, median in (("ResNet18", 12.34), ("VGG16", 71.55), ("AlexNet", None))
    }
    (told,) = of_the_limit(Paper.load("burrs"), costs)
    assert "limit of 30 ms" in told and told.endswith(": VGG16 (71.5 ms).")
    (told,) = of_the_limit(Paper.load("burrs"), {"ResNet18": costs["ResNet18"]})
    assert told.startswith("No network takes more than 30 ms")
    assert of_the_limit(Paper.load("garbage"), costs) == []


def test_generated_pictures_are_worth_a_difference_only_where_its_interval_says_so():
    half, most = judged([True, False] * 20), judged([True] * 39 + [False])
    rows = {
        "honest": {"A": row(most), "B": row(half)},
        "without": {"A": row(half), "B": row(half), "C": row(half)},
    }
    better, same = of_generated(rows)
    # By hand: 39 of 40 less 20 of 40.
    assert better.startswith("Generated pictures in training, A: accuracy +47.5 points (")
    assert not better.endswith("not to be told from none.")
    assert same.startswith("Generated pictures in training, B: accuracy +0.0 points (")
    assert same.endswith(", not to be told from none.")


def test_a_further_task_is_told_with_its_interval_or_as_the_mean_of_trainings():
    def metrics(value: float) -> SimpleNamespace:
        figure = SimpleNamespace(value=value, low=0.5, high=0.875)
        side = SimpleNamespace(figures={"accuracy": figure})
        return SimpleNamespace(tasks={"category": SimpleNamespace(sides={"test": side})})

    once, twice = row(metrics=[metrics(0.75)]), row(metrics=[metrics(0.75), metrics(0.85)])
    plain = row(metrics=[SimpleNamespace(tasks={})])
    assert of_further_tasks({"honest": {"plain": plain, "several tasks": once, "more": twice}}) == [
        "“several tasks” learns “category” besides: 75.0 % right (50.0 to 87.5 %).",
        "“more” learns “category” besides: 80.0 % right.",
    ]


def test_a_run_whose_pictures_have_other_names_since_it_was_moved_says_so(tmp_path: Path):
    names = ["0", "one"]
    columns = {"id": names, "label": ["a", "b"], "group": names, "split": ["test", "test"]}
    table = pl.DataFrame({**columns, "path": [str(tmp_path / name) for name in names]})
    manifest = tmp_path / "samples.parquet"
    Samples(table, tmp_path).save(manifest)
    run = SimpleNamespace(path=tmp_path, samples_path=manifest)
    group = SimpleNamespace(runs=(run,), entry=lambda _: Entry("row", (judged([True, True]),)))
    with pytest.raises(HandlensError, match=r"judged '1', .* Move it back, or choose another --out"):
        _ = RowRuns("row", group).trainings
