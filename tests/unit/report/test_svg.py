from xml.etree import ElementTree

import pytest

from handlens.report.svg import Drawing, Pen, Scale, nice_ticks, span, text_width

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing: Drawing) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.svg())


@pytest.mark.parametrize(
    ("low", "high", "places", "words"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 0.037, [0, 0.01, 0.02, 0.03], ["0.00", "0.01", "0.02", "0.03"]),
        (1, 1, [1], ["1"]),
        (0, 0, [0], ["0"]),
        (-3, -1, [-3, -2.5, -2, -1.5, -1], ["−3.0", "−2.5", "−2.0", "−1.5", "−1.0"]),
        (-0.1, 0.1, [-0.1, -0.05, 0, 0.05, 0.1], ["−0.10", "−0.05", "0.00", "0.05", "0.10"]),
        (0.12, 0.13, [0.12, 0.122, 0.124, 0.126, 0.128, 0.13], None),
        (7, 93, [20, 40, 60, 80], ["20", "40", "60", "80"]),
        (0, 3e8, [0, 1e8, 2e8, 3e8], ["0", "1e+08", "2e+08", "3e+08"]),
        (0, 1e6, [0, 2e5, 4e5, 6e5, 8e5, 1e6], ["0", "2e+05", "4e+05", "6e+05", "8e+05", "1e+06"]),
        (1e6, 1.1e6, [1e6, 1.02e6, 1.04e6, 1.06e6, 1.08e6, 1.1e6], None),
        (0, 2e-7, [0, 5e-8, 1e-7, 1.5e-7, 2e-7], ["0", "5e−08", "1e−07", "1.5e−07", "2e−07"]),
    ],
)
def test_ticks_are_round_numbers(
    low: float, high: float, places: list[float], words: list[str] | None
) -> None:
    ticks = nice_ticks(low, high)
    assert list(ticks) == pytest.approx(places, abs=1e-15)
    if words is not None:
        assert list(ticks.values()) == words
    assert len(set(ticks.values())) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1, 1, ["1"]),
        (1, 2, ["1", "2"]),
        (1, 4, ["1", "2", "3", "4"]),
        (1, 30, ["5", "10", "15", "20", "25", "30"]),
        (1, 1000, ["200", "400", "600", "800", "1000"]),
    ],
)
def test_whole_ticks_are_whole(low: float, high: float, words: list[str]) -> None:
    assert list(nice_ticks(low, high, most=8, whole=True).values()) == words


@pytest.mark.parametrize("low", [-1e3, -1.0, 0.0, 1e-9, 0.3, 12345.678])
@pytest.mark.parametrize("length", [1e-6, 0.07, 1.0, 9.99, 1e12])
def test_ticks_lie_within_and_are_few(low: float, length: float) -> None:
    high = low + length
    ticks = list(nice_ticks(low, high))
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 * length <= tick <= high + 1e-9 * length for tick in ticks)


def test_a_span_has_room_even_around_a_single_value() -> None:
    assert span([0, 1]) == pytest.approx((-0.05, 1.05))
    assert span([2]) == pytest.approx((1.9, 2.1))
    assert span([-2, -2]) == pytest.approx((-2.1, -1.9))
    assert span([0]) == pytest.approx((-0.05, 0.05))
    assert span([0.3, 0.1 + 0.2]) == pytest.approx((0.285, 0.315))


def test_a_scale_is_linear_in_both_directions() -> None:
    across, up = Scale(0, 10, 50, 250), Scale(-1, 1, 100, 20)
    assert [across(value) for value in (0, 2.5, 10, 11)] == [50, 100, 250, 270]
    assert [up(value) for value in (-1, 0, 1)] == [100, 60, 20]


def test_a_line_is_drawn_where_the_scales_say() -> None:
    drawing = Drawing(100, 100)
    x, y = Scale(0, 4, 10, 90), Scale(0, 1, 90, 10)
    drawing.line([(x(0), y(0)), (x(1), y(1 / 3)), (x(4), y(1))], Pen("#123456", dash="4 2"))
    (line,) = parsed(drawing)
    assert line.tag == SVG + "polyline"
    assert line.attrib["points"] == "10,90 30,63.33 90,10"
    assert line.attrib["stroke"] == "#123456"
    assert line.attrib["stroke-dasharray"] == "4 2"
    assert "stroke-opacity" not in line.attrib


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", "\"'&amp;]]>", "石墨 حديد 𝒳", "$x_1$"])
def test_text_is_text(words: str) -> None:
    drawing = Drawing(100, 100)
    drawing.text(words, (1, 2), size=10)
    (text,) = parsed(drawing)
    assert text.text == words
    assert (text.attrib["x"], text.attrib["y"]) == ("1", "5.5")
    assert b"<script" not in drawing.svg()


def test_characters_that_xml_forbids_are_replaced() -> None:
    drawing = Drawing(100, 100)
    drawing.text("a\x00b\x1bc\x85d\ud800e\uffff", (0, 0))
    assert parsed(drawing)[0].text == "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"


def test_marks_are_centred_and_as_large_as_asked() -> None:
    drawing = Drawing(100, 100)
    drawing.mark((10, 20), Pen(mark="circle"), size=6)
    drawing.mark((10, 20), Pen(mark="square"), size=6)
    drawing.mark((10, 20), Pen(mark="diamond"), size=2 * 2**0.5)
    drawing.mark((10, 20), Pen())
    circle, square, diamond = parsed(drawing)
    assert [circle.attrib[key] for key in ("cx", "cy", "r")] == ["10", "20", "3"]
    assert [square.attrib[key] for key in ("x", "y", "width", "height")] == ["7", "17", "6", "6"]
    assert diamond.attrib["d"] == "M10,20m0,-2l2,2l-2,2l-2,-2z"


def test_axes_have_a_line_of_the_grid_and_words_at_every_tick() -> None:
    drawing = Drawing(100, 100)
    drawing.axes(Scale(0, 1, 20, 90), Scale(0, 2, 80, 10), {0.5: "half"}, {0: "none", 1: "one"}, grid="x")
    root = parsed(drawing)
    assert [line.attrib["points"] for line in root.iter(SVG + "polyline")] == [
        "55,10 55,80",
        "20,10 20,80 90,80",
    ]
    assert [text.text for text in root.iter(SVG + "text")] == ["half", "none", "one"]


def test_a_legend_ends_where_asked_and_shows_the_mark() -> None:
    drawing = Drawing(300, 20)
    drawing.legend({"one": Pen(mark="circle"), "two": Pen()}, (300, 10), anchor="end")
    root = parsed(drawing)
    one, two = root.iter(SVG + "text")
    assert float(one.attrib["x"]) < float(two.attrib["x"]) < 300 - text_width("two")
    assert len(list(root.iter(SVG + "circle"))) == 1


def test_a_drawing_scales_and_has_the_colour_of_the_text_around_it() -> None:
    root = parsed(Drawing(120.5, 80))
    assert root.attrib["viewBox"] == "0 0 120.5 80"
    assert (root.attrib["width"], root.attrib["height"]) == ("120.5pt", "80pt")
    assert root.attrib["fill"] == "currentColor"
    assert root.attrib["font-family"].endswith("sans-serif")
