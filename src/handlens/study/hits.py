"""Right or wrong, picture by picture: what many trainings said of the same pictures, and how far they differ.

All trainings are measured under the same resamples of the groups, which is what pairs them. Those of one row
may differ by their seed or by the pictures that they learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handlens.evaluate.intervals import MISSED, Basis, Grouping, as_figure, spreads
from handlens.evaluate.metrics import Values, Weights
from handlens.evaluate.results import Figure
from handlens.evaluate.significance import PairedDifference, Repeated, difference_from, interval_of, seeds_of

HitFigure = Literal["accuracy", "balanced_accuracy"]

Standing = Literal["reference", "better", "worse", "tie"]

Said = NDArray[np.int64]
"""The class that each judged picture was called, a row a training."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The pictures that all are judged on."""

    targets: NDArray[np.int64]
    """The true class of each."""
    groups: tuple[str, ...]
    """What each came from."""
    figure: HitFigure = "accuracy"

    @property
    def grouping(self) -> Grouping:
        """Which pictures are drawn together."""
        return Grouping.of(self.groups)

    @property
    def basis(self) -> Basis:
        """What a figure of these pictures rests on."""
        grouping, plain = self.grouping, self.figure == "accuracy"
        worth = grouping.count if plain else grouping.worth_by_class(self.targets)
        return Basis(len(self.targets), grouping.count, worth, trials=len(self.targets) if plain else None)

    def measured(self, rows: Sequence[Said], seed: int = 0) -> list[Repeated]:
        """The figure of every row."""
        hits = (np.concatenate(list(rows)) == self.targets).astype(np.float64)
        kinds = [np.ones(len(self.targets), np.bool_)]
        if self.figure == "balanced_accuracy":
            kinds = [self.targets == each for each in np.unique(self.targets)]

        def measure(weights: Weights) -> Values:
            shares = []
            for kind in kinds:
                there = weights[kind].astype(np.float64)
                total = there.sum(axis=0)
                with np.errstate(invalid="ignore"):
                    shares.append(hits[:, kind] @ there / np.where(total > 0, total, np.nan))
            of_kind = np.stack(shares)
            # A class that a resample does not hold is left out of its mean.
            number = np.isfinite(of_kind).sum(axis=0)
            means: Values = np.nansum(of_kind, axis=0) / np.where(number > 0, number, np.nan)
            return means

        plain = measure(np.ones((len(self.targets), 1), np.float32))[:, 0]
        spread = spreads(measure, self.grouping, np.random.default_rng(seed))
        made, first = [], 0
        for row in rows:
            last = first + len(row)
            here = spread[first:last]
            made.append(
                Repeated(
                    plain[first:last],
                    np.stack([each.drawn for each in here]),
                    np.stack([each.left_out for each in here]),
                )
            )
            first = last
        return made

    def figure_of(self, row: Repeated) -> Figure:
        """A row's mean over its trainings with its interval."""
        return as_figure(row.value, interval_of(row, self.basis), self.basis)

    def difference(self, apart: PairedDifference) -> Figure:
        """A difference with its interval."""
        return as_figure(apart.value, apart.interval(), self.basis)


def difference_by_training(own: Repeated, other: Repeated, basis: Basis) -> PairedDifference:
    """One row less another, training by training: those at the same place belong together.

    They share their seed or the pictures that they began with, so it is the spread of their differences that
    tells what another draw would change, and not that of each row.
    """
    return differences_by_training([own], other, basis)[0]


def differences_by_training(
    rows: Sequence[Repeated], other: Repeated, basis: Basis
) -> list[PairedDifference]:
    """Several rows less the same other one.

    What another training changes is pooled over them, for two trainings of a single row tell next to nothing
    of it. All have the other row in them, so that differences move together, and further rows tell less than
    they would alone: Satterthwaite's degrees of freedom where each two differences correlate by a half.
    """
    apart = [
        Repeated(own.values - other.values, own.drawn - other.drawn, own.left_out - other.left_out)
        for own in rows
    ]
    pooled = seeds_of(*apart)
    seeds = replace(pooled, degrees=pooled.degrees / (1 + (len(rows) - 1) / 4))
    times = len(other.values)
    words = f"{times} trainings of each"
    return [difference_from(each.value, each.spread, seeds, 1 / times, basis, words) for each in apart]


def standing_of(difference: Figure | None, p_corrected: float | None) -> Standing:
    """What may be said of a row beside the reference: that it differs only where interval and test agree."""
    if difference is None or p_corrected is None:
        return "reference"
    if p_corrected > MISSED or difference.low <= 0 <= difference.high:
        return "tie"
    return "better" if difference.value > 0 else "worse"
