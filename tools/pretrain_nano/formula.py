"""What a formula is: numbers in, a surface out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Draw = Callable[[Tensor, int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Formula:
    """A family of surfaces, told apart by a few settings.

    Settings lie in 0 to 1; what they mean is the formula's own matter. The same settings with another
    chance give another piece of the same material.
    """

    name: str
    settings: tuple[str, ...]
    """The names of the settings, in their order."""
    draw: Draw
    """Settings (n, settings), a size in pixels and a chance to surfaces (n, 2, size, size) in 0 to 1.

    The first channel is the relief, the second the tint: where on the material's scale of colours a place
    lies. Everything lives on the device of the settings; the chance is a generator of that device.
    """


def between(low: float, high: float, setting: Tensor) -> Tensor:
    """A setting in 0 to 1 as a number from low to high, as (n, 1, 1) to go with (n, size, size)."""
    return (low + (high - low) * setting).view(-1, 1, 1)


def between_by_ratio(low: float, high: float, setting: Tensor) -> Tensor:
    """As `between`, with equal steps for equal ratios: for sizes and wavelengths."""
    return (low * (high / low) ** setting).view(-1, 1, 1)


def to_unit(field: Tensor) -> Tensor:
    """Each field (n, ..., size, size) stretched to 0 to 1."""
    low = field.amin((-2, -1), keepdim=True)
    high = field.amax((-2, -1), keepdim=True)
    return (field - low) / (high - low).clamp_min(1e-6)
