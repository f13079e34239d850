"""Surfaces that are whole but for lines: scratches, cracks and their branches."""

import math

import torch
from torch import Tensor

from pretrain_nano.formula import Formula, between, between_by_ratio
from pretrain_nano.formulas.grids import coordinates, smooth_step, soft_limit, soft_noise, spectral_noise

NUM_ROOTS = 8
NUM_GENERATIONS = 3
FAR = 9.0
"""How far away a stroke is kept that is not there, in sides of the picture."""

Strokes = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Where strokes start to the right and down, which way they go, how long, and how far they are kept away."""


def _cracks(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Straight strokes, each of which may bear another, on ground that is bent after they are drawn.

    Bending the ground and not the strokes keeps every branch on its stem, at the cost of a straight line.
    """
    number, length, wavy, width, depth, spread, rough = settings.unbind(1)
    n = len(settings)
    y, x = coordinates(size, settings.device)
    bending = between(0, 0.05, wavy)
    few = torch.full((n,), 2.5, device=settings.device)
    uneven = torch.full((n,), 3.0, device=settings.device)
    ragged = 0.4 * spectral_noise(uneven, size, chance)
    x = x + bending * (soft_noise(few, size, chance) + ragged)
    # The same noise from elsewhere is as good as another.
    y = y + bending * (soft_noise(few, size, chance) + ragged.roll((size // 2, size // 3), (-2, -1)))

    near = torch.full(x.shape, 9.0, device=settings.device)
    strokes = _first_strokes(number, length, spread, chance)
    for _ in range(NUM_GENERATIONS):
        for stroke in range(NUM_ROOTS):
            x0, y0, angle, long, away = (part[:, stroke, None, None] for part in strokes)
            cos, sin = angle.cos(), angle.sin()
            along = (x * cos).addcmul_(y, sin).sub_(x0 * cos + y0 * sin)
            across = (y * cos).addcmul_(x, -sin).add_(away + x0 * sin - y0 * cos)
            on = torch.minimum(along.clamp_min(0), long)
            off = along.sub_(on)
            square = across.square_().addcmul_(off, off)
            # Strokes are half as wide at their end.
            square.mul_(on.mul_(3 / long).add_(1))
            torch.minimum(near, square, out=near)
        strokes = _branches(strokes, wavy, chance)
    near = near.sqrt() / between_by_ratio(0.007, 0.035, width)

    groove = smooth_step(1.2 - near)
    ground = spectral_noise(between(3, 1.8, rough)[:, 0, 0], size, chance)
    stain = soft_limit(soft_noise(few, size, chance))
    relief = 0.72 + between(0.005, 0.07, rough) * ground - between(0.08, 0.7, depth) * groove
    dark = between(0.25, 0.75, depth) * groove
    tint = 0.6 + 0.25 * stain + between(0.01, 0.08, rough) * ground - dark
    return torch.stack([relief, tint], 1).clamp(0, 1)


def _first_strokes(number: Tensor, length: Tensor, spread: Tensor, chance: torch.Generator) -> Strokes:
    def even() -> Tensor:
        return torch.rand(len(number), NUM_ROOTS, generator=chance, device=number.device)

    angle = 2 * math.pi * even()[:, :1] + math.pi * spread[:, None] * (even() - 0.5)
    long = 0.12 * 10 ** length[:, None] * (0.7 + 0.6 * even())
    # The middles keep to the picture, so that no stroke is lost.
    x = 0.08 + 0.84 * even() - 0.5 * long * angle.cos()
    y = 0.08 + 0.84 * even() - 0.5 * long * angle.sin()
    place = torch.arange(NUM_ROOTS, device=number.device)
    return x, y, angle, long, FAR * (place > number[:, None] * (NUM_ROOTS - 0.5))


def _branches(stems: Strokes, often: Tensor, chance: torch.Generator) -> Strokes:
    """A branch to each stroke, or none."""
    x, y, angle, long, away = stems

    def even() -> Tensor:
        return torch.rand(x.shape, generator=chance, device=x.device)

    at = (0.15 + 0.55 * even()) * long
    turn = (0.4 + 0.7 * even()) * (even() - 0.5).sign()
    none = FAR * (even() > 1.4 * often[:, None] - 0.2)
    return (
        x + at * angle.cos(),
        y + at * angle.sin(),
        angle + turn,
        long * (0.35 + 0.35 * even()),
        away + none,
    )


CRACKS = Formula("cracks", ("number", "length", "waviness", "width", "depth", "spread", "roughness"), _cracks)
