"""The drawings of a comparison: rows with their intervals, differences, curves, and accuracy against cost."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from handlens.evaluate.comparison import Comparison, Row
from handlens.report.figures import BLUE, GREEN, VERMILION
from handlens.report.svg import Drawing, Pen, Scale, nice_ticks, span, text_width
from handlens.report.tables import is_share, title_of

MOST_CURVES = 9
ROW = 22.0
# Three colours that colour-blind people tell apart, times three dashes.
PENS = [
    Pen(colour, width=1.6, dash=dash) for dash in ("", "6 3", "2 2") for colour in (BLUE, VERMILION, GREEN)
]
STANDING = {
    "reference": Pen(mark="square", mark_size=7),
    "better": Pen(GREEN, mark="diamond", mark_size=9),
    "worse": Pen(VERMILION, mark="diamond", mark_size=9),
    "tie": Pen(BLUE, mark="circle", mark_size=7),
}


@dataclass(frozen=True)
class Priced:
    """A row with what it costs."""

    number: int
    """Its number in the table."""
    name: str
    value: float
    low: float
    high: float
    cost: float


def draw_rows(comparison: Comparison) -> bytes:
    """Each row's figure with its interval."""

    def ends(row: Row) -> tuple[float, float, float]:
        figure = row.figures[comparison.figure]
        return figure.low, figure.value, figure.high

    words = f"{title_of(comparison.figure)}{', %' if is_share(comparison.figure) else ''}"
    return _intervals(comparison, comparison.judged, ends, words)


def draw_differences(comparison: Comparison) -> bytes:
    """Each row's difference to the reference with its interval, and 0."""

    def ends(row: Row) -> tuple[float, float, float]:
        told = row.difference
        return (told.low, told.value, told.high) if told else (0.0, 0.0, 0.0)

    words = f"difference to {_short(comparison.reference)}"
    words += ", points" if is_share(comparison.figure) else f", {title_of(comparison.figure)}"
    return _intervals(comparison, comparison.judged, ends, words, zero=True)


def _intervals(
    comparison: Comparison,
    rows: Sequence[Row],
    ends: Callable[[Row], tuple[float, float, float]],
    words: str,
    zero: bool = False,
) -> bytes:
    scale = 100 if is_share(comparison.figure) else 1
    told = {row.name: tuple(scale * each for each in ends(row)) for row in rows}
    low, high = span([each for three in told.values() for each in three] + [0.0] * zero)
    left, top = max(text_width(_short(row.name)) for row in rows) + 12, 30.0
    drawing = Drawing(left + 300, top + ROW * len(rows) + 34)
    x = Scale(low, high, left, left + 285)
    y = Scale(-0.5, len(rows) - 0.5, top, top + ROW * len(rows))
    names = {float(at): _short(row.name) for at, row in enumerate(rows)}
    drawing.axes(x, y, nice_ticks(low, high, most=6), names, grid="x")
    if zero:
        drawing.line([(x(0), top), (x(0), y.end)], Pen(width=1, dash="3 2", opacity=0.7))
    for at, row in enumerate(rows):
        pen = STANDING[row.standing]
        first, value, last = told[row.name]
        drawing.line([(x(first), y(at)), (x(last), y(at))], replace(pen, width=2.2, opacity=0.55))
        drawing.mark((x(value), y(at)), pen)
    here = {row.standing for row in rows}
    drawing.legend({words: pen for words, pen in STANDING.items() if words in here}, (left, 12))
    drawing.text(words, (left + 142, drawing.height - 9), anchor="middle")
    return drawing.svg()


def draw_curves(
    comparison: Comparison, histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]
) -> tuple[bytes, str] | None:
    """Loss and accuracy epoch by epoch, a line a row, and on which pictures; none without epochs."""
    rows = curved_rows(comparison, histories)
    for side, words in (("val", "validation"), ("train", "training")):
        panels = []
        for title, key in (("Loss", f"{side}_loss"), ("Accuracy", f"{side}_accuracy")):
            lines = {name: [_points(epochs, key) for epochs in histories[name]] for name in rows}
            # Only where all rows have it are they compared alike.
            if rows and all(any(each) for each in lines.values()):
                panels.append((f"{title} on {words} pictures", lines))
        if panels:
            return _panels(panels), words
    return None


def curved_rows(comparison: Comparison, histories: Mapping[str, Any]) -> list[str]:
    """The rows whose curves are drawn: all, or of many the reference and the best ones."""
    there = [row for row in comparison.judged if any(histories.get(row.name, ()))]
    if len(there) <= MOST_CURVES:
        return [row.name for row in there]

    def worth(row: Row) -> tuple[bool, float]:
        value = row.figures[comparison.figure].value
        return row.standing != "reference", value if comparison.lower_is_better else -value

    kept = {row.name for row in sorted(there, key=worth)[:MOST_CURVES]}
    return [row.name for row in there if row.name in kept]


