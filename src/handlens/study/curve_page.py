"""The page of a learning curve: the answer, the curves, and the table that they are drawn from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handlens import __version__
from handlens.base.files import write_text
from handlens.report.figures import for_page
from handlens.report.pages import page_template
from handlens.report.svg import Drawing, Pen, Scale, nice_ticks, span, text_width
from handlens.report.words import count, percent
from handlens.study.curve_results import ALL, HALF, Curve, Point, Step
from handlens.study.fewshot import WORDS
from handlens.study.pages import TITLES, WIDTH, pens_of, signed


def write_page(curve: Curve, path: Path, command: str) -> None:
    """Write the page; it stands alone and opens anywhere."""
    headline, _, rest = curve.answer.partition(": ")
    text = page_template("curve.html", signed=signed).render(
        curve=curve,
        headline=headline,
        answer=rest[:1].upper() + rest[1:],
        title=TITLES[curve.spec.figure],
        basis=f"{count(curve.n, 'test picture')} from {count(curve.n_groups, 'group')}, "
        f"{len(curve.classes)} classes, {curve.spec.draws} draws",
        words=WORDS,
        drawn=for_page(draw_curve_figure(curve), f"{TITLES[curve.spec.figure]} by pictures a class"),
        gains=for_page(draw_gains(curve), "What each step gained, with its interval"),
        first=curve.spec.methods[0],
        command=command,
        version=__version__,
    )
    write_text(path, text)


def draw_curve_figure(curve: Curve) -> bytes:
    """A line a method with its intervals; steps stand evenly, since each is about twice the one before."""
    left, right, top, bottom = 44.0, 350.0, 48.0, 236.0
    drawing = Drawing(WIDTH, 272)
    points = curve.points
    low, high = span([100 * each for point in points for each in (point.figure.low, point.figure.high)])
    names = [step.name for step in curve.steps]
    x = Scale(-0.4, len(names) - 0.6, left, right)
    y = Scale(max(0.0, low), min(100.0, high), bottom, top)
    ticks = {float(at): step.name for at, step in enumerate(curve.steps)}
    drawing.axes(x, y, ticks, nice_ticks(y.low, y.high, most=7))
    pens = pens_of(curve.spec.methods)
    for at, (method, pen) in enumerate(pens.items()):
        # A little beside each other, so that intervals can be told apart.
        aside = 5.0 * (at - (len(pens) - 1) / 2)
        here = [(x(place) + aside, curve.point(method, name)) for place, name in enumerate(names)]
        for across, point in here:
            ends = [(across, y(100 * max(0.0, end))) for end in (point.figure.low, point.figure.high)]
            drawing.line(ends, Pen(pen.colour, width=2, opacity=0.35))
        drawing.line([(across, y(100 * point.figure.value)) for across, point in here], pen)
        for across, point in here:
            drawing.mark((across, y(100 * point.figure.value)), pen)
    _legend(drawing, pens, left)
    drawing.text("pictures a class", ((left + right) / 2, bottom + 27), anchor="middle")
    drawing.text(f"{TITLES[curve.spec.figure]}, %", (8, (top + bottom) / 2), anchor="middle", turned=True)
    return drawing.svg()


def draw_gains(curve: Curve) -> bytes:
    """What the first method gained at each step; an interval that holds 0 may be chance."""
    gains = [each for each in curve.gains if each.method == curve.spec.methods[0]]
    names = {float(at): f"{each.before} to {each.after}" for at, each in enumerate(gains)}
    left = max(map(text_width, names.values()), default=0.0) + 12
    row, top = 24.0, 14.0
    drawing = Drawing(WIDTH, top + row * max(1, len(gains)) + 40)
    ends = [100 * end for each in gains for end in (each.figure.low, each.figure.high)]
    x = Scale(*span([*ends, 0.0, 1.0]), left, 350.0)
    y = Scale(-0.5, max(1, len(gains)) - 0.5, top, top + row * max(1, len(gains)))
    drawing.axes(x, y, nice_ticks(x.low, x.high, most=6), names, grid="x")
    drawing.line([(x(0), top), (x(0), y.end)], Pen(width=1, dash="3 2", opacity=0.7))
    for at, each in enumerate(gains):
        (pen,) = pens_of([each.method]).values()
        low, value, high = (100 * end for end in (each.figure.low, each.figure.value, each.figure.high))
        drawing.line([(x(low), y(at)), (x(high), y(at))], replace(pen, width=2.2, opacity=0.55))
        drawing.mark((x(value), y(at)), pen)
    drawing.text("gained, points", ((left + 350) / 2, drawing.height - 9), anchor="middle")
    return drawing.svg()


def table_of(curve: Curve) -> tuple[list[str], list[list[str]]]:
    """The table for a terminal: a row a step, the methods across."""
    columns = ["pictures a class", "groups", *(WORDS[method] for method in curve.spec.methods)]
    rows = []
    for step in curve.steps:
        cells = [_cell(curve.point(method, step.name)) for method in curve.spec.methods]
        rows.append([_tick(step), f"{step.groups:.0f}", *cells])
    return columns, rows


def _cell(point: Point) -> str:
    sign = {"better": " (better)", "worse": " (worse)"}.get(point.standing, "")
    low, high = 100 * point.figure.low, 100 * point.figure.high
    return f"{percent(point.figure.value)} ({low:.1f} to {high:.1f}){sign}"


def _tick(step: Step) -> str:
    if step.name not in (HALF, ALL):
        return step.name
    number = f"{step.fewest}" if step.fewest == step.most else f"{step.fewest}\N{EN DASH}{step.most}"
    return f"{step.name}, {number}"


def _legend(drawing: Drawing, pens: dict[str, Pen], left: float) -> None:
    """Two names a line, so that it fits a telephone."""
    names: Sequence[str] = list(pens)
    for at in range(0, len(names), 2):
        drawing.legend({WORDS[name]: pens[name] for name in names[at : at + 2]}, (left, 12 + 8 * at))
