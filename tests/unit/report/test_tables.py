"""One table in every form: numbers for programs, and text that no name breaks."""

import io
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from handlens.base.errors import HandlensError
from handlens.evaluate.comparison import Entry, compare
from handlens.evaluate.cost import Cost, Session, Training
from handlens.evaluate.predictions import Predictions
from handlens.report.tables import (
    SideBySide,
    costs_table,
    figures_table,
    notes_of,
    to_csv,
    to_latex,
    to_markdown,
    write_table,
)

ODD = "50 % of a|b & c_d \\ {x} <é> #1"


def said(right: float, seed: int, num: int = 90) -> Predictions:
    rng = np.random.default_rng(seed)
    targets = np.arange(num) % 3
    called = np.where(rng.random(num) < right, targets, (targets + 1) % 3)
    names = tuple(f"picture {number}" for number in range(num))
    groups = tuple(f"group {number // 3}" for number in range(num))
    probabilities = np.full((num, 3), 0.1, np.float32)
    probabilities[np.arange(num), called] = 0.8
    return Predictions(names, groups, targets, ("ore", "<b>rock", "石墨"), probabilities)


def cost_of(times: bool = True, **changes) -> Cost:
    values = {
        "num_parameters": 2_230_000,
        "size_mib": 8.5,
        "multiply_adds": 300_000_000,
        "size": 224,
        "views": 1,
    }
    timed = {"median_ms": 11.25, "p95_ms": 14.5, "pictures_a_second": 130.4} if times else {}
    return Cost.parse({**values, "precision": "float32", **timed, **changes}, "a cost")


def told(**changes) -> SideBySide:
    entries = [
        Entry("plain", (said(0.7, 0), said(0.7, 1))),
        Entry(ODD, (said(0.97, 2),), notes=("leaking: paper-protocol",)),
        Entry("broken", (), "the network\nran out of memory"),
        Entry("alike", (said(0.72, 3),)),
    ]
    session = Session(
        processor="chip", cores=2, threads=1, batch=16, rounds=50, load_before=0.5, load_after=0.6
    )
    values = {
        "comparison": compare(entries),
        "side": "test",
        "costs": {"plain": cost_of(), ODD: cost_of(median_ms=4.0, size_mib=3.0)},
        "trainings": {"plain": Training(minutes=1.5)},
        "session": session,
    }
    return SideBySide(**(values | changes))


def test_the_csv_holds_plain_numbers() -> None:
    shown = told()
    table = pl.read_csv(io.StringIO(to_csv(shown)))
    assert table["row"].to_list() == ["plain", ODD, "broken", "alike"]
    row = shown.comparison.row(ODD)
    assert row.difference is not None
    (cells,) = table.filter(pl.col("row") == ODD).to_dicts()
    figure = row.figures["accuracy"]
    assert (cells["accuracy"], cells["accuracy_low"]) == pytest.approx((figure.value, figure.low))
    assert cells["difference_high"] == pytest.approx(row.difference.high)
    assert cells["p_corrected"] == pytest.approx(row.difference.p_corrected)
    assert (cells["standing"], cells["leads"], cells["median_ms"]) == ("better", True, 4.0)
    assert table["accuracy_sd"].is_null().to_list() == [False, True, True, True]
    (broken,) = table.filter(pl.col("row") == "broken").to_dicts()
    assert broken["accuracy"] is None and broken["standing"] == "failed"
    assert table["peak_mib"].is_null().all()


def test_what_people_read() -> None:
    shown = told()
    table = figures_table(shown)
    assert table.columns[:2] == ("row", "Accuracy, %")
    assert [len(cells) for cells in table.rows] == [len(table.columns)] * 4
    plain, good, broken, alike = table.rows
    assert re.fullmatch(r"±\d\.\d \(2\)", plain[3]) and good[3] == "one only"
    assert plain[-1] == "reference" and good[-1] == "better" and alike[-1] == "tie"
    assert good[1].endswith("*") and not alike[1].endswith("*")
    assert good[5].startswith("+") and " to " in good[6]
    assert broken[1:3] == ("failed", "the network\nran out of memory")
    costs = costs_table(shown)
    assert costs.rows[0] == ("plain", "2.23", "8.5", "300", "11.2", "14.5", "130.4", "1.50")
    assert costs.rows[2] == ("alike", *["not measured"] * 6, "not recorded")
    assert "all rows in turn" in costs.title
    untimed = costs_table(told(session=None))
    assert untimed.columns == ("row", "parameters, M", "MiB", "multiply-adds, M", "training, min")
    assert untimed.rows[0] == ("plain", "2.23", "8.5", "300", "1.50")


def test_peak_memory_is_shown_where_a_run_tells_it() -> None:
    shown = told(trainings={"plain": Training(minutes=1.5, peak_mib=812.4)})
    assert costs_table(shown).columns[-1] == "peak, MiB"
    assert [cells[-1] for cells in costs_table(shown).rows] == ["812", "not recorded", "not recorded"]
    assert not any("Peak memory" in note for note in notes_of(shown))
    assert any("a process to themselves" in note for note in notes_of(shown))
    assert any("Peak memory" in note for note in notes_of(told()))


def test_notes_say_the_test_and_what_to_distrust() -> None:
    notes = notes_of(told())
    assert "Paired bootstrap over groups" in notes[0] and "Holm's correction over 2 differences" in notes[0]
    assert any(note.startswith("Trained once") and "alike" in note for note in notes)
    assert f"{ODD}: leaking: paper-protocol." in notes
    once = told(comparison=compare([Entry("a", (said(0.7, 0),)), Entry("b", (said(0.8, 1),))], to="best"))
    assert "chosen as the best by these same figures" in notes_of(once)[0]
    assert any("Each row was trained once" in note for note in notes_of(once))


def test_markdown_keeps_its_columns_whatever_a_row_is_called() -> None:
    text = to_markdown(told())
    lines = [line for line in text.splitlines() if line.startswith("|")]
    unescaped = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    assert unescaped[:6] == [10] * 6
    assert set(unescaped[6:]) == {9}
    assert "ran out of memory" in text


def test_latex_keeps_its_columns_and_prints_every_letter() -> None:
    text = to_latex(told())
    for table, columns in zip(
        re.findall(r"\\toprule(.*?)\\bottomrule", text, re.DOTALL), (9, 8), strict=True
    ):
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}
    assert r"\textbf{50 \% of a|b \& c\_d \textbackslash{} \{x\} $<$é$>$ \#1}" in text
    # Only lines of tables and comments: no name or note breaks out.
    assert all(re.match(r"%|\\|.*\\\\$|$", line) for line in text.splitlines())
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2


def test_figures_that_are_no_shares_are_plain_numbers() -> None:
    shown = told(
        comparison=compare([Entry("a", (said(0.7, 0),)), Entry("b", (said(0.9, 1),))], "log_loss", also=())
    )
    table = figures_table(shown)
    assert table.columns == (
        "row",
        "Log loss",
        "95 % interval",
        "seeds",
        "to a",
        "95 % interval",
        "p, Holm",
        "standing",
    )
    assert re.fullmatch(r"0\.\d{4}\*?", table.rows[1][1])
    assert table.rows[1][4].startswith("\N{MINUS SIGN}0.")
    assert "points" not in table.title


def test_the_ending_chooses_the_form(tmp_path: Path) -> None:
    for name, start in (("a.csv", "row,"), ("a.MD", "test side"), ("a.tex", "%")):
        write_table(told(), tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    with pytest.raises(HandlensError, match="ending for a table"):
        write_table(told(), tmp_path / "a.xlsx")
