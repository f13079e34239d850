"""How far two sets of pictures are apart: the kernel inception distance, with any network's features.

Bińkowski, Sutherland, Arbel and Gretton 2018, "Demystifying MMD GANs": the squared maximum mean discrepancy
under the kernel (x·y / d + 1)³, estimated without bias, so that it is 0 on average where both sets come from
the same source, and may be below. They average subsets to be quick with 50,000 pictures. Here they are few,
all pairs are used, and the interval is the jackknife's (Efron and Stein 1981) over groups: pictures of one
specimen resemble each other more than others do, so pairs within one group are no part of the estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlens.evaluate.intervals import student
from handlens.evaluate.results import Figure

Rows = NDArray[np.floating]

LEAST = 3
"""Groups on each side: with one of them left out there must be pairs of different groups."""
MOST = 4000
"""Pictures on each side that are compared; more would take gigabytes and say nothing more."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """The features of some pictures, (n, d), and what each picture came from."""

    rows: Rows
    groups: Sequence[str]

    @property
    def num_groups(self) -> int:
        """How many groups there are."""
        return len(set(self.groups))

    def few(self) -> "Cloud":
        """So many of them at most, from all over."""
        if len(self.rows) <= MOST:
            return self
        places = np.linspace(0, len(self.rows) - 1, MOST).round().astype(int)
        return Cloud(self.rows[places], [self.groups[place] for place in places])


def kid(real: Cloud, made: Cloud) -> Figure | None:
    """The distance with its 95 % interval; none where one of the two has fewer than three groups."""
    if min(real.num_groups, made.num_groups) < LEAST:
        return None
    one, other = real.few(), made.few()
    within_one = _Pairs.of(one, one, same=True)
    within_other = _Pairs.of(other, other, same=True)
    between = _Pairs.of(one, other, same=False)
    value = within_one.mean + within_other.mean - 2 * between.mean
    without_one = within_one.without(0) + within_other.mean - 2 * between.without(0)
    without_other = within_one.mean + within_other.without(0) - 2 * between.without(1)
    spread = [each[np.isfinite(each)] for each in (without_one, without_other)]
    variance = sum(float((len(each) - 1) * each.var()) for each in spread)
    fewest = min(one.num_groups, other.num_groups)
    half = student(fewest - 1) * variance**0.5
    return Figure(
        value=value,
        low=value - half,
        high=value + half,
        method=f"jackknife over {one.num_groups} and {other.num_groups} groups",
        n=len(one.rows),
        n_groups=one.num_groups,
    )


def kernel(one: Rows, other: Rows) -> NDArray[np.float64]:
    """The polynomial kernel of every pair (their section 4.2)."""
    products = one.astype(np.float64) @ other.astype(np.float64).T
    found: NDArray[np.float64] = (products / one.shape[1] + 1) ** 3
    return found


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Sums of the kernel over pairs, by the groups that the two pictures are of."""

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    same: bool
    """Whether both pictures are of one set; pairs within a group have then been left out."""

    @classmethod
    def of(cls, one: Cloud, other: Cloud, same: bool) -> "_Pairs":
        first, second = _membership(one.groups), _membership(other.groups)
        sums = first.T @ kernel(one.rows, other.rows) @ second
        counts = np.outer(first.sum(0), second.sum(0))
        if same:
            np.fill_diagonal(sums, 0)
            np.fill_diagonal(counts, 0)
        return cls(sums, counts, same)

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.counts.sum())

    def without(self, axis: int) -> NDArray[np.float64]:
        """The mean with each group of the first (axis 0) or the second set left out in turn."""
        # A group stands in the rows and, where both sets are one, in the columns too.
        twice = 2 if self.same else 1
        sums = self.sums.sum() - twice * self.sums.sum(1 - axis)
        counts = self.counts.sum() - twice * self.counts.sum(1 - axis)
        means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        return means


def _membership(groups: Sequence[str]) -> NDArray[np.float64]:
    """(pictures, groups): 1 where a picture is of a group."""
    names, index = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    return np.eye(len(names))[index]
