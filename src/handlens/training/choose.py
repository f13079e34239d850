"""What validation decides: how strong the training views are, and whether views are averaged.

Nothing here ever looks at the test side. Where the data have a validation side it decides; otherwise
cross-validation on the training side does, with folds that keep groups whole.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.sides import Rows, Sides
from handlens.data.split import fold_sides
from handlens.evaluate.calibration import apply_temperature
from handlens.evaluate.predict import judge_rows
from handlens.models.heads import Head, HeadSpec
from handlens.training.aims import Aims
from handlens.training.device import on_one_core
from handlens.training.spec import FitSpec
from handlens.training.table import FeatureTable
from handlens.training.train_head import fit_head

TEMPERATURES = np.geomspace(0.05, 20, 60).tolist()
"""Tried for every way. Where all judgments are right the sharpest is best, so that they win."""

Folds = Sequence[tuple[Rows, Rows]]
"""Pairs of places: to learn from, and to be judged on."""


@dataclass(frozen=True)
class Way:
    """A way of training and judging that validation may take."""

    kind: str
    """The kind of training views."""
    average: bool
    """Whether a picture is judged by the mean over its views."""
    beside: bool = False
    """Whether it is judged by a network beside itself as it was."""

    def __str__(self) -> str:
        words = [
            f"{self.kind} views, {'mean over the views' if self.average else 'the picture alone'}",
            *(["beside the network as it was"] if self.beside else []),
        ]
        return ", ".join(words)


@dataclass(frozen=True)
class Choice:
    """The decision, and the judgments of held-out pictures that it rests on."""

    kind: str
    """The kind of training views; empty where there is only the picture itself."""
    average: bool
    """Whether a picture is judged by the mean over its views."""
    held_out: Rows
    """Places of the pictures judged by heads that had not learned from them; none without validation."""
    probabilities: NDArray[np.float32]
    """These judgments, those of all tasks side by side."""
    sentences: tuple[str, ...]
    """What was compared and what came of it, for people."""
    beside: bool = False
    """Whether it is judged by a network beside itself as it was, with the head that was trained first."""


def validation_folds(learning: Sides, folds: int, seed: int) -> tuple[Folds, str]:
    """What is learned from and what is judged in validation, and that in words.

    Pictures made from others are never judged. Folds learn from those that were made from one picture, where
    its group is not judged. Blends and what a generative model drew show something of many groups, judged
    ones among them; only the final training learns from these.
    """
    train, val = learning.places("train"), learning.places("val")
    if len(val):
        return [(train, val)], "the validation side"
    if folds < 2:
        return [], "nothing"
    taken = learning.taken(train)
    known = learning.targets[taken] >= 0
    labels = [
        learning.classes[learning.targets[place]] if labelled else None
        for place, labelled in zip(taken, known, strict=True)
    ]
    groups = [learning.groups[place] for place in taken]
    fold_of = fold_sides(labels, groups, folds, seed)
    fold_of_group = dict(zip(groups, fold_of.tolist(), strict=True))
    teaching = learning.unmixed(train)
    with_derived = np.array([fold_of_group.get(learning.groups[place], -1) for place in teaching])
    pairs = [(teaching[with_derived != fold], taken[fold_of == fold]) for fold in range(folds)]
    return pairs, f"{folds}-fold cross-validation on the training side"


def choose(
    tables: Mapping[str, FeatureTable],
    learning: Sides,
    folds: Folds,
    head: HeadSpec,
    train: FitSpec,
    averages: Sequence[bool],
    seed: int = 0,
    aims: Aims | None = None,
) -> Choice:
    """Learn from the first part of each fold, judge the second, and take what judges best.

    The measure is the log loss at the best temperature. On few pictures it tells more than the accuracy,
    because it also hears how sure each judgment was; without the temperature it would punish means over
    views for being modest, which calibration mends anyway.
    """
    aims = aims or Aims(tuple(len(task.classes) for task in learning.tasks))
    targets = learning.all_targets
    if not folds:
        first = next(iter(tables))
        return Choice(
            first, averages[0], np.empty(0, np.int64), np.empty((0, sum(aims.widths)), np.float32), ()
        )
    jobs = [(kind, learned, judged) for kind in tables for learned, judged in folds]

    def judgments_of(job: tuple[str, Rows, Rows]) -> list[NDArray[np.float32]]:
        kind, learned, judged = job
        model = Head(head, tables[kind].width, aims.widths, seed)
        # A validation side may be looked at after every epoch. A fold may not: its judgments stand for how
        # good the head will be, so it must not steer the training.
        stop_by = judged if "val" in learning.present else None
        fit_head(model, tables[kind], targets, learned, stop_by, train, seed=seed, aims=aims)
        return [judge_rows(model, tables[kind], judged, average) for average in averages]

    parts: dict[Way, list[NDArray[np.float32]]] = defaultdict(list)
    with progress("Validation", len(jobs), unit="heads") as advance:
        for (kind, _, _), judgments in zip(jobs, in_order(judgments_of, jobs, on_one_core), strict=True):
            for average, judgment in zip(averages, judgments, strict=True):
                parts[Way(kind, average)].append(judgment)
            advance(1)
    return decide({way: np.concatenate(part) for way, part in parts.items()}, folds, learning, aims)


def decide(judged: Mapping[Way, NDArray[np.float32]], folds: Folds, learning: Sides, aims: Aims) -> Choice:
    """Take the way whose judgments of held-out pictures, fold after fold, are best on the main task."""
    held_out = np.concatenate([held for _, held in folds])
    main = {way: judgment[:, : aims.widths[0]] for way, judgment in judged.items()}
    truth = learning.targets[held_out]
    losses = {way: log_loss(truth, judgment) for way, judgment in main.items()}
    best = min(losses, key=lambda way: losses[way])
    told = _told(truth, main, losses)
    return Choice(best.kind, best.average, held_out, judged[best], told, best.beside)


def log_loss(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float:
    """The smallest log loss that any temperature gives, over the pictures with a label."""
    truth, probabilities = truth[truth >= 0], probabilities[truth >= 0]
    rows = np.arange(len(truth))
    calibrated = (apply_temperature(probabilities, temperature) for temperature in TEMPERATURES)
    return min(float(-np.log(np.clip(each[rows, truth], 1e-12, 1.0)).mean()) for each in calibrated)


def _told(
    truth: NDArray[np.int64],
    judgments: Mapping[Way, NDArray[np.float32]],
    losses: Mapping[Way, float],
) -> tuple[str, ...]:
    if len(judgments) == 1:
        return ()
    best = min(losses, key=lambda way: losses[way])
    return tuple(
        f"{way}: accuracy {float((judged.argmax(1) == truth)[truth >= 0].mean()):.3f}, "
        f"log loss {losses[way]:.3f}{' (taken)' if way == best else ''}"
        for way, judged in judgments.items()
    )
