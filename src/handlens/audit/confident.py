"""Confident learning (Northcutt, Jiang and Chuang 2021): how many labels are likely wrong.

All is computed from judgments of pictures by models that had not learned from them. cleanlab does the same;
it is not called, because it brings pandas with it and starts processes beside PyTorch's threads. The tests
hold this against it.
"""

import numpy as np
from numpy.typing import NDArray

Judgments = NDArray[np.float32]
Classes = NDArray[np.int64]

# Of two probabilities that differ by less neither is larger.
_TOLERANCE = 1e-6

NOT_SURE = -1


def self_confidences(judged: Judgments, given: Classes) -> NDArray[np.float64]:
    """How probable each class is on average for the pictures that are labelled so: equation 2.

    A class that no picture is labelled as is never reached.
    """
    sums = np.zeros(judged.shape[1])
    np.add.at(sums, given, judged[np.arange(len(given)), given].astype(np.float64))
    counts = np.bincount(given, minlength=judged.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), 2.0)


def sure_classes(judged: Judgments, given: Classes) -> Classes:
    """The class that each picture surely is of, `NOT_SURE` where it is none: equation 1.

    Surely means at least as probable as the class is for its own pictures; of several the most probable one.
    """
    reached = judged >= self_confidences(judged, given) - _TOLERANCE
    best = np.where(reached, judged, -1).argmax(axis=1)
    return np.where(reached.any(axis=1), best, NOT_SURE)


def confident_joint(judged: Judgments, given: Classes) -> NDArray[np.int64]:
    """How many pictures of each label (down) surely are of each class (across)."""
    sure = sure_classes(judged, given)
    joint = np.zeros((judged.shape[1],) * 2, np.int64)
    np.add.at(joint, (given[sure != NOT_SURE], sure[sure != NOT_SURE]), 1)
    return joint


def num_wrong(judged: Judgments, given: Classes) -> float:
    """How many labels are wrong, if pictures that nobody is sure of are labelled no worse: equation 3."""
    joint = confident_joint(judged, given).astype(np.float64)
    counts = np.bincount(given, minlength=judged.shape[1])
    joint *= (counts / np.maximum(joint.sum(axis=1), 1))[:, None]
    return float(joint.sum() - np.trace(joint))


def likely_others(judged: Judgments, given: Classes) -> Classes:
    """The likeliest class that is not the label."""
    others = judged.copy()
    others[np.arange(len(given)), given] = -1
    return np.asarray(others.argmax(axis=1), dtype=np.int64)


def shares(judged: Judgments, given: Classes) -> NDArray[np.float64]:
    """How probable the label is, if the picture is either what it says or the likeliest other class.

    From 0, surely wrong, to 1. Where labels are wrong at random the probability of the label ranks better
    than its margin over the others, and where classes are mistaken for each other the margin does; this does
    both.
    """
    rows = np.arange(len(given))
    own = judged[rows, given].astype(np.float64)
    other = judged[rows, likely_others(judged, given)].astype(np.float64)
    return np.asarray(own / np.maximum(own + other, 1e-12), dtype=np.float64)
