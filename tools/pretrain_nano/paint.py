"""What of the look belongs to the material: its colours, its gloss and its depth."""

import math

import torch
from torch import Tensor

PAINT = (
    "hue",  # of the middle of the scale, a full turn
    "hue_spread",  # how far the hue travels along the scale
    "saturation",  # none at all in the lowest fifth, as in steel, graphite and most ores
    "fading",  # how much greyer the upper end of the scale is than the lower
    "lightness",
    "contrast",  # from light to dark along the scale, or from dark to light
    "turns",  # how often lightness turns back: 2 stops on the scale to 4
    "distinctness",  # from colours that run into one another to colours with an edge
    "gloss",
    "depth",
)
"""The settings of a paint, in their order. `light` takes gloss and depth."""

GREY_SHARE = 0.2
STRONGEST = 0.21  # the chroma of a loud plastic; the strongest screen colours have 0.26 to 0.32
DARKEST, LIGHTEST = 0.1, 0.97
NUM_SHADES = 512

# From OKLab to the cube roots of cone responses, and from cone responses to linear sRGB (Ottosson 2020).
TO_CONES = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
TO_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def paint(tint: Tensor, settings: Tensor) -> Tensor:
    """Tints (n, size, size) and settings (n, paint) to albedo (n, 3, size, size) in linear light, 0 to 1."""
    num, height, width = tint.shape
    shade = (tint * (NUM_SHADES - 1)).round().long().view(num, 1, -1).expand(num, 3, -1)
    return scale_of_colours(settings).gather(2, shade).view(num, 3, height, width)


def scale_of_colours(settings: Tensor) -> Tensor:
    """The colours that tints 0 to 1 stand for, as (n, 3, shades) in linear light."""
    columns = settings.unsqueeze(-1).unbind(1)
    hue, hue_spread, saturation, fading, lightness, contrast, turns, distinctness, _, _ = columns
    along = torch.linspace(0, 1, NUM_SHADES, device=settings.device)
    # A steep tanh makes two materials of one scale that runs from the first to the second.
    steepness = 0.3 * 25**distinctness
    side = parted(2 * along - 1, steepness)
    wave = parted(torch.cos(math.pi * (1 + 2 * turns) * along), steepness)

    sway = 0.35 * (2 * contrast - 1)
    lowest, highest = DARKEST + sway.abs(), LIGHTEST - sway.abs()
    light = lowest + (highest - lowest) * lightness + sway * wave
    colourful = ((saturation - GREY_SHARE) / (1 - GREY_SHARE)).clamp_min(0) ** 1.6 * STRONGEST
    # Very dark and very light colours cannot be strong; few would be within what a screen shows.
    room = (2 * light).clamp_max(1) * (4 * (1.05 - light)).clamp_max(1)
    chroma = colourful * room * (1 - fading * (1 + side) / 2)
    turn = 2 * math.pi * (hue + 0.2 * hue_spread**2 * side)
    lab = torch.stack([light, chroma * turn.cos(), chroma * turn.sin()], dim=1)
    cones = (lab.new_tensor(TO_CONES) @ lab) ** 3
    return (lab.new_tensor(TO_RGB) @ cones).clamp(0, 1)


def parted(place: Tensor, steepness: Tensor) -> Tensor:
    """Places from -1 to 1, drawn towards the two ends."""
    return torch.tanh(steepness * place) / torch.tanh(steepness)
