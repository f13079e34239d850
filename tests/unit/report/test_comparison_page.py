"""The page of a comparison says no more than the intervals do, and draws what it says."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from handlens.evaluate.comparison import Comparison, Entry, compare
from handlens.evaluate.cost import Cost, Session
from handlens.evaluate.predictions import Predictions
from handlens.report.comparison import headline, sentences, warnings_of, write_comparison
from handlens.report.comparison_figures import (
    Priced,
    curved_rows,
    draw_curves,
    draw_differences,
    draw_front,
    draw_rows,
    front,
)
from handlens.report.tables import SideBySide
from in_browser import look, needs_browser

SVG = "{http://www.w3.org/2000/svg}"


def entry(name: str, right: float, seed: int, num: int = 90, **how) -> Entry:
    rng = np.random.default_rng(seed)
    targets = np.arange(num) % 3
    called = np.where(rng.random(num) < right, targets, (targets + 1) % 3)
    names = tuple(f"picture {number}" for number in range(num))
    said = np.eye(3, dtype=np.float32)[called]
    return Entry(name, (Predictions(names, names, targets, ("ore", "<b>rock", "石墨"), said),), **how)


def four(to: str = "first") -> Comparison:
    rows = [("plain", 0.7), ("<script>alert(1)</script>", 0.97), ("alike", 0.72), ("bad", 0.3)]
    return compare([entry(name, right, seed) for seed, (name, right) in enumerate(rows)], to=to)


def told(comparison: Comparison, **changes) -> SideBySide:
    costs = {
        row.name: Cost(
            num_parameters=10**6 * at,
            size_mib=4.0 * at,
            multiply_adds=10**8 * at,
            size=224,
            views=1,
            precision="float32",
            median_ms=3.0 * at,
            p95_ms=4.0 * at,
            pictures_a_second=300 / at,
        )
        for at, row in enumerate(comparison.judged, start=1)
    }
    histories = {
        row.name: [[{"epoch": e, "train_loss": 1 / e, "train_accuracy": 1 - 0.5 / e} for e in range(1, 6)]]
        for row in comparison.judged
    }
    session = Session(
        processor="chip", cores=2, threads=1, batch=16, rounds=50, load_before=0.5, load_after=0.6
    )
    values = {"side": "test", "costs": costs, "session": session, "histories": histories}
    return SideBySide(comparison, **(values | changes))


def test_the_headline_says_what_the_intervals_say() -> None:
    assert headline(four()) == "“<script>alert(1)</script>” is clearly better than “plain”."
    assert headline(four("bad")) == "3 of 3 rows are clearly better than “bad”."
    assert headline(four("best")) == "“<script>alert(1)</script>” is clearly better than all 3 others."
    alike = [entry("a", 0.8, 0), entry("b", 0.82, 1)]
    assert headline(compare(alike)) == "No row is clearly better than “a”."
    assert "no row can be told from it" in headline(compare(alike, to="best"))
    tied = " ".join(sentences(compare(alike)))
    assert "cannot be told from it on these pictures: a tie" in tied
    assert "Clearly" not in tied


def test_what_to_distrust() -> None:
    entries = [
        entry("plain", 0.7, 0, notes=("leaking: paper-protocol",)),
        entry("copied", 0.8, 1, notes=("3 test pictures have near copies in training",)),
        Entry("broken", (), "no memory was left"),
    ]
    found = warnings_of(told(compare(entries), side="val"))
    assert [each.severity for each in found] == ["serious", "caution", "serious", "caution", "caution"]
    assert "plain" in found[0].title and "copied" in found[1].title
    assert "no memory was left" in found[2].detail
    busy = Session(processor="chip", cores=2, threads=1, batch=16, rounds=9, load_before=7.0, load_after=7.0)
    assert any("busy" in each.title for each in warnings_of(told(four(), session=busy)))


def test_the_page_is_one_safe_file(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_comparison(told(four()), path, "handlens compare a b")
    page = path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"https?://", page)
    # Rows, differences, curves, three costs, and a matrix a row.
    assert page.count("<svg") == 3 + 3 + 4
    assert page.count('class="better"') == 2
    assert "handlens compare a b" in page


def test_a_row_that_failed_says_so_in_its_place_and_why_once(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    entries = [entry("plain", 0.7, 0), Entry("broken", (), "no memory was left"), entry("good", 0.9, 1)]
    write_comparison(told(compare(entries)), path, "again")
    page = path.read_text(encoding="utf-8")
    assert page.count("no memory was left") == 1
    (row,) = re.findall(r'<tr class="failed">(.+?)</tr>', page, re.DOTALL)
    cells = [re.sub("<.+?>", "", cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", row, re.DOTALL)]
    # As many cells as any other row, so that the table can be sorted.
    assert cells == ["2", "broken", *[""] * 7, "failed"]


def test_without_costs_and_epochs_the_page_says_so(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_comparison(told(four(), costs={}, session=None, histories={}), path, "again")
    page = path.read_text(encoding="utf-8")
    assert page.count("<svg") == 2 + 4
    assert "not measured" in page and 'id="training"' not in page and 'id="traded"' not in page


def test_drawings_are_svg_with_every_row() -> None:
    comparison = four()
    for svg in (draw_rows(comparison), draw_differences(comparison)):
        words = list(ElementTree.fromstring(svg).itertext())
        assert {"plain", "alike", "bad", "better", "tie", "worse"} <= set(words)
    drawn = draw_curves(comparison, told(comparison).histories)
    assert drawn is not None and drawn[1] == "training"
    lines = ElementTree.fromstring(drawn[0]).findall(f"{SVG}polyline")
    # A line a row and panel, one a row in the legend, and those of the axes.
    assert sum(line.get("stroke-width") == "1.6" for line in lines) == 4 * 2 + 4
    assert draw_curves(comparison, {}) is None


def test_of_many_rows_the_reference_and_the_best_are_drawn() -> None:
    entries = [entry(f"row {at}", 0.4 + 0.05 * at, at) for at in range(12)]
    comparison = compare(entries, also=())
    kept = curved_rows(comparison, told(comparison).histories)
    assert len(kept) == 9
    assert kept[0] == "row 0"
    assert comparison.best.name in kept


def test_of_the_front_it_claims_only_what_the_intervals_say(tmp_path: Path) -> None:
    # Each dearer than the one before it, and better by its value.
    rows = [("cheap", 0.6), ("middling", 0.65), ("dear", 0.97)]
    comparison = compare([entry(name, right, seed) for seed, (name, right) in enumerate(rows)])
    values = [row.figures["accuracy"].value for row in comparison.rows]
    assert values == sorted(values)
    assert [row.standing for row in comparison.rows] == ["reference", "tie", "better"]
    path = tmp_path / "page.html"
    write_comparison(told(comparison), path, "again")
    said = re.findall(r"<figcaption>(Nothing.+?)</figcaption>", path.read_text(encoding="utf-8"))
    assert set(said) == {
        "Nothing is both cheaper and better than: 1 cheap, 3 dear. "
        "On the line too, but tied with something cheaper: 2 middling."
    }
    apart = compare([entry("cheap", 0.3, 0), entry("dear", 0.97, 2)])
    write_comparison(told(apart), path, "again")
    assert "better than: 1 cheap, 2 dear.</figcaption>" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("lower", [False, True])
def test_the_front_is_what_nothing_beats(lower: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(1, 12, (30, 2)) / 10
    priced = [Priced(at, f"row {at}", value, value, value, cost) for at, (value, cost) in enumerate(values)]
    sign = -1 if lower else 1

    def beaten(one: Priced, by: Priced) -> bool:
        no_worse = by.cost <= one.cost and sign * by.value >= sign * one.value
        return no_worse and (by.cost < one.cost or sign * by.value > sign * one.value)

    kept = front(priced, lower)
    expected = {
        (each.cost, each.value) for each in priced if not any(beaten(each, other) for other in priced)
    }
    assert [(each.cost, each.value) for each in kept] == sorted(expected)
    words = list(ElementTree.fromstring(draw_front(priced, "accuracy", lower, "cost")).itertext())
    assert {str(each.number) for each in priced} <= set(words)


def test_a_drawing_of_cost_says_what_its_marks_are() -> None:
    rows = [Priced(at, f"row {at}", value, 0.0, 1.0, 3.0 * at) for at, value in ((1, 0.7), (2, 0.6))]
    words = set(ElementTree.fromstring(draw_front(rows, "accuracy", False, "cost")).itertext())
    front_words = "Pareto front: nothing is both cheaper and better"
    assert {front_words, "other rows", "95 % interval"} <= words
    # Where every row is on the front there are no others.
    assert (
        "other rows" not in ElementTree.fromstring(draw_front(rows[:1], "accuracy", False, "cost")).itertext()
    )


def test_how_to_repeat_a_study_tells_both_commands(tmp_path: Path) -> None:
    path, explained = tmp_path / "page.html", "The first runs what is missing"
    write_comparison(told(four()), path, "handlens study a --seeds 3\nhandlens study report b")
    page = path.read_text(encoding="utf-8")
    assert ">handlens study a --seeds 3\nhandlens study report b</code>" in page
    assert explained in page
    write_comparison(told(four()), path, "handlens compare a b")
    assert explained not in path.read_text(encoding="utf-8")


SORTED = """(document.querySelectorAll(".compared th")[6].querySelector("button").click(), {
  order: [...document.querySelector(".compared").tBodies[0].rows].map((row) => row.cells[0].textContent),
})"""


@needs_browser
def test_the_page_fits_a_phone_and_sorts(tmp_path: Path) -> None:
    inner = tmp_path / "inner.html"
    entries = [entry("plain", 0.7, 0), entry("x" * 80, 0.9, 1), entry("矿石 " * 12, 0.3, 2)]
    write_comparison(told(compare(entries)), inner, "handlens compare " + "run " * 60)
    seen = look(tmp_path / "seen", {"page": inner.read_text(encoding="utf-8")}, SORTED)["page"]
    assert seen["wrong"] == []
    assert seen["copy"] is False
    assert seen["content"] <= 390
    # Sorted by the difference: the reference, which has none, then the worse row, then the better one.
    assert seen["order"] == ["1", "3", "2"]
