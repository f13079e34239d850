"""Measuring what networks cost.

Times are only worth comparing within one session. All rows take turns there, in a new order in every round,
so that whatever else the machine does hits all of them alike; how many threads were used, and how busy the
machine was, stands beside the times. What is timed is the way from the prepared pixels of a picture to its
probabilities, as a run judges: batch norms folded, all views where it judges by their mean. Opening and
resizing the file is left out: it is the same work for every network.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from handlens.base.progress import progress
from handlens.evaluate.cost import Cost, Session
from handlens.evaluate.predict import AnyHead, head_probabilities
from handlens.models.figures import network_figures
from handlens.models.network import Network
from handlens.models.pool import POOLS
from handlens.provenance import processor
from handlens.training.device import Device, cpu_has_bfloat16
from handlens.training.frozen import FrozenPass

Pixels = NDArray[np.uint8]

BATCH = 16
"""Pictures at once, for the number of pictures a second."""
WARM_UP = 3
"""Passes before the first that is timed: the first ones choose algorithms and fill caches."""
LEAST_ROUNDS, MOST_ROUNDS = 60, 100
"""Of sixty times three lie above the 95th percentile, and more than a hundred tell nothing new."""
SLOW_ROUNDS, SLOW_SECONDS = 20, 30.0
"""Of a network so slow that sixty times took longer than this, as many as fit, and this many at least."""
BATCH_ROUNDS = 5
SECONDS_A_ROW = 3.0
"""About how long one row is measured."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A network with what it needs to judge."""

    trunk: nn.Module
    head: AnyHead
    pool: str
    """How the feature map becomes a row."""
    normalise: str
    """How pixels are normalised."""
    size: int
    """The side of the pictures that it judges."""
    views: int = 1
    """Views of a picture that it judges by."""
    precision: str = "auto"
    """The precision that its recipe asks for."""


def measure(
    contenders: Mapping[str, Contender],
    *,
    threads: int = 1,
    batch: int = BATCH,
    timed: bool = True,
    seconds_a_row: float = SECONDS_A_ROW,
) -> tuple[dict[str, Cost], Session | None]:
    """The cost of each network, all timed in turn in one session."""
    costs = {name: counted(each) for name, each in contenders.items()}
    if not timed or not contenders:
        return costs, None
    ways = {name: judging(each) for name, each in contenders.items()}
    one = {name: _pixels(each, 1) for name, each in contenders.items()}
    many = {name: _pixels(each, batch) for name, each in contenders.items()}
    singles: dict[str, list[float]] = {name: [] for name in ways}
    batches: dict[str, list[float]] = {name: [] for name in ways}
    before = _load()
    with _threads(threads), _quiet():
        warm = {
            name: min(_milliseconds(judge, one[name]) for _ in range(WARM_UP)) for name, judge in ways.items()
        }
        rounds = _rounds(max(warm.values()), seconds_a_row)
        for name, judge in ways.items():
            for _ in range(WARM_UP):
                judge(many[name])
        with progress("Timing", (rounds + BATCH_ROUNDS) * len(ways), "passes") as advance:
            for number, name in _in_turn(tuple(ways), rounds + BATCH_ROUNDS):
                # The rounds with many pictures are spread among those with one.
                if number % (rounds // BATCH_ROUNDS + 1) == 0 and len(batches[name]) < BATCH_ROUNDS:
                    batches[name].append(_milliseconds(ways[name], many[name]))
                else:
                    singles[name].append(_milliseconds(ways[name], one[name]))
                advance(1)
    session = Session(
        processor=processor(),
        cores=os.cpu_count() or 1,
        threads=threads,
        batch=batch,
        rounds=min(map(len, singles.values())),
        load_before=before,
        load_after=_load(),
    )
    return {
        name: cost.model_copy(
            update={
                "median_ms": float(np.median(singles[name])),
                "p95_ms": float(np.percentile(singles[name], 95)),
                "pictures_a_second": 1000 * batch / float(np.median(batches[name])),
            }
        )
        for name, cost in costs.items()
    }, session


def _rounds(slowest_ms: float, seconds_a_row: float) -> int:
    """How often each network is timed, by the slowest of them."""
    wanted = np.clip(1000 * seconds_a_row / slowest_ms, LEAST_ROUNDS, MOST_ROUNDS)
    return int(min(wanted, max(SLOW_ROUNDS, 1000 * SLOW_SECONDS / slowest_ms)))


def counted(contender: Contender) -> Cost:
    """Size and arithmetic of a network."""
    # A head of two, as a network beside itself has, is called like any other.
    network = Network(contender.trunk, POOLS[contender.pool], contender.head)  # type: ignore[arg-type]
    figures = network_figures(network.eval(), contender.size, contender.size)
    return Cost(
        num_parameters=figures.num_parameters,
        size_mib=figures.size_mib,
        multiply_adds=figures.multiply_adds * contender.views,
        size=contender.size,
        views=contender.views,
        precision=_precision(contender.precision),
    )


def judging(contender: Contender) -> Callable[[Pixels], object]:
    """From prepared pixels (n, height, width, 3) to probabilities on this processor, as a run judges."""
    device = Device(torch.device("cpu"), getattr(torch, _precision(contender.precision)))
    frozen = FrozenPass(contender.trunk, POOLS[contender.pool], contender.normalise, device)
    head = contender.head.eval()

    def judge(pixels: Pixels) -> object:
        # Each view is a pass of its own, as in judging.
        passes = [
            head_probabilities(head, torch.from_numpy(frozen.rows(pixels, len(pixels))))
            for _ in range(contender.views)
        ]
        return sum(passes)

    return judge


def _precision(asked: str) -> str:
    """What a processor computes in under a recipe's precision."""
    return "bfloat16" if asked == "bfloat16" or (asked == "auto" and cpu_has_bfloat16()) else "float32"


def _pixels(contender: Contender, count: int) -> Pixels:
    """Pictures of noise: how long a network takes does not depend on what it sees."""
    shape = (count, contender.size, contender.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _in_turn(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Each name once a round, in another order in every round."""
    generator = np.random.default_rng(0)
    for number in range(rounds):
        for at in generator.permutation(len(names)).tolist():
            yield number, names[at]


def _milliseconds(
    judge: Callable[[Pixels], object],
    pixels: Pixels,
) -> float:
    began = time.perf_counter()
    judge(pixels)
    return 1000 * (time.perf_counter() - began)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Python's collector, whose pauses would fall on one network by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _load() -> float | None:
    """How busy the machine is; none where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
