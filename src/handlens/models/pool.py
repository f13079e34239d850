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


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "average": average,
    "average_and_maximum": average_and_maximum,
}
