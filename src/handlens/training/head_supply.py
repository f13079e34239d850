"""What a head is fed with: rows of kept features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handlens.data.sides import Rows
from handlens.training.sampling import order_of_epoch
from handlens.training.supply import Batch
from handlens.training.table import FeatureTable, blended, judging_batches, training_batches


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
