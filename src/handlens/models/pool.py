"""From a feature map to one row of numbers."""

from collections.abc import Callable

import torch
from torch import Tensor


def average(feature_map: Tensor) -> Tensor:
    """The mean of each channel over the picture."""
    return feature_map.mean((2, 3))


def average_and_maximum(feature_map: Tensor) -> Tensor:
    """What is everywhere (mean) beside what is somewhere (maximum), as small defects are."""
    return torch.cat([feature_map.mean((2, 3)), feature_map.amax((2, 3))], dim=1)


def own(rows: Tensor) -> Tensor:
    """Nothing is left to do: the backbone has kept its own way from map to row."""
    return rows


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "average": average,
    "average_and_maximum": average_and_maximum,
    "own": own,
}

NUM_STATISTICS = {"average": 1, "average_and_maximum": 2, "own": 1}
"""How many numbers each pool makes of a channel; those of all channels, then the next."""