def _points(epochs: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [
        (float(row.get("epoch", at)), float(value))
        for at, row in enumerate(epochs, start=1)
        if (value := row.get(key)) is not None and math.isfinite(value)
    ]


def _panels(panels: Sequence[tuple[str, Mapping[str, Sequence[Sequence[tuple[float, float]]]]]]) -> bytes:
    names = list(panels[0][1])
    left, right, height = 46.0, 396.0, 178.0
    legend = 16.0 * len(names) + 8
    drawing = Drawing(406, height * len(panels) + legend + 16)
    for place, (title, lines) in enumerate(panels):
        top = height * place
        every = [point for several in lines.values() for curve in several for point in curve]
        x = Scale(*span([epoch for epoch, _ in every]), left, right)
        low, high = span([value for _, value in every])
        y = Scale(low, high, top + 150, top + 24)
        epochs = [epoch for epoch, _ in every]
        ticks = nice_ticks(min(epochs), max(epochs), most=8, whole=True)
        drawing.axes(x, y, ticks, nice_ticks(low, high, most=6))
        drawing.text(title, (left, top + 12), size=10, bold=True)
        for pen, several in zip(PENS, lines.values(), strict=False):
            for number, curve in enumerate(several):
                # The first training of a row stands for it; the others show how far seeds go apart.
                own = pen if number == 0 else replace(pen, width=0.9, opacity=0.4)
                drawing.line([(x(epoch), y(value)) for epoch, value in curve], own)
                if len(curve) == 1:
                    drawing.mark((x(curve[0][0]), y(curve[0][1])), replace(own, mark="circle"))
    drawing.text("epoch", ((left + right) / 2, height * len(panels) - 4), anchor="middle")
    for at, (name, pen) in enumerate(zip(names, PENS, strict=False)):
        drawing.legend({_short(name): pen}, (left, height * len(panels) + 14 + 16 * at))
    return drawing.svg()


def front(priced: Sequence[Priced], lower_is_better: bool) -> list[Priced]:
    """The rows that no other beats in both cost and figure (the Pareto front), cheapest first."""
    sign = -1 if lower_is_better else 1
    kept: list[Priced] = []
    for each in sorted(priced, key=lambda row: (row.cost, -sign * row.value)):
        if not kept or sign * each.value > sign * kept[-1].value:
            kept.append(each)
    return kept


def draw_front(priced: Sequence[Priced], figure: str, lower_is_better: bool, cost: str) -> bytes:
    """The figure against what it costs, with the front; rows by their numbers in the table."""
    scale = 100 if is_share(figure) else 1
    drawing = Drawing(400, 300)
    left, right, top, bottom = 50.0, 388.0, 50.0, 256.0
    costs = [each.cost for each in priced]
    # Over more than a factor of ten the cheap rows would all lie on the axis.
    wide = min(costs) > 0 and max(costs) > 10 * min(costs)
    along: Callable[[float], float] = math.log10 if wide else float
    x = Scale(*_roomy([along(value) for value in costs]), left, right)
    low, high = span([scale * end for each in priced for end in (each.low, each.high)])
    y = Scale(low, high, bottom, top)
    drawing.axes(x, y, _powers(x) if wide else nice_ticks(x.low, x.high), nice_ticks(low, high, most=6))
    best = front(priced, lower_is_better)
    steps: list[tuple[float, float]] = []
    for each in best:
        here = (x(along(each.cost)), y(scale * each.value))
        # Up to the next one's cost nothing better is to be had.
        steps += [(here[0], steps[-1][1]), here] if steps else [here]
    line = Pen(GREEN, width=1.6, mark="diamond", mark_size=8)
    drawing.line([*steps, (right, steps[-1][1])], line)
    other = Pen(BLUE, mark="circle", mark_size=6)
    bar = Pen(GREEN, width=1.4, opacity=0.5)
    told: list[tuple[float, float]] = []
    for each in priced:
        pen = line if each in best else other
        at, value = x(along(each.cost)), y(scale * each.value)
        ends = [(at, y(scale * each.low)), (at, y(scale * each.high))]
        drawing.line(ends, replace(bar, colour=pen.colour))
        drawing.mark((at, value), pen)
        told.append(_free_place((at, value), told))
        drawing.text(str(each.number), told[-1], size=8.5, bold=each in best)
    drawing.legend({"Pareto front: nothing is both cheaper and better": line}, (left, 12))
    beside = {"other rows": replace(other, width=0)} if len(best) < len(priced) else {}
    drawing.legend(beside | {"95 % interval": bar}, (left, 28))
    drawing.text(cost, ((left + right) / 2, drawing.height - 10), anchor="middle")
    words = f"{title_of(figure)}{', %' if scale == 100 else ''}"
    drawing.text(words, (10, (top + bottom) / 2), anchor="middle", turned=True)
    return drawing.svg()


def _free_place(mark: tuple[float, float], told: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where a mark's number stands: on the first side of it where no other number does."""
    sides = [(mark[0] + right, mark[1] + down) for right in (6, -14) for down in (-7, 13)]

    def free(place: tuple[float, float]) -> bool:
        return all(abs(place[0] - other[0]) > 12 or abs(place[1] - other[1]) > 9 for other in told)

    return next(filter(free, sides), sides[0])


def _roomy(values: Sequence[float]) -> tuple[float, float]:
    """A range with room for marks at its ends."""
    low, high = span(values)
    return low - 0.04 * (high - low), high + 0.06 * (high - low)


def _powers(x: Scale) -> dict[float, str]:
    """1, 2 and 5 times the powers of ten, on a logarithmic axis."""
    powers = range(math.floor(x.low), math.ceil(x.high) + 1)
    ticks = {
        math.log10(factor * 10.0**power): f"{factor * 10.0**power:g}"
        for power in powers
        for factor in (1, 2, 5)
    }
    return {place: words for place, words in ticks.items() if x.low <= place <= x.high}


def _short(name: str) -> str:
    return name if len(name) <= 32 else name[:31] + "…"
