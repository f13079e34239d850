"""Training: epochs, early stopping, going on after a stop; for heads on kept features and for networks."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handlens.models.heads import Share
from handlens.training import distributed
from handlens.training.average import WeightAverage
from handlens.training.lesson import Learner, Lesson
from handlens.training.loop import Stepper, Totals, run_epoch
from handlens.training.optim import rate_at
from handlens.training.spec import FitSpec
from handlens.training.supply import Batch

# What a stop can cost. Results never depend on when the state is saved; saving takes at most a fiftieth
# of the time, however large the network is.
SAVE_EVERY_S = 5.0
SAVING_AT_MOST = 1 / 50
AGREE_EVERY = 16
"""Steps after which several processes ask the main one whether it is time to save."""


@dataclass
class Progress:
    """How far a training has come; all that is needed to go on is in here."""

    epoch: int = 0
    batch: int = 0
    """Batches done in the epoch that is under way."""
    totals: dict[str, float] = field(default_factory=dict)
    """What these came to."""
    history: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    stepper: dict[str, Any] = field(default_factory=dict)
    average: dict[str, Any] = field(default_factory=dict)
    best_loss: float = float("inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def as_state(self) -> dict[str, Any]:
        """Plain values and tensors for the state file."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Progress":
        """Back from the state file."""
        return cls(**state)


