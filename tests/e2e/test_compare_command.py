"""Runs put beside each other, as a person would do it."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from drawn import SMALL, Command


@pytest.fixture(scope="module")
def runs(handlens: Command, pictures: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run, the same from another seed, and one with another head."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(trained, folder / "plain-0")
    for name, setting in (("plain-1", "train.seed=1"), ("hidden", "model.head.kind=layers")):
        words = ("train", pictures, "--recipe", "quick", *SMALL, "--set", setting, "--out", folder / name)
        done = handlens(*words)
        assert done.returncode == 0, done.stderr
    return folder


def test_seeds_are_one_row_and_everything_is_written(handlens: Command, runs: Path, tmp_path: Path) -> None:
    names = [tmp_path / f"table.{ending}" for ending in ("html", "csv", "md", "tex")]
    outs = [word for name in names for word in ("--out", name)]
    done = handlens("compare", runs / "plain-0", runs / "hidden", runs / "plain-1", *outs)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "all rows in turn" in done.stdout and "Holm's correction over 1 difference." in done.stdout
    assert all(name.stat().st_size for name in names)
    table = pl.read_csv(tmp_path / "table.csv")
    assert table["row"].to_list() == ["plain", "hidden"]
    assert table["trainings"].to_list() == [2, 1]
    assert table["standing"].to_list()[0] == "reference"
    assert (table["median_ms"] > 0).all() and (table["p95_ms"] >= table["median_ms"]).all()
    # A command has a process to itself, and its libraries alone take some hundred MiB.
    assert table["peak_mib"].min() > 100
    seeds = [json.loads((runs / name / "metrics.json").read_text()) for name in ("plain-0", "plain-1")]
    values = [each["sides"]["test"]["figures"]["accuracy"]["value"] for each in seeds]
    assert table["accuracy"][0] == pytest.approx(sum(values) / 2)


def test_json_names_and_the_best(handlens: Command, runs: Path) -> None:
    words = (
        "compare",
        f"ours={runs / 'hidden'}",
        *sorted(runs.glob("plain-*")),
        "--each",
        "--no-time",
        "--json",
    )
    done = handlens(*words, "--to", "best", "--figure", "log_loss")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [row["name"] for row in told["rows"]] == ["ours", "plain-0", "plain-1"]
    assert told["to_best"] and told["num_differences"] == 3 and told["lower_is_better"]
    assert told["session"] is None and told["costs"]["ours"]["num_parameters"] > 0
    losses = {row["name"]: row["figures"]["log_loss"]["value"] for row in told["rows"]}
    assert told["reference"] == min(losses, key=losses.__getitem__)


def test_mistakes_are_told_in_a_sentence(handlens: Command, runs: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs / "plain-0", other)
    judged = pl.read_parquet(other / "predictions" / "test.parquet")
    judged.head(len(judged) - 1).write_parquet(other / "predictions" / "test.parquet")
    done = handlens("compare", runs / "hidden", other, "--no-time")
    assert done.returncode == 2
    assert "other pictures" in done.stderr and "--common" in done.stderr
    for words, told in (
        ((runs / "hidden",), "two rows"),
        ((runs / "hidden", tmp_path / "nowhere"), "no folder"),
        ((runs / "hidden", runs / "plain-0", "--out", "table.xlsx"), "ending"),
    ):
        done = handlens("compare", *words, "--no-time")
        assert done.returncode == 2
        assert told in done.stderr


def test_nothing_is_written_among_the_classes(handlens: Command, trained: Path, pictures: Path) -> None:
    before = sorted(pictures.rglob("*"))
    table = pictures.parent / "table.csv"
    rows = [(path, path.parent.name) for path in pictures.rglob("*.png")]
    lines = [f"{path.relative_to(table.parent)},{label},{at % 2}" for at, (path, label) in enumerate(rows)]
    table.write_text("\n".join(["path,label,camera", *lines]), encoding="utf-8")
    inside = ("--out", pictures / "new")
    for words in (
        ("study", pictures, "--recipes", "quick", *inside),
        ("curve", pictures, *inside),
        ("sites", table, "--column", "camera", *inside),
        ("explain", trained, "--per-class", "1", *inside),
        ("reproduce", "graphite", pictures, "--quick", *inside),
    ):
        told = handlens(*words)
        assert told.returncode == 2, (words, told.stderr)
        assert "would be read as one more class" in told.stderr, words
    table.unlink()
    assert sorted(pictures.rglob("*")) == before
