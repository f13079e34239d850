"""Judging: rows of features to probabilities."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handlens.data.sides import Rows, Sides
from handlens.evaluate.predictions import Predictions
from handlens.models.heads import Head
from handlens.training.table import JUDGED_AT_ONCE, FeatureTable


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


def head_probabilities(head: Head, rows: Tensor) -> NDArray[np.float32]:
    """The probabilities (n, classes) for rows of features."""
    with torch.inference_mode():
        judged: NDArray[np.float32] = torch.softmax(head(rows), dim=-1).numpy()
    return judged


def predictions_of(sides: Sides, places: Rows, probabilities: NDArray[np.float32]) -> Predictions:
    """Judgments with the names and the truth beside them, in the order of the table."""
    order = np.argsort(places, kind="stable")
    places = places[order]
    return Predictions(
        ids=tuple(sides.ids[place] for place in places),
        groups=tuple(sides.groups[place] for place in places),
        targets=sides.targets[places],
        classes=sides.classes,
        probabilities=probabilities[order],
    )
