"""Whether two rows of a table differ, and how sure that is when many rows are compared at once.

Two things move a figure: other pictures, and another training. Pictures are drawn again by their groups, for
both rows at once (a paired bootstrap), because pictures of one specimen err together: McNemar's test takes
each of them for a witness of its own and is far too sure. What another seed changes is the variance between
trainings, less the part of it that the bootstrap over the same pictures has counted already; counting that
part twice covered 97 to 99 % instead of 95 %. Cameron, Gelbach and Miller 2011, "Robust inference with
multiway clustering", equation 2.2, adds and subtracts in the same way.

The difference divided by the root of both variances is compared with Student's distribution. Its degrees of
freedom are Satterthwaite's (1946), so that few groups, or few trainings, make it less sure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from scipy.special import stdtr, stdtrit

from handlens.evaluate.intervals import (
    MISSED,
    RESAMPLES,
    Basis,
    Interval,
    Spread,
    degrees_of_freedom,
    interval,
    student,
    unknown,
)
from handlens.evaluate.metrics import Values

TEST = (
    "paired bootstrap over groups: the difference in units of its spread, against Student's distribution, "
    "with Holm's correction"
)
"""The test in words."""

_SAME = 1e-6
"""Differences below this are rounding."""


@dataclass(frozen=True, eq=False)
class Repeated:
    """One figure of one row: of each of its trainings, on the same pictures and under the same resamples."""

    values: Values
    """The figure of each training."""
    drawn: Values
    """One row a training, one column a resample of the groups."""
    left_out: Values
    """One row a training, one column a part of the groups that is left out."""

    @property
    def value(self) -> float:
        """The mean over the trainings."""
        return float(self.values.mean())

    @property
    def spread(self) -> Spread:
        """What the mean over the trainings becomes on other pictures."""
        return Spread(self.drawn.mean(axis=0), self.left_out.mean(axis=0))


@dataclass(frozen=True)
class Seeds:
    """What another training changes, as far as some trainings tell."""

    variance: float
    """Of the figure from training to training."""
    beyond: float
    """The part of it that the bootstrap over pictures has not counted already."""
    degrees: float
    """Trainings that tell it; 0 where there is one of each row."""


def seeds_of(*rows: Repeated) -> Seeds:
    """The variance between trainings, pooled over rows: another seed changes both about as much."""
    degrees = sum(len(row.values) - 1 for row in rows)
    if not degrees:
        return Seeds(0.0, 0.0, 0)
    between = sum(float(((row.values - row.values.mean()) ** 2).sum()) for row in rows) / degrees
    # How far trainings would be apart on other pictures by their errors on single pictures alone.
    by_pictures = sum(float(np.nanvar(row.drawn - row.drawn.mean(axis=0), axis=1).sum()) for row in rows)
    return Seeds(between, max(0.0, between - by_pictures / degrees), degrees)


@dataclass(frozen=True)
class PairedDifference:
    """The difference between two rows: its value, and what its interval and its test follow from."""

    value: float
    deviation: float
    """The standard error; 0 where every group shows the same difference."""
    degrees: float
    """Student's degrees of freedom; in that case the number of groups."""
    highest: float
    """The largest value that the figure itself can have."""
    method: str

    @property
    def p(self) -> float:
        """How often a difference as large comes out where there is none."""
        if self.degrees < 1:
            return 1.0
        if self.deviation == 0:
            # Where the bound below would just reach 0.
            return min(1.0, 2 * float((1 + abs(self.value) / self.highest) ** -self.degrees))
        beyond = float(stdtr(self.degrees, -abs(self.value) / self.deviation))
        return min(1.0, 2 * beyond)

    def interval(self, missed: float = MISSED) -> Interval:
        """Where the difference lies, but for a share of `missed`."""
        if self.degrees < 1:
            return Interval(-self.highest, self.highest, self.method)
        if self.deviation == 0:
            # Clopper and Pearson's bound (1934) for groups that show another difference, whatever it is.
            others = 1 - (missed / 2) ** (1 / self.degrees)
            middle, half = self.value * (1 - others), others * self.highest
        else:
            middle, half = self.value, float(stdtrit(self.degrees, 1 - missed / 2)) * self.deviation
        low, high = max(-self.highest, middle - half), min(self.highest, middle + half)
        return Interval(low, high, self.method)


def difference(own: Repeated, other: Repeated, basis: Basis) -> PairedDifference:
    """The figure of one row less that of another, paired by their pictures."""
    spread = Spread(
        own.spread.drawn - other.spread.drawn,
        own.spread.left_out - other.spread.left_out,
    )
    by_seeds = 1 / len(own.values) + 1 / len(other.values)
    words = f"{len(own.values)} and {len(other.values)} trainings"
    return difference_from(own.value - other.value, spread, seeds_of(own, other), by_seeds, basis, words)


