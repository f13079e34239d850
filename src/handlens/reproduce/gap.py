"""The leakage gap: by how much a leaking protocol overstates what the honest one finds.

The two judge different pictures, so their difference has no pairs. Its interval is put together from those
of both (the square-and-add of Newcombe 1998, "Interval estimation for the difference between independent
proportions", method 10), which heeds that shares near one vary to one side only. Under the paper's protocol
copies of a picture err together, so its own interval counts what pictures really came from.

Most specimens that the honest protocol judges the other one judges too, and what is hard for a network is
hard under both: it moves both figures to the same side. The interval is narrower by that correlation (Zou
2007, "Toward using confidence intervals to compare correlations": limits for figures that depend on each
other, which are Newcombe's where they do not). Without it up to 98 in a hundred held the truth.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

from handlens.data.derived import CAME_FROM, PAPER_PROTOCOL
from handlens.data.samples import Samples
from handlens.evaluate.comparison import JudgedRows
from handlens.evaluate.intervals import Grouping, as_figure
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


def gap_of(row: str, claimed: Figure, honest: Figure, together: float = 0.0) -> Gap:
    """The difference of two figures of different pictures, with its interval.

    `together` is their correlation; 0 where they have nothing to do with each other.
    """
    value = claimed.value - honest.value
    low = value - _apart(claimed.value - claimed.low, honest.high - honest.value, together)
    high = value + _apart(claimed.high - claimed.value, honest.value - honest.low, together)
    return Gap(row, claimed, honest, max(-1.0, low), min(1.0, high))


def _apart(own: float, other: float, together: float) -> float:
    """How far a difference may stray whose parts stray so far."""
    return sqrt(max(0.0, own**2 + other**2 - 2 * together * own * other))


def in_common(claimed: Sequence[Predictions], honest: Sequence[Predictions]) -> float:
    """The correlation of the two accuracies that comes of groups which both judge."""
    one, other = _by_group(claimed), _by_group(honest)
    spread = sqrt(sum(each**2 for each in one.values()) * sum(each**2 for each in other.values()))
    return sum(each * other.get(group, 0.0) for group, each in one.items()) / spread if spread else 0.0


def _by_group(trainings: Sequence[Predictions]) -> dict[str, float]:
    """By how much each group moves the accuracy, the mean over some trainings."""
    moved: dict[str, float] = defaultdict(float)
    for said in trainings:
        off = (said.correct - said.correct.mean()) / (len(said.correct) * len(trainings))
        for group, each in zip(said.groups, off.tolist(), strict=True):
            moved[group] += each
    return moved


def figures_over_groups(trainings: Sequence[Predictions], figures: Sequence[str]) -> dict[str, Figure]:
    """Figures of some trainings that judged the same pictures: their means, with intervals over groups."""
    first = trainings[0]
    table = JudgedRows([list(trainings)], list(figures), Grouping.of(first.groups))
    measured = table.measured(seed=0)[0]
    basis = {name: table.basis(name) for name in figures}
    return {
        name: as_figure(measured[name].value, interval_of(measured[name], basis[name]), basis[name])
        for name in figures
    }


def as_they_came(said: Predictions, came_from: Mapping[str, str]) -> Predictions:
    """The same judgments with the groups that the paper's protocol does not heed."""
    return replace(said, groups=tuple(came_from[name] for name in said.ids))


def came_from(samples: Samples) -> dict[str, str]:
    """What each picture came from, where a protocol has put that aside; else its group."""
    # Without the mark a column of that name is the user's own, and may tell anything.
    aside = PAPER_PROTOCOL in samples.marks and CAME_FROM in samples.table.columns
    return dict(samples.table.select("id", CAME_FROM if aside else "group").iter_rows())
