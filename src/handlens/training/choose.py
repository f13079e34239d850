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
from handlens.training.device import on_one_core
from handlens.training.fit import TrainSpec, fit_head
from handlens.training.table import FeatureTable

TEMPERATURES = np.geomspace(0.05, 20, 60).tolist()
"""Tried for every way. Where all judgments are right the sharpest is best, so that they win."""

Folds = Sequence[tuple[Rows, Rows]]
"""Pairs of places: to learn from, and to be judged on."""


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
    """These judgments."""
    sentences: tuple[str, ...]
    """What was compared and what came of it, for people."""


def validation_folds(learning: Sides, folds: int, seed: int) -> tuple[Folds, str]:
    """What is learned from and what is judged in validation, and that in words."""
    train, val = learning.places("train"), learning.places("val")
    if len(val):
        return [(train, val)], "the validation side"
    if folds < 2:
        return [], "nothing"
    labels = [learning.classes[learning.targets[place]] for place in train]
    fold_of = fold_sides(labels, [learning.groups[place] for place in train], folds, seed)
    pairs = [(train[fold_of != fold], train[fold_of == fold]) for fold in range(folds)]
    return pairs, f"{folds}-fold cross-validation on the training side"


def choose(
    tables: Mapping[str, FeatureTable],
    learning: Sides,
    folds: Folds,
    head: HeadSpec,
    train: TrainSpec,
    averages: Sequence[bool],
) -> Choice:
    """Learn from the first part of each fold, judge the second, and take what judges best.

    The measure is the log loss at the best temperature. On few pictures it tells more than the accuracy,
    because it also hears how sure each judgment was; without the temperature it would punish means over
    views for being modest, which calibration mends anyway.
    """
    num_classes = len(learning.classes)
    if not folds:
        first = next(iter(tables))
        return Choice(first, averages[0], np.empty(0, np.int64), np.empty((0, num_classes), np.float32), ())
    jobs = [(kind, learned, judged) for kind in tables for learned, judged in folds]

    def judgments_of(job: tuple[str, Rows, Rows]) -> list[NDArray[np.float32]]:
        kind, learned, judged = job
        model = Head(head, tables[kind].width, num_classes, train.seed)
        # A validation side may be looked at after every epoch. A fold may not: its judgments stand for how
        # good the head will be, so it must not steer the training.
        stop_by = judged if "val" in learning.present else None
        fit_head(model, tables[kind], learning.targets, learned, stop_by, train)
        return [judge_rows(model, tables[kind], judged, average) for average in averages]

    parts: dict[tuple[str, bool], list[NDArray[np.float32]]] = defaultdict(list)
    with progress("Validation", len(jobs), unit="heads") as advance:
        for (kind, _, _), judgments in zip(jobs, in_order(judgments_of, jobs, on_one_core), strict=True):
            for average, judgment in zip(averages, judgments, strict=True):
                parts[kind, average].append(judgment)
            advance(1)
    judged = {way: np.concatenate(part) for way, part in parts.items()}
    held_out = np.concatenate([held for _, held in folds])
    truth = learning.targets[held_out]
    losses = {way: _log_loss(truth, judgment) for way, judgment in judged.items()}
    kind, average = min(losses, key=lambda way: losses[way])
    return Choice(kind, average, held_out, judged[kind, average], _told(truth, judged, losses))


def _log_loss(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float:
    """The smallest log loss that any temperature gives."""
    rows = np.arange(len(truth))
    calibrated = (apply_temperature(probabilities, temperature) for temperature in TEMPERATURES)
    return min(float(-np.log(np.clip(each[rows, truth], 1e-12, 1.0)).mean()) for each in calibrated)


def _told(
    truth: NDArray[np.int64],
    judgments: Mapping[tuple[str, bool], NDArray[np.float32]],
    losses: Mapping[tuple[str, bool], float],
) -> tuple[str, ...]:
    if len(judgments) == 1:
        return ()
    best = min(losses, key=lambda way: losses[way])
    return tuple(
        f"{kind} views, {'mean over the views' if average else 'the picture alone'}: "
        f"accuracy {float((judged.argmax(1) == truth).mean()):.3f}, log loss {losses[kind, average]:.3f}"
        f"{' (taken)' if (kind, average) == best else ''}"
        for (kind, average), judged in judgments.items()
    )
