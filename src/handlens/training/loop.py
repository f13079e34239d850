"""The one loop: an epoch over batches, for training and for validation alike."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from handlens.base.errors import HandlensError
from handlens.training.losses import Loss
from handlens.training.optim import plain_step

Batches = Iterable[tuple[Tensor, Tensor]]
"""Inputs (n, ...) and targets, (n,) or blended (n, classes), batch by batch."""


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the pictures came to."""

    loss: float
    accuracy: float
    n: int


def run_epoch(
    scores: Callable[[Tensor], Tensor], batches: Batches, loss: Loss, step: Callable[[Tensor], None] | None
) -> EpochResult:
    """Pass over the batches once; `step` takes each loss to change the weights, None only looks.

    `scores` may give (n, classes), or (members, n, classes) for members that learn side by side.
    """
    total_loss, num_right, num_seen = 0.0, 0, 0
    with torch.set_grad_enabled(step is not None):
        for number, (inputs, targets) in enumerate(batches):
            given = scores(inputs)
            members = given.unsqueeze(0) if given.ndim == 2 else given
            value = torch.stack([loss(member, targets) for member in members]).mean()
            if not torch.isfinite(value):
                raise HandlensError(
                    f"The loss is {value.item()} in batch {number + 1}: training has diverged. Lower "
                    "train.optimiser.learning_rate, or set train.precision to float32."
                )
            if step is not None:
                step(value)
            total_loss += value.item() * len(targets)
            # Blended pictures count as what they show most of.
            truth = targets if targets.ndim == 1 else targets.argmax(-1)
            num_right += int((members.softmax(-1).mean(0).argmax(-1) == truth).sum())
            num_seen += len(targets)
    return EpochResult(total_loss / num_seen, num_right / num_seen, num_seen)


def stepper(
    optimiser: torch.optim.Optimizer, rate: Callable[[int], float], first_step: int, members: int
) -> Callable[[Tensor], None]:
    """A function that makes one step down a loss, at the learning rate that `rate` gives for its number."""
    number = first_step
    take = plain_step(optimiser)

    def step(value: Tensor) -> None:
        nonlocal number
        for group in optimiser.param_groups:
            group["lr"] = rate(number)
        optimiser.zero_grad(set_to_none=True)
        # The members share nothing: each must get the gradient that it would get alone.
        (value * members).backward()  # type: ignore[no-untyped-call]
        take()
        number += 1

    return step
