"""Surfaces that carry grains, scattered or heaped."""

import math

import torch
from torch import Tensor

from pretrain_nano.formula import Formula, between, between_by_ratio
from pretrain_nano.formulas.grids import (
    NUM_CELLS,
    any_of,
    cell_index,
    empty_pile,
    kinds,
    lay,
    neighbour,
    seen_from_above,
    soft_limit,
    soft_noise,
    spectral_noise,
    tables,
    turned,
    with_margin,
)

NUM_LAYERS = 2
REACH = 0.62
"""How far a grain may reach from its centre, in squares; with the scatter of centres it makes 1."""


def _particles(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Two layers of grains, at most one to a square of a grid each.

    A grain reaches less than a square beyond the middle of its own, so that only the four squares whose
    middles are around a pixel are looked at.
    """
    fineness, density, spread, stretch, angular, rise, tint_spread = settings.unbind(1)
    n = len(settings)
    longer = between_by_ratio(1, 3.5, stretch).sqrt()
    radius = between_by_ratio(0.13, 0.022, fineness)
    square = radius * longer / REACH
    corners = between(0, 1, angular)
    steepness = between(0.05, 0.9, rise)
    scatter = 2 * (1 - REACH)
    pile = empty_pile(n, size, settings.device)
    for _ in range(NUM_LAYERS):
        along, across = turned(size, any_of(n, 0, 2 * math.pi, chance))
        x = along / square + any_of(n, 0, NUM_CELLS, chance)
        y = across / square + any_of(n, 0, NUM_CELLS, chance)
        column, row = x.round(), y.round()
        x, y = x - column, y - row
        # A grain's coordinates, in units of its radius, are weighted sums of the pixel's.
        turn, small, slant, right, low, full, lift, tint = tables(8, n, chance)
        angle = 2 * math.pi * turn
        scale = torch.exp(between(0.05, 1.6, spread)[:, :, 0] * small) / REACH
        lean = corners[:, :, 0] * (slant - 0.5)
        # Leaning corners would reach farther.
        scale = scale * (1 + 0.7 * lean.abs())
        cos, sin = angle.cos() * scale, angle.sin() * scale
        thin = longer[:, :, 0] ** 2
        first = (cos - lean * thin * sin, sin + lean * thin * cos)
        other = (-thin * sin, thin * cos)
        centre_x, centre_y = (scatter * (even - 0.5) for even in (right, low))
        # What is not there is very far away.
        away = 1e3 * (full > between(0.08, 1, density)[:, :, 0])
        weights = [with_margin(values) for values in (*first, *other)]
        kind = with_margin(kinds(0.1 + 0.5 * lift, _tints(tint, tint_spread[:, None])))
        index = cell_index(row, column)
        for rows, columns in ((-1, -1), (-1, 0), (0, -1), (0, 0)):
            x0, y0 = centre_x + (columns + 0.5), centre_y + (rows + 0.5)
            a_x, a_y, b_x, b_y, a, b = (
                neighbour(values, index, rows, columns)
                for values in (
                    *weights,
                    with_margin(away - first[0] * x0 - first[1] * y0),
                    with_margin(-other[0] * x0 - other[1] * y0),
                )
            )
            a.addcmul_(a_x, x).addcmul_(a_y, y).abs_()
            b.addcmul_(b_x, x).addcmul_(b_y, y).abs_()
            cut = torch.maximum(torch.maximum(a, b), torch.add(a, b).mul_(0.6))
            round_off = a.square_().addcmul_(b, b)
            inside = 1 - round_off.lerp_(cut.square_(), corners).mul_(1 + 0.3 * corners)
            pile = lay(pile, inside, steepness, neighbour(kind, index, rows, columns))

    height, tint = seen_from_above(pile)
    ground = soft_limit(soft_noise(torch.full((n,), 4.0, device=settings.device), size, chance))
    rough = spectral_noise(torch.full((n,), 1.5, device=settings.device), size, chance)
    bare = (1 - 20 * height).clamp(0, 1)
    relief = 0.08 + 0.08 * ground + 0.5 * height + 0.015 * rough
    tint = tint + bare * (0.1 + 0.15 * ground) + 0.02 * rough
    return torch.stack([relief, tint], 1).clamp(0, 1)


def _tints(even: Tensor, spread: Tensor) -> Tensor:
    """Tints around the middle of the upper half, or with spread all over the scale."""
    return 0.8 + (even - 0.8) * spread


PARTICLES = Formula(
    "particles",
    ("fineness", "density", "size_spread", "stretch", "angularity", "rise", "tint_spread"),
    _particles,
)
