"""One network looks at all pictures: what it says, where it saw that, and whether the maps deserve belief."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.image import UnreadablePicture, judge
from handlens.evaluate.predict import judge_shots
from handlens.explain.belief import Against, against_random
from handlens.explain.chosen import Subject
from handlens.explain.inside import mask_in_view
from handlens.explain.maps import AT_ONCE, METHODS, Heat, heat_of
from handlens.explain.network import Explained, Trained
from handlens.explain.randomised import alike_when_random
from handlens.explain.spec import ExplainSpec
from handlens.training.device import a_core_a_batch, on_one_core

MOST_SLOWLY = 6
"""Belief in maps that take dozens of passes is checked on so many pictures."""

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trial:
    """What the checks of belief found, picture by picture."""

    rows: tuple[int, ...]
    """The pictures that were tried."""
    against: tuple[Against, ...]
    random_networks: NDArray[np.float64]
    """The rank correlations, a row a picture, a column a share of the network; NaN where not tried, or
    where a map was empty and cannot be compared."""


class Looking:
    """A run, and the pictures as its judging view shows them."""

    def __init__(self, trained: Trained, subjects: Sequence[Subject], spec: ExplainSpec) -> None:
        self.trained = trained
        self.subjects = tuple(subjects)
        self.spec = spec

    @property
    def name(self) -> str:
        """The run's name."""
        return self.trained.folder.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the main task."""
        return self.trained.facts.classes

    @cached_property
    def network(self) -> Explained:
        """The network, ready to be explained."""
        return Explained.of(self.trained)

    @cached_property
    def quick(self) -> Explained:
        """The same network, made ready for the many passes of the checks."""
        return Explained.of(self.trained, quick=True)

    @cached_property
    def pixels(self) -> Pixels:
        """The pictures as the network is shown them, (n, side, side, 3)."""
        extractor = self.trained.extractor
        view, limit = extractor.views.judge, extractor.pixel_limit

        def seen(subject: Subject) -> Pixels:
            return judge(subject.shot.path, view, limit)

        return np.stack(list(in_order(seen, self.subjects)))

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """What the run says of the main task's classes, as it judges: by one view, or by several."""
        facts = self.trained.facts
        shots = [subject.shot for subject in self.subjects]
        said = judge_shots(self.trained.extractor, self.trained.head, shots, facts.kind, facts.average)
        return said[:, : len(facts.classes)]

    @cached_property
    def said(self) -> NDArray[np.int64]:
        """The class that it says of each picture."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @cached_property
    def masks(self) -> tuple[Mask | None, ...]:
        """The masks of the pictures as the judging view shows them."""
        extractor = self.trained.extractor
        view, limit = extractor.views.judge, extractor.pixel_limit

        def seen(subject: Subject) -> Mask | None:
            return mask_in_view(subject.mask, view, limit) if subject.mask else None

        return tuple(in_order(seen, self.subjects))

    def number_of(self, label: str | None) -> int | None:
        """The number of a class, where it knows it."""
        return self.classes.index(label) if label in self.classes else None

    def heat(self, targets: NDArray[np.int64], rows: Sequence[int] | None = None) -> Heat:
        """The heat of pictures, by default of all, for a class each."""
        rows = range(len(self.subjects)) if rows is None else rows
        method = METHODS[self.spec.method]
        network = self.network if method.at_map else self.quick
        step = 1 if method.slow else AT_ONCE

        def of_some(at: int) -> Heat:
            x = network.as_input(self.pixels[list(rows[at : at + step])])
            wanted = torch.from_numpy(targets[at : at + step]).to(x.device)
            return heat_of(network, x, wanted, self.spec)

        made: list[Heat] = []
        starts = range(0, len(rows), step)
        with progress(f"Maps of {self.name}", len(rows)) as advance, ExitStack() as stack:
            if method.at_map:
                # What is hooked to a network is seen by all threads: one at a time.
                each: Iterator[Heat] = map(of_some, starts)
            else:
                stack.enter_context(a_core_a_batch())
                each = in_order(of_some, starts, on_one_core)
            for some in each:
                made.append(some)
                advance(len(some))
        return np.concatenate(made)

    def tried(self, heat: Heat, targets: NDArray[np.int64]) -> Trial | None:
        """Try whether the maps deserve belief, on pictures from all over; none where that is not wanted."""
        slow = METHODS[self.spec.method].slow
        most = num_checked(self.spec)
        if not most:
            return None
        rows = np.unique(np.linspace(0, len(heat) - 1, min(most, len(heat))).round().astype(int)).tolist()
        quick = self.quick

        def beside_random(row: int) -> Against:
            chance = np.random.default_rng([self.spec.seed, row])
            return against_random(quick, self.pixels[row], heat[row], int(targets[row]), self.spec, chance)

        against = []
        with progress(f"Checking {self.name}", len(rows)) as advance, a_core_a_batch():
            for each in in_order(beside_random, rows, on_one_core):
                against.append(each)
                advance(1)
        x = self.network.as_input(self.pixels[rows])
        wanted = torch.from_numpy(targets[rows]).to(x.device)
        alike = alike_when_random(self.network, x, wanted, heat[rows], self.spec, slow)
        return Trial(tuple(rows), tuple(against), alike)


def num_checked(spec: ExplainSpec) -> int:
    """On how many pictures belief is checked."""
    return min(spec.checked, MOST_SLOWLY) if METHODS[spec.method].slow else spec.checked


def readable(
    trained: Trained, subjects: Sequence[Subject]
) -> tuple[tuple[Subject, ...], tuple[tuple[str, str], ...]]:
    """The pictures that can still be opened, and the names of the others with the reason."""
    view = trained.extractor.views.judge

    def tried(subject: Subject) -> tuple[Subject, str]:
        try:
            judge(subject.shot.path, view, trained.extractor.pixel_limit)
        except UnreadablePicture as error:
            return subject, error.reason
        return subject, ""

    found = list(in_order(tried, subjects))
    good = tuple(subject for subject, reason in found if not reason)
    return good, tuple((subject.id, reason) for subject, reason in found if reason)
