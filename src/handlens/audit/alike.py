"""What the pictures most like each one are labelled: the second opinion beside the heads."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from handlens.base.progress import progress
from handlens.data.sides import Rows
from handlens.training.table import FeatureTable

NUM = 15
"""Neighbours that are asked."""
SHARPNESS = 10.0
"""How much more a nearer one counts: a cosine larger by 0.1 makes it e times as much."""

_AT_ONCE = 4096

Matrix = NDArray[np.float32]


def judged_by_neighbours(
    table: FeatureTable, targets: NDArray[np.int64], places: Rows, groups: Sequence[str], num_classes: int
) -> Matrix:
    """The probabilities (places, classes) of pictures by the labels of the nearest ones of other groups.

    Near are those whose features, each brought to mean 0 and deviation 1, point the same way. A class that no
    neighbour is labelled as is worth half a neighbour, so that nothing is impossible.
    """
    group_of = np.unique([groups[place] for place in places], return_inverse=True)[1]
    mean, deviation = (part.numpy() for part in table.mean_and_deviation(places))
    likeness = np.full((len(places), NUM), -np.inf, np.float32)
    votes = np.zeros((len(places), NUM), np.int64)

    def directions(rows: Rows) -> Matrix:
        made: Matrix = (table.rows(places[rows], 0).numpy() - mean) / deviation
        made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
        return made

    with progress("Comparing pictures", len(places)) as advance:
        for examples in _parts(len(places)):
            theirs = directions(examples)
            for asked in _parts(len(places)):
                near = directions(asked) @ theirs.T
                # Itself among them.
                near[group_of[asked][:, None] == group_of[examples]] = -np.inf
                both = np.concatenate([likeness[asked], near], axis=1)
                labels = np.broadcast_to(targets[places[examples]], near.shape)
                labels = np.concatenate([votes[asked], labels], axis=1)
                best = np.argpartition(-both, NUM - 1, axis=1)[:, :NUM]
                likeness[asked] = np.take_along_axis(both, best, axis=1)
                votes[asked] = np.take_along_axis(labels, best, axis=1)
            advance(len(examples))
    return _shared_out(likeness, votes, num_classes)


def _shared_out(likeness: Matrix, votes: NDArray[np.int64], num_classes: int) -> Matrix:
    """Votes as probabilities; those of fewer neighbours than were asked for count less."""
    weights = np.exp(SHARPNESS * likeness.astype(np.float64))
    total = np.zeros((len(votes), num_classes))
    np.add.at(total, (np.arange(len(votes))[:, None], votes), weights)
    total *= NUM / np.maximum(total.sum(axis=1, keepdims=True), 1e-300)
    judged = (total + 0.5) / (total + 0.5).sum(axis=1, keepdims=True)
    return np.asarray(judged, np.float32)


def _parts(num: int) -> Iterator[Rows]:
    for start in range(0, num, _AT_ONCE):
        yield np.arange(start, min(start + _AT_ONCE, num))
