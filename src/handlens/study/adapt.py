"""Bringing two sites together without a label of the new one.

Nothing here is ever given a label: batch norms see pictures, and alignment sees rows of features.

- Batch norms are told the mean and the variance of a site's pictures in the place of those that they learned
  (Li et al. 2017, "Revisiting batch normalization for practical domain adaptation"), mixed with the old ones
  as if so many pictures had been seen before (Schneider et al. 2020, "Improving robustness against common
  corruptions by covariate shift adaptation", equation 3). Every site is seen by its own, those that are
  learned from too: a head knows no features but those that it learned on.
- Features of the old sites are whitened and given the covariance of the new one (Sun, Feng and Saenko 2016,
  "Return of frustratingly easy domain adaptation", algorithm 1), and its mean besides.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from handlens.base.progress import progress
from handlens.data.image import judge, normalise
from handlens.data.sides import Rows, Shot
from handlens.training.extract import Extractor
from handlens.training.table import FeatureTable

Floats = NDArray[np.float64]

AT_ONCE = 32
"""Pictures in a batch whose statistics are taken; too few would not show the spread between pictures."""
PRIOR = 32
"""So many pictures that the network learned from count beside those of a site.

With none, sites of 48 small drawn pictures that differ in nothing lose ten points; with more, less of a true
difference is undone."""


def batch_norms(trunk: nn.Module) -> list[_BatchNorm]:
    """The batch norms that keep statistics; a network may have none."""
    return [
        module
        for module in trunk.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]


def adapted_extractor(extractor: Extractor, shots: Sequence[Shot], prior: int = PRIOR) -> Extractor:
    """The same with batch norms that know the pictures of a site.

    What it computes must not be kept under the network's name, so `rows` is to be asked, not `table`.
    """
    trunk = deepcopy(extractor.trunk).float().to(extractor.device.device)
    adapt_batch_norms(trunk, _batches(extractor, shots), prior)
    return extractor.with_trunk(trunk)


def adapt_batch_norms(trunk: nn.Module, batches: Iterable[Tensor], prior: int) -> None:
    """Give batch norms the statistics of some batches, mixed with their own as of `prior` pictures.

    All else stays as it is in judging: dropout stays off, and no weight changes.
    """
    trunk.eval()
    norms = batch_norms(trunk)
    before = [_statistics(norm) for norm in norms]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # None is the plain mean over the batches.
        norm.momentum = None
        norm.train()
    seen = 0
    with torch.no_grad():
        for batch in batches:
            trunk(batch)
            seen += len(batch)
    share = seen / (seen + prior)
    for norm, (mean, variance), momentum in zip(norms, before, momenta, strict=True):
        new_mean, new_variance = _statistics(norm)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(share * new_mean + (1 - share) * mean)
        norm.running_var.copy_(share * new_variance + (1 - share) * variance)
        norm.momentum = momentum
        norm.eval()


def adapted_rows(extractor: Extractor, shots: Sequence[Shot], what: str) -> NDArray[np.float32]:
    """Pictures under all views through an adapted network, (views, pictures, width), kept nowhere."""
    kind = next(iter(extractor.views.kinds.values()))
    number = extractor.views.count if kind else 1
    views = []
    with progress(what, number * len(shots)) as advance:
        for view in range(number):
            parts = []
            for batch, rows in extractor.rows(shots, kind if view else None, view):
                parts.append(rows)
                advance(len(batch))
            views.append(np.concatenate(parts))
    return np.stack(views)


@dataclass(frozen=True)
class PixelBatches:
    """Batches of prepared pictures, made when they are asked for."""

    extractor: Extractor
    shots: tuple[Shot, ...]

    def __iter__(self) -> Iterator[Tensor]:
        """Batches of nearly the same size, so that each may count the same."""
        view = self.extractor.views.judge
        number = max(1, round(len(self.shots) / AT_ONCE))
        with progress("Batch norms", len(self.shots)) as advance:
            for places in np.array_split(np.arange(len(self.shots)), number):
                pixels = [judge(self.shots[place].path, view, self.extractor.pixel_limit) for place in places]
                batch = torch.from_numpy(normalise(np.stack(pixels), view.normalise))
                yield batch.to(self.extractor.device.device)
                advance(len(places))


def _batches(extractor: Extractor, shots: Sequence[Shot]) -> PixelBatches:
    # By content: in the order of a table a batch would often show a single class, and be unlike the others.
    return PixelBatches(extractor, tuple(sorted(shots, key=lambda shot: shot.digest)))


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean.clone(), norm.running_var.clone()


@dataclass(frozen=True, eq=False)
class Look:
    """How the features of one site lie: their mean, and the directions and variances of their spread."""

    mean: Floats
    directions: Floats
    variances: Floats

    @classmethod
    def of(cls, rows: NDArray[np.floating]) -> "Look":
        """From rows of features. Few pictures say little of a thousand directions, so their covariance is
        shrunk towards a ball, by as much as Ledoit and Wolf (2004) find best."""
        from sklearn.covariance import ledoit_wolf_shrinkage

        fine = rows.astype(np.float64)
        mean = fine.mean(axis=0)
        centred = fine - mean
        covariance = centred.T @ centred / len(fine)
        amount = float(ledoit_wolf_shrinkage(centred, assume_centered=True)) if len(fine) > 1 else 1.0
        size = float(np.trace(covariance)) / len(covariance)
        variances, directions = np.linalg.eigh(covariance)
        # Shrinking moves the variances and leaves the directions.
        kept = (1 - amount) * np.maximum(variances, 0.0) + amount * size
        return cls(mean, directions, np.maximum(kept, 1e-12))

    def power(self, exponent: float) -> Floats:
        """A power of the covariance."""
        powered: Floats = (self.directions * self.variances**exponent) @ self.directions.T
        return powered


def aligned(rows: NDArray[np.float32], own: Look, wanted: Look) -> NDArray[np.float32]:
    """Rows of one site with the mean and the covariance of another."""
    return ((rows - own.mean) @ alignment(own, wanted) + wanted.mean).astype(np.float32)


def alignment(own: Look, wanted: Look) -> Floats:
    """The matrix that whitens by one covariance and colours by another."""
    return own.power(-0.5) @ wanted.power(0.5)


class HeldTable(FeatureTable):
    """Features that are held in memory and kept nowhere, (views, pictures, width)."""

    def __init__(self, values: NDArray[np.float32]) -> None:
        super().__init__((), ["" for _ in range(values.shape[1])])
        self.values = values

    @property
    def num_views(self) -> int:
        """Views a picture."""
        return len(self.values)

    @property
    def width(self) -> int:
        """Numbers a row."""
        return int(self.values.shape[2])

    def rows(self, pictures: Rows, view: int) -> Tensor:
        """One view of these pictures, (n, width)."""
        return torch.from_numpy(self.values[view][pictures])
