"""What the pages of a curve and of sites share: the words and the pens."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from handlens.report.comparison_figures import PENS
from handlens.report.svg import INK, Pen
from handlens.report.words import points

TITLES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
WIDTH = 360.0
"""How wide the drawings are: no wider, so that their words can be read where a telephone shrinks them."""
MARKS: tuple[Literal["circle", "square", "diamond"], ...] = ("circle", "square", "diamond", "square")
# Three colours that colour-blind people tell apart, and that of the text.
FOUR = (*PENS[:3], Pen(INK, width=1.6, dash="5 2"))


def pens_of(names: Iterable[str]) -> dict[str, Pen]:
    """A pen of its own for each of up to four names."""
    return {
        name: replace(pen, mark=mark, mark_size=6.0)
        for name, pen, mark in zip(names, FOUR, MARKS, strict=False)
    }


def signed(difference: float) -> str:
    """A difference of shares with the way it went: '+4.2 points'."""
    return f"{'+' if difference > 0 else ''}{points(difference)}"
