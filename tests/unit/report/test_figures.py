import re
import warnings
from xml.etree import ElementTree

import pytest

from handlens.evaluate.results import ClassResult, Figure, ReliabilityBin
from handlens.report.figures import (
    INK,
    draw_classes,
    draw_confusion,
    draw_curves,
    draw_reliability,
    for_page,
)

NAMES = ("石墨鳞片矿石", "<script>alert(1)</script>", '$x_1$ & "quoted"', "حديد\x07", "n" * 90)
FIGURE = Figure(value=0.8, low=0.7, high=0.9, method="by hand", n=10, n_groups=5)
BINS = (
    ReliabilityBin(confidence=0.5, accuracy=0.4, n=10),
    ReliabilityBin(confidence=0.9, accuracy=0.8, n=40),
)


def drawings() -> dict[str, bytes]:
    history = [{"epoch": e, "train_loss": 1 / e, "val_loss": 2 / e, "val_accuracy": 0.5} for e in (1, 2, 3)]
    result = ClassResult(n=10, n_groups=5, precision=FIGURE, recall=FIGURE, f1=FIGURE)
    curves = draw_curves(history)
    assert curves is not None
    return {
        "curves": curves,
        "confusion": draw_confusion(NAMES, [[4, 1, 0, 0, 0]] * 4 + [[0, 0, 0, 0, 0]]),
        "classes": draw_classes(dict.fromkeys(NAMES, result)),
        "reliability": draw_reliability(BINS, BINS),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # letters that a font lacks are nobody's worry
        return drawings()


def test_figures_are_the_same_bytes_every_time(drawn: dict[str, bytes]) -> None:
    assert drawings() == drawn


@pytest.mark.parametrize("name", ["curves", "confusion", "classes", "reliability"])
def test_figures_suit_light_and_dark_paper(drawn: dict[str, bytes], name: str) -> None:
    ElementTree.fromstring(drawn[name])
    assert b"currentColor" in drawn[name]
    assert INK.encode() not in drawn[name]
    assert b"#ffffff" not in drawn[name]
    assert b"<dc:date>" not in drawn[name]


def test_names_are_text_and_never_markup_or_formulas(drawn: dict[str, bytes]) -> None:
    texts = [
        node.text
        for node in ElementTree.fromstring(drawn["confusion"]).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert NAMES[0] in texts
    assert NAMES[1] in texts
    assert NAMES[2] in texts
    assert "حديد\ufffd" in texts
    assert "n" * 39 + "…" in texts


@pytest.mark.parametrize(
    "history", [[], [{"epoch": 1, "lr": 0.1}], [{"train_loss": None}, {"train_loss": float("nan")}]]
)
def test_a_history_without_curves_has_no_figure(history: list[dict[str, object]]) -> None:
    assert draw_curves(history) is None


def test_one_epoch_is_a_visible_point() -> None:
    one, many = (draw_curves([{"epoch": e, "train_loss": 0.5} for e in range(1, n)]) for n in (2, 6))
    assert one is not None
    assert many is not None
    # Marks stand in groups that are cut to the axes, and so does nothing else but the line and the grid.
    marks = r'<g clip-path="[^"]*">\s*<use '
    assert len(re.findall(marks, one.decode())) > len(re.findall(marks, many.decode()))


def test_a_figure_in_the_page_brings_no_rules_names_or_addresses(drawn: dict[str, bytes]) -> None:
    inline = for_page(drawn["curves"], 'what "it" shows')
    assert inline.startswith("<svg role='img' aria-label='what &#34;it&#34; shows'")
    assert "<style" not in inline
    assert "http" not in inline
    assert '<g id="' not in inline
    assert "var(--blue)" in inline
