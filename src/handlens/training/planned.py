"""Batches that depend on seeds alone, loaded a little ahead by threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from handlens.data.sides import Rows
from handlens.training.device import on_one_core
from handlens.training.mixing import mixed, mixed_targets
from handlens.training.plan import Plan, StepPlan
from handlens.training.supply import Batch

Item = TypeVar("Item")

AHEAD = 2
"""Batches that are being loaded while one is learned from; more would only fill the memory."""


class Source(Protocol):
    """Where the inputs come from, one by one; many threads may ask at once."""

    shape: tuple[int, ...]
    num_views: int

    def learned(self, place: int, view: int, words: str) -> Tensor:
        """One input under a view; what is drawn, if anything is, depends on the words and its content."""

    def judged(self, place: int) -> Tensor:
        """One input under the judging view."""


class PlannedSupply:
    """A supply whose every batch depends on nothing but the epoch's seed and the step's number.

    `targets` has the class of each picture of the source, (n,), or its class in each task, (n, tasks),
    with -1 where there is none; `widths` are the numbers of classes of the tasks. Balance is over the
    classes of the first task.
    """

    goes_on_anywhere = True

    def __init__(
        self,
        source: Source,
        targets: Rows,
        widths: Sequence[int],
        learned: Rows,
        judged: Rows | None,
        batch_size: int,
        *,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        balanced: bool = False,
        threads: int = 2,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.source = source
        self.targets = torch.from_numpy(targets)
        self.widths = tuple(widths)
        self.batch_size = batch_size
        self.threads = threads
        self.shared = world > 1
        first_task = targets if targets.ndim == 1 else targets[:, 0]
        self.plan = Plan(
            learned,
            first_task[learned],
            source.num_views,
            batch_size,
            (source.shape[1], source.shape[2]) if len(source.shape) == 3 else None,
            mixup,
            cutmix,
            balanced,
            rank,
            world,
        )
        self.steps_per_epoch = self.plan.steps_per_epoch
        self._judged: list[Rows] | None = None
        if judged is not None and len(judged):
            chunks = [judged[at : at + batch_size] for at in range(0, len(judged), batch_size)]
            # Whole batches, so that the loss of each is what it is in one process.
            self._judged = chunks[rank::world]

    def epoch(self, seed: int, first: int = 0) -> Iterator[Batch]:
        """This process's part of the batches of one epoch, from step `first` on."""

        def loads(step: StepPlan) -> list[Callable[[], Tensor]]:
            entries = zip(step.places.tolist(), step.views.tolist(), step.times.tolist(), strict=True)
            return [
                partial(self.source.learned, place, view, f"{seed} {time}") for place, view, time in entries
            ]

        for step, inputs in self._loaded(self.plan.steps(seed, first), loads):
            yield self._mixed(step, inputs)

    def judged(self) -> Iterator[Batch] | None:
        """This process's part of the pictures to judge, in order; none where there are none."""
        if self._judged is None:
            return None
        return self._judged_batches(self._judged)

    def _judged_batches(self, chunks: Sequence[Rows]) -> Iterator[Batch]:
        def loads(places: Rows) -> list[Callable[[], Tensor]]:
            return [partial(self.source.judged, place) for place in places.tolist()]

        for chunk, inputs in self._loaded(chunks, loads):
            yield inputs, self.targets[torch.from_numpy(chunk)]

    def _mixed(self, step: StepPlan, inputs: Tensor) -> Batch:
        targets = self.targets[torch.from_numpy(step.places)]
        if step.mix is None:
            return inputs, targets
        own, partners = slice(step.num_own), torch.from_numpy(step.partners)
        blended = mixed(inputs[own], inputs[partners], step.mix)
        if blended.ndim == 4:
            blended = blended.contiguous(memory_format=torch.channels_last)
        return blended, mixed_targets(targets[own], targets[partners], step.mix, self.widths)

    def _loaded(
        self, wanted: Iterable[Item], loads: Callable[[Item], list[Callable[[], Tensor]]]
    ) -> Iterator[tuple[Item, Tensor]]:
        """The inputs of each item, put together from what its loads give, in order and a little ahead."""

        def put(inputs: Tensor, at: int, load: Callable[[], Tensor]) -> None:
            inputs[at].copy_(load())

        def begun(item: Item) -> tuple[Item, Tensor, list[Future[None]]]:
            rows = loads(item)
            inputs = torch.empty((len(rows), *self.source.shape), memory_format=self._layout)
            return item, inputs, [pool.submit(put, inputs, at, load) for at, load in enumerate(rows)]

        def finished(item: Item, inputs: Tensor, futures: list[Future[None]]) -> tuple[Item, Tensor]:
            for future in futures:
                future.result()
            return item, inputs

        with ThreadPoolExecutor(self.threads, "loader", on_one_core) as pool:
            waiting: deque[tuple[Item, Tensor, list[Future[None]]]] = deque()
            try:
                for item in wanted:
                    waiting.append(begun(item))
                    if len(waiting) > AHEAD:
                        yield finished(*waiting.popleft())
                while waiting:
                    yield finished(*waiting.popleft())
            finally:
                # An error or Ctrl-C must not wait for batches that nobody will use.
                pool.shutdown(wait=False, cancel_futures=True)

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if len(self.source.shape) == 3 else torch.contiguous_format
