"""Training a head on kept features: epochs, early stopping, going on after a stop."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from handlens.base.spec import Spec
from handlens.data.sides import Rows
from handlens.models.heads import Head
from handlens.training.device import PrecisionChoice
from handlens.training.loop import run_epoch, stepper
from handlens.training.losses import LossSpec, make_loss
from handlens.training.optim import OptimiserSpec, ScheduleSpec, make_optimiser, rate_at
from handlens.training.table import FeatureTable, blended, judging_batches, training_batches

# A save costs milliseconds and saves at most this much work; results never depend on when it happens.
SAVE_EVERY_S = 5.0
LEAST_STEPS = 10


class TrainSpec(Spec):
    """How the head is trained."""

    seed: int = Field(0, ge=0)
    """Start of the head's first weights, of the order of the pictures and of the dropout."""
    epochs: int = Field(30, ge=1)
    """Passes over all views of all training pictures."""
    batch_size: int = Field(256, ge=2)
    """Pictures a step of the head; where they are few, fewer, so that an epoch has ten steps."""
    patience: int | None = Field(10, ge=1)
    """Where there is a validation side: stop after so many epochs without a better loss on it."""
    folds: int = Field(5, ge=0)
    """Without a validation side: parts for cross-validation on the training side; 0 for none."""
    mixup: float = Field(0.0, ge=0)
    """How strongly pairs of pictures are blended in training; 0 for not at all, 0.4 for a fair amount."""
    loss: LossSpec = LossSpec()
    """What training makes small."""
    optimiser: OptimiserSpec = OptimiserSpec()
    """How the weights follow the loss."""
    schedule: ScheduleSpec = ScheduleSpec()
    """How the learning rate changes."""
    precision: PrecisionChoice = "auto"
    """Arithmetic of the frozen pass: `auto` takes bfloat16 where the processor has it."""


@dataclass
class Progress:
    """How far a training has come; all that is needed to go on is in here."""

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    head: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    best_loss: float = float("inf")
    best_epoch: int = 0
    best_head: dict[str, Tensor] = field(default_factory=dict)

    def as_state(self) -> dict[str, Any]:
        """Plain values and tensors for the state file."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Progress":
        """Back from the state file."""
        return cls(**state)


def fit_head(
    head: Head,
    table: FeatureTable,
    classes: NDArray[np.int64],
    learned: Rows,
    judged: Rows | None,
    spec: TrainSpec,
    progress: Progress | None = None,
    save: Callable[[Progress], None] = lambda _: None,
    epoch_done: Callable[[int], None] = lambda _: None,
) -> Progress:
    """Train a head and leave the best weights in it.

    `classes` has the class of each picture of the table; `learned` are the places to learn from and
    `judged` those that tell which epoch is best. With a `progress` it goes on from there; every number
    drawn depends only on the seed and the epoch, so the result is the same.
    """
    targets = torch.from_numpy(classes[learned])
    loss = make_loss(spec.loss, torch.bincount(targets, minlength=head.num_classes))
    head.standardise.set_to(*table.mean_and_deviation(learned))
    judged_targets = torch.from_numpy(classes[judged] if judged is not None else classes[:0])
    optimiser = make_optimiser(spec.optimiser, head)
    progress = progress or Progress()
    if progress.epoch:
        head.load_state_dict(progress.head)
        optimiser.load_state_dict(progress.optimiser)
    steps_per_epoch = num_steps(len(learned) * table.num_views, spec.batch_size)
    total_steps = steps_per_epoch * spec.epochs

    def rate(step: int) -> float:
        return spec.optimiser.learning_rate * rate_at(spec.schedule, (step + 0.5) / total_steps)

    step = stepper(optimiser, rate, progress.epoch * steps_per_epoch, head.members)
    saved_at = time.monotonic()
    while progress.epoch < spec.epochs and not _out_of_patience(progress, spec):
        seed = _seed(spec.seed, progress.epoch)
        head.chance.begin(seed)
        order = torch.Generator().manual_seed(seed)
        batches = training_batches(table, learned, targets, steps_per_epoch, order)
        if spec.mixup:
            batches = blended(batches, spec.mixup, head.num_classes, order)
        head.train()
        taught = run_epoch(head.member_scores, batches, loss, step)
        head.eval()
        row = {
            "epoch": progress.epoch + 1,
            "learning_rate": optimiser.param_groups[0]["lr"],
            "train_loss": taught.loss,
            "train_accuracy": taught.accuracy,
        }
        val_loss = None
        if judged is not None:
            seen = run_epoch(head, judging_batches(table, judged, judged_targets), loss, None)
            val_loss = seen.loss
            row |= {"val_loss": seen.loss, "val_accuracy": seen.accuracy}
        progress.epoch += 1
        progress.history.append(row)
        # Without a validation side the last epoch is the best there is to go by.
        if val_loss is None or val_loss < progress.best_loss:
            progress.best_loss = float("inf") if val_loss is None else val_loss
            progress.best_epoch = progress.epoch
            progress.best_head = _copy(head)
        epoch_done(progress.epoch)
        finished = progress.epoch == spec.epochs or _out_of_patience(progress, spec)
        if finished or time.monotonic() - saved_at > SAVE_EVERY_S:
            progress.head, progress.optimiser = _copy(head), optimiser.state_dict()
            save(progress)
            saved_at = time.monotonic()
    head.load_state_dict(progress.best_head)
    head.eval()
    return progress


def num_steps(num_rows: int, batch_size: int) -> int:
    """Steps an epoch: a hundred pictures in one batch would hardly move the head at all."""
    return min(num_rows, max(LEAST_STEPS, round(num_rows / batch_size)))


def _copy(head: Head) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in head.state_dict().items()}


def _out_of_patience(progress: Progress, spec: TrainSpec) -> bool:
    return spec.patience is not None and progress.epoch - progress.best_epoch >= spec.patience > 0


def _seed(seed: int, epoch: int) -> int:
    """A seed of its own for every epoch, so that going on needs no remembered random state."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
