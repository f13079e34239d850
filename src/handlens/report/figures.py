"""Figures as SVG: the same bytes for the same run, readable on light and on dark paper."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from handlens.evaluate.results import ClassResult, ReliabilityBin
from handlens.report.svg import NAMESPACE, Drawing, Pen, Scale, nice_ticks, span, text_width

# Blue, vermilion and green of Okabe and Ito, which colour-blind people tell apart.
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
# What the page calls these colours; it has brighter ones for dark paper.
PAGE_COLOURS = {BLUE: "--blue", VERMILION: "--vermilion", GREEN: "--green"}

MOST_CLASSES_WITH_NUMBERS = 20


def draw_curves(history: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Loss and accuracy epoch by epoch; none where the history holds neither."""
    panels = [
        (title, curves)
        for title, key in (("Loss", "loss"), ("Accuracy", "accuracy"))
        if (curves := _curves(history, key))
    ]
    if not panels:
        return None
    spans = [span([height for curve in curves.values() for _, height in curve]) for _, curves in panels]
    y_ticks = [nice_ticks(low, high, most=7) for low, high in spans]
    left = _room(words for ticks in y_ticks for words in ticks.values()) + 4
    right, panel = 308.0, 142.0
    drawing = Drawing(317, panel * len(panels) + 18)
    for place, (title, curves) in enumerate(panels):
        top = panel * place
        epochs = [epoch for curve in curves.values() for epoch, _ in curve]
        x = Scale(*span(epochs), left, right)
        y = Scale(*spans[place], top + 124, top + 24)
        # No tick before the first epoch, nor after the last.
        x_ticks = nice_ticks(min(epochs), max(epochs), most=8, whole=True)
        drawing.axes(x, y, x_ticks, y_ticks[place])
        pens = {name: _curve_pen(name, curve) for name, curve in curves.items()}
        for name, curve in curves.items():
            _marked_line(drawing, [(x(epoch), y(height)) for epoch, height in curve], pens[name])
        drawing.text(title, (left, top + 14), size=10, bold=True)
        if place == 0:
            drawing.legend(pens, (right + 10, top + 14), anchor="end")
    drawing.text("epoch", ((left + right) / 2, drawing.height - 9), anchor="middle")
    return drawing.svg()