def fit(
    lesson: Lesson,
    spec: FitSpec,
    seed: int,
    progress: Progress | None = None,
    save: Callable[[Progress], None] = lambda _: None,
    epoch_done: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Progress:
    """Train and leave the best weights in the learner.

    With a `progress` it goes on from there; every number drawn depends only on the seed, the epoch and
    the step, so the result is the same.
    """
    progress = progress or Progress()
    training = _Training(lesson, spec, seed, progress, save)
    training.go_on()
    while not training.over:
        epoch_done(training.epoch())
        if training.over or training.rhythm.due():
            training.keep(0, Totals())
    lesson.learner.load_state_dict(progress.best_weights, strict=False)
    lesson.learner.eval()
    return progress


class _Training:
    """One training under way."""

    def __init__(
        self,
        lesson: Lesson,
        spec: FitSpec,
        seed: int,
        progress: Progress,
        save: Callable[[Progress], None],
    ) -> None:
        self.lesson, self.learner, self.supply = lesson, lesson.learner, lesson.supply
        self.spec, self.seed, self.progress, self.save = spec, seed, progress, save
        self.stepper = Stepper.of(lesson, spec, self.rate)
        self.average = WeightAverage(self.learner, spec.average) if spec.average else None
        self.names = {name for name, weight in self.learner.named_parameters() if weight.requires_grad}
        self.names |= {name for name, _ in self.learner.named_buffers()}
        self.rhythm = SavingRhythm()

    @property
    def over(self) -> bool:
        """Whether there is nothing left to learn."""
        reached, patience = self.progress, self.spec.patience
        tired = patience is not None and reached.epoch - reached.best_epoch >= patience > 0
        return reached.epoch >= self.spec.epochs or tired

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        steps = self.supply.steps_per_epoch
        total = steps * self.spec.epochs
        share = rate_at(self.spec.schedule, (step + 0.5) / total, total, steps)
        return self.spec.optimiser.learning_rate * share

    def go_on(self) -> None:
        """Take up what was saved, if anything was."""
        if self.progress.stepper:
            self.learner.load_state_dict(self.progress.weights, strict=False)
            self.stepper.go_on_from(self.progress.stepper)
        if self.average and self.progress.average:
            self.average.load(self.progress.average)

    def keep(self, batch: int, totals: Totals) -> None:
        """Save all that is needed to go on from after a batch of the epoch."""
        reached = self.progress
        reached.batch, reached.totals = batch, asdict(totals)
        # The gradients have been followed; without them there is room for the copies.
        self.stepper.optimiser.zero_grad(set_to_none=True)
        is_best = batch == 0 and reached.best_epoch == reached.epoch and not self.average
        reached.weights = reached.best_weights if is_best else _copy(self.learner, self.names)
        reached.stepper = self.stepper.state()
        reached.average = self.average.state() if self.average else {}
        with self.rhythm.saving():
            self.save(reached)

    def epoch(self) -> dict[str, Any]:
        """Learn for one epoch, or for what is left of it, and look how good the learner is; its row."""
        reached = self.progress
        self.lesson.epoch_begins(reached.epoch)
        # Of several processes the main one goes on from what all had come to.
        before = Totals(**reached.totals) if distributed.is_main() else Totals()
        taught = self.teach(before, _seed(self.seed, reached.epoch))
        row = {
            "epoch": reached.epoch + 1,
            "learning_rate": self.stepper.optimiser.param_groups[0]["lr"],
            "train_loss": taught.mean_loss,
            "train_accuracy": taught.accuracy,
        }
        reached.epoch += 1
        reached.batch, reached.totals = 0, {}
        with self.average.swapped_in() if self.average else nullcontext():
            seen = self.look()
            if seen is not None:
                row |= {"val_loss": seen.mean_loss, "val_accuracy": seen.accuracy}
            # Without a validation side the last epoch is the best there is to go by.
            if seen is None or seen.mean_loss < reached.best_loss:
                reached.best_loss = float("inf") if seen is None else seen.mean_loss
                reached.best_epoch = reached.epoch
                reached.best_weights = _copy(self.learner, self.names)
        reached.history.append(row)
        return row

    def teach(self, totals: Totals, seed: int) -> Totals:
        """Pass over the pictures to learn from."""
        reached, supply = self.progress, self.supply
        where = f"epoch {reached.epoch + 1}"

        def step(value: Tensor) -> None:
            self.stepper(value)
            done = self.stepper.number - reached.epoch * supply.steps_per_epoch
            finished = done == supply.steps_per_epoch
            if finished:
                self.stepper.move()
            if self.stepper.gathered:
                return
            if self.average:
                self.average.update(self.stepper.moves - 1)
            if supply.goes_on_anywhere and not finished and self.due(done):
                self.keep(done, totals.of_all_processes() if supply.shared else totals)

        self.learner.begin_chance(seed)
        self.learner.train()
        scores = self.lesson.scores or self.learner.member_scores
        first = reached.batch
        batches = self.batches(seed, first)
        width = self.learner.widths[0]
        run_epoch(scores, batches, self.lesson.loss, step, width, totals, where, supply.shared, first)
        self.learner.eval()
        return totals.of_all_processes() if supply.shared else totals

    def due(self, done: int) -> bool:
        """Whether to save in the middle of an epoch; several processes do it at the same step."""
        if not self.supply.shared:
            return self.rhythm.due()
        return done % AGREE_EVERY == 0 and bool(distributed.from_main(self.rhythm.due()))

    def look(self) -> Totals | None:
        """Pass over the pictures to judge, if there are any."""
        judged = self.supply.judged()
        if judged is None:
            return None
        totals = run_epoch(
            self.learner, _moved(judged, self.lesson.device), self.lesson.loss, None, self.learner.widths[0]
        )
        return totals.of_all_processes() if self.supply.shared else totals

    def batches(self, seed: int, first: int) -> Iterator[Batch]:
        """Those of an epoch; where it can be gone on with in its middle, each has a chance of its own."""
        coming = _moved(self.supply.epoch(seed, first), self.lesson.device)
        for number, batch in enumerate(coming, start=first):
            if self.supply.goes_on_anywhere:
                self.learner.begin_chance(_seed(seed, number), self.share(len(batch[1])))
            yield batch
            self.lesson.seen(len(batch[0]))

    def share(self, num_pictures: int) -> Share | None:
        """Where several processes share each batch: this one's part of it."""
        if not self.supply.shared:
            return None
        whole = distributed.sums([num_pictures])
        return Share(distributed.rank(), distributed.world(), int(whole[0]))


def _moved(batches: Iterator[Batch], device: torch.device | None) -> Iterator[Batch]:
    """The batches on the device of the network."""
    if device is None or device.type == "cpu":
        return batches
    return ((inputs.to(device, non_blocking=True), targets.to(device)) for inputs, targets in batches)


class SavingRhythm:
    """When to save: seldom enough that saving takes little of the time."""

    def __init__(self) -> None:
        self.saved_at = time.monotonic()
        self.took_s = 0.0

    def due(self) -> bool:
        """Whether enough time has passed since the last save."""
        return time.monotonic() - self.saved_at > max(SAVE_EVERY_S, self.took_s / SAVING_AT_MOST)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Time the block, which saves."""
        started = time.monotonic()
        yield
        self.saved_at = time.monotonic()
        self.took_s = self.saved_at - started


def _copy(learner: Learner, names: set[str]) -> dict[str, Tensor]:
    """What training has changed; what is frozen needs no keeping."""
    state = learner.state_dict()
    return {name: value.detach().clone() for name, value in state.items() if name in names}


def _seed(seed: int, number: int) -> int:
    """A seed of its own for every epoch or step, so that going on needs no remembered random state."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
