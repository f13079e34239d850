"""A camera over a lit surface: turned, out of focus, noisy, compressed, as photographs are."""

import math
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pretrain_nano.formula import between, between_by_ratio

SHARE_BLURRED, SHARE_MOVED, SHARE_NOISY, SHARE_COMPRESSED, SHARE_GREY = 0.5, 0.08, 0.6, 0.5, 0.1
LEAST_BLUR, MOST_BLUR, LONGEST_MOVE = 0.0035, 0.013, 0.04  # as shares of the picture's side
LOWEST_QUALITY, HIGHEST_QUALITY = 40, 95
NUM_TONES = 4096


def photograph(pictures: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Pictures (n, 3, side, side) in linear light to photographs (n, 3, size, size) of bytes.

    Up to four tenths of the side are cut away. A side a quarter longer than the photographs' fits well; much
    more than that would need smoothing first.
    """
    cut = cut_out(pictures, size, chance)
    seen = noisy(blurred(cut, chance) * white_balance(len(cut), chance), chance)
    return greyed(compressed(developed(seen, chance), chance), chance)


def cut_out(pictures: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """A square piece of each picture, turned and perhaps mirrored, never reaching over the edge."""
    quarter, tilt, mirror, scale, right, down = rolled(6, len(pictures), chance).view(6, -1, 1, 1)
    # Mostly near a quarter turn, where a larger piece fits and the pixels stay sharper.
    turn = (quarter * 4).floor() * (math.pi / 2) + (2 * tilt - 1) ** 3 * (math.pi / 4)
    cos, sin = turn.cos(), turn.sin()
    extent = cos.abs() + sin.abs()
    share = 0.6 + (1 / extent - 0.6) * scale
    room = 1 - share * extent
    along = (torch.arange(size, device=pictures.device) * 2 + 1) / size - 1
    across, below = along * torch.where(mirror < 0.5, 1, -1), along.view(-1, 1)
    x = share * (cos * across - sin * below) + room * (2 * right - 1)
    y = share * (sin * across + cos * below) + room * (2 * down - 1)
    return functional.grid_sample(
        pictures, torch.stack([x, y], dim=-1), padding_mode="border", align_corners=False
    )


def blurred(pictures: Tensor, chance: torch.Generator) -> Tensor:
    """Half of the pictures out of focus, and some of these moved during the exposure."""
    size = pictures.shape[-1]
    blurry, blur, moved, way, direction = rolled(5, len(pictures), chance)
    chosen = (blurry < SHARE_BLURRED).nonzero().flatten()
    # Most only slightly: fine structures are what the network is to read.
    sigma = between(LEAST_BLUR, MOST_BLUR, blur[chosen] ** 2) * size
    is_moved = moved[chosen] < SHARE_MOVED / SHARE_BLURRED
    length = between(0.01, LONGEST_MOVE, way[chosen]) * is_moved.view(-1, 1, 1) * size
    angle = between(0, math.pi, direction[chosen])

    reach = math.ceil((2 * MOST_BLUR + LONGEST_MOVE / 4) * size)
    side = torch.arange(-reach, reach + 1, device=pictures.device)
    kernel = pictures.new_zeros(len(chosen), 2 * reach + 1, 2 * reach + 1)
    for moment in torch.linspace(-0.5, 0.5, 7).tolist():
        right, down = moment * length * angle.cos(), moment * length * angle.sin()
        kernel += (((side - right) ** 2 + (side.view(-1, 1) - down) ** 2) / (-2 * sigma**2)).exp()
    kernel /= kernel.sum((1, 2), keepdim=True)

    result = pictures.clone()
    # A picture's own kernel serves its three colours: pictures as channels, colours as the batch.
    padded = functional.pad(pictures[chosen], (reach,) * 4, mode="replicate").transpose(0, 1)
    if len(chosen):
        result[chosen] = functional.conv2d(padded, kernel.unsqueeze(1), groups=len(chosen)).transpose(0, 1)
    return result


def white_balance(num: int, chance: torch.Generator) -> Tensor:
    """What the camera gets wrong about the lamp's colour, as factors (n, 3, 1, 1): little."""
    warmth, green = rolled(2, num, chance)
    warm, tint = between(-0.06, 0.06, warmth).flatten(), between(-0.03, 0.03, green).flatten()
    return torch.stack([warm, tint, -warm], dim=1).exp().view(-1, 3, 1, 1)


def noisy(pictures: Tensor, chance: torch.Generator) -> Tensor:
    """Shot noise, which grows with the light, and read noise, which does not (Foi et al. 2008).

    Four in ten stay clean, as photographs are that were made much smaller.
    """
    has_noise, strength = rolled(2, len(pictures), chance)
    chosen = (has_noise < SHARE_NOISY).nonzero().flatten()
    bright = pictures[chosen]
    noise = torch.randn(bright.shape, generator=chance, device=bright.device)
    spread = between_by_ratio(0.005, 0.09, strength[chosen]).unsqueeze(1)
    return pictures.index_add(0, chosen, noise * spread * (bright + 0.001).sqrt())


def developed(pictures: Tensor, chance: torch.Generator) -> Tensor:
    """Linear light to bytes: the sRGB curve, more or less contrast, and some haze in the darks."""
    punch, haze = rolled(2, len(pictures), chance).view(2, -1, 1)
    linear = torch.linspace(0, 1, NUM_TONES, device=pictures.device)
    # IEC 61966-2-1.
    encoded = torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    steeper = encoded**2 * (3 - 2 * encoded)
    curve = encoded + (0.8 * punch - 0.25) * (steeper - encoded)
    lift = 0.08 * haze**2
    tones: Tensor = ((lift + (1 - lift) * curve) * 255).round().to(torch.uint8)
    # Looking up is several times faster than a power for every pixel.
    tone = (pictures.clamp(0, 1) * (NUM_TONES - 1)).round().long()
    return tones.gather(1, tone.flatten(1)).view_as(pictures)


def compressed(photographs: Tensor, chance: torch.Generator) -> Tensor:
    """Half of the photographs through JPEG and back."""
    has_file, quality = rolled(2, len(photographs), chance).cpu()
    quality = LOWEST_QUALITY + (HIGHEST_QUALITY - LOWEST_QUALITY) * quality
    result = photographs.clone()
    for row in (has_file < SHARE_COMPRESSED).nonzero().flatten().tolist():
        result[row] = through_jpeg(photographs[row].cpu(), round(quality[row].item())).to(result.device)
    return result


def through_jpeg(photograph: Tensor, quality: int) -> Tensor:
    """One photograph (3, size, size) as a JPEG file shows it."""
    file = BytesIO()
    Image.fromarray(photograph.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def greyed(photographs: Tensor, chance: torch.Generator) -> Tensor:
    """A tenth of the photographs without colour."""
    (dice,) = rolled(1, len(photographs), chance)
    chosen = (dice < SHARE_GREY).nonzero().flatten()
    # ITU-R BT.601, as Pillow and most cameras do it.
    red, green, blue = photographs[chosen].float().unbind(1)
    luma = (0.299 * red + 0.587 * green + 0.114 * blue).round()
    result = photographs.clone()
    result[chosen] = luma.to(torch.uint8).unsqueeze(1).expand(-1, 3, -1, -1)
    return result


def rolled(num_dice: int, num: int, chance: torch.Generator) -> Tensor:
    """Numbers (dice, n) from 0 to 1, on the chance's device."""
    return torch.rand(num_dice, num, generator=chance, device=chance.device)
