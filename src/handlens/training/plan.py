"""What each step of an epoch shows: which pictures, under which views, mixed with which.

Everything is drawn for the whole batch from the epoch's seed and the step's number alone. A process that
trains together with others takes its part of it, and sees the pictures that one process alone would see.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from handlens.base.errors import HandlensError
from handlens.data.sides import Rows
from handlens.training.mixing import MixPlan, draw_plan
from handlens.training.sampling import order_of_epoch

LEAST_A_PROCESS = 2
"""A batch norm cannot learn from one picture."""


@dataclass(frozen=True)
class StepPlan:
    """One process's part of one batch: what to load, and how it is mixed."""

    places: Rows
    """The pictures to load: first the process's own, then those that they are mixed with besides."""
    views: Rows
    """The view of each."""
    times: Rows
    """How often each has come before in this epoch."""
    num_own: int
    """How many are the process's own."""
    partners: Rows
    """Where among those loaded stands what each of its own is mixed with."""
    mix: MixPlan | None
    """How each of its own is mixed."""


@dataclass(frozen=True)
class Plan:
    """The steps of epochs over all views of some pictures."""

    learned: Rows
    """The places of the pictures to learn from."""
    classes: Rows
    """The class of each of them, for balance."""
    num_views: int
    batch_size: int
    """Pictures in a batch of all processes together; at most so many, and about as many in each."""
    size: tuple[int, int] | None
    """Height and width of what is mixed; CutMix needs them."""
    mixup: float = 0.0
    cutmix: float = 0.0
    balanced: bool = False
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        least = LEAST_A_PROCESS * self.world
        together = f" for {self.world} processes" if self.world > 1 else ""
        if self.batch_size < least:
            raise HandlensError(
                f"train.batch_size is {self.batch_size}: set it to {least} or more{together}, since each "
                f"step needs {LEAST_A_PROCESS} pictures in each process."
            )
        if len(self.learned) * self.num_views < least:
            raise HandlensError(
                f"There are only {len(self.learned)} pictures to learn from: "
                f"it takes {least} or more{together}."
            )
        if self.cutmix and self.size is None:
            raise HandlensError(
                "train.cutmix cuts boxes out of maps, and what this part of the network takes is no map. "
                "Set train.mixup instead, or let more of the network train."
            )

    @property
    def num_rows(self) -> int:
        """Pictures times views."""
        return len(self.learned) * self.num_views

    @property
    def steps_per_epoch(self) -> int:
        """As few steps as the batch size allows, but none with less than two pictures a process."""
        least = LEAST_A_PROCESS * self.world
        return min(-(-self.num_rows // self.batch_size), self.num_rows // least)

    def steps(self, seed: int, first: int = 0) -> Iterator[StepPlan]:
        """The steps of the epoch with this seed, from step `first` on."""
        classes = np.repeat(self.classes, self.num_views)
        order = order_of_epoch(classes, np.random.default_rng([seed, 0]), self.balanced)
        times = times_before(order)
        chunks = np.array_split(np.arange(len(order)), self.steps_per_epoch)
        for number in range(first, len(chunks)):
            yield self._step(order, times, chunks[number], np.random.default_rng([seed, 1, number]))

    def _step(self, order: Rows, times: Rows, chunk: Rows, rng: np.random.Generator) -> StepPlan:
        own = np.arange(len(chunk))[self.rank :: self.world]
        loaded, partners, mix = own, own[:0], None
        if self.mixup or self.cutmix:
            mix = draw_plan(len(chunk), rng, self.mixup, self.cutmix, self.size).part(own)
            loaded = np.concatenate([own, np.setdiff1d(mix.partners, own)])
            where = np.empty(len(chunk), np.int64)
            where[loaded] = np.arange(len(loaded))
            partners = where[mix.partners]
        rows = chunk[loaded]
        places, views = np.divmod(order[rows], self.num_views)
        return StepPlan(self.learned[places], views, times[rows], len(own), partners, mix)


def times_before(order: Rows) -> Rows:
    """How often each entry has come before."""
    sorted_places = np.argsort(order, kind="stable")
    _, starts, counts = np.unique(order[sorted_places], return_index=True, return_counts=True)
    times = np.empty(len(order), np.int64)
    times[sorted_places] = np.arange(len(order)) - np.repeat(starts, counts)
    return times
