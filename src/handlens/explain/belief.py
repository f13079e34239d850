"""Whether maps deserve belief (1): does what they mark matter more to the network than what they do not?

A picture is deleted, and inserted into a blurred one, in the order of the map, and the network's probability
of the class is watched (Petsiuk et al. 2018, section 4.1). A map is worth something only beside a random one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from handlens.evaluate.intervals import mean_difference
from handlens.evaluate.results import Figure
from handlens.explain.maps import AT_ONCE, Heat
from handlens.explain.network import Explained
from handlens.explain.spec import ExplainSpec

CELLS = 28
"""A side is cut into so many: single pixels that are taken away make a pattern of their own."""
BLUR = 1 / 20
"""The radius of the blur as a share of the side: shapes are gone, colours are not."""

Pixels = NDArray[np.uint8]
Curve = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cuts:
    """What became of the probability of a class, from the whole picture on and from the blurred one on."""

    deletion: Curve
    insertion: Curve

    @property
    def deleted(self) -> float:
        """The area under the curve of deletion: small where what matters goes first."""
        return _area(self.deletion)

    @property
    def inserted(self) -> float:
        """The area under the curve of insertion: large where what matters comes first."""
        return _area(self.insertion)


@dataclass(frozen=True, eq=False)
class Against:
    """One picture's map beside random ones."""

    own: Cuts
    random: tuple[Cuts, ...]

    @property
    def gain_of_deletion(self) -> float:
        """How much lower the area is than under random maps."""
        return float(np.mean([each.deleted for each in self.random])) - self.own.deleted

    @property
    def gain_of_insertion(self) -> float:
        """How much higher the area is than under random maps."""
        return self.own.inserted - float(np.mean([each.inserted for each in self.random]))


def against_random(
    network: Explained,
    pixels: Pixels,
    heat: Heat,
    target: int,
    spec: ExplainSpec,
    chance: np.random.Generator,
) -> Against:
    """Delete and insert one picture in the order of its map, and of random ones."""
    maps = [heat, *(elsewhere(heat, chance) for _ in range(spec.random_maps))]
    found = [cut(network, pixels, each, target, spec.cuts, chance) for each in maps]
    return Against(found[0], tuple(found[1:]))


def elsewhere(heat: Heat, chance: np.random.Generator) -> Heat:
    """A random map: the same heat in the same clumps, turned, mirrored and moved to another place.

    Loose random pixels would be an easy match: what deletes in one piece and what deletes in crumbs is
    not the same to a network.
    """
    turned = np.rot90(heat, int(chance.integers(4)))
    mirrored = turned[:, ::-1] if chance.integers(2) else turned
    by = tuple(int(step) for step in chance.integers(0, heat.shape, size=2))
    return np.ascontiguousarray(np.roll(mirrored, by, axis=(0, 1)))


def cut(
    network: Explained, pixels: Pixels, heat: Heat, target: int, cuts: int, chance: np.random.Generator
) -> Cuts:
    """Both curves of a picture (side, side, 3), at `cuts` + 1 points each."""
    ranks = _ranks(heat, chance)
    shares = np.arange(cuts + 1) / cuts
    gone = ranks[None] < shares[:, None, None]
    plain = np.broadcast_to(np.rint(pixels.mean((0, 1))).astype(np.uint8), pixels.shape)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR * len(pixels))))
    deleted = np.where(gone[..., None], plain, pixels)
    inserted = np.where(gone[..., None], pixels, blurred)
    said = _said(network, np.concatenate([deleted, inserted]), target)
    return Cuts(said[: cuts + 1], said[cuts + 1 :])


def _ranks(heat: Heat, chance: np.random.Generator) -> NDArray[np.float64]:
    """For each pixel the share of cells that are hotter than its own; level ones in random order."""
    side = len(heat)
    cell = np.arange(side) * min(CELLS, side) // side
    number = cell[:, None] * min(CELLS, side) + cell
    total = np.bincount(number.ravel(), heat.ravel())
    mean = total / np.bincount(number.ravel())
    order = np.lexsort((chance.random(len(mean)), -mean))
    place = np.empty(len(mean))
    place[order] = np.arange(len(mean)) / len(mean)
    ranks: NDArray[np.float64] = place[number]
    return ranks


def _said(network: Explained, pixels: Pixels, target: int) -> Curve:
    """The probability of a class for each of some pictures."""
    parts: list[Tensor] = [
        network.probabilities(network.as_input(pixels[at : at + AT_ONCE]))[:, target]
        for at in range(0, len(pixels), AT_ONCE)
    ]
    return np.asarray(torch.cat(parts).double().cpu().numpy())


def _area(curve: Curve) -> float:
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def mean_with_interval(values: Sequence[float], groups: Sequence[str], seed: int = 0) -> Figure:
    """The mean of values between -1 and 1, one a picture, with its 95 % interval over groups."""
    found = mean_difference(np.asarray(values, np.float64), groups, seed)
    # What is drawn again is a difference from a control, or a correlation: no pairs of runs.
    return found.model_copy(update={"method": found.method.removeprefix("paired ")})
