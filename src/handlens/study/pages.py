"""What the pages of a curve and of sites share: the words, the pens, and how a template is filled."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from handlens import __version__
from handlens.report.comparison_figures import PENS
from handlens.report.svg import INK, Pen
from handlens.report.words import percent, percent_interval, points_interval

TITLES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
MARKS: tuple[Literal["circle", "square", "diamond"], ...] = ("circle", "square", "diamond", "square")
# Three colours that colour-blind people tell apart, and that of the text.
FOUR = (*PENS[:3], Pen(INK, width=1.6, dash="5 2"))


def pens_of(names: Iterable[str]) -> dict[str, Pen]:
    """A pen of its own for each of up to four names."""
    return {
        name: replace(pen, mark=mark, mark_size=6.0)
        for name, pen, mark in zip(names, FOUR, MARKS, strict=False)
    }


def filled(template: str, **values: Any) -> str:
    """A page from its template."""
    environment = Environment(
        loader=PackageLoader("handlens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "unbroken": lambda text: text.replace(" %", "\u00a0%"),
        "percent": percent,
        "interval": percent_interval,
        "points": points_interval,
    }
    environment.filters |= filters
    return environment.get_template(template).render(version=__version__, titles=TITLES, **values)
