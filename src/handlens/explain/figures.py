"""The figures of belief, as SVG."""

from handlens.explain.results import Belief
from handlens.report.figures import BLUE, VERMILION
from handlens.report.svg import Drawing, Pen, Scale, nice_ticks

SIDE = 190.0
LEFT, TOP, GAP = 46.0, 44.0, 40.0


def draw_belief(belief: Belief) -> bytes:
    """The curves of deletion and insertion beside those of random maps, and what random weights leave."""
    drawing = Drawing(3 * (LEFT + SIDE) + 2 * GAP - LEFT + 14, TOP + SIDE + 40)
    own = Pen(BLUE, width=1.6, mark="circle", mark_size=4)
    random = Pen(VERMILION, width=1.4, dash="4 3", mark="square", mark_size=3.5)
    panels = (
        ("What is marked is deleted", belief.deletion, belief.deletion_random),
        ("What is marked is put in", belief.insertion, belief.insertion_random),
    )
    for number, (title, values, others) in enumerate(panels):
        x, y = _axes(drawing, number, title, "share of the picture", "probability of the class")
        for line, pen in ((others, random), (values, own)):
            _line(drawing, x, y, [(at / (len(line) - 1), value) for at, value in enumerate(line)], pen)
    x, y = _axes(drawing, 2, "Weights are drawn anew", "share of the network", "rank correlation")
    _line(drawing, x, y, [(share, max(value, 0.0)) for share, value in belief.random_networks], own)
    drawing.legend({"these maps": own, "random maps": random}, (LEFT, 10))
    return drawing.svg()


def _axes(drawing: Drawing, number: int, title: str, below: str, beside: str) -> tuple[Scale, Scale]:
    """The axes of one panel, both from 0 to 1."""
    left = LEFT + number * (SIDE + GAP + 14)
    x, y = Scale(0, 1, left, left + SIDE), Scale(0, 1.02, TOP + SIDE, TOP)
    drawing.axes(x, y, nice_ticks(0, 1), nice_ticks(0, 1))
    drawing.text(title, (left, TOP - 12), size=9.5, bold=True)
    drawing.text(below, (x(0.5), TOP + SIDE + 28), anchor="middle")
    drawing.text(beside, (left - 34, y(0.5)), anchor="middle", turned=True)
    return x, y


def _line(drawing: Drawing, x: Scale, y: Scale, values: list[tuple[float, float]], pen: Pen) -> None:
    points = [(x(at), y(value)) for at, value in values]
    drawing.line(points, pen)
    for point in points:
        drawing.mark(point, Pen(pen.colour, mark=pen.mark, mark_size=pen.mark_size))
