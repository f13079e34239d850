"""What the network is asked about the pictures while it is taught."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pretrain_nano import patches
from pretrain_nano.drawing import MOST_SETTINGS, Batch, draw_batch
from pretrain_nano.formulas import FORMULAS
from pretrain_nano.formulas.contours import OUTLINE_SETTINGS
from pretrain_nano.paint import PAINT

TEMPERATURE = 0.1
FAINTNESS = 1 / 16
"""What is read is made so faint that a step of Adam in hundreds of weights at once changes answers little."""
NUM_OF_HUE = 2
"""A hue is told as a point, since red stands at both ends of the scale."""
WIDTH = 128
"""Numbers a picture in which pictures of one material are to be alike."""


class Settings(nn.Module):
    """Tell the formula, and read its settings, the colours and the outline off the picture."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.even = nn.BatchNorm1d(num_features, affine=False)
        self.formula = nn.Linear(num_features, len(FORMULAS))
        self.settings = nn.Linear(num_features, len(FORMULAS) * MOST_SETTINGS)
        self.paint = nn.Linear(num_features, NUM_OF_HUE + len(PAINT) - 1)
        self.outline = nn.Linear(num_features, len(OUTLINE_SETTINGS) + 1)
        for layer in (self.formula, self.settings, self.paint, self.outline):
            start_from(layer, torch.full_like(layer.bias, 0.5))
        with torch.no_grad():
            self.paint.bias[:NUM_OF_HUE] = 0.0

    def forward(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The losses by name."""
        rows = FAINTNESS * self.even(maps.mean((2, 3)))
        settings = self.settings(rows).view(len(rows), len(FORMULAS), MOST_SETTINGS)
        own = settings[torch.arange(len(rows), device=rows.device), batch.formula]
        shape = self.outline(rows)
        outline = functional.binary_cross_entropy_with_logits(shape[:, 0], batch.is_object.float())
        return {
            "formula": functional.cross_entropy(self.formula(rows), batch.formula, label_smoothing=0.05),
            "settings": _miss(own, batch.settings, batch.used),
            "paint": (self.paint(rows).float() - _colours(batch.paint)).square().mean(),
            "outline": outline + _miss(shape[:, 1:], batch.outline, batch.is_object[:, None]),
        }


class Pairs(nn.Module):
    """Tell which pictures show one material (Chen et al. 2020, equation 1)."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(num_features, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, WIDTH)
        )

    def forward(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss by name; pictures come in pairs, side by side."""
        points = functional.normalize(self.project(maps.mean((2, 3))).float(), dim=1)
        alike = points @ points.T / TEMPERATURE
        alike.fill_diagonal_(-torch.inf)
        partner = torch.arange(len(points), device=points.device) ^ 1
        return {"pairs": functional.cross_entropy(alike, partner)}


class Patches(nn.Module):
    """Tell at every place of the map what its patch of the picture holds."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        # What is usual is known from the start: to learn it would drown all else for hundreds of steps.
        usual = draw_batch(48, 1, 2 * patches.SIDE, torch.Generator().manual_seed(0)).pictures
        means = [count.mean((0, 2, 3)) for count in patches.counts(usual)]
        self.widths = [len(mean) for mean in means]
        self.even = nn.BatchNorm2d(num_features, affine=False)
        self.tell = nn.Conv2d(num_features, sum(self.widths), 1)
        start_from(self.tell, torch.cat(means))

    def forward(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The loss by name: the share of the spread that is missed, the mean over kinds of counts."""
        told = self.tell(FAINTNESS * self.even(maps)).float().split(self.widths, 1)
        missed = []
        for guess, true in zip(told, patches.counts(batch.pictures), strict=True):
            spread = true.var((0, 2, 3), correction=0, keepdim=True)
            # Between counting every bin alike, however rare, and counting by how much it varies.
            weight = 1 / (spread + spread.mean())
            missed.append(((guess - true).square() * weight).mean() / (spread * weight).mean())
        return {"patches": torch.stack(missed).mean()}


def start_from(layer: nn.Linear | nn.Conv2d, answer: Tensor) -> None:
    """Let a layer answer so, whatever it is shown, until it has learned better."""
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(answer)  # type: ignore[union-attr]


class Together(nn.Module):
    """Several teachings at once."""

    def __init__(self, *teachings: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(teachings)

    def forward(self, maps: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The losses of all."""
        return {name: loss for part in self.parts for name, loss in part(maps, batch).items()}


def taught_by(names: str, num_features: int) -> Together:
    """The teaching of a name, or of several joined by +."""
    return Together(*(TEACHINGS[name](num_features) for name in names.split("+")))


TEACHINGS: dict[str, Callable[[int], nn.Module]] = {"settings": Settings, "pairs": Pairs, "patches": Patches}

WEIGHTS = {"formula": 0.5, "settings": 6.0, "paint": 6.0, "outline": 0.5, "pairs": 0.5, "patches": 4.0}
"""What each loss counts, so that none drowns the others."""


def _colours(paint: Tensor) -> Tensor:
    """The settings of a paint with its hue as a point on a circle, nearer to the middle the greyer it is."""
    turn, strength = 2 * math.pi * paint[:, PAINT.index("hue")], 0.5 * paint[:, PAINT.index("saturation")]
    others = [column for column, name in enumerate(PAINT) if name != "hue"]
    return torch.cat([torch.stack([strength * turn.cos(), strength * turn.sin()], 1), paint[:, others]], 1)


def _miss(told: Tensor, true: Tensor, counts: Tensor) -> Tensor:
    """Mean squared distance over what counts."""
    counts = counts.expand_as(true).float()
    return ((told.float() - true).square() * counts).sum() / counts.sum().clamp_min(1.0)
