"""Surfaces of strands that lie across one another."""

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
    look_up,
    seen_from_above,
    soft_limit,
    soft_noise,
    tables,
    turned,
    wrapped,
)

NUM_LAYERS = 6


def _fibres(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Layers of side by side lanes, with strands of one length laid end to end in some of them.

    Layers lie anyhow between each other: how high a strand lies is its own.
    """
    density, thickness, wavy, spread, length, rounded, tint_spread = settings.unbind(1)
    n = len(settings)
    width = between_by_ratio(0.02, 0.1, thickness)
    long = between_by_ratio(0.12, 2, length) + width
    rise = between(0.04, 0.7, rounded)
    bend = between(0, 0.05, wavy)
    waves = between_by_ratio(1.2, 3.5, wavy)
    bends = [soft_noise(waves, size, chance) for _ in range(2)]
    main = any_of(n, 0, math.pi, chance)
    pile = empty_pile(n, size, settings.device)
    for _ in range(NUM_LAYERS):
        along, across = turned(size, main + math.pi * between(0.02, 1, spread) * any_of(n, -0.5, 0.5, chance))
        turn = any_of(n, 0, 2 * math.pi, chance)
        across = across + bend * (turn.cos() * bends[0] + turn.sin() * bends[1])
        across = across / width + any_of(n, 0, NUM_CELLS, chance)
        lane = across.floor()
        # From the lane's middle, -1 to 1.
        off = across.sub_(lane).mul_(2).sub_(1)
        shift, thin, beside, full, lift, tint = tables(6, n, chance)
        starts = look_up(NUM_CELLS * shift, wrapped(lane, NUM_CELLS))
        along = along / long + starts
        piece = along.floor()
        index = cell_index(lane, piece)
        # A strand is narrower than its lane by up to a half, and one that is not there is far beside it.
        narrow = 1 + thin
        aside = (1 - narrow) * (2 * beside - 1)
        aside += 99 * (full > between(0.03, 0.95, density)[:, :, 0] ** 1.5)
        narrower = look_up(narrow, index)
        off = torch.addcmul(look_up(aside, index), off, narrower)
        # The ends are round: in the last half width, distance counts along too.
        end = along.sub_(piece).sub_(0.5).abs_().mul_(2 * long / width).sub_(long / width - 1).clamp_min_(0)
        end.mul_(narrower)
        inside = off.square_().addcmul_(end, end).neg_().add_(1)
        tints = 0.8 + (tint - 0.8) * tint_spread[:, None]
        kind = kinds(0.1 + 0.5 * lift, tints)
        pile = lay(pile, inside, rise, look_up(kind, index))

    height, tint = seen_from_above(pile)
    ground = soft_limit(soft_noise(torch.full((n,), 5.0, device=settings.device), size, chance))
    bare = (1 - 20 * height).clamp(0, 1)
    relief = 0.05 * ground + 0.7 * height
    tint = tint + bare * (0.08 + 0.15 * ground)
    return torch.stack([relief, tint], 1).clamp(0, 1)


FIBRES = Formula(
    "fibres",
    ("density", "thickness", "waviness", "spread", "length", "roundness", "tint_spread"),
    _fibres,
)
