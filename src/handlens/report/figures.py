"""Figures as SVG: the same bytes for the same run, readable on light and on dark paper.

Matplotlib is imported inside the functions, because it takes longer than everything else here.
"""

import io
import logging
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from handlens.evaluate.results import ClassResult, ReliabilityBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Stands for "the colour of the text around the figure" while Matplotlib draws.
INK = "#010203"
# Blue, vermilion and green of Okabe and Ito, which colour-blind people tell apart.
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
# What the page calls these colours; it has brighter ones for dark paper.
PAGE_COLOURS = {BLUE: "--blue", VERMILION: "--vermilion", GREEN: "--green"}

MOST_CLASSES_WITH_NUMBERS = 20

_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    # A class called "$x$" is a name, not a formula.
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "grid.color": INK,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
}


def draw_curves(history: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Loss and accuracy epoch by epoch; none where the history holds neither."""
    panels = [
        (title, curves)
        for title, key in (("Loss", "loss"), ("Accuracy", "accuracy"))
        if (curves := _curves(history, key))
    ]
    if not panels:
        return None
    from matplotlib.ticker import MaxNLocator

    with _drawing("curves"):
        canvas = _canvas(4.4, 0.5 + 1.9 * len(panels))
        for place, (title, curves) in enumerate(panels, start=1):
            axes = canvas.add_subplot(len(panels), 1, place)
            for name, points in curves.items():
                colour, dash = (BLUE, "-") if name == "training" else (VERMILION, (0, (4, 1.5)))
                # A single epoch is a point, which a line alone would not show.
                marker = "o" if len(points) < 3 else ""
                axes.plot(*zip(*points, strict=True), color=colour, ls=dash, marker=marker, label=name)
            axes.set_title(title)
            axes.grid(visible=True)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if place == 1:
                axes.legend(loc="best")
        axes.set_xlabel("epoch")
        canvas.subplots_adjust(left=0.12, right=0.97, top=0.93, bottom=0.12, hspace=0.35)
        return _svg(canvas)


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


def draw_confusion(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> bytes:
    """Which class was taken for which, as shares of the true class."""
    from matplotlib.collections import PolyCollection

    num = len(classes)
    names = [_printable(name) for name in classes]
    cell = 0.42 if num <= MOST_CLASSES_WITH_NUMBERS else 0.22
    room = max(map(_width, names)) * 0.075 + 0.5
    with _drawing("confusion"):
        width, height = room + num * cell + 0.15, room + num * cell + 0.15
        canvas = _canvas(width, height)
        axes = canvas.add_axes((room / width, room / height, num * cell / width, num * cell / height))
        # Only cells that hold something are drawn: most of a large matrix is empty.
        filled = [(x, y, number) for y, row in enumerate(confusion) for x, number in enumerate(row) if number]
        shares = [number / sum(confusion[y]) for _, y, number in filled]
        squares = [[(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)] for x, y, _ in filled]
        axes.add_collection(PolyCollection(squares, facecolors=[(0, 0.45, 0.7, 0.75 * it) for it in shares]))
        if num <= MOST_CLASSES_WITH_NUMBERS:
            for x, y, number in filled:
                axes.text(x + 0.5, y + 0.5, str(number), ha="center", va="center", fontsize=8)
        middles = [place + 0.5 for place in range(num)]
        axes.set_xticks(middles, names, rotation=90)
        axes.set_yticks(middles, names)
        axes.tick_params(length=0, labelsize=9 if num <= MOST_CLASSES_WITH_NUMBERS else 8)
        axes.set_xlim(0, num)
        axes.set_ylim(num, 0)
        axes.set_xlabel("said")
        axes.set_ylabel("true")
        return _svg(canvas)


def draw_classes(per_class: Mapping[str, ClassResult]) -> bytes:
    """Precision, recall and F1 of each class with their intervals."""
    names = [_printable(name) for name in per_class]
    room = max(map(_width, names)) * 0.075 + 0.25
    with _drawing("classes"):
        width, height = room + 4.2, 0.9 + 0.42 * len(names)
        canvas = _canvas(width, height)
        axes = canvas.add_axes((room / width, 0.5 / height, 4.0 / width, (height - 0.9) / height))
        parts = (("precision", BLUE, "o"), ("recall", VERMILION, "s"), ("f1", GREEN, "D"))
        for offset, (key, colour, marker) in zip((-0.22, 0.0, 0.22), parts, strict=True):
            figures = [getattr(result, key) for result in per_class.values()]
            places = [place + offset for place in range(len(figures))]
            axes.hlines(
                places,
                [figure.low for figure in figures],
                [figure.high for figure in figures],
                color=colour,
                lw=1.4,
            )
            label = "F1" if key == "f1" else key
            axes.plot([figure.value for figure in figures], places, marker, color=colour, ms=4, label=label)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
        return _svg(canvas)


def draw_reliability(
    bins: Sequence[ReliabilityBin], calibrated: Sequence[ReliabilityBin] | None = None
) -> bytes:
    """Confidence against the share that is right, before and after temperature scaling."""
    with _drawing("reliability"):
        canvas = _canvas(4.2, 4.2)
        axes = canvas.add_axes((0.14, 0.12, 0.83, 0.83))
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.45, lw=1, ls=(0, (2, 2)), label="as sure as it is right")
        _reliability_line(
            axes, bins, VERMILION, "s", "as the network says it" if calibrated else "confidence"
        )
        if calibrated:
            _reliability_line(axes, calibrated, BLUE, "o", "after temperature scaling")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_aspect("equal")
        axes.grid(visible=True)
        axes.set_xlabel("confidence")
        axes.set_ylabel("share that is right")
        axes.legend(loc="upper left")
        return _svg(canvas)


def _reliability_line(
    axes: "Axes", bins: Sequence[ReliabilityBin], colour: str, marker: str, label: str
) -> None:
    filled = [bin_ for bin_ in bins if bin_.n]
    fullest = max(bin_.n for bin_ in filled)
    confidence = [bin_.confidence for bin_ in filled]
    accuracy = [bin_.accuracy for bin_ in filled]
    axes.plot(confidence, accuracy, color=colour, lw=1.3, label=label, marker=marker, ms=3.5)
    # The area says how many pictures a point stands for, so that a lonely one does not alarm.
    sizes = [12 + 240 * bin_.n / fullest for bin_ in filled]
    axes.scatter(confidence, accuracy, s=sizes, marker=marker, color=colour, alpha=0.22, lw=0)


def for_page(svg: bytes, alt: str) -> Markup:
    """A figure of ours as part of a page: without what only a file of its own needs."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    # Its style rules would apply to the whole page, and its names would meet those of other figures.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    for colour, variable in PAGE_COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    label = Markup("<svg role='img' aria-label='{}'").format(alt)
    # Matplotlib escaped every name that it wrote.
    return label + Markup(text.removeprefix("<svg"))  # noqa: S704


def _printable(name: str) -> str:
    """A name without the characters that XML forbids, and not too long for a figure."""
    shown = "".join("\ufffd" if unicodedata.category(letter) == "Cc" else letter for letter in name)
    return shown if len(shown) <= 40 else shown[:39] + "…"


def _width(name: str) -> int:
    """The room that a name needs, in Latin letters: a Chinese one is as wide as two of them."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)


def _canvas(width: float, height: float) -> "Canvas":
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(width, height))


@contextmanager
def _drawing(name: str) -> Iterator[None]:
    """Our look, and silence about letters that Matplotlib's own font lacks: text stays text."""
    from matplotlib import rc_context

    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    # Without a salt the ids within an SVG are random; with one of its own, figures can share a page.
    look = _LOOK | {"svg.hashsalt": name}
    with rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph .* missing from")
        warnings.filterwarnings("ignore", message=r".*does not support")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def _svg(canvas: "Canvas") -> bytes:
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    drawn = io.BytesIO()
    canvas.savefig(drawn, format="svg", metadata=nothing)
    return drawn.getvalue().replace(INK.encode(), b"currentColor")
