"""Finding a learning rate: it rises from step to step, far too small at first (Smith 2017, section 3.3)."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import Tensor

from handlens.base.errors import HandlensError
from handlens.training.lesson import Lesson
from handlens.training.loop import Diverged, Stepper, run_epoch
from handlens.training.spec import FitSpec
from handlens.training.supply import Batch

LOWEST, HIGHEST = 1e-7, 10.0
NUM_STEPS = 100
SMOOTHING = 0.9
"""Share of the mean so far that stays with each step; the noise of batches falls to a quarter."""
TOO_HIGH = 4.0
"""The sweep ends where the smoothed loss is as many times the best."""
LEAST_FALL = 0.1
"""A smoothed loss that falls by a smaller share has not fallen."""
NUM_FIRST = 10
"""Steps whose middle loss is that of the beginning: rates so small change nothing."""
HALF_DECADE = 6
"""Steps over which the rate grows about threefold; the fall over a decade outweighs the noise of batches."""

Point = Literal["tenth", "edge"]

WHY: dict[Point, str] = {
    "tenth": "it is a tenth of the rate at which the loss is least: that leaves room, and noise moves it "
    "less than where the loss falls most",
    "edge": "it is a tenth of the largest rate at which the loss had not yet risen: it hardly fell before, "
    "as where a trained network only goes on",
}


@dataclass
class Sweep:
    """The loss at each learning rate."""

    rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of each step's batches, before it."""
    smoothed: list[float] = field(default_factory=list)
    """Their moving mean."""
    ended: Literal["highest", "too_high", "diverged"] = "highest"
    """Whether the highest rate was reached, or the loss was far above its best or no number before."""

    @property
    def too_high(self) -> bool:
        """Whether there is no use in going on."""
        return len(self.smoothed) > 1 and self.smoothed[-1] > TOO_HIGH * min(self.smoothed)

    def add(self, rate: float, loss: float) -> None:
        """One more step."""
        self.rates.append(rate)
        self.losses.append(loss)
        self.smoothed = smooth(self.losses)


@dataclass(frozen=True)
class Suggestion:
    """The learning rate to take."""

    rate: float
    """Rounded to two digits."""
    point: Point
    """What it is a tenth of: the rate of the least loss, or the edge before the loss rises."""
    steepest: float | None
    """The middle of the decade over which the smoothed loss falls most; none where it does not fall."""
    lowest: float | None
    """Where it is least."""

    @property
    def why(self) -> str:
        """Why this rate is taken."""
        return WHY[self.point]

    @property
    def setting(self) -> str:
        """What puts it into a recipe."""
        return f"train.optimiser.learning_rate={self.rate:g}"


def sweep(
    lesson: Lesson, spec: FitSpec, seed: int, stepped: Callable[[int], object] = lambda _: None
) -> Sweep:
    """Learn at rates that rise exponentially, until the loss is far above its best.

    The weights of the learner are of no use after it. `stepped` is told of each step.
    """
    learner, supply = lesson.learner, lesson.supply
    found, gathered = Sweep(), list[float]()

    def rate(batch: int) -> float:
        return rate_of(batch // spec.gather)

    stepper = Stepper.of(lesson, spec, rate)

    def step(value: Tensor) -> None:
        stepper(value)
        gathered.append(value.item())
        if not stepper.gathered:
            found.add(rate(stepper.number - 1), float(np.mean(gathered)))
            gathered.clear()
            stepped(1)

    def batches() -> Iterator[Batch]:
        for epoch in itertools.count():
            with closing(supply.epoch(_chance(seed, 0, epoch))) as coming:  # type: ignore[type-var]
                for inputs, targets in coming:
                    if found.too_high or len(found.rates) == NUM_STEPS:
                        return
                    learner.begin_chance(_chance(seed, 1, stepper.number))
                    yield inputs.to(lesson.device), targets.to(lesson.device)

    lesson.epoch_begins(0)
    learner.train()
    try:
        run_epoch(lesson.scores or learner.member_scores, batches(), lesson.loss, step, learner.widths[0])
    except Diverged:
        found.ended = "diverged"
    if found.too_high:
        found.ended = "too_high"
    return found


def rate_of(step: int) -> float:
    """The learning rate of a step."""
    return float(LOWEST * (HIGHEST / LOWEST) ** (step / (NUM_STEPS - 1)))


def smooth(losses: Sequence[float]) -> list[float]:
    """The exponential moving mean, made free of its start at zero (Kingma and Ba 2015, section 3)."""
    mean, smoothed = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed.append(mean / (1 - SMOOTHING**number))
    return smoothed


def suggest(found: Sweep) -> Suggestion:
    """A tenth of the rate of the least loss; where the loss does not fall, of where it begins to rise.

    Where it falls most is told too, but the noise of small batches moves that by decades.
    """
    losses = np.asarray(found.smoothed)
    if len(losses) <= NUM_FIRST:
        raise HandlensError(
            f"The loss is no number, or far above its first, after {len(losses)} steps at learning rates "
            f"near {LOWEST:g}: no rate can be found. Look at the pictures and the loss, or set "
            "train.precision to float32."
        )
    first, least = float(np.median(losses[:NUM_FIRST])), NUM_FIRST + int(losses[NUM_FIRST:].argmin())
    if losses[least] > (1 - LEAST_FALL) * first:
        # The last of those from the beginning on that are still as low.
        risen = np.flatnonzero(losses > (1 + LEAST_FALL) * first)
        edge = int(risen[0]) - 1 if len(risen) else len(losses) - 1
        return Suggestion(_round(found.rates[max(edge, 0)] / 10), "edge", None, None)
    numbers = np.arange(NUM_FIRST, least + 1)
    after, before = np.minimum(numbers + HALF_DECADE, least), numbers - HALF_DECADE
    steepest = found.rates[int(numbers[(losses[after] - losses[before]).argmin()])]
    lowest = found.rates[least]
    return Suggestion(_round(lowest / 10), "tenth", steepest, lowest)


def _round(rate: float) -> float:
    return round(rate, 1 - math.floor(math.log10(rate)))


def _chance(seed: int, use: int, number: int) -> int:
    """A seed of its own for every epoch and every step."""
    return int(np.random.SeedSequence([seed, use, number]).generate_state(1)[0])