def difference_from(
    value: float, spread: Spread, seeds: Seeds, by_seeds: float, basis: Basis, trainings: str
) -> PairedDifference:
    """A difference, from what other pictures and other seeds change in it.

    Seeds add `by_seeds` times the variance of a single training; `trainings` says of how many it comes.
    """
    groups, highest = basis.n_groups, basis.highest
    if why := unknown(spread, basis):
        return PairedDifference(value, 0.0, 0.0, highest, why)
    flat = float(np.ptp(spread.left_out[np.isfinite(spread.left_out)])) <= _SAME * highest
    # Trainings may lie apart and still add nothing, as where two rows are the same trainings.
    if flat and seeds.beyond <= (_SAME * highest) ** 2:
        method = f"exact bound for {basis.worth} groups without exception"
        return PairedDifference(value, 0.0, basis.worth, highest, method)
    # Drawing from G groups varies by (G - 1)/G too little.
    by_groups = float(np.nanvar(spread.drawn)) * groups / (groups - 1)
    variance = by_groups + seeds.beyond * by_seeds
    degrees = _together(
        variance,
        (by_groups, degrees_of_freedom(spread, max(1, basis.worth - 1))),
        # The price of not knowing it well is that of the whole variance, whatever was taken off.
        (seeds.variance * by_seeds, seeds.degrees),
    )
    method = f"paired bootstrap over {groups} groups, {RESAMPLES} resamples"
    if seeds.degrees:
        method += f", and {trainings}"
    return PairedDifference(value, sqrt(variance), degrees, highest, method)


def interval_of(row: Repeated, basis: Basis) -> Interval:
    """The 95 % interval of a row's figure, the mean over its trainings: over groups, and over seeds."""
    seeds, spread = seeds_of(row), row.spread
    by_groups = float(np.nanvar(spread.drawn)) * basis.n_groups / max(1, basis.n_groups - 1)
    if not seeds.degrees or by_groups <= (_SAME * basis.highest) ** 2:
        return interval(row.value, spread, basis)
    variance = by_groups + seeds.beyond / len(row.values)
    known = degrees_of_freedom(spread, max(1, basis.worth - 1))
    degrees = _together(variance, (by_groups, known), (seeds.variance / len(row.values), seeds.degrees))
    # The interval asks its resamples for the variance, and for Student's quantile only in a product with it.
    wider = sqrt(variance / by_groups) * student(degrees) / student(known)
    middle = np.nanmean(spread.drawn)
    wider_spread = Spread(middle + (spread.drawn - middle) * wider, spread.left_out)
    # A mean over trainings is no count of pictures any more.
    found = interval(row.value, wider_spread, replace(basis, trials=None))
    found = replace(found, method=f"{found.method}, and {len(row.values)} trainings")
    if seeds.beyond or not basis.trials:
        return found
    # Trainings that add nothing to what pictures change make a count no less sure than a single one does.
    counted = interval(row.value, spread, basis)
    return min(counted, found, key=lambda each: each.high - each.low)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected so that among all of them one error in twenty is the most (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected = [0.0] * len(p_values)
    least = 0.0
    for done, place in enumerate(order.tolist()):
        least = max(least, min(1.0, (len(p_values) - done) * p_values[place]))
        corrected[place] = least
    return corrected


def missed_by_one(
    rows: Sequence[Repeated], differences: Mapping[tuple[int, int], PairedDifference], seed: int = 0
) -> float:
    """How often each interval of a pair may miss so that all of them together miss one time in twenty.

    It is for differences to the row that came out best: which row that is, the same pictures decided, so all
    pairs take part. Resamples tell how far the worst of them strays (Westfall and Young 1993, max-T), since
    rows share their pictures and pairs their rows.
    """
    generator = np.random.default_rng(seed)
    strays = []
    for row in rows:
        own = row.spread.drawn - np.nanmean(row.spread.drawn)
        by_seeds = sqrt(seeds_of(*rows).beyond / len(row.values))
        strays.append(np.nan_to_num(own) + by_seeds * generator.normal(size=own.shape))
    furthest = np.zeros_like(strays[0])
    for (first, second), each in differences.items():
        if each.deviation > 0:
            furthest = np.maximum(furthest, np.abs(strays[first] - strays[second]) / each.deviation)
    bound = float(np.quantile(furthest, 1 - MISSED))
    return min(MISSED, 2 * float(stdtr(np.inf, -bound))) if bound else MISSED


def _together(variance: float, *parts: tuple[float, float]) -> float:
    """The degrees of freedom of a sum of variances, each known with its own."""
    uncertain = sum(part**2 / degrees for part, degrees in parts if part > 0 and degrees > 0)
    return max(1.0, variance**2 / uncertain) if uncertain else np.inf
