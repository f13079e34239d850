"""Surfaces that are divided without gaps: cells around scattered points, and laid tiles."""

import math

import torch
from torch import Tensor

from pretrain_nano.formula import Formula, between, between_by_ratio
from pretrain_nano.formulas.grids import (
    NUM_CELLS,
    TABLE_SIDE,
    any_of,
    cell_index,
    look_up,
    neighbour,
    smooth_step,
    soft_noise,
    tables,
    turned,
    with_margin,
    wrapped,
)

NEIGHBOURS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]


def _cells(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Voronoi's cells of points that are scattered one to a square of a grid (Worley 1996).

    Only the points of the nine squares around a pixel are looked at, whatever the number of cells.
    """
    number, regular, border, stretch, dome, step, own_tint = settings.unbind(1)
    n = len(settings)
    longer = between_by_ratio(1, 4, stretch).sqrt()
    along, across = turned(size, any_of(n, 0, math.pi, chance))
    per_side = between_by_ratio(3.5, 20, number)
    x = along * (per_side / longer) + any_of(n, 0, NUM_CELLS, chance)
    y = across * (per_side * longer) + any_of(n, 0, NUM_CELLS, chance)
    waves = torch.full((n,), 8.0, device=settings.device)
    wobble = 0.035 * (per_side / 8).clamp(1, 3)
    x, y = x + wobble * soft_noise(waves, size, chance), y + wobble * soft_noise(waves, size, chance)
    row = y.floor()
    # Rows shifted by half against each other make hexagons.
    slip = between(0, 0.5, regular)
    x = x - slip * row
    column = x.floor()
    x, y = x - column, y - row
    index = cell_index(row, column)

    loose = (1 - regular)[:, None]
    scatter_x, scatter_y, heights, tilts_x, tilts_y, tints = tables(6, n, chance)
    across_points = 0.5 + loose * (scatter_x - 0.5)
    down_points = 0.5 + loose * (scatter_y - 0.5)

    points_x, points_y = with_margin(across_points), with_margin(down_points)
    nearest = torch.full(x.shape, 2**30, dtype=torch.int32, device=x.device)
    second = nearest.clone()
    for rows, columns in NEIGHBOURS:
        dx = neighbour(points_x + (columns + rows * slip[:, 0]), index, rows, columns).sub_(x)
        dy = neighbour(points_y + rows, index, rows, columns).sub_(y)
        square = dx.square_().addcmul_(dy, dy)
        # Which neighbour it is rides in the distance's last bits, as the tint does in `lay`.
        key = square.view(torch.int32).bitwise_and_(-16).bitwise_or_(4 * rows + columns + 5)
        torch.minimum(second, torch.maximum(nearest, key), out=second)
        torch.minimum(nearest, key, out=nearest)

    def point(key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The cell of the neighbour in the key, and where its point lies from the pixel's square."""
        columns, rows = (key & 3) - 1, ((key >> 2) & 3) - 1
        cell = (index + (rows * TABLE_SIDE + columns)) & (NUM_CELLS - 1)
        return cell, look_up(across_points, cell) + columns + rows * slip, look_up(down_points, cell) + rows

    cell, x1, y1 = point(nearest)
    _, x2, y2 = point(second)
    apart = ((x1 - x2) ** 2 + (y1 - y2) ** 2).sqrt().clamp_min(1e-3)
    d1, d2 = (nearest & -16).view(torch.float32), (second & -16).view(torch.float32)
    # How far away the line lies that parts the two cells.
    edge = (d2 - d1) / (2 * apart)

    width = between_by_ratio(0.05, 0.3, border)
    inside = smooth_step(edge / width)
    round_off = (1 - d1 * 1.6).clamp_min(0) * smooth_step(edge / 0.35)
    height, tilt_x, tilt_y, own = (look_up(values, cell) for values in (heights, tilts_x, tilts_y, tints))
    tilted = (tilt_x - 0.5) * (x - x1) + (tilt_y - 0.5) * (y - y1)
    steps = between(0.05, 0.75, step)
    top = steps * (height + 0.9 * tilted) + (1 - steps) * (1 - between(0, 1, dome) * (1 - round_off))
    relief = inside * (0.12 + 0.8 * top)
    tint = inside.lerp(own, between(0.1, 0.95, own_tint))
    return torch.stack([relief, tint], 1).clamp(0, 1)


CELLS = Formula("cells", ("number", "regularity", "border", "stretch", "dome", "step", "own_tint"), _cells)


def _tiles(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Rows of tiles: squares, bricks, and with zigzag rows hexagons, lozenges and chevrons."""
    number, aspect, offset, zigzag, joint, bevel, uneven = settings.unbind(1)
    n = len(settings)
    along, across = turned(size, any_of(n, 0, math.pi, chance))
    rows = between_by_ratio(3.5, 18, number)
    longer = between_by_ratio(1, 3.5, aspect)
    differ = between(0, 1, uneven)
    waves = torch.full((n,), 5.0, device=settings.device)
    x, y = along * (rows / longer), across * rows
    x, y = (
        way + 0.06 * differ * soft_noise(waves, size, chance) + any_of(n, 0, NUM_CELLS, chance)
        for way in (x, y)
    )

    # The line between two rows swings about a whole number, the other way from row to row.
    swing = between(0, 0.48, zigzag)
    shift = between(0, 0.5, offset)
    line = y.round()
    here = line + swing * _zigzag(x + shift * line)
    above = (y - here).sign()
    beyond = line + above
    there = beyond + swing * _zigzag(x + shift * beyond)
    row = torch.minimum(line, beyond)
    slips, *kinds = tables(6, n, chance)
    x = x + shift * row + 0.25 * differ * look_up(slips, wrapped(row, NUM_CELLS))
    column = x.floor()
    # Slanting lines are nearer than they are high.
    slant = (1 + (4 * swing / longer) ** 2).sqrt()
    side = torch.minimum(x - column, column + 1 - x) * longer
    edge = torch.minimum(side, torch.minimum((y - here).abs(), (y - there).abs()) / slant)

    index = cell_index(row, column)
    height, tilt_x, tilt_y, own, gap = (look_up(values, index) for values in kinds)
    width = between_by_ratio(0.015, 0.2, joint)
    inside = smooth_step(
        (edge - width * (0.5 + 0.8 * differ * (gap - 0.5))) / between_by_ratio(0.05, 0.5, bevel)
    )
    tilted = (tilt_x - 0.5) * (x - column - 0.5) + (tilt_y - 0.5) * (y - row - 0.5)
    relief = inside * (0.65 + 0.35 * differ * (height - 0.5 + 1.2 * tilted))
    tint = smooth_step((edge - 0.5 * width) / 0.06) * (0.75 + 0.7 * differ * (own - 0.6))
    return torch.stack([relief, tint], 1).clamp(0, 1)


def _zigzag(along: Tensor) -> Tensor:
    """From 1 to -1 and back as along grows by 1."""
    return 1 - 4 * (along - along.round()).abs()


TILES = Formula("tiles", ("number", "aspect", "offset", "zigzag", "joint", "bevel", "unevenness"), _tiles)
