"""Mixup and CutMix: each picture of a batch mixed with another one, and its target likewise.

What is mixed with what is planned for the whole batch. A process that holds only some rows of the batch
takes their part of the plan, and needs besides its own pictures only their partners.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from handlens.data.sides import Rows


@dataclass(frozen=True)
class MixPlan:
    """Which rows of a batch are mixed with which, and how; a row for each picture."""

    partners: Rows
    """The place in the batch of what each picture is mixed with."""
    shares: NDArray[np.float32]
    """How much of each picture is its own."""
    cut: NDArray[np.bool_]
    """Whether a box of the partner is put into it (CutMix), or the two are blended (mixup)."""
    boxes: Rows
    """For CutMix, the top, bottom, left and right edge of the box; (n, 4)."""

    def part(self, places: Rows) -> "MixPlan":
        """The plan of some rows of the batch; the partners are still places in the whole batch."""
        return MixPlan(self.partners[places], self.shares[places], self.cut[places], self.boxes[places])


def draw_plan(
    num_pictures: int,
    rng: np.random.Generator,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    size: tuple[int, int] | None = None,
) -> MixPlan:
    """A plan for a batch; where both strengths are above zero, a coin tossed for each picture decides.

    The strengths are the alpha of Beta(alpha, alpha), from which the shares are drawn. CutMix needs the
    height and width of the pictures.
    """
    if not mixup and not cutmix:
        raise ValueError("there is nothing to plan: both strengths are 0")
    partners = rng.permutation(num_pictures)
    coins = rng.random(num_pictures) < 0.5
    cut = coins if mixup and cutmix else np.full(num_pictures, bool(cutmix))
    shares = rng.beta(mixup, mixup, num_pictures) if mixup else np.ones(num_pictures)
    boxes = np.zeros((num_pictures, 4), np.int64)
    if cutmix:
        if size is None:
            raise ValueError("CutMix needs the height and width of the pictures")
        boxes = np.where(cut[:, None], _boxes(rng.beta(cutmix, cutmix, num_pictures), size, rng), boxes)
        area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
        # At the edge less of the box is seen than was drawn: the targets follow what is seen.
        shares = np.where(cut, 1 - area / (size[0] * size[1]), shares)
    return MixPlan(partners, shares.astype(np.float32), cut, boxes)


def _boxes(shares: NDArray[np.float64], size: tuple[int, int], rng: np.random.Generator) -> Rows:
    """Boxes of the pictures' own shape around random centres, clipped (Yun et al. 2019, equation 2)."""
    edges = []
    for length in size:
        half = length * np.sqrt(1 - shares) / 2
        centre = rng.uniform(0, length, len(shares))
        edges += [centre - half, centre + half]
        edges[-2:] = [np.clip(np.rint(edge), 0, length) for edge in edges[-2:]]
    return np.stack(edges, axis=1).astype(np.int64)


def mixed(inputs: Tensor, partners: Tensor, plan: MixPlan) -> Tensor:
    """Pictures (n, channels, height, width) or rows (n, width) mixed with their partners as planned.

    Zhang et al. 2018, equation 1, and Yun et al. 2019, equation 1; for CutMix the weight of a picture's
    own is 0 within the box and 1 around it.
    """
    weights = torch.from_numpy(plan.shares).view(-1, *[1] * (inputs.ndim - 1))
    if plan.cut.any():
        height, width = inputs.shape[-2:]
        top, bottom, left, right = torch.from_numpy(plan.boxes).view(-1, 4, 1, 1, 1).unbind(1)
        down, across = torch.arange(height).view(-1, 1), torch.arange(width)
        inside = (down >= top) & (down < bottom) & (across >= left) & (across < right)
        cut = torch.from_numpy(plan.cut).view(-1, 1, 1, 1)
        weights = torch.where(cut, (~inside).float(), weights)
    return torch.lerp(partners, inputs, weights.to(inputs))


def mixed_targets(targets: Tensor, partners: Tensor, plan: MixPlan, widths: Sequence[int]) -> Tensor:
    """Targets as probabilities, mixed as the pictures are."""
    return blended_targets(targets, partners, torch.from_numpy(plan.shares)[:, None], widths)


def blended_targets(targets: Tensor, partners: Tensor, shares: Tensor, widths: Sequence[int]) -> Tensor:
    """Targets as probabilities (n, sum of the classes), each with its share (n, 1), the rest its partner's.

    `targets` and `partners` are whole, (n,) or (n, tasks), with -1 where a label is missing; `widths` are
    the classes of each task. Where the label of anything that is seen in a mixed picture is missing, that
    task has no label for it and its probabilities are all 0: what the rest shows is not known either.
    """
    shares = shares.to(targets.device)
    tasks = []
    for own, other, width in zip(_tasks(targets), _tasks(partners), widths, strict=True):
        known = ((own >= 0)[:, None] | (shares == 0)) & ((other >= 0)[:, None] | (shares == 1))
        tasks.append(torch.lerp(_shares(other, width), _shares(own, width), shares) * known)
    return torch.cat(tasks, dim=1)


def _tasks(targets: Tensor) -> Sequence[Tensor]:
    return targets.view(len(targets), -1).unbind(1)


def _shares(targets: Tensor, width: int) -> Tensor:
    """All of one class, or nothing where the label is missing."""
    return functional.one_hot(targets.clamp(min=0), width).float() * (targets >= 0)[:, None]
