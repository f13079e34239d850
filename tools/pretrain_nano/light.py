"""A lamp over a surface: what a relief and its albedo look like under light drawn by chance."""

import math

import torch
from torch import Tensor

from pretrain_nano.formula import between, between_by_ratio

LUMINANCE = (0.2126, 0.7152, 0.0722)


def light(relief: Tensor, albedo: Tensor, gloss: Tensor, depth: Tensor, chance: torch.Generator) -> Tensor:
    """Relief (n, size, size), albedo (n, 3, size, size), gloss and depth (n,) to pictures in linear light.

    The pictures (n, 3, size, size) are exposed: 1 is white, and the camera cuts off what is brighter.
    """
    num, size = len(relief), relief.shape[-1]
    dice = torch.rand(9, num, generator=chance, device=relief.device)
    direction, elevation, distance, ambient, warmth, vignette, level, habit, mistake = dice

    down_slope, right_slope = slopes(relief, depth)
    upright = (1 + down_slope**2 + right_slope**2).rsqrt()

    # The lamp stands somewhere, so that near lamps light unevenly and gloss has its bright spot.
    far = between_by_ratio(2, 10, distance)
    height = torch.sin(between(math.radians(14), math.radians(80), elevation))
    aside = (1 - height**2).sqrt() * far
    turn = between(0, 2 * math.pi, direction)
    places = (torch.arange(size, device=relief.device) + 0.5) / size - 0.5
    right = aside * turn.cos() - places
    down = aside * turn.sin() - places.view(-1, 1)
    up = height * far
    nearness = (right**2 + down**2 + up**2).rsqrt()
    facing = (up - right_slope * right - down_slope * down) * nearness * upright
    # Divided by the height, a raking lamp gives a flat surface as much light as one from above.
    received = facing.clamp_min(0) * nearness**2 * (far**2 / height)

    # Blinn (1977): the highlight is where the normal lies midway between the lamp and the eye, here above.
    midway = (facing + upright) * (2 + 2 * up * nearness).rsqrt()
    shine = between_by_ratio(4, 120, gloss)
    strength = between(0, 0.5, gloss**3) * (shine + 8) / (8 * math.pi)
    highlight = received * strength * midway.clamp(1e-4, 1) ** shine

    share = between(0.1, 0.7, ambient)
    # Low places see less of the sky, the more so the deeper the surface.
    sky = 1 - depth.view(-1, 1, 1) * 0.6 * (1 - relief)
    corners = 1 - between(0, 0.8, vignette**2) * (places**2 + places.view(-1, 1) ** 2)
    diffuse = (share * sky + (1 - share) * received) * corners
    mirrored = (1 - share) * highlight * corners
    pictures = torch.addcmul(mirrored.unsqueeze(1), albedo, diffuse.unsqueeze(1))
    return pictures.mul_(exposure(pictures, level, habit, mistake) * colour_of_lamp(warmth))


def slopes(relief: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """How steeply the surface rises downwards and to the right, the same at any size of picture."""
    down, right = torch.gradient(relief, spacing=1 / relief.shape[-1], dim=(1, 2))
    steepness = (down**2 + right**2).mean((1, 2), keepdim=True).sqrt()
    # Fine structures are shallower than coarse ones, but not by as much as they are finer.
    factor = between_by_ratio(0.02, 0.25, depth) / steepness.clamp_min(1).sqrt()
    return down * factor, right * factor


def exposure(pictures: Tensor, level: Tensor, habit: Tensor, mistake: Tensor) -> Tensor:
    """The factor (n, 1, 1, 1) that brings each picture towards a mean level, and now and then past it."""
    brightness = (pictures.mean((2, 3)) @ pictures.new_tensor(LUMINANCE)).clamp_min(1e-4)
    wanted = between_by_ratio(0.1, 0.36, level).flatten()
    # A camera left to itself makes coal as grey as chalk; one set by hand keeps them apart.
    corrected = (wanted / brightness) ** between(0.5, 1, habit).flatten()
    stops = 1.4 * (2 * mistake - 1) ** 7
    return (corrected * 2**stops).view(-1, 1, 1, 1)


def colour_of_lamp(warmth: Tensor) -> Tensor:
    """Warm or cool light, mildly, as factors (n, 3, 1, 1)."""
    warm = between(-0.08, 0.08, warmth).flatten()
    return torch.stack([warm, torch.zeros_like(warm), -warm], dim=1).exp().view(-1, 3, 1, 1)
