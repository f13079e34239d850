"""The leakage gap: by how much a leaking protocol overstates what the honest one finds.

The two judge different pictures, so their difference has no pairs. Its interval is put together from those
of both (the square-and-add of Newcombe 1998, "Interval estimation for the difference between independent
proportions", method 10), which heeds that shares near one vary to one side only. Under the paper's protocol
copies of a picture err together, so its own interval counts what pictures really came from.

What both judge in common is not heeded: specimens that are hard for one are hard for the other, and a
difference varies less than two figures that have nothing to do with each other. The interval is then wider
than need be: 97 to 98 in a hundred hold the truth, and none claims a gap too often
(`benchmarks/study.py intervals`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot

from handlens.data.derived import CAME_FROM, PAPER_PROTOCOL
from handlens.data.samples import Samples
from handlens.evaluate.comparison import JudgedRows
from handlens.evaluate.intervals import Grouping
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure
from handlens.evaluate.significance import interval_of


@dataclass(frozen=True)
class Gap:
    """What the leak is worth in one row, with its 95 % interval."""

    row: str
    claimed: Figure
    """Under the paper's protocol."""
    honest: Figure
    low: float
    high: float

    @property
    def value(self) -> float:
        """How much too good the claim is."""
        return self.claimed.value - self.honest.value

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0 <= self.high

    @property
    def words(self) -> str:
        """For people, in points."""
        value, low, high = (100 * each for each in (self.value, self.low, self.high))
        told = f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"
        return told.replace("-", "\N{MINUS SIGN}")


def gap_of(row: str, claimed: Figure, honest: Figure) -> Gap:
    """The difference of two figures of different pictures, with its interval."""
    value = claimed.value - honest.value
    low = value - hypot(claimed.value - claimed.low, honest.high - honest.value)
    high = value + hypot(claimed.high - claimed.value, honest.value - honest.low)
    return Gap(row, claimed, honest, max(-1.0, low), min(1.0, high))


def figures_over_groups(trainings: Sequence[Predictions], figures: Sequence[str]) -> dict[str, Figure]:
    """Figures of some trainings that judged the same pictures: their means, with intervals over groups."""
    first = trainings[0]
    table = JudgedRows([list(trainings)], list(figures), Grouping.of(first.groups))
    measured = table.measured(seed=0)[0]
    found = {}
    for name in figures:
        basis = table.basis(name)
        within = interval_of(measured[name], basis)
        found[name] = Figure(
            value=measured[name].value,
            low=within.low,
            high=within.high,
            method=within.method,
            n=basis.n,
            n_groups=basis.n_groups,
        )
    return found


def as_they_came(said: Predictions, came_from: Mapping[str, str]) -> Predictions:
    """The same judgments with the groups that the paper's protocol does not heed."""
    return replace(said, groups=tuple(came_from[name] for name in said.ids))


def came_from(samples: Samples) -> dict[str, str]:
    """What each picture came from, where a protocol has put that aside; else its group."""
    # Without the mark a column of that name is the user's own, and may tell anything.
    aside = PAPER_PROTOCOL in samples.marks and CAME_FROM in samples.table.columns
    return dict(samples.table.select("id", CAME_FROM if aside else "group").iter_rows())
