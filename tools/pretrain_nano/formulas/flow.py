"""Streaks along a bending flow: rolled, brushed and polished surfaces, and bands in glass and lava."""

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from pretrain_nano.formula import Formula, between, between_by_ratio
from pretrain_nano.formulas.grids import any_of, soft_noise, turned

NUM_TEXELS = 128


def _draw(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Noise drawn out along the lines where a stream function is constant, which the flow follows.

    The stream function is a straight run plus soft bends, so its curl is a flow without sources; noise
    that is fine across it and long along it gives what line integral convolution (Cabral & Leedom 1993)
    would, at the price of one look-up.
    """
    length, width, curl_scale, curl_strength, bands, contrast = settings.T
    device, n = settings.device, len(settings)
    along, across = turned(size, any_of(n, 0, 2 * math.pi, chance))
    waves = 1 + 4 * curl_scale
    bend = soft_noise(waves, size, chance)
    # The finer the bends, the lower they are, so that strength is a steepness.
    across = across + between(0, 0.36, curl_strength.square()) / waves.view(-1, 1, 1) * bend

    thickness = between_by_ratio(0.014, 0.08, width)
    stretch = thickness * between_by_ratio(2.5, 40, length)
    texture = torch.randn(n, 1, NUM_TEXELS, NUM_TEXELS, generator=chance, device=device)
    fine = _sampled(texture, along / stretch, across / thickness, "bicubic")
    step = 2 if size % 2 == 0 else 1
    broad = _sampled(
        texture.transpose(2, 3),
        (along / (3 * stretch))[:, ::step, ::step],
        (across / (5 * thickness))[:, ::step, ::step],
        "bilinear",
    )
    broad = interpolate(broad[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
    share = between(0, 1, bands)
    depth = between_by_ratio(0.12, 1.1, contrast)
    relief = 0.5 + 0.5 * torch.tanh(depth * ((1 - 0.6 * share) * fine + 0.8 * share * broad))
    tint = torch.sigmoid(depth * ((0.6 - 0.3 * share) * fine + 4 * share * broad))
    return torch.stack([relief, tint], 1)


def _sampled(texture: Tensor, right: Tensor, down: Tensor, mode: str) -> Tensor:
    """A texture (n, 1, texels, texels) looked up at places counted in texels from its middle."""
    places = torch.stack([right, down], -1) * (2 / NUM_TEXELS)
    return grid_sample(texture, places, mode=mode, padding_mode="reflection", align_corners=False)[:, 0]


FLOW = Formula("flow", ("length", "width", "curl_scale", "curl_strength", "bands", "contrast"), _draw)
