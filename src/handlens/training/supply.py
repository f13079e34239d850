"""What training is fed with: batches of an epoch, wherever they come from."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Inputs (n, ...) and targets: (n,), (n, tasks) with -1 for a missing label, or blended (n, classes)."""


class Supply(Protocol):
    """The pictures that are learned from and those that are judged after each epoch."""

    steps_per_epoch: int
    shared: bool
    """Whether several processes have each a part of every batch, and bring together what they learn."""
    goes_on_anywhere: bool
    """Whether an epoch can be taken up again in its middle; each step then has a random state of its own."""

    def epoch(self, seed: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from step `first` on; the seed is the epoch's own.

        Of several processes each gets its part of every batch.
        """

    def judged(self) -> Iterator[Batch] | None:
        """The pictures that tell which epoch is best, or none."""
