"""Kept features as a table: pictures down, views across, read a few rows at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from handlens.data.sides import Rows
from handlens.training.mixing import blended_targets
from handlens.training.store import RowStore

JUDGED_AT_ONCE = 1024
LEAST_DEVIATION = 0.01
"""Of the median deviation: no feature is divided by less. Where pictures are few, some hardly change."""


class FeatureTable:
    """The features of pictures under several views; view 0 is the judging view."""

    def __init__(self, stores: Sequence[RowStore], digests: Sequence[str]) -> None:
        self.stores = tuple(stores)
        self.num_pictures = len(digests)
        self._positions = [store.positions(digests) for store in self.stores]

    @property
    def num_views(self) -> int:
        """Views a picture."""
        return len(self.stores)

    @property
    def width(self) -> int:
        """Numbers a row."""
        return self.stores[0].width

    def rows(self, pictures: Rows, view: int) -> Tensor:
        """One view of these pictures, (n, width)."""
        return torch.from_numpy(self.stores[view].gather(self._positions[view][pictures]))

    def mixed_rows(self, pictures: Rows, views: Rows) -> Tensor:
        """Each picture under its own view, (n, width)."""
        if self.num_views == 1:
            return self.rows(pictures, 0)
        rows = torch.empty((len(pictures), self.width))
        for view in range(self.num_views):
            wanted = np.flatnonzero(views == view)
            if len(wanted):
                rows[torch.from_numpy(wanted)] = self.rows(pictures[wanted], view)
        return rows

    def mean_and_deviation(self, pictures: Rows) -> tuple[Tensor, Tensor]:
        """Mean of every feature over all views of these pictures, and the deviation that it is divided by."""
        total = torch.zeros(self.width, dtype=torch.float64)
        squares = torch.zeros(self.width, dtype=torch.float64)
        for view in range(self.num_views):
            for chunk in _chunks(pictures):
                rows = self.rows(chunk, view).double()
                total += rows.sum(0)
                squares += rows.square().sum(0)
        count = len(pictures) * self.num_views
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        changes = deviation > 1e-6
        # One that hardly changes here would be blown up, and a picture that moves it would drown the others.
        least = LEAST_DEVIATION * deviation.where(changes, torch.nan).nanmedian()
        # A feature that never changes says nothing; dividing by its zero deviation must not shout.
        return mean.float(), torch.where(changes, deviation.clamp(min=least), 1.0).float()


def training_batches(
    table: FeatureTable,
    pictures: Rows,
    targets: Tensor,
    num_batches: int,
    generator: torch.Generator,
    order: Rows | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every view of every picture once, in random order or in a given one; `targets` are of `pictures`."""
    if order is None:
        order = torch.randperm(len(pictures) * table.num_views, generator=generator).numpy()
    for chunk in np.array_split(order, num_batches):
        places, views = np.divmod(chunk, table.num_views)
        yield table.mixed_rows(pictures[places], views), targets[torch.from_numpy(places)]


def blended(
    batches: Iterator[tuple[Tensor, Tensor]],
    alpha: float,
    widths: Sequence[int],
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each row mixed with another of its batch, and its target likewise (Zhang et al. 2018, equation 1).

    The targets become probabilities (n, classes of all tasks), `widths` of each. The share of each row is
    drawn from Beta(alpha, alpha).
    """
    chance = np.random.default_rng(generator.initial_seed())
    for rows, targets in batches:
        share = torch.from_numpy(chance.beta(alpha, alpha, (len(rows), 1)).astype(np.float32))
        other = torch.randperm(len(rows), generator=generator)
        truth = blended_targets(targets, targets[other], share, widths)
        yield torch.lerp(rows[other], rows, share), truth


def judging_batches(
    table: FeatureTable, pictures: Rows, targets: Tensor, view: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """One view of every picture, in order."""
    for start, chunk in zip(range(0, len(pictures), JUDGED_AT_ONCE), _chunks(pictures), strict=True):
        yield table.rows(chunk, view), targets[start : start + len(chunk)]


def _chunks(pictures: Rows) -> Iterator[Rows]:
    for start in range(0, len(pictures), JUDGED_AT_ONCE):
        yield pictures[start : start + JUDGED_AT_ONCE]
