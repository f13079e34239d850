"""How sure a figure is: 95 % intervals from drawing the groups again.

Pictures of one specimen or video err together, so what is drawn again is the group, never the picture.

The 2000 resamples give the figure's variance. The interval is then Wilson's (1927, "Probable inference, the
law of succession, and statistical inference", equation for the roots) for the number of independent pictures
that would vary as much, with a Student quantile in place of the normal one (Korn and Graubard 1998,
"Confidence intervals for proportions with small expected number of positive counts estimated from survey
data"). Plain percentiles of the resamples were measured first and cover 84 to 94 % instead of 95 % where few
groups hold the errors; `tests/unit/evaluate/test_intervals.py` measures what this one covers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from handlens.evaluate.metrics import Values, Weights
from handlens.evaluate.results import Figure

RESAMPLES = 2000
"""Times that the groups are drawn again."""
MISSED = 0.05
"""How often an interval may miss the truth."""

_CHUNK = 2_000_000
"""Weights held at once (8 MB), which also keeps the work near the processor's cache."""
_MOST_LEFT_OUT = 200
"""Leaving out this many parts in turn tells enough about the variance of a variance."""
_AT_EDGE = 1e-6

# Student's two-sided 95 % quantiles; between them they run almost straight in 1/degrees.
_DEGREES = np.array([1, 2, 3, 4, 5, 6, 8, 12, 20, 40, 120, np.inf])
_STUDENT = np.array([12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.306, 2.179, 2.086, 2.021, 1.980, 1.960])


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which group each picture belongs to."""

    index: NDArray[np.int64]
    """The group of each picture as a number from 0."""
    count: int
    """How many groups there are."""

    @classmethod
    def of(cls, groups: Sequence[str]) -> "Grouping":
        """Number the groups in the order of their names, so that the order of the pictures is no matter."""
        names, index = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
        return cls(index.astype(np.int64), len(names))

    def among(self, pictures: NDArray[np.bool_]) -> int:
        """How many groups have one of these pictures."""
        return len(np.unique(self.index[pictures]))

    def worth_by_class(self, targets: NDArray[np.int64]) -> int:
        """The groups that a plain mean over the classes is worth: few where a class has few.

        Its variance is that of so many groups shared out evenly among the classes.
        """
        of_class = [self.among(targets == each) for each in np.unique(targets)]
        return min(self.count, int(len(of_class) ** 2 / sum(1 / count for count in of_class)))


@dataclass(frozen=True, eq=False)
class Spread:
    """What a figure becomes on other pictures of the same kind, as far as these can tell."""

    drawn: Values
    """The figure under each resample; NaN where the resample holds nothing to compute it from."""
    left_out: Values
    """The figure with one part of the groups left out at a time."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and how it was made."""

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Basis:
    """What a figure rests on."""

    n: int
    """Pictures."""
    n_groups: int
    """Groups that they come from."""
    worth: int
    """Groups that they are worth: fewer where a class of few groups weighs as much as the others."""
    trials: int | None
    """Rights and wrongs that the figure counts; none where it is more than a count."""
    highest: float = 1.0
    """The largest value that the figure can have; the smallest is 0."""
    lifted: bool = False
    """Whether chance alone pushes the figure up, as it does a mean of absolute differences."""