def _curves(history: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[float, float]]]:
    """The points of the training and the validation curve, as far as the rows have them."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for side, name in (("train", "training"), ("val", "validation")):
        points = [
            (float(row.get("epoch", index)), float(value))
            for index, row in enumerate(history, start=1)
            if (value := row.get(f"{side}_{key}")) is not None and math.isfinite(value)
        ]
        if points:
            curves[name] = points
    return curves


def _curve_pen(name: str, curve: Sequence[tuple[float, float]]) -> Pen:
    colour, dash = (BLUE, "") if name == "training" else (VERMILION, "7 3")
    # A single epoch is a point, which a line alone would not show.
    return Pen(colour, width=1.8, dash=dash, mark="circle" if len(curve) < 3 else "", mark_size=7)


def _marked_line(drawing: Drawing, points: Sequence[tuple[float, float]], pen: Pen) -> None:
    drawing.line(points, pen)
    for point in points:
        drawing.mark(point, pen)


def draw_confusion(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> bytes:
    """Which class was taken for which, as shares of the true class."""
    num = len(classes)
    few = num <= MOST_CLASSES_WITH_NUMBERS
    cell, size = (30.0, 9.0) if few else (16.0, 8.0)
    room = _room(classes, size) + 22
    drawing = Drawing(room + num * cell + 10, room + num * cell + 10)
    x = Scale(0, num, room, room + num * cell)
    y = Scale(0, num, 10, 10 + num * cell)
    for true, row in enumerate(confusion):
        for said, number in enumerate(row):
            # Only cells that hold something are drawn: most of a large matrix is empty.
            if number:
                drawing.rectangle(x(said), y(true), cell, cell, BLUE, 0.75 * number / sum(row))
                if few:
                    drawing.text(str(number), (x(said + 0.5), y(true + 0.5)), size=8, anchor="middle")
    names = {place + 0.5: _shortened(name) for place, name in enumerate(classes)}
    drawing.axes(x, y, names, names, grid="", size=size, turned=True)
    drawing.text("said", (x(num / 2), drawing.height - 9), anchor="middle")
    drawing.text("true", (9, y(num / 2)), anchor="middle", turned=True)
    return drawing.svg()


def draw_classes(per_class: Mapping[str, ClassResult]) -> bytes:
    """Precision, recall and F1 of each class with their intervals."""
    num = len(per_class)
    left, top, row = _room(per_class) + 4, 26.0, 30.0
    drawing = Drawing(left + 300, top + num * row + 22)
    x = Scale(-0.02, 1.02, left, left + 288)
    y = Scale(-0.5, num - 0.5, top, top + num * row)
    names = {float(place): _shortened(name) for place, name in enumerate(per_class)}
    drawing.axes(x, y, nice_ticks(0, 1), names, grid="x")
    pens = {
        "precision": Pen(BLUE, mark="circle"),
        "recall": Pen(VERMILION, mark="square"),
        "F1": Pen(GREEN, mark="diamond"),
    }
    for place, result in enumerate(per_class.values()):
        figures = (result.precision, result.recall, result.f1)
        for offset, figure, pen in zip((-0.22, 0.0, 0.22), figures, pens.values(), strict=True):
            height = y(place + offset)
            drawing.line([(x(figure.low), height), (x(figure.high), height)], pen)
            drawing.mark((x(figure.value), height), pen)
    drawing.legend(pens, (left, 12))
    return drawing.svg()


def draw_reliability(
    bins: Sequence[ReliabilityBin], calibrated: Sequence[ReliabilityBin] | None = None
) -> bytes:
    """Confidence against the share that is right, before and after temperature scaling."""
    said = Pen(VERMILION, width=1.3, mark="square", mark_size=4.5)
    lines = {"as the network says it" if calibrated else "confidence": (bins, said)}
    if calibrated:
        scaled = Pen(BLUE, width=1.3, mark="circle", mark_size=4.5)
        lines["after temperature scaling"] = (calibrated, scaled)
    ideal = Pen(width=1, dash="2 2", opacity=0.45)
    legend = {"as sure as it is right": ideal} | {words: pen for words, (_, pen) in lines.items()}

    left, top, side = 46.0, 14.0 * len(legend) + 10, 244.0
    drawing = Drawing(left + side + 12, top + side + 38)
    x, y = Scale(0, 1.02, left, left + side), Scale(0, 1.02, top + side, top)
    drawing.axes(x, y, nice_ticks(0, 1), nice_ticks(0, 1))
    drawing.line([(x(0), y(0)), (x(1), y(1))], ideal)
    for told, pen in lines.values():
        _reliability_line(drawing, x, y, told, pen)
    for place, (words, pen) in enumerate(legend.items()):
        drawing.legend({words: pen}, (left, 10 + 14 * place))
    drawing.text("confidence", (x(0.5), drawing.height - 10), anchor="middle")
    drawing.text("share that is right", (10, y(0.5)), anchor="middle", turned=True)
    return drawing.svg()


def _reliability_line(drawing: Drawing, x: Scale, y: Scale, bins: Sequence[ReliabilityBin], pen: Pen) -> None:
    filled = [bin_ for bin_ in bins if bin_.n]
    points = [(x(bin_.confidence), y(bin_.accuracy)) for bin_ in filled]
    _marked_line(drawing, points, pen)
    fullest = max(bin_.n for bin_ in filled)
    pale = Pen(pen.colour, opacity=0.22, mark=pen.mark)
    for point, bin_ in zip(points, filled, strict=True):
        # The area says how many pictures a point stands for, so that a lonely one does not alarm.
        drawing.mark(point, pale, size=math.sqrt(12 + 240 * bin_.n / fullest))


def for_page(svg: bytes, alt: str) -> Markup:
    """A figure of ours as part of a page: without what only a file of its own needs."""
    text = svg.decode().replace(f' xmlns="{NAMESPACE}"', "", 1)
    for colour, variable in PAGE_COLOURS.items():
        # In quotes, which no name has after escaping.
        text = text.replace(f'"{colour}"', f'"var({variable})"')
    label = Markup("<svg role='img' aria-label='{}'").format(alt)
    # Drawing escaped every name that it wrote.
    return label + Markup(text.removeprefix("<svg"))  # noqa: S704


def _room(names: Iterable[str], size: float = 9.0) -> float:
    """The room that the longest of some names, or numbers, needs beside an axis."""
    return max(text_width(_shortened(name), size) for name in names) + 8


def _shortened(name: str) -> str:
    return name if len(name) <= 40 else name[:39] + "…"
