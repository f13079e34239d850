"""Training a head on rows of kept features."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handlens.data.sides import Rows
from handlens.models.heads import Head
from handlens.training.aims import Aims, make_aims_loss
from handlens.training.fit import Progress, fit
from handlens.training.lesson import Lesson
from handlens.training.optim import make_optimiser
from handlens.training.sampling import order_of_epoch
from handlens.training.spec import FitSpec
from handlens.training.supply import Batch
from handlens.training.table import FeatureTable, blended, judging_batches, training_batches

LEAST_STEPS = 10
BATCH_SIZE = 256


def fit_head(
    head: Head,
    table: FeatureTable,
    classes: NDArray[np.int64],
    learned: Rows,
    judged: Rows | None,
    spec: FitSpec,
    progress: Progress | None = None,
    save: Callable[[Progress], None] = lambda _: None,
    epoch_done: Callable[[Mapping[str, Any]], None] = lambda _: None,
    seed: int = 0,
    aims: Aims | None = None,
) -> Progress:
    """Train a head on kept features and leave the best weights in it.

    `classes` has the class of each picture of the table, or one for each task; `learned` are the places
    to learn from and `judged` those that tell which epoch is best.
    """
    lesson = head_lesson(head, table, classes, learned, judged, spec, aims)
    return fit(lesson, spec, seed, progress, save, epoch_done)


def head_lesson(
    head: Head,
    table: FeatureTable,
    classes: NDArray[np.int64],
    learned: Rows,
    judged: Rows | None,
    spec: FitSpec,
    aims: Aims | None = None,
) -> Lesson:
    """What a head on kept features learns, as `fit_head` trains it."""
    targets = torch.from_numpy(classes[learned])
    if head.standardises:
        head.standardise.set_to(*table.mean_and_deviation(learned))
    supply = HeadSupply(
        table,
        learned,
        targets,
        judged,
        torch.from_numpy(classes[judged if judged is not None else learned[:0]]),
        num_steps(len(learned) * table.num_views, spec.batch_size or BATCH_SIZE),
        spec.mixup,
        spec.balanced,
        head.widths,
    )
    loss = make_aims_loss(spec.loss, aims or Aims(head.widths), targets)
    return Lesson(head, supply, loss, make_optimiser(spec.optimiser, head))


@dataclass
class HeadSupply:
    """Every view of every picture once an epoch."""

    table: FeatureTable
    learned: Rows
    targets: Tensor
    """Of the pictures that are learned from, (n,) or (n, tasks)."""
    judged_rows: Rows | None
    judged_targets: Tensor
    steps_per_epoch: int
    mixup: float
    balanced: bool
    widths: tuple[int, ...]
    """The classes of each task."""
    goes_on_anywhere = False
    shared = False

    def epoch(self, seed: int, first: int = 0) -> Iterator[Batch]:
        """All batches; an epoch takes well under a second, so that none is begun in its middle."""
        chance = torch.Generator().manual_seed(seed)
        order = None
        if self.balanced:
            classes = self.targets.view(len(self.targets), -1)[:, 0].numpy()
            order = order_of_epoch(
                np.repeat(classes, self.table.num_views), np.random.default_rng(seed), balanced=True
            )
        batches = training_batches(
            self.table, self.learned, self.targets, self.steps_per_epoch, chance, order
        )
        return blended(batches, self.mixup, self.widths, chance) if self.mixup else batches

    def judged(self) -> Iterator[Batch] | None:
        """The judging view of the validation pictures."""
        if self.judged_rows is None:
            return None
        return judging_batches(self.table, self.judged_rows, self.judged_targets)


def num_steps(num_rows: int, batch_size: int) -> int:
    """Steps an epoch: a hundred pictures in one batch would hardly move the head at all."""
    return min(num_rows, max(LEAST_STEPS, round(num_rows / batch_size)))
