"""Patterns that form of themselves: stripes, spots and holes, as in corals, hides and etched films."""

import math

import torch
from torch import Tensor

from pretrain_nano.formula import Formula, between, between_by_ratio
from pretrain_nano.formulas.grids import any_of, frequencies

GRID = 64
NUM_STEPS = 22


def _draw(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """The Swift-Hohenberg equation (1977) with a quadratic term, in half-implicit steps on a small grid.

    u' = forcing * u - (1 + laplacian)^2 u + spots * u^2 - u^3: the bending term is implicit, so that
    steps may be long. A further term damps waves that run off the grain, as in an anisotropic medium.
    """
    waves, forcing, spots, grain, growth = settings.T
    device, n = settings.device, len(settings)
    down, right = frequencies(GRID, device)
    wavenumber = between_by_ratio(4.5, 17, waves)
    # The grain's direction is no setting: a picture may be turned, and is still of the same material.
    angle = any_of(n, 0, math.pi, chance)
    along = (angle.cos() * right + angle.sin() * down) / wavenumber
    square = (down**2 + right**2) / wavenumber**2
    damping = (1 - square).square() + between(0, 1, grain.square()) * along.square()

    push = between_by_ratio(0.05, 1.6, forcing)
    # Counted so that stripes, spots and growth look alike under any forcing.
    lean = between(-1.8, 1.8, spots) * push.sqrt()
    pace = between_by_ratio(1.2, 8, growth) / NUM_STEPS / push
    implicit = 1 / (1 + pace * damping)
    u = 0.8 * push.sqrt() * torch.randn(n, GRID, GRID, generator=chance, device=device)
    waved = torch.fft.rfft2(u) * implicit
    for _ in range(NUM_STEPS):
        u = torch.fft.irfft2(waved, s=(GRID, GRID))
        # A peak far above the others would be thrown past 0 and farther out by a long step, without end.
        rise = (lean - u).mul_(u).add_(push).mul_(pace).add_(1).clamp_min_(0)
        waved = torch.fft.rfft2(rise.mul_(u)).mul_(implicit)
    u = _finer(waved, size) / push.sqrt()
    relief = 0.5 + 0.5 * torch.tanh(0.8 * u)
    tint = torch.sigmoid(5 * u)
    return torch.stack([relief, tint], 1)


def _finer(waved: Tensor, size: int) -> Tensor:
    """The same field on a grid of another size: its spectrum with waves added or left off."""
    half = min(GRID, size) // 2
    wider = waved.new_zeros(len(waved), size, size // 2 + 1)
    wider[:, :half, :half] = waved[:, :half, :half]
    wider[:, 1 - half :, :half] = waved[:, 1 - half :, :half]
    finer: Tensor = torch.fft.irfft2(wider, s=(size, size)) * (size / GRID) ** 2
    return finer


REACTION = Formula("reaction", ("waves", "forcing", "spots", "grain", "growth"), _draw)
