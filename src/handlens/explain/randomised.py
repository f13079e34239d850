"""Whether maps deserve belief (2): do they depend on what the network has learned?

The weights are drawn anew from the head downward (Adebayo et al. 2018, "Sanity checks for saliency maps",
section 3). A map that stays as it was shows edges or the middle of the picture, not what the network knows.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from handlens.explain.maps import AT_ONCE, Heat, heat_of
from handlens.explain.network import Explained
from handlens.explain.spec import ExplainSpec

PARTS = (0.0, 1 / 3, 2 / 3, 1.0)
"""Shares of the trunk whose weights are random, from its end on; the head's always are."""
GRID = 28
"""Maps are compared in so many places a side: finer ones hold nothing but noise or interpolation."""


def rank_correlation(first: Heat, second: Heat) -> float:
    """Spearman's correlation of two maps.

    A map that is empty or the same everywhere has no ranks: beside another such map it is the same, and
    beside any other nothing can be said (NaN).
    """
    ranks = [rankdata(_coarse(each).ravel()) for each in (first, second)]
    flat = [np.ptp(each) == 0 for each in ranks]
    if any(flat):
        return 1.0 if all(flat) else float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def alike_when_random(
    network: Explained, x: Tensor, targets: Tensor, heat: Heat, spec: ExplainSpec, slow: bool
) -> NDArray[np.float64]:
    """The correlation of each map with that of networks whose weights are more and more random.

    A row a picture, a column for each share in `PARTS`; the mean over those of several drawings that can be
    compared, NaN where none can.
    """
    shares = (PARTS[0], PARTS[-1]) if slow else PARTS
    times = 1 if slow else spec.random_networks
    found = np.full((len(heat), len(PARTS)), np.nan)
    for share in shares:
        drawn = np.empty((times, len(heat)))
        for number in range(times):
            other = with_random_weights(network, share, spec.seed + 1000 * number, x)
            made = heat_of(other, x, targets, spec)
            drawn[number] = [rank_correlation(own, their) for own, their in zip(heat, made, strict=True)]
        some = np.isfinite(drawn).any(axis=0)
        found[some, PARTS.index(share)] = np.nanmean(drawn[:, some], axis=0)
    return found


def with_random_weights(network: Explained, share: float, seed: int, x: Tensor) -> Explained:
    """A copy in which the head's weights and those of the last part of the trunk are shuffled.

    Shuffled within each tensor, so that their sizes stay as they were. The norms there take their means from
    the pictures `x` then, lest all that follows is 0.
    """
    other = deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with_weights = [
        module for module in other.trunk.modules() if next(module.parameters(recurse=False), None) is not None
    ]
    kept = round((1 - share) * len(with_weights))
    drawn = [*(module for module in other.head.modules()), *with_weights[kept:]]
    with torch.no_grad():
        for module in drawn:
            for weight in module.parameters(recurse=False):
                order = torch.randperm(weight.numel(), generator=generator)
                weight.copy_(weight.flatten()[order.to(weight.device)].view_as(weight))
    _settle([module for module in drawn if isinstance(module, nn.modules.batchnorm._BatchNorm)], other, x)
    return other


def _settle(norms: Sequence[nn.modules.batchnorm._BatchNorm], network: Explained, x: Tensor) -> None:
    """Let batch norms take the means and deviations of these pictures."""
    if not norms or len(x) * network.side < 2:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for some in torch.split(x, AT_ONCE):
            network(some)
    for norm in norms:
        norm.eval()


def _coarse(heat: Heat) -> Heat:
    """Means over a grid of places, where the map is finer."""
    side = len(heat)
    if side <= GRID:
        return heat
    cell = np.arange(side) * GRID // side
    number = cell[:, None] * GRID + cell
    total = np.bincount(number.ravel(), heat.ravel())
    mean: Heat = (total / np.bincount(number.ravel())).reshape(GRID, GRID).astype(np.float32)
    return mean
