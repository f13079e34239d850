"""Every table of every paper is filled by a quick run: small networks in the place of the paper's, on drawn
pictures."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from alone import nothing_at_hand, one_thread
from handlens.evaluate import measuring
from handlens.reproduce import quick
from handlens.reproduce.paper import Paper
from handlens.reproduce.reproduce import Asked, Reproduced, reproduce
from handlens.trained import TrainedRun

SMALL = ("views.judge.size=32",)
MATERIALS = {"foliated", "fibrous", "granular", "crystalline", "dendritic"}


__all__ = ["nothing_at_hand", "one_thread"]


@pytest.fixture(autouse=True)
def few_and_small(monkeypatch):
    monkeypatch.setattr(quick, "SHOTS", 1)
    monkeypatch.setattr(quick, "SIZE", 48)
    # How often each network is timed is no matter here.
    monkeypatch.setattr(measuring, "_rounds", lambda *_: 5)


def with_small_networks(name: str) -> Paper:
    """The paper with handlens/nano under every row; another step tells rows of other networks apart."""
    paper = Paper.load(name)
    small = {
        network: {
            "model.backbone": "handlens/nano",
            "model.weights": "none",
            "train.optimiser.learning_rate": 1e-3 / (1 + at),
        }
        for at, network in enumerate(paper.study.axes["network"])
        if not paper.is_own(network)
    }
    networks = {**paper.spec.quick_networks, **small}
    return replace(paper, spec=paper.spec.model_copy(update={"quick_networks": networks}))


def filled(name: str, out: Path, rows: tuple[str, ...], protocols: tuple[str, ...]) -> Reproduced:
    asked = Asked(out, quick=True, rows=rows, protocols=protocols, settings=SMALL)
    done = reproduce(with_small_networks(name), None, "", asked, TrainedRun)
    assert done.num_failed == 0, done.notes
    assert set(done.studies) == set(protocols)
    return done


def empty_cells(done: Reproduced, runs: set[str] | None = None) -> list[tuple[str, str, str, str]]:
    """Figures of ours that are missing, of some rows or of all; those of classes only for the materials."""
    return [
        (each.cell.table, each.cell.row, each.cell.figure, protocol)
        for each in done.figures
        if runs is None or each.cell.run in runs
        if not each.cell.figure.startswith("class_") or each.cell.row in MATERIALS
        for protocol, value in each.ours.items()
        if value is None
    ]


def told_classes(done: Reproduced, table: str) -> set[str]:
    return {each.cell.row for each in done.figures if each.cell.table == table and each.ours["honest"]}


def test_minerals_with_validation_ablation_classes_and_the_grid_of_maps(tmp_path):
    done = filled("minerals", tmp_path, (), ("honest",))
    assert not empty_cells(done)
    assert {each.cell.table for each in done.figures} == {"validation", "networks", "ablation", "classes"}
    assert len(done.studies["honest"].cells) == 8
    assert told_classes(done, "classes") == MATERIALS
    assert done.effects is not None
    # The grid: a picture a class, and every network across.
    assert (tmp_path / "maps" / "grid.png").is_file()
    assert tmp_path / "maps" / "explain.html" in done.pages


def test_burrs_with_every_row_and_each_class_before_and_after(tmp_path):
    done = filled("burrs", tmp_path, (), ("honest",))
    assert len(done.studies["honest"].cells) == 14
    assert not empty_cells(done)
    assert {each.cell.table for each in done.figures} == {"networks", "ablation", "before", "after"}
    assert told_classes(done, "before") == told_classes(done, "after") == MATERIALS


def test_burrs_with_and_without_generated_pictures_and_times_that_all_pages_tell(tmp_path):
    runs = {"ResNet18", "ResNet18 + GSConv + Multi-SE 8"}
    done = filled("burrs", tmp_path, tuple(runs), ("honest", "paper", "without"))
    assert not empty_cells(done, runs)
    for run in runs:
        assert any(note.startswith(f"Generated pictures in training, {run}: ") for note in done.notes)
    assert {gap.row for gap in done.gaps} == runs
    # The networks are timed once, and every page that draws the times says under what conditions.
    session = None
    for protocol in done.studies:
        page = (tmp_path / f"{protocol}.html").read_text(encoding="utf-8")
        assert "Times were not measured" not in page
        (sentence,) = set(re.findall(r"Timed on [^<]*all rows in turn, 5 rounds", page))
        session = session or sentence
        assert sentence == session


def test_garbage_with_its_three_networks(tmp_path):
    done = filled("garbage", tmp_path, (), ("honest",))
    assert not empty_cells(done)
    assert {each.cell.run for each in done.figures} == {"GoogLeNet", "ResNet18", "MobileNetV2"}


def test_defects_in_three_ways(tmp_path):
    done = filled("defects", tmp_path, (), ("honest",))
    assert not empty_cells(done)
    assert {each.cell.run for each in done.figures} == {"feature extraction", "fine-tuning", "several tasks"}


def test_graphite_with_one_network_in_its_three_rows_both_ways(tmp_path):
    runs = {"MobileNetV2", "MobileNetV2 + new head", "MobileNetV2 + new head + focal loss"}
    done = filled("graphite", tmp_path, ("MobileNetV2*",), ("honest", "paper"))
    assert not empty_cells(done, runs)
    assert {gap.row for gap in done.gaps} == runs
