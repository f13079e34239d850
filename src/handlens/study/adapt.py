"""Bringing two sites together without a label of the new one.

Nothing here is ever given a label: batch norms see pictures, and alignment sees rows of features.

- Batch norms take the mean and the variance of a site's own pictures for the usual look of all sites (after
  Li et al. 2017, "Revisiting batch normalization for practical domain adaptation", who take them for what the
  network learned). The pictures of all sites are counted in the usual look, so that sites which differ in
  nothing stay as they are. Every site is seen by its own, those that are learned from too: a head knows no
  features but those that it learned on. A few pictures say little of a site, so theirs are mixed with the
  usual as if so many usual ones had been seen before (as Schneider et al. 2020, "Improving robustness against
  common corruptions by covariate shift adaptation", equation 3, do with those of the network).
- Features of the old sites are whitened and given the covariance of the new one (Sun, Feng and Saenko 2016,
  "Return of frustratingly easy domain adaptation", algorithm 1), and its mean besides.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
PRIOR = 8
"""So many pictures of the usual look count beside those of a site.

At sites of 80 pictures and more, 0, 8 and 32 did alike. At one of six, 32 left a fifth of what a darker
camera took.
"""


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean and the variance of every channel of what reaches a batch norm."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def learned(cls, norm: _BatchNorm) -> "Moments":
        """Those that a batch norm divides by when it judges."""
        assert norm.running_mean is not None and norm.running_var is not None
        return cls(norm.running_mean.clone(), norm.running_var.clone())

    @classmethod
    def of(cls, maps: Tensor) -> "Moments":
        """Those of a batch; a single number does not vary."""
        across = [0, *range(2, maps.ndim)]
        return cls(maps.mean(across), maps.var(across, correction=min(1, maps[:, 0].numel() - 1)))

    def mixed(self, other: "Moments", share: float) -> "Moments":
        """So much of this, and the rest of another."""
        mean = share * self.mean + (1 - share) * other.mean
        return Moments(mean, share * self.variance + (1 - share) * other.variance)


class _Seen:
    """What has reached a batch norm, batch after batch."""

    def __init__(self) -> None:
        self.batches: list[Moments] = []
        self.sizes: list[int] = []

    def add(self, maps: Tensor) -> Moments:
        """One more batch, and its moments."""
        moments = Moments.of(maps)
        self.batches.append(moments)
        self.sizes.append(len(maps))
        return moments

    def mean(self, otherwise: Moments) -> Moments:
        """The mean over the batches, every picture counting the same; a network may leave a part out."""
        if not self.batches:
            return otherwise
        weights = (torch.tensor(self.sizes) / sum(self.sizes)).to(otherwise.mean)
        means = torch.stack([each.mean for each in self.batches])
        return Moments(weights @ means, weights @ torch.stack([each.variance for each in self.batches]))


def batch_norms(trunk: nn.Module) -> list[_BatchNorm]:
    """The batch norms that keep statistics; a network may have none."""
    return [
        module
        for module in trunk.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]


def usual_moments(extractor: Extractor, sites: Iterable[Sequence[Shot]]) -> list[Moments]:
    """What reaches the batch norms of a network as it is, on average over the pictures of all sites.

    A batch shows a single site, so that the variances are those within sites and not what sets them apart.
    """
    trunk = deepcopy(extractor.trunk).float().to(extractor.device.device).eval()
    norms = batch_norms(trunk)
    seen = [_Seen() for _ in norms]
    with _told_of_inputs(norms, lambda place, maps: seen[place].add(maps)), torch.no_grad():
        for shots in sites:
            for batch in _batches(extractor, shots):
                trunk(batch)
    return [each.mean(Moments.learned(norm)) for each, norm in zip(seen, norms, strict=True)]


def adapted_extractor(
    extractor: Extractor, shots: Sequence[Shot], usual: Sequence[Moments], prior: int = PRIOR
) -> Extractor:
    """The same with batch norms to which the pictures of a site have the usual look.

    What it computes must not be kept under the network's name, so `rows` is to be asked, not `table`.
    """
    trunk = deepcopy(extractor.trunk).float().to(extractor.device.device)
    adapt_batch_norms(trunk, _batches(extractor, shots), usual, len(shots) / (len(shots) + prior))
    return extractor.with_trunk(trunk)


def adapt_batch_norms(
    trunk: nn.Module, batches: Iterable[Tensor], usual: Sequence[Moments], share: float
) -> None:
    """Let some batches, whose moments count by a share, reach the batch norms with the usual look.

    Every layer sees what the layers before it make once they are adapted too. All else stays as it is in
    judging: dropout stays off, and no weight changes.
    """
    trunk.eval()
    norms = batch_norms(trunk)
    learned = [Moments.learned(norm) for norm in norms]
    seen = [_Seen() for _ in norms]

    def bring(place: int, found: Moments) -> None:
        norm = norms[place]
        _become(norm, _undone(found.mixed(usual[place], share), usual[place], learned[place], norm.eps))

    with (
        _told_of_inputs(norms, lambda place, maps: bring(place, seen[place].add(maps))),
        torch.no_grad(),
    ):
        for batch in batches:
            trunk(batch)
    for place, each in enumerate(seen):
        bring(place, each.mean(usual[place]))


def _undone(own: Moments, usual: Moments, learned: Moments, eps: float) -> Moments:
    """What a batch norm must hold so that pictures with moments of their own leave it as usual ones did."""
    stretched = (own.variance + eps) / (usual.variance + eps)
    mean = own.mean + (learned.mean - usual.mean) * stretched.sqrt()
    return Moments(mean, ((learned.variance + eps) * stretched - eps).clamp(min=0))


def _become(norm: _BatchNorm, moments: Moments) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(moments.mean)
    norm.running_var.copy_(moments.variance)


@contextmanager
def _told_of_inputs(norms: Sequence[_BatchNorm], tell: Callable[[int, Tensor], object]) -> Iterator[None]:
    """While this lasts, say the place of each batch norm that is about to work, and what reaches it."""

    def hook(place: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def told(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            tell(place, given[0])

        return told

    handles = [norm.register_forward_pre_hook(hook(place)) for place, norm in enumerate(norms)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
