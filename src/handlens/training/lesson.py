"""What is learned, from what and by what means: all that a training needs to begin."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import torch
from torch import Tensor

from handlens.models.heads import Head
from handlens.training.losses import Loss
from handlens.training.supply import Supply

if TYPE_CHECKING:
    from handlens.models.network import Network

Learner = Union[Head, "Network"]


@dataclass
class Lesson:
    """A learner with all that it learns from and by; what has a value here is for networks."""

    learner: Learner
    supply: Supply
    loss: Loss
    optimiser: torch.optim.Optimizer
    device: torch.device | None = None
    """Where the learner is; without it, where it was made."""
    scores: Callable[[Tensor], Tensor] | None = None
    """A faster way to the learner's `member_scores`."""
    scaler: "torch.amp.GradScaler | None" = None
    """What keeps small gradients from vanishing in float16."""
    epoch_begins: Callable[[int], object] = lambda _: None
    """Is told the number of the epoch, from 0; may set free more of a network."""
    seen: Callable[[int], None] = lambda _: None
    """Is told the number of pictures of each batch."""
