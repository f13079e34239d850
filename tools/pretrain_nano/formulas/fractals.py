"""Fractals of iterated function systems: frost, moss, ferns and soot."""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pretrain_nano.formula import Formula

MOST_MAPS = 6
MOST_PIECES = 9
NUM_POINTS = 2048
NUM_SETTLING = 5
NUM_STEPS = 15
GRID = 128
"""Points are counted on at most this grid: there are too few of them for a finer one."""


def _draw(settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """A chaos game of many points at once, counted in pixels (Kataoka et al. 2020).

    Maps are dealt by place: every step the points change places, and each takes the map of its new place.
    That needs no draw of a map for each point, and every map gets its exact share.
    """
    maps, contraction, rotation, flatness, unevenness, pieces = settings.T
    device, n = settings.device, len(settings)
    affine, shares = _maps(maps, contraction, rotation, flatness, unevenness)
    places = ((torch.arange(NUM_POINTS, device=device) + 0.5) / NUM_POINTS).expand(n, -1).contiguous()
    owner = torch.searchsorted(shares.cumsum(1).contiguous(), places).clamp_max(MOST_MAPS - 1)
    a, b, right, c, d, down = (part.gather(1, owner) for part in affine.unbind(-1))
    x = torch.zeros(n, NUM_POINTS, device=device)
    y = torch.zeros(n, NUM_POINTS, device=device)
    xs, ys = [], []
    for step in range(NUM_SETTLING + NUM_STEPS):
        order = torch.randperm(NUM_POINTS, generator=chance, device=device)
        x, y = x[:, order], y[:, order]
        x, y = a * x + b * y + right, c * x + d * y + down
        if step >= NUM_SETTLING:
            xs.append(x)
            ys.append(y)
    x, y = _laid_out(torch.stack(xs, 1), torch.stack(ys, 1), pieces, chance)
    hue = (owner / (MOST_MAPS - 1))[:, None].expand_as(x)
    surface = _counted(x, y, hue, min(size, GRID))
    if size > GRID:
        surface = interpolate(surface, (size, size), mode="bilinear", align_corners=False)
    return surface


def _maps(
    maps: Tensor, contraction: Tensor, rotation: Tensor, flatness: Tensor, unevenness: Tensor
) -> tuple[Tensor, Tensor]:
    """The maps as (n, maps, 6), rows of two by three matrices, and how often each is used, as (n, maps).

    They turn, flatten and turn back (Anderson & Farrell 2022), so that they always contract and no draft
    has to be thrown away. They stand in a ring, each facing the middle.
    """
    rank = torch.arange(MOST_MAPS, device=maps.device, dtype=torch.float32)
    number = 2 + (MOST_MAPS - 2) * maps[:, None]
    around = 2 * math.pi * rank / number.ceil()
    odd = unevenness[:, None] * (rank % 2)
    along = (0.42 + 0.36 * contraction[:, None]) * (1 - 0.55 * odd)
    across = along * (1 - 0.85 * flatness[:, None])
    turn = math.pi * (0.9 * rotation[:, None] - 0.45) * (1 - 0.5 * odd)
    before, after = -around, around + turn
    affine = torch.stack(
        [
            along * after.cos() * before.cos() - across * after.sin() * before.sin(),
            -along * after.cos() * before.sin() - across * after.sin() * before.cos(),
            around.cos(),
            along * after.sin() * before.cos() + across * after.cos() * before.sin(),
            -along * after.sin() * before.sin() + across * after.cos() * before.cos(),
            around.sin(),
        ],
        -1,
    )
    # The last map comes in by degrees, and each is used as often as the area it fills needs points.
    weights = (number - rank).clamp(0, 1) * (along * across).clamp_min(0.03)
    return affine, weights / weights.sum(1, keepdim=True)


def _laid_out(x: Tensor, y: Tensor, pieces: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """The points of one fractal dealt out to pieces that lie anywhere in the picture, 0 to 1."""
    n, device = len(x), x.device
    x, y = x - x.mean((1, 2), keepdim=True), y - y.mean((1, 2), keepdim=True)
    reach = (x.square() + y.square()).mean((1, 2)).sqrt().clamp_min(1e-6)[:, None]
    number = 1 + (MOST_PIECES - 1) * pieces[:, None]
    right, down, angle, scale = torch.rand(4, n, MOST_PIECES, generator=chance, device=device)
    spread = 0.3 * number**-0.45 * (0.75 + 0.5 * scale) / reach
    cos, sin = spread * (2 * math.pi * angle).cos(), spread * (2 * math.pi * angle).sin()
    # A single piece is seen whole; many lie anywhere and go on at the other side.
    room = 0.15 + 0.85 * pieces[:, None]
    right, down = 0.5 + (right - 0.5) * room, 0.5 + (down - 0.5) * room
    dealt = (torch.rand(n, NUM_POINTS, generator=chance, device=device) * number).long()
    cos, sin, right, down = (part.gather(1, dealt)[:, None] for part in (cos, sin, right, down))
    return cos * x - sin * y + right, sin * x + cos * y + down


def _counted(x: Tensor, y: Tensor, hue: Tensor, side: int) -> Tensor:
    """Relief and tint from how many points fall on every pixel, and which map sent them there."""
    n, area = len(x), side * side
    column, row = (((part - part.floor()) * side).int().clamp_max_(side - 1) for part in (x, y))
    picture = torch.arange(n, device=x.device).view(-1, 1, 1) * area
    pixel = (picture + row * side + column).flatten()
    both = torch.zeros(2, n * area, device=x.device)
    both[0].scatter_add_(0, pixel, torch.ones_like(x).flatten())
    both[1].scatter_add_(0, pixel, hue.flatten())
    count, hues = _blurred(both.view(2, n, side, side))
    # In points per pixel of an evenly filled picture, so that the size of the picture does not matter.
    density = count * (area / (NUM_POINTS * NUM_STEPS))
    relief = torch.log1p(4 * density) / 5
    tint = (0.25 + hues) / (0.5 + count)
    return torch.stack([relief, tint], 1).clamp_(0, 1)


def _blurred(field: Tensor) -> Tensor:
    """A light blur, because so few points leave single pixels empty."""
    for axis in (-1, -2):
        field = 0.5 * field + 0.25 * (field.roll(1, axis) + field.roll(-1, axis))
    return field


FRACTALS = Formula("fractals", ("maps", "contraction", "rotation", "flatness", "unevenness", "pieces"), _draw)
