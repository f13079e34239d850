"""Judging: rows of features to probabilities."""

import numpy as np
import torch
from numpy.typing import NDArray

from handlens.data.sides import Rows
from handlens.models.heads import Head
from handlens.train.table import JUDGED_AT_ONCE, FeatureTable


def judge_rows(head: Head, table: FeatureTable, pictures: Rows, average: bool) -> NDArray[np.float32]:
    """The probabilities (n, classes) of pictures: by the judging view, or by the mean over all views."""
    judged = np.empty((len(pictures), head.num_classes), dtype=np.float32)
    views = range(table.num_views if average else 1)
    head.eval()
    with torch.inference_mode():
        for start in range(0, len(pictures), JUDGED_AT_ONCE):
            chunk = pictures[start : start + JUDGED_AT_ONCE]
            total = sum(torch.softmax(head(table.rows(chunk, view)), dim=-1) for view in views)
            judged[start : start + len(chunk)] = (torch.as_tensor(total) / len(views)).numpy()
    return judged
