from xml.etree import ElementTree

import pytest

from handlens.evaluate.results import ClassResult, Figure, ReliabilityBin
from handlens.report.figures import (
    draw_classes,
    draw_confusion,
    draw_curves,
    draw_reliability,
    for_page,
)
from handlens.report.svg import text_width

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
    return drawings()


def test_figures_are_the_same_bytes_every_time(drawn: dict[str, bytes]) -> None:
    assert drawings() == drawn


@pytest.mark.parametrize("name", ["curves", "confusion", "classes", "reliability"])
def test_figures_suit_light_and_dark_paper(drawn: dict[str, bytes], name: str) -> None:
    assert ElementTree.fromstring(drawn[name]).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"currentColor" in drawn[name]
    assert b"#ffffff" not in drawn[name]


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
    assert one.count(b"<circle") > many.count(b"<circle") == 0


def test_a_figure_in_the_page_brings_no_rules_names_or_addresses(drawn: dict[str, bytes]) -> None:
    inline = for_page(drawn["curves"], 'what "it" shows')
    assert inline.startswith("<svg role='img' aria-label='what &#34;it&#34; shows'")
    assert "<style" not in inline
    assert "http" not in inline
    assert '<g id="' not in inline
    assert " id=" not in inline
    assert "var(--blue)" in inline
    assert "#0072b2" not in inline


def test_a_class_named_like_a_colour_keeps_its_name() -> None:
    assert ">#0072b2</text>" in for_page(draw_confusion(["#0072b2", '"#0072b2"'], [[1, 0], [0, 1]]), "")
    assert ">&#34;#0072b2&#34;</text>" in for_page(draw_confusion(['"#0072b2"'], [[1]]), "")


def test_forty_long_names_fit_into_their_figures() -> None:
    names = [f"矿石 {number:02d} 来自第三采区的样品" for number in range(40)]
    confusion = draw_confusion(names, [[int(x == y) for x in range(40)] for y in range(40)])
    result = ClassResult(n=10, n_groups=5, precision=FIGURE, recall=FIGURE, f1=FIGURE)
    for svg, times in ((confusion, 2), (draw_classes(dict.fromkeys(names, result)), 1)):
        root = ElementTree.fromstring(svg)
        left, top, width, height = map(float, root.attrib["viewBox"].split())
        assert left == top == 0
        texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
        assert [text.text for text in texts].count(names[7]) == times
        for text in texts:
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            assert 0 <= x <= width
            assert 0 <= y <= height
            if text.attrib.get("text-anchor") == "end":
                # It ends at its point and stretches to the left or, turned, downwards.
                room = height - y if "transform" in text.attrib else x
                assert room > text_width(text.text or "", float(text.attrib["font-size"]))
