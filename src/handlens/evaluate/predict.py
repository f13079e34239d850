"""Judging: rows of features to probabilities."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handlens.base.progress import progress
from handlens.data.sides import Rows, Shot, Sides
from handlens.evaluate.predictions import Predictions
from handlens.models.heads import Head, probabilities
from handlens.models.twin import TwinHead
from handlens.training import distributed
from handlens.training.extract import Extractor
from handlens.training.table import JUDGED_AT_ONCE, FeatureTable

AnyHead = Head | TwinHead


def judge_shots(
    extractor: Extractor, head: AnyHead, shots: Sequence[Shot], kind: str, average: bool
) -> NDArray[np.float32]:
    """The probabilities (n, classes) of pictures, computed now and nothing kept: by the judging view, or by
    the mean over all views of a kind.

    Of several processes each judges its part, and all are told all.
    """
    own = shots[distributed.rank() :: distributed.world()]
    view = extractor.views.kinds[kind]
    numbers = range(extractor.views.count if average else 1)
    total = np.zeros((len(own), head.num_classes), np.float32)
    head.eval()
    with progress("Judging", len(own) * len(numbers), "views") as advance:
        for number in numbers:
            start = 0
            for batch, rows in extractor.rows(own, view if number else None, number):
                total[start : start + len(batch)] += head_probabilities(head, torch.from_numpy(rows))
                start += len(batch)
                advance(len(batch))
    return distributed.dealt_back(total / np.float32(len(numbers)))


def judge_rows(head: Head, table: FeatureTable, pictures: Rows, average: bool) -> NDArray[np.float32]:
    """The probabilities (n, classes) of pictures: by the judging view, or by the mean over all views."""
    judged = np.empty((len(pictures), head.num_classes), dtype=np.float32)
    views = range(table.num_views if average else 1)
    head.eval()
    for start in range(0, len(pictures), JUDGED_AT_ONCE):
        chunk = pictures[start : start + JUDGED_AT_ONCE]
        total = sum(head_probabilities(head, table.rows(chunk, view)) for view in views)
        judged[start : start + len(chunk)] = total / np.float32(len(views))
    return judged


def head_probabilities(head: AnyHead, rows: Tensor) -> NDArray[np.float32]:
    """The probabilities (n, classes) for rows of features."""
    with torch.inference_mode():
        judged: NDArray[np.float32] = probabilities(head(rows), head.widths).numpy()
    return judged


def predictions_of(
    sides: Sides, places: Rows, probabilities: NDArray[np.float32], task: int = 0
) -> Predictions:
    """Judgments with the names and the truth beside them, in the order of the table.

    They are of the task that stands at this number in `sides.tasks`; pictures without its label are left out.
    """
    labels = sides.tasks[task]
    order = np.argsort(places, kind="stable")
    order = order[labels.known[places[order]]]
    places = places[order]
    return Predictions(
        ids=tuple(sides.ids[place] for place in places),
        groups=tuple(sides.groups[place] for place in places),
        targets=labels.targets[places],
        classes=labels.classes,
        probabilities=probabilities[order],
    )
