"""The garbage paper's classes fall under kinds: what the table of kinds says, and where kinds come from."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from alone import nothing_at_hand, one_thread
from handlens.data.samples import Samples
from handlens.reproduce import quick
from handlens.reproduce.kinds import kinds_table, settings_of_kinds
from handlens.reproduce.paper import Paper
from handlens.reproduce.reproduce import Asked, Reproduced, reproduce
from handlens.trained import TrainedRun

SETTINGS = ("views.judge.size=32", "train.epochs=1")
GRAINY = ("crystalline", "dendritic", "granular")

__all__ = ["nothing_at_hand", "one_thread"]


@pytest.fixture
def garbage(monkeypatch, tmp_path):
    """A quick reproduction of the row MobileNetV2, with these settings besides."""
    monkeypatch.setattr(quick, "SIZE", 32)

    def run(*settings: str) -> Reproduced:
        asked = Asked(tmp_path, True, ("MobileNetV2",), settings=(*SETTINGS, *settings), timed=False)
        done = reproduce(Paper.load("garbage"), None, "", asked, TrainedRun)
        assert done.num_failed == 0, done.notes
        return done

    return run


def of_kinds(done: Reproduced) -> dict[tuple[str, str], float | None]:
    """Kind and figure of the row that was run, and what it says under the honest protocol."""
    return {
        (each.cell.row, each.cell.figure): value and value.value
        for each in done.figures
        if (each.cell.table, each.cell.run) == ("kinds", "MobileNetV2")
        for value in each.ours.values()
    }


def by_hand(run: Path) -> dict[tuple[str, str], float]:
    """The same from the table of predictions alone."""
    table = pl.read_parquet(run / "predictions" / "test.parquet")
    said: dict[str, list[tuple[bool, bool]]] = {"grainy": [], "layered": [], "all kinds": []}
    for row in table.iter_rows(named=True):
        classes = {name[2:]: value for name, value in row.items() if name.startswith("p:")}
        grainy = sum(classes[name] for name in GRAINY)
        kind = "grainy" if row["target"] in GRAINY else "layered"
        right = max(classes, key=classes.__getitem__) == row["target"]
        folded = (grainy >= sum(classes.values()) - grainy) == (kind == "grainy")
        for name in (kind, "all kinds"):
            said[name].append((right, folded))
    return {
        (name, figure): 100 * float(np.mean([each[at] for each in judged]))
        for name, judged in said.items()
        for at, figure in enumerate(("right_in_kind", "kind_right"))
    }


def test_the_table_of_kinds_says_what_the_kept_predictions_say(garbage, tmp_path):
    done = garbage()
    (run,) = (tmp_path / "honest" / "runs").iterdir()
    assert of_kinds(done) == pytest.approx(by_hand(run))
    table = kinds_table(done.figures)
    assert table in done.tables
    lines = {line[:2]: line[2:] for line in table.rows}
    assert lines["GoogLeNet", "ours, honest, all kinds"] == ("not measured", "not measured")
    assert [words for first, words in lines if first != "GoogLeNet"][1:] == [
        "ours, honest, all kinds",
        "ours, honest, grainy",
        "ours, honest, layered",
    ]
    written = pl.read_csv(tmp_path / "reproduced.csv").filter(table="kinds", run="MobileNetV2")
    assert {(row["row"], row["figure"]): row["ours"] for row in written.iter_rows(named=True)} == (
        pytest.approx(of_kinds(done))
    )
    assert written["low"].null_count() == 0
    assert "Kinds of classes" in done.page.read_text(encoding="utf-8")


def test_kinds_of_ones_own_stand_and_none_is_told_as_such(garbage, tmp_path):
    done = garbage("data.kinds={a: [granular], b: [crystalline, dendritic, fibrous, foliated]}")
    assert {kind for kind, _ in of_kinds(done)} == {"all kinds", "a", "b"}


def test_classes_without_kinds_are_judged_all_the_same(garbage):
    done = garbage("data.kind_column=null")
    assert of_kinds(done) == {("all kinds", "right_in_kind"): None, ("all kinds", "kind_right"): None}
    assert {line[2:] for line in kinds_table(done.figures).rows} == {("not measured", "not measured")}


def samples_with(tmp_path: Path, **columns: list[str]) -> Samples:
    return Samples(
        pl.DataFrame({"id": ["1", "2", "3"], "label": ["can", "foil", "peel"], **columns}), tmp_path
    )


def test_kinds_come_from_a_column_that_gives_each_class_one_or_the_way_to_give_them_is_told(tmp_path):
    kinds = samples_with(tmp_path, kind=["metal", "metal", "organic"])
    assert settings_of_kinds(kinds, ["train.epochs=1"]) == (["data.kind_column=kind"], [])
    # What the user says of kinds is not said twice.
    assert settings_of_kinds(kinds, ["data.kinds={a: [can]}"]) == ([], [])
    settings, (note,) = settings_of_kinds(samples_with(tmp_path), [])
    assert settings == [] and "data.kind_folders=true" in note
    # Every row would fail of a column of that name which tells something else.
    settings, (note,) = settings_of_kinds(samples_with(tmp_path, kind=["waste"] * 3), [])
    assert settings == [] and "two kinds or more" in note
