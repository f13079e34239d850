"""Pictures of made-up materials, a batch at a time, with the numbers that they were drawn from."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pretrain_nano.camera import photograph
from pretrain_nano.formulas import FORMULAS
from pretrain_nano.formulas.contours import OUTLINE_SETTINGS, outline_mask
from pretrain_nano.formulas.grids import spectral_noise
from pretrain_nano.light import light
from pretrain_nano.paint import PAINT, paint

MOST_SETTINGS = max(len(formula.settings) for formula in FORMULAS)
OVERSIZE = 1.25
"""The drawing is so much larger than the picture, which the camera cuts out of it."""
OBJECTS = 0.4
"""So many materials are seen as an object before a background, the others fill the picture."""
ROUGHNESS = 0.12
"""How much fine noise lies on every relief, at most."""
BOUND = 0.35
"""How much of the tint goes by the relief, at most: hollows hold dirt, edges are worn."""
AT_ONCE = 32
"""Scenes that are lit at once: so many stay in a processor's cache."""


@dataclass(frozen=True)
class Batch:
    """Pictures and what is known of them; pictures of one material stand side by side."""

    pictures: Tensor
    """(n, 3, size, size), bytes."""
    formula: Tensor
    """(n,), which formula drew the surface."""
    settings: Tensor
    """(n, MOST_SETTINGS), its settings; the last ones are unused where it has fewer."""
    used: Tensor
    """(n, MOST_SETTINGS), which of them it has."""
    paint: Tensor
    """(n, len(PAINT)), the settings of colour, gloss and depth."""
    outline: Tensor
    """(n, len(OUTLINE_SETTINGS)), the object's outline."""
    is_object: Tensor
    """(n,), whether there is an object."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def draw_batch(num_materials: int, views: int, size: int, chance: torch.Generator) -> Batch:
    """Draw so many new materials, each in so many pictures.

    Pictures of one material share all its settings; the piece, the light, the camera, and the background are
    each picture's own.
    """
    device = chance.device
    formula = torch.arange(num_materials, device=device) % len(FORMULAS)
    # Which formulas come once more than the others is left to chance as well.
    formula = (formula + torch.randint(len(FORMULAS), (), generator=chance, device=device)) % len(FORMULAS)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=chance, device=device)

    counts = torch.tensor([len(each.settings) for each in FORMULAS], device=device)
    batch = {
        "formula": formula,
        "settings": uniform(num_materials, MOST_SETTINGS),
        "used": torch.arange(MOST_SETTINGS, device=device) < counts[formula, None],
        "paint": uniform(num_materials, len(PAINT)),
        "outline": uniform(num_materials, len(OUTLINE_SETTINGS)),
        "is_object": uniform(num_materials) < OBJECTS,
    }
    batch = {name: value.repeat_interleave(views, 0) for name, value in batch.items()}
    surface = _surfaces(batch["formula"], batch["settings"], round(size * OVERSIZE), chance)
    pictures = []
    for first in range(0, len(surface), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        looks = (batch["paint"][part], batch["outline"][part], batch["is_object"][part])
        pictures.append(photograph(_scenes(surface[part], *looks, chance), size, chance))
    return Batch(torch.cat(pictures), **batch)


def _surfaces(formula: Tensor, settings: Tensor, size: int, chance: torch.Generator) -> Tensor:
    surface = torch.empty((len(formula), 2, size, size), device=settings.device)
    for number, each in enumerate(FORMULAS):
        rows = torch.nonzero(formula == number).flatten()
        if len(rows):
            surface[rows] = each.draw(settings[rows, : len(each.settings)], size, chance)
    n = len(formula)
    rough, bound = torch.rand((2, n, 1, 1), generator=chance, device=settings.device)
    slope = torch.rand(n, generator=chance, device=settings.device) * 1.5
    relief, tint = surface.unbind(1)
    noise = spectral_noise(slope, size, chance)
    tint = tint + BOUND * bound * (relief - tint)
    relief = (relief + ROUGHNESS * rough**2 * noise).clamp(0, 1)
    return torch.stack([relief, tint], 1)


def _scenes(
    surface: Tensor, settings: Tensor, outline: Tensor, is_object: Tensor, chance: torch.Generator
) -> Tensor:
    """Surfaces painted and lit; an object stands before a background of its own."""
    size = surface.shape[-1]
    relief, tint = surface.unbind(1)
    albedo = paint(tint, settings)
    gloss, depth = (settings[:, PAINT.index(name)] for name in ("gloss", "depth"))
    rows = torch.nonzero(is_object).flatten()
    if len(rows):
        mask = outline_mask(outline[rows], size, chance)
        # What lies behind is nearly plain: paper, a belt, a table, a hand's breadth out of focus.
        behind = torch.rand((len(rows), len(PAINT)), generator=chance, device=surface.device)
        contrast = PAINT.index("contrast")
        behind[:, contrast] = 0.5 + 0.3 * (behind[:, contrast] - 0.5)
        slope = 1.0 + 2.0 * torch.rand(len(rows), generator=chance, device=surface.device)
        ground = (0.5 + 0.08 * spectral_noise(slope, size, chance)).clamp(0, 1)
        albedo[rows] = torch.lerp(paint(ground, behind), albedo[rows], mask[:, None])
        # The object rises above the ground, rounded at its edge.
        relief[rows] = torch.lerp(0.15 * ground, 0.3 + 0.7 * relief[rows], mask)
    return light(relief, albedo, gloss, depth, chance)
