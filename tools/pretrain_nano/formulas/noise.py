"""Surfaces that are waves: rough ones of any spectrum, and bent lamellae."""

import math

import torch
from torch import Tensor

from pretrain_nano.formula import Formula, between, between_by_ratio, to_unit
from pretrain_nano.formulas.grids import (
    NUM_CELLS,
    any_of,
    frequencies,
    look_up,
    shaped_noise,
    smooth_step,
    soft_limit,
    soft_noise,
    tables,
    turned,
    wrapped,
)


def _noise(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Random phases under a spectrum, then creased or cut into plateaus.

    The spectrum is von Kármán's (1948): flat up to the wavelength and a power law beyond, here mixed with
    a ring of one wavelength, and stretched one way.
    """
    slope, length, ring, stretch, direction, form, tinting = settings.unbind(1)
    # A gap is left in the half turn, so that the smallest setting does not look like the greatest.
    angle = between(0, 0.85 * math.pi, direction)
    longer = between_by_ratio(1, 7, stretch).sqrt()
    down, right = frequencies(size, settings.device)
    along = (right * angle.cos() + down * angle.sin()) * longer
    across = (down * angle.cos() - right * angle.sin()) / longer
    far = (along**2 + across**2) * between_by_ratio(0.25, 1 / 32, length) ** 2
    log_far = torch.log(far.clamp_min(1e-6))
    law = torch.exp(-0.25 * between(1.6, 5, slope) * torch.nn.functional.softplus(2 * log_far) / 2)
    circle = torch.exp(-((log_far / 0.35) ** 2))
    amplitude = _of_unit_power(law).lerp(_of_unit_power(circle), between(0, 1, ring))
    field = shaped_noise(amplitude, size, chance)
    other = shaped_noise(amplitude, size, chance)

    # Below 0.4 the hills have ever sharper crests, above they turn into plateaus with steep sides.
    crest = between(0.4, -0.6, form).clamp_min(0) / 0.4
    fold = 2.4 * (1 - crest)
    creased = fold - (field - fold).abs()
    steep = 1 + 9 * ((between(0, 1, form) - 0.4).clamp_min(0) / 0.6)
    relief = to_unit(torch.tanh(creased * steep * 0.4) / steep + 0.05 * creased)
    share = between(0, 0.5 * math.pi, tinting)
    tint = soft_limit(share.cos() * (4 * relief - 2) + share.sin() * other)
    return torch.stack([relief, tint], 1)


def _of_unit_power(amplitude: Tensor) -> Tensor:
    return amplitude / amplitude.square().mean((-2, -1), keepdim=True).sqrt().clamp_min(1e-9)


NOISE = Formula("noise", ("slope", "wavelength", "ring", "stretch", "direction", "form", "own_tint"), _noise)


def _waves(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Bands side by side, bent by smooth noise, of a profile from broad cushions to narrow leaning ridges."""
    period, direction, bend, bend_waves, narrow, lean, uneven = settings.unbind(1)
    n = len(settings)
    angle = between(0, 0.85 * math.pi, direction)
    length = between_by_ratio(0.22, 0.03, period)
    waves = between_by_ratio(1, 6, bend_waves)
    _, across = turned(size, angle)
    # What is set is how steeply bands bend, which looks alike at every scale of bending.
    across = across + between(0.01, 0.33, bend) / waves * soft_noise(waves, size, chance)
    phase = across / length + any_of(n, 0, NUM_CELLS, chance)

    differ = between(0, 1, uneven)
    band = phase.floor()
    shifts, lower, tints = tables(3, n, chance)
    first, second = _of_band(shifts, band), _of_band(shifts, band + 1)
    phase = phase + 0.9 * differ * first.lerp(second, phase - band)
    band = phase.floor()
    within = phase - band
    crest = between(0.5, 0.06, lean)
    rise = smooth_step(torch.minimum(within / crest, (1 - within) / (1 - crest)))
    profile = (rise + 1e-4) ** between_by_ratio(0.4, 5, narrow)
    patchy = soft_limit(soft_noise(waves.clamp_max(3), size, chance))
    height = profile * (1 - 0.75 * differ * _of_band(lower, band)) * (1 - 0.5 * differ * patchy)
    own = _of_band(tints, band)
    tint = profile.lerp(own, 0.3 + 0.5 * differ) + 0.2 * (patchy - 0.5)
    return torch.stack([height, tint], 1).clamp(0, 1)


def _of_band(values: Tensor, band: Tensor) -> Tensor:
    return look_up(values, wrapped(band, NUM_CELLS))


WAVES = Formula(
    "waves", ("period", "direction", "bend", "bend_scale", "narrowness", "lean", "unevenness"), _waves
)
