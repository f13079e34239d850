"""What each patch of a picture holds, counted: its colours, its small patterns, its edges.

The counts are taken from the picture as the camera left it, so they need no formula.
"""

import math

import torch
from torch import Tensor

SIDE = 32
"""Pixels a patch: as many as one place of the network's last map stands for."""
HUES, SATURATIONS, VALUES = 12, 4, 4
LEVELS = 12
NEIGHBOURS = 8
RADII = (1, 2, 4)
EVERY = 2
"""Every second row and column is counted: a quarter of the work, and a patch still has 256 pixels."""
DIRECTIONS = 8


def counts(pictures: Tensor) -> list[Tensor]:
    """Bytes (n, 3, size, size) to histograms (n, bins, size / SIDE, size / SIDE), each under a square root.

    Under it differences between rare kinds count as much as between frequent ones.
    """
    colours = pictures[:, :, ::EVERY, ::EVERY].float()
    red, green, blue = pictures.float().unbind(1)
    grey = red * 0.299 + green * 0.587 + blue * 0.114
    levels = (colours * (LEVELS / 256)).long()
    shares = [
        _shares(_hue_saturation_value(colours), HUES * SATURATIONS * VALUES),
        *(_shares(levels[:, channel], LEVELS) for channel in range(3)),
        *(_shares(_pattern(grey, radius), NUM_KINDS) for radius in RADII),
        _edges(grey),
    ]
    return [share.sqrt() for share in shares]


def _hue_saturation_value(colours: Tensor) -> Tensor:
    red, green, blue = colours.unbind(1)
    value, least = colours.amax(1), colours.amin(1)
    chroma = value - least
    spread = chroma.clamp_min(1.0)
    hue = torch.where(
        value == red,
        (green - blue) / spread,
        torch.where(value == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    saturation = chroma / value.clamp_min(1.0)
    hues = (hue.remainder(6) * (HUES / 6)).long().clamp_max(HUES - 1)
    saturations = (saturation * SATURATIONS).long().clamp_max(SATURATIONS - 1)
    values = (value * (VALUES / 256)).long()
    return (hues * SATURATIONS + saturations) * VALUES + values


def _pattern(grey: Tensor, radius: int) -> Tensor:
    """Uniform local binary patterns on the eight pixels at a distance (Ojala et al. 2002, equation 9)."""
    padded = torch.nn.functional.pad(grey[:, None], [radius] * 4, mode="reflect")[:, 0]
    height, width = grey.shape[1:]
    grey = grey[:, ::EVERY, ::EVERY]
    code = torch.zeros_like(grey, dtype=torch.long)
    around = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
    for bit, (down, right) in enumerate(around):
        top, left = radius * (1 + down), radius * (1 + right)
        other = padded[:, top : top + height : EVERY, left : left + width : EVERY]
        code |= (other >= grey).long() << bit
    return KIND_OF_CODE.to(code.device)[code]


def _kinds_of_codes() -> Tensor:
    """A kind for each pattern that changes at most twice around, and one for all others."""
    around = (torch.arange(2**NEIGHBOURS)[:, None] >> torch.arange(NEIGHBOURS)) & 1
    uniform = (around != around.roll(1, 1)).sum(1) <= 2
    return torch.where(uniform, uniform.cumsum(0) - 1, uniform.sum())


KIND_OF_CODE = _kinds_of_codes()
NUM_KINDS = int(KIND_OF_CODE.max()) + 1


def _edges(grey: Tensor) -> Tensor:
    """How strong the edges are, by direction, from dark to light as from light to dark."""
    down, right = (step[:, ::EVERY, ::EVERY] for step in torch.gradient(grey / 255, dim=(1, 2)))
    strength = torch.hypot(down, right)
    direction = (torch.atan2(down, right) / math.pi).remainder(1) * DIRECTIONS
    return _shares(direction.long().clamp_max(DIRECTIONS - 1), DIRECTIONS, strength)


def _shares(codes: Tensor, num: int, weights: Tensor | None = None) -> Tensor:
    """How the counted pixels (n, size, size) of each patch are shared out among so many codes."""
    n, height, width = codes.shape
    side = SIDE // EVERY
    rows, columns = height // side, width // side
    down = torch.arange(height, device=codes.device) // side
    right = torch.arange(width, device=codes.device) // side
    patch = down[:, None] * columns + right
    picture = torch.arange(n, device=codes.device)[:, None, None]
    places = ((picture * (rows * columns) + patch) * num + codes).flatten()
    weight = None if weights is None else weights.flatten()
    total = torch.bincount(places, weight, n * rows * columns * num).view(n, rows, columns, num)
    return total.permute(0, 3, 1, 2).float() / side**2
