"""Drawing as SVG: lines, marks, rectangles and text, with axes and a legend made of them.

All lengths are points, from the top left corner. No ids and no style rules are written, so that several
drawings can share a page. What has no colour of its own has that of the text around the drawing.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import escape

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

NAMESPACE = "http://www.w3.org/2000/svg"
INK = "currentColor"
FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, Liberation Sans, sans-serif"
# In font sizes: how wide a Latin and a Chinese letter are in the widest of these fonts, and how far the
# middle of a line of text lies above its baseline.
LETTER, WIDE_LETTER, MIDDLE = 0.65, 1.0, 0.35
SAMPLE = 20.0
"""How long the sample of a pen in a legend is."""

# What XML 1.0 forbids even as a reference, and the control characters, which no reader can see.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Scale:
    """Where values lie in a drawing: `low` at `start`, `high` at `end`, and evenly between them."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Pen:
    """How a line looks, and the marks on it."""

    colour: str = INK
    width: float = 1.4
    dash: str = ""
    opacity: float = 1.0
    mark: Literal["", "circle", "square", "diamond"] = ""
    mark_size: float = 5.0


class Drawing:
    """A picture that is drawn piece by piece, later pieces over earlier ones."""

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self._elements: list[str] = []

    def line(self, points: Sequence[Point], pen: Pen) -> None:
        """A line through points, without marks."""
        self._add(
            "polyline",
            points=" ".join(f"{_short(x)},{_short(y)}" for x, y in points),
            fill="none",
            stroke=pen.colour,
            stroke_width=pen.width,
            stroke_dasharray=pen.dash,
            stroke_opacity=pen.opacity,
            stroke_linejoin="round",
        )

    def mark(self, point: Point, pen: Pen, size: float | None = None) -> None:
        """The mark of a pen, of its own size if none is given."""
        x, y = point
        side = size or pen.mark_size
        if pen.mark == "circle":
            self._add("circle", cx=x, cy=y, r=side / 2, fill=pen.colour, fill_opacity=pen.opacity)
        elif pen.mark == "square":
            self.rectangle(x - side / 2, y - side / 2, side, side, pen.colour, pen.opacity)
        elif pen.mark == "diamond":
            reach = _short(side / math.sqrt(2))
            path = f"M{_short(x)},{_short(y)}m0,-{reach}l{reach},{reach}l-{reach},{reach}l-{reach},-{reach}z"
            self._add("path", d=path, fill=pen.colour, fill_opacity=pen.opacity)

    def rectangle(
        self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0
    ) -> None:
        """A filled rectangle by its top left corner."""
        self._add("rect", x=x, y=y, width=width, height=height, fill=colour, fill_opacity=opacity)

    def text(
        self,
        words: str,
        point: Point,
        *,
        size: float = 9.0,
        anchor: Anchor = "start",
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """One line of text, its middle at the height of a point; turned, it reads upwards."""
        x, y = point
        # Not dominant-baseline, which many programs that read SVG do not know.
        x, y = (x + MIDDLE * size, y) if turned else (x, y + MIDDLE * size)
        self._add(
            "text",
            words,
            x=x,
            y=y,
            font_size=size,
            font_weight="bold" if bold else "",
            text_anchor="" if anchor == "start" else anchor,
            transform=f"rotate(-90 {_short(x)} {_short(y)})" if turned else "",
        )

    def axes(
        self,
        x: Scale,
        y: Scale,
        x_ticks: Mapping[float, str],
        y_ticks: Mapping[float, str],
        *,
        grid: Literal["", "x", "xy"] = "xy",
        size: float = 9.0,
        turned: bool = False,
    ) -> None:
        """A line below and one on the left with the words at the ticks; turned, those below read upwards."""
        left, right = sorted((x.start, x.end))
        top, bottom = sorted((y.start, y.end))
        pale = Pen(width=0.7, opacity=0.14)
        for value, words in x_ticks.items():
            if "x" in grid:
                self.line([(x(value), top), (x(value), bottom)], pale)
            if turned:
                self.text(words, (x(value), bottom + 5), size=size, anchor="end", turned=True)
            else:
                self.text(words, (x(value), bottom + 11), size=size, anchor="middle")
        for value, words in y_ticks.items():
            if "y" in grid:
                self.line([(left, y(value)), (right, y(value))], pale)
            self.text(words, (left - 5, y(value)), size=size, anchor="end")
        self.line([(left, top), (left, bottom), (right, bottom)], Pen(width=0.8))

    def legend(self, pens: Mapping[str, Pen], point: Point, *, anchor: Anchor = "start") -> None:
        """What each pen stands for, side by side from a point on, or up to it."""
        x, y = point
        widths = [SAMPLE + 6 + text_width(words) + 10 for words in pens]
        if anchor == "end":
            x -= sum(widths)
        for (words, pen), width in zip(pens.items(), widths, strict=True):
            self.line([(x, y), (x + SAMPLE, y)], pen)
            self.mark((x + SAMPLE / 2, y), pen)
            self.text(words, (x + SAMPLE + 6, y))
            x += width

    def svg(self) -> bytes:
        """The drawing as a file of its own."""
        width, height = _short(self.width), _short(self.height)
        head = (
            f'<svg xmlns="{NAMESPACE}" width="{width}pt" height="{height}pt" viewBox="0 0 {width} {height}"'
            f' font-family="{FONT}" fill="{INK}">'
        )
        return "\n".join([head, *self._elements, "</svg>\n"]).encode()

    def _add(self, tag: str, words: str = "", **attributes: str | float) -> None:
        """Add an element; what is empty or fully opaque need not be said."""
        told = "".join(
            f' {name.replace("_", "-")}="{value if isinstance(value, str) else _short(value)}"'
            for name, value in attributes.items()
            if value != "" and not (name.endswith("opacity") and value == 1)
        )
        shown = escape(_UNPRINTABLE.sub("\ufffd", words))
        self._elements.append(f"<{tag}{told}>{shown}</{tag}>" if words else f"<{tag}{told}/>")


def nice_ticks(low: float, high: float, *, most: int = 5, whole: bool = False) -> dict[float, str]:
    """Round numbers from `low` to `high` in at most `most` steps, each with the words for it."""
    if low == high:
        return {low: f"{low:g}"}
    raw = (high - low) / most * (1 - 1e-9)
    power = math.floor(math.log10(raw))
    factor = next((it for it in (1, 2, 5) if it * 10.0**power >= raw), 10)
    if factor == 10:
        factor, power = 1, power + 1
    if whole and power < 0:
        factor, power = 1, 0
    step = factor * 10.0**power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [round(number * step, -power) for number in range(first, last + 1)]
    largest = max(map(abs, ticks), default=0.0)
    if 1e-4 <= largest < 1e5:
        return {tick: _with_minus(f"{tick:.{max(0, -power)}f}") for tick in ticks}
    digits = math.floor(math.log10(largest)) - power + 1 if largest else 1
    return {tick: _with_minus(f"{tick:.{digits}g}") for tick in ticks}


def span(values: Sequence[float]) -> tuple[float, float]:
    """The range that shows all values with some room around them."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    # Values that differ by rounding alone are one value.
    room = 0.05 * (high - low if high - low > 1e-9 * size else size or 1.0)
    return low - room, high + room


def text_width(words: str, size: float = 9.0) -> float:
    """About how much room a line of text needs, which only a browser knows exactly."""
    num_wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in words)
    return (num_wide * WIDE_LETTER + (len(words) - num_wide) * LETTER) * size


def _with_minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _short(number: float) -> str:
    """A length to a hundredth of a point, without needless zeros."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
