"""Runs on expanded pictures: what was made is trained with, never judged, and a leaking protocol is told."""

import json
from pathlib import Path

import polars as pl
import pytest
from drawn import SMALL, Command

from handlens.data.expand import expand
from handlens.data.expand_plan import ExpandSpec
from handlens.data.samples import Samples


@pytest.fixture
def expanded(pictures: Path, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HANDLENS_CACHE", environment["HANDLENS_CACHE"])

    def make(**how: bool) -> Path:
        out = tmp_path / "expanded"
        expand(Samples.read(pictures), pictures, out, ExpandSpec.load("graphite").changed(["3"]), **how)
        return out

    return make


def test_made_pictures_are_trained_with_and_never_judged(
    handlens: Command, trained: Path, expanded, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = handlens("train", expanded(), "--recipe", "quick", *SMALL, "--out", run)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.startswith("This run leaks")
    table = pl.read_parquet(run / "samples.parquet")
    made = table.filter(pl.col("made_by") == "expand")
    assert set(made["split"]) == {"train"}
    assert len(made) == 2 * len(table.filter(pl.col("made_by").is_null() & (pl.col("split") == "train")))
    for side in ("val", "test"):
        # The same pictures under the same names as without any expansion: runs can be compared one by one.
        judged = pl.read_parquet(run / "predictions" / f"{side}.parquet")
        without = pl.read_parquet(trained / "predictions" / f"{side}.parquet")
        assert sorted(judged["id"]) == sorted(without["id"])
        assert sorted(judged["group"]) == sorted(without["group"])
    told = json.loads((run / "provenance.json").read_text())
    assert told["data"]["marks"] == []
    assert any(f"{len(made)} pictures that were made" in text for text in told["data"]["split_sentences"])
    # That nothing was told about groups is still said.
    assert "Every picture counts as independent" in done.stdout


def test_a_run_under_the_papers_protocol_says_so_first(handlens: Command, expanded, tmp_path: Path) -> None:
    run = tmp_path / "run"
    manifest = tmp_path / "split.csv"
    done = handlens("split", expanded(paper_protocol=True), "--out", manifest)
    assert done.returncode == 0, done.stderr
    done = handlens("train", manifest, "--recipe", "quick", *SMALL, "--out", run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This run leaks: its pictures were expanded before they were split.")
    told = json.loads((run / "provenance.json").read_text())
    assert told["data"]["marks"] == ["leaking: paper-protocol"]
    body = (run / "report.html").read_text("utf-8").partition("<body>")[2]
    assert body.strip().startswith('<header>\n  <p class="alarm serious">This run leaks')
    table = pl.read_parquet(run / "samples.parquet")
    assert "expand" in set(table.filter(pl.col("split") == "test")["made_by"])
