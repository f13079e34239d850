"""Closed outlines with relief: plates, nodules, stars and terraces; also shapes to cut objects out with."""

import math

import torch
from torch import Tensor

from pretrain_nano.formula import Formula, between, between_by_ratio
from pretrain_nano.formulas.grids import (
    any_of,
    cell_index,
    coordinates,
    look_up,
    spectral_noise,
    tables,
    turned,
)

NUM_ANGLES = 1024
OUTLINE_SETTINGS = ("symmetry", "depth", "sharpness", "stretch", "roughness", "coverage")


def outline_mask(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Single filled shapes (n, size, size) in 0 to 1 with soft edges, on 15 to 80 % of the picture."""
    symmetry, depth, sharpness, stretch, roughness, coverage = settings.T
    device, n = settings.device, len(settings)
    outline = _outline(symmetry, depth, sharpness, roughness, chance)
    right, down, turn = torch.rand(3, n, 1, 1, generator=chance, device=device)
    room = between(0.2, 0.03, coverage)
    y, x = coordinates(size, device)
    right, down = x - 0.5 - room * (2 * right - 1), y - 0.5 - room * (2 * down - 1)
    reach = _reach(right, down, 2 * math.pi * turn, between_by_ratio(1, 2.5, stretch), outline)
    # The edge lies where the share of the picture is right, also for shapes that run over the border.
    step = max(size // 40, 1)
    sample = reach[:, ::step, ::step].flatten(1).sort(1).values
    share = (0.15 + 0.65 * coverage) * (sample.shape[1] - 1)
    edge = sample.gather(1, share.long()[:, None])[..., None].clamp_min(1e-6)
    # The edge is about two pixels wide: along its radius, a shape goes from middle to edge in a third.
    return ((1 - reach / edge) * (size / 6) + 0.5).clamp(0, 1)


def _draw(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Shapes of one kind side by side, in a lattice that chance turns and shakes.

    A place looks only at the shape of its own cell, so many shapes cost no more than one.
    """
    number, symmetry, depth, sharpness, roughness, terraces, profile = settings.T
    device, n = settings.device, len(settings)
    outline = _outline(symmetry, depth, sharpness, roughness, chance)
    across = between_by_ratio(0.7, 4, number)
    # One shape stands near the middle; of many, any part of the lattice may be seen.
    right, down = (
        0.5 + across * side + number.view(-1, 1, 1) * any_of(n, 0, 1, chance)
        for side in turned(size, any_of(n, 0, 2 * math.pi, chance))
    )
    column, row = right.floor(), down.floor()
    cell = cell_index(row, column)
    shake_right, shake_down, turn, scale, tone = (look_up(values, cell) for values in tables(5, n, chance))
    right = right - column - 0.5 + 0.12 * (shake_right - 0.5)
    down = down - row - 0.5 + 0.12 * (shake_down - 0.5)
    reach = _reach(right, down, 2 * math.pi * turn, torch.ones_like(across), outline)
    inward = 1 - reach / (0.52 - 0.12 * scale)

    num_terraces = between_by_ratio(1, 9, terraces)
    stepped = _stepped(inward.clamp_min(0), num_terraces)
    inside = (inward * size * 0.1 / across + 0.5).clamp(0, 1)
    ground = spectral_noise(torch.full((n,), 2.4, device=device), size, chance)
    relief = 0.12 + inside * (0.12 + 0.62 * _profile(stepped, profile)) + 0.018 * ground
    bands = 0.5 - 0.5 * torch.cos(math.pi * (stepped * num_terraces))
    tint = 0.1 + inside * (0.15 + 0.4 * tone + 0.3 * bands) + 0.02 * ground
    return torch.stack([relief, tint], 1).clamp_(0, 1)


def _outline(
    symmetry: Tensor, depth: Tensor, sharpness: Tensor, roughness: Tensor, chance: torch.Generator
) -> Tensor:
    """How far outlines reach in every direction, at most 1, as (n, angles).

    Gielis (2003), equation 1, with equal exponents n2 = n3 that say how sharp the arms are, and n1 such
    that arms are so many times as long as the notches between them; then made uneven by soft noise.
    """
    n, device = len(symmetry), symmetry.device
    angles = torch.arange(NUM_ANGLES, device=device) * (2 * math.pi / NUM_ANGLES)
    arms = (2.5 + 5.99 * symmetry).round()[:, None]
    exponent = (1.9 - 1.4 * sharpness)[:, None]
    doublings = (0.07 + 1.05 * depth**1.5)[:, None]
    quarter = arms * angles / 4
    powers = quarter.cos().abs().clamp_min(1e-6) ** exponent + quarter.sin().abs().clamp_min(1e-6) ** exponent
    log_radius = -powers.log() * doublings / (1 - exponent / 2)

    waves = torch.arange(NUM_ANGLES // 2 + 1, device=device, dtype=torch.float32)
    amplitude = waves.clamp_min(1) ** -1.2 * (waves > 0) * (waves < 120)
    parts = torch.randn(n, len(waves), 2, generator=chance, device=device)
    noise: Tensor = torch.fft.irfft(torch.view_as_complex(parts) * amplitude, n=NUM_ANGLES)
    noise = noise / noise.std(1, keepdim=True).clamp_min(1e-12)
    log_radius = log_radius + (0.01 + 0.24 * roughness[:, None] ** 1.5) * noise
    return torch.exp(log_radius - log_radius.amax(1, keepdim=True))


def _reach(right: Tensor, down: Tensor, turn: Tensor, stretch: Tensor, outline: Tensor) -> Tensor:
    """How far every place lies from the middle, in radii of the turned and stretched outline there."""
    cos, sin = turn.cos(), turn.sin()
    along = (cos * right + sin * down) / stretch
    across = cos * down - sin * right
    angle = torch.atan2(across, along).add_(math.pi).mul_(NUM_ANGLES / (2 * math.pi))
    radius = look_up(outline, angle.long().clamp_max_(NUM_ANGLES - 1))
    return (along.square() + across.square()).sqrt() / radius


def _stepped(inward: Tensor, number: Tensor) -> Tensor:
    """A slope from 0 to 1 as so many terraces with steep risers."""
    level = inward * number
    whole = level.floor()
    return (whole + ((level - whole - 0.65) / 0.35).clamp_min(0).square()) / number


def _profile(inward: Tensor, kind: Tensor) -> Tensor:
    """Height from the edge (0) to the middle (1): a dome, then flat, then a ring around a hollow."""
    lean = between(-1, 1, kind)
    dome = 1 - (1 - inward).square()
    ring = (1 - inward).square()
    return 0.55 * (1 - lean.abs()) + (-lean).clamp_min(0) * dome + lean.clamp_min(0) * ring


CONTOURS = Formula(
    "contours",
    ("number", "symmetry", "depth", "sharpness", "roughness", "terraces", "profile"),
    _draw,
)