def resamples(
    grouping: Grouping, rng: np.random.Generator, count: int = RESAMPLES
) -> Iterator[NDArray[np.float32]]:
    """How often each picture occurs when the groups are drawn with replacement, some resamples at a time."""
    width = max(1, _CHUNK // max(1, len(grouping.index)))
    for start in range(0, count, width):
        here = min(width, count - start)
        # Resample by resample, so that the size of a chunk does not change what is drawn.
        drawn = rng.integers(grouping.count, size=(here, grouping.count))
        cells = drawn * here + np.arange(here)[:, None]
        times = np.bincount(cells.ravel(), minlength=grouping.count * here)
        yield times.reshape(grouping.count, here).astype(np.float32)[grouping.index]


def left_out(grouping: Grouping) -> Iterator[NDArray[np.float32]]:
    """The weights with one part of the groups left out at a time: single groups, unless they are many."""
    parts = min(grouping.count, _MOST_LEFT_OUT)
    part = grouping.index % parts
    width = max(1, _CHUNK // max(1, len(part)))
    for start in range(0, parts, width):
        yield (part[:, None] != np.arange(start, min(start + width, parts))).astype(np.float32)


def spreads(
    measure: Callable[[NDArray[np.float32]], Values], grouping: Grouping, rng: np.random.Generator
) -> list[Spread]:
    """The spread of each figure that `measure` computes: one row a figure, one column a weighting."""
    drawn = np.concatenate([measure(weights) for weights in resamples(grouping, rng)], axis=1)
    without = np.concatenate([measure(weights) for weights in left_out(grouping)], axis=1)
    return [Spread(*rows) for rows in zip(drawn, without, strict=True)]


def interval(value: float, spread: Spread, basis: Basis) -> Interval:
    """The 95 % interval of a figure."""
    highest = basis.highest
    if why := unknown(spread, basis):
        return Interval(0.0, highest, why)
    if min(value, highest - value) <= _AT_EDGE * highest:
        return _at_edge(value, basis)
    drawn = spread.drawn[np.isfinite(spread.drawn)]
    share = value / highest
    # Drawing from G groups varies by (G - 1)/G too little.
    variance = float(drawn.var()) / highest**2 * basis.n_groups / (basis.n_groups - 1)
    # Errors of few groups can by chance look more regular than independent ones; they are not.
    least = share * (1 - share) / basis.trials if basis.trials else 0.0
    variance, quantile = max(variance, least), _quantile(spread, basis)
    method = f"bootstrap over {basis.n_groups} groups, {RESAMPLES} resamples"
    if basis.lifted:
        lift = float(drawn.mean()) / highest - share
        low, high = _lowered(share, lift, quantile * sqrt(variance))
        method += ", less what chance adds"
    else:
        low, high = _wilson(share, variance, quantile)
    return Interval(low * highest, high * highest, method)


def as_figure(value: float, found: Interval, basis: Basis) -> Figure:
    """A figure as it is kept: with its interval, and with what it rests on."""
    return Figure(
        value=value, low=found.low, high=found.high, method=found.method, n=basis.n, n_groups=basis.n_groups
    )


def unknown(spread: Spread, basis: Basis) -> str:
    """Why these pictures do not tell how sure a figure is; empty where they do."""
    if basis.n_groups <= 1:
        return f"{'one group' if basis.n_groups else 'no pictures'}: unknown"
    if not np.isfinite(spread.left_out).any():
        return "each group is needed to tell the figure at all: unknown"
    return ""


def difference_interval(value: float, spread: Spread, basis: Basis) -> Interval:
    """The 95 % interval of a difference between two shares of the same pictures, which lies in -1 to 1."""
    if why := unknown(spread, basis):
        return Interval(-1.0, 1.0, why)
    if float(np.ptp(spread.left_out)) <= _AT_EDGE:
        # Every group shows the same difference. Clopper and Pearson's bound (1934) for groups that show
        # another one, which may be anything.
        others = 1 - (MISSED / 2) ** (1 / basis.worth)
        middle = value * (1 - others)
        method = f"exact bound for {basis.worth} groups without exception"
        return Interval(middle - others, middle + others, method)
    # Drawing from G groups varies by (G - 1)/G too little.
    deviation = sqrt(float(spread.drawn.var()) * basis.n_groups / (basis.n_groups - 1))
    half = _quantile(spread, basis) * deviation
    method = f"paired bootstrap over {basis.n_groups} groups, {RESAMPLES} resamples"
    return Interval(max(-1.0, value - half), min(1.0, value + half), method)


def mean_difference(each: NDArray[np.float64], groups: Sequence[str], seed: int = 0) -> Figure:
    """The mean of differences between -1 and 1, one a picture, with its 95 % interval over groups."""
    grouping = Grouping.of(groups)

    def measure(weights: Weights) -> Values:
        mean: Values = each @ weights.astype(np.float64) / np.maximum(weights.sum(axis=0), 1)
        return mean[None]

    (spread,) = spreads(measure, grouping, np.random.default_rng(seed))
    basis = Basis(len(each), grouping.count, grouping.count, trials=None)
    value = float(each.mean())
    return as_figure(value, difference_interval(value, spread, basis), basis)


def _at_edge(value: float, basis: Basis) -> Interval:
    """Clopper and Pearson's exact bound (1934) where no group, or every group, went wrong.

    Resamples of pictures without an error have no error either and would claim to be certain.
    """
    furthest = basis.highest * (1 - (MISSED / 2) ** (1 / basis.worth))
    method = f"exact bound for {basis.worth} groups without exception"
    if value < basis.highest / 2:
        return Interval(0.0, furthest, method)
    return Interval(basis.highest - furthest, basis.highest, method)


def _wilson(share: float, variance: float, quantile: float) -> tuple[float, float]:
    """The roots of (share - truth)² = quantile² truth (1 - truth) / n, n being such that `variance` fits."""
    if variance == 0:
        return share, share
    widening = quantile**2 * variance / (share * (1 - share))
    middle = (share + widening / 2) / (1 + widening)
    half = sqrt(widening * share * (1 - share) + widening**2 / 4) / (1 + widening)
    return max(0.0, middle - half), min(1.0, middle + half)


def _lowered(share: float, lift: float, half: float) -> tuple[float, float]:
    """An interval for a figure that chance has already lifted once when it is resampled.

    Resampling lifts it again, but by less, since it starts from above the truth: so the lower end gives back
    twice what the resamples show, and the upper end once.
    """
    return max(0.0, share - 2 * max(lift, 0.0) - half), min(1.0, max(share, share - lift + half))


def _quantile(spread: Spread, basis: Basis) -> float:
    """Student's quantile for a variance that is itself only estimated.

    Few groups that hold all the errors leave few degrees of freedom. Where each group is one picture, a
    counted figure's variance follows from the figure and no such price is due; with more pictures a group it
    is charged in step with the share of pictures that share their group.
    """
    most = max(1, basis.worth - 1)
    plain = student(most)
    due = 1 - basis.n_groups / basis.n if basis.trials else 1.0
    return plain + due * (student(degrees_of_freedom(spread, most)) - plain)


def degrees_of_freedom(spread: Spread, most: float) -> float:
    """How well the variance over groups is known, as Satterthwaite (1946) counts it, and `most` at most.

    They are 2 mean² / variance of the estimated variance, which is a mean of squared influences over groups.
    """
    without = spread.left_out[np.isfinite(spread.left_out)]
    squares = (without - without.mean()) ** 2
    if len(squares) < 2 or not squares.any():
        return most
    uneven = float(squares.var() / squares.mean() ** 2)
    return min(max(2 * len(squares) / uneven, 2.0), most) if uneven > 0 else most


def student(degrees: float) -> float:
    """The two-sided 95 % quantile of Student's distribution."""
    # np.interp wants rising places: 1/degrees from 0 (infinitely many) to 1.
    return float(np.interp(1 / degrees, 1 / _DEGREES[::-1], _STUDENT[::-1]))
