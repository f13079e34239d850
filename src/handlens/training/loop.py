"""The one loop: an epoch over batches, for training and for validation alike."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from handlens.base.errors import HandlensError
from handlens.training import distributed
from handlens.training.lesson import Lesson
from handlens.training.losses import Loss
from handlens.training.optim import plain_step
from handlens.training.spec import FitSpec
from handlens.training.supply import Batch


class Diverged(HandlensError):
    """The loss is no number any more."""


@dataclass
class Totals:
    """What a pass over the pictures has come to so far."""

    loss: float = 0.0
    right: float = 0.0
    counted: float = 0.0
    seen: float = 0.0

    @property
    def mean_loss(self) -> float:
        """The loss a picture."""
        return self.loss / self.seen

    @property
    def accuracy(self) -> float:
        """The share of the pictures with a label that were judged right."""
        return self.right / self.counted if self.counted else float("nan")

    def of_all_processes(self) -> "Totals":
        """Summed over the processes that share the pictures."""
        return Totals(*distributed.sums(asdict(self).values()))


def run_epoch(
    scores: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    loss: Loss,
    step: Callable[[Tensor], object] | None,
    first_classes: int | None = None,
    totals: Totals | None = None,
    where: str = "the validation pictures",
    shared: bool = False,
    first: int = 0,
) -> Totals:
    """Pass over the batches once; `step` takes each loss to change the weights, None only looks.

    `scores` may give (n, classes), or (members, n, classes) for members that learn side by side. The
    accuracy is that of the first task, which has `first_classes`. With `totals` it goes on from there, and
    the batches are counted from `first` on. A loss that is not a number ends it; `where` says where that
    was. Where each batch is `shared` out over several processes, a process's loss is its part of the whole
    batch's mean.
    """
    totals = totals or Totals()
    with torch.set_grad_enabled(step is not None):
        for number, (inputs, targets) in enumerate(batches, start=first):
            given = scores(inputs)
            members = given.unsqueeze(0) if given.ndim == 2 else given
            mass, num_pictures = _of_whole_batch(loss, targets) if shared else (None, len(targets))
            value = torch.stack(
                [loss(member, targets) if mass is None else loss(member, targets, mass) for member in members]
            ).mean()
            if not torch.isfinite(value):
                raise Diverged(
                    f"The loss is {value.item()} in batch {number + 1} of {where}: training has diverged. "
                    "Lower train.optimiser.learning_rate, or set train.precision to float32."
                )
            totals.loss += value.item() * num_pictures
            right, counted = _right(members[..., :first_classes], targets, first_classes)
            totals.right += right
            totals.counted += counted
            totals.seen += len(targets)
            if step is not None:
                step(value)
    return totals


def _of_whole_batch(loss: Loss, targets: Tensor) -> tuple[Tensor, int]:
    """The mass by which the whole batch's mean is divided, and its number of pictures."""
    mass = loss.mass(targets)
    both = distributed.summed(torch.cat([mass.reshape(-1), mass.new_tensor([len(targets)])]))
    return both[:-1].view_as(mass), int(both[-1])


def _right(members: Tensor, targets: Tensor, num_classes: int | None) -> tuple[int, int]:
    """How many pictures of the first task are judged right, of how many that have a label."""
    if targets.is_floating_point():
        # Blended pictures count as what they show most of.
        parts = targets[:, :num_classes]
        truth, known = parts.argmax(-1), parts.sum(-1) > 0
    else:
        truth = targets if targets.ndim == 1 else targets[:, 0]
        known = truth >= 0
    judged = members.detach().softmax(-1).mean(0).argmax(-1)
    return int(((judged == truth) & known).sum()), int(known.sum())


class Stepper:
    """Steps down the losses, at the learning rate that `rate` gives for a step's number."""

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        rate: Callable[[int], float],
        members: int,
        clip: float | None = None,
        gather: int = 1,
        scaler: "torch.amp.GradScaler | None" = None,
        shared: bool = False,
    ) -> None:
        self.optimiser = optimiser
        self.rate = rate
        self.members = members
        self.clip = clip
        self.gather = gather
        self.scaler = scaler
        self.shared = shared
        self.take = plain_step(optimiser)
        self.number = 0
        """Batches seen so far."""
        self.moves = 0
        """Times that the weights have moved."""
        self.gathered = 0

    @classmethod
    def of(cls, lesson: Lesson, spec: FitSpec, rate: Callable[[int], float]) -> Self:
        """The steps of a lesson as a spec has them."""
        members, shared = lesson.learner.members, lesson.supply.shared
        return cls(lesson.optimiser, rate, members, spec.clip, spec.gather, lesson.scaler, shared)

    def __call__(self, value: Tensor) -> None:
        """Take the gradient of one loss, and move the weights when enough are gathered."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(self.number) * group.get("scale", 1.0)
        if not self.gathered:
            self.optimiser.zero_grad(set_to_none=True)
        # The members share nothing: each must get the gradient that it would get alone.
        value = value * self.members
        (self.scaler.scale(value) if self.scaler else value).backward()  # type: ignore[no-untyped-call]
        self.number += 1
        self.gathered += 1
        if self.gathered == self.gather:
            self.move()

    def move(self) -> None:
        """Move the weights by what is gathered, if anything is: also for the rest of an epoch."""
        if not self.gathered:
            return
        weights = [weight for group in self.optimiser.param_groups for weight in group["params"]]
        if self.gathered > 1:
            for weight in weights:
                if weight.grad is not None:
                    weight.grad /= self.gathered
        if self.shared:
            distributed.add_up_gradients(weights)
        self.gathered = 0
        self.moves += 1
        if self.scaler:
            self.scaler.unscale_(self.optimiser)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, self.clip)
        if self.scaler:
            self.scaler.step(self.optimiser)
            self.scaler.update()
        else:
            self.take()

    def state(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "number": self.number,
            "moves": self.moves,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else {},
        }

    def go_on_from(self, state: Mapping[str, Any]) -> None:
        """Back from `state`."""
        self.number, self.moves = state["number"], state["moves"]
        self.optimiser.load_state_dict(state["optimiser"])
        if self.scaler and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
