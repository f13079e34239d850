"""Calm ground with defects here and there: pits, bumps, inclusions, stains and flakes of scale."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pretrain_nano.formula import Formula, between, between_by_ratio
from pretrain_nano.formulas.grids import coordinates, spectral_noise

MOST_DEFECTS = 40
DEFECTS_AT_ONCE = 20
NUM_CLUSTERS = 3


def _draw(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    number, width, spread, height, softness, raggedness, clustering = settings.T
    device, n = settings.device, len(settings)
    slopes = torch.tensor([[2.0], [3.0]], device=device).expand(2, n)
    ground, swell = spectral_noise(slopes.flatten(), size, chance).view(2, n, size, size)
    # Distances are smooth, so every second pixel will do; it is their noise that needs all of them.
    step = 2 if size >= 96 and size % 2 == 0 else 1
    y, x = coordinates(size // step, device)
    # Ragged outlines are smooth ones, seen through a wavy glass.
    shift = between(0, 0.035, raggedness)
    wave = swell[:, ::step, ::step]
    x, y = x + shift * wave, y + shift * wave.flip(-1, -2)
    square = _nearest(x, y, _ellipses(number, width, spread, clustering, chance))
    square = interpolate(square[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
    distance = square.clamp_min(0).sqrt() + between(0, 0.12, raggedness) * ground
    soft = between_by_ratio(0.05, 0.6, softness)
    body = torch.sigmoid((1 - distance) * (2 / soft))
    relief = 0.5 + 0.025 * ground + between(-0.42, 0.42, height) * body
    tint = 0.25 + 0.04 * swell + (0.55 + 0.06 * ground) * body
    return torch.stack([relief, tint], 1).clamp_(0, 1)


def _ellipses(
    number: Tensor, width: Tensor, spread: Tensor, clustering: Tensor, chance: torch.Generator
) -> Tensor:
    """Defects as quadratic forms (n, defects, 6) of x², xy, y², x, y and 1, which are 1 on their outline."""
    n, device = len(number), number.device
    place = torch.rand(2, n, MOST_DEFECTS, generator=chance, device=device)
    nests = torch.rand(2, n, NUM_CLUSTERS, generator=chance, device=device)
    which, draw, turn = torch.rand(3, n, MOST_DEFECTS, generator=chance, device=device)
    scatter, scale = torch.randn(2, 2, n, MOST_DEFECTS, generator=chance, device=device)
    nest = nests.gather(2, (which * NUM_CLUSTERS).long().expand(2, -1, -1))
    right, down = torch.where(draw < 0.95 * clustering[:, None], nest + 0.07 * scatter, place)

    radius = between_by_ratio(0.022, 0.11, width)[:, 0]
    radius = radius * (0.75 * spread[:, None] * scale[0].clamp(-2, 2)).exp()
    # The last of the number is small, the rest lie far outside. Very small ones would not be exact in
    # single precision, and could not be seen either.
    count = between_by_ratio(2, MOST_DEFECTS, number)[:, 0]
    left = count - torch.arange(MOST_DEFECTS, device=device)
    radius = (radius * left.clamp(0.01, 1)).clamp_min(0.006)
    right = torch.where(left > 0, right, 9.0)
    longer = (0.25 * scale[1]).exp()
    cos, sin = (math.pi * turn).cos(), (math.pi * turn).sin()
    a, b = (radius * longer) ** -2, (radius / longer) ** -2
    xx, xy, yy = a * cos**2 + b * sin**2, 2 * cos * sin * (a - b), a * sin**2 + b * cos**2
    back = xx * right**2 + xy * right * down + yy * down**2
    return torch.stack([xx, xy, yy, -2 * xx * right - xy * down, -2 * yy * down - xy * right, back], -1)


def _nearest(x: Tensor, y: Tensor, ellipses: Tensor) -> Tensor:
    """The least of the quadratic forms at every place, some at a time to keep to little memory."""
    terms = torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)], 1).flatten(2)
    least = torch.full_like(terms[:, 0], torch.inf)
    for some in torch.split(ellipses, DEFECTS_AT_ONCE, 1):
        least = torch.minimum(least, (some @ terms).amin(1))
    return least.view_as(x)


PITS = Formula(
    "pits",
    ("number", "width", "spread", "height", "softness", "raggedness", "clustering"),
    _draw,
)
