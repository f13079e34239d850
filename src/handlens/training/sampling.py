"""In which order an epoch takes its pictures."""

import numpy as np
from numpy.typing import NDArray

from handlens.data.sides import Rows


def order_of_epoch(targets: NDArray[np.int64], rng: np.random.Generator, balanced: bool) -> Rows:
    """Places of the pictures in the order of an epoch, as many as there are pictures.

    Plain, every picture comes once. Balanced, the classes take turns in an order drawn anew for each
    round, so that each comes equally often, to one draw; and within a class no picture comes again before
    all of it have. Pictures of a large class are then left for other epochs and those of a small one come
    several times. Pictures without a label (-1) take their turn like a class.
    """
    if not balanced:
        return rng.permutation(len(targets))
    _, classes = np.unique(targets, return_inverse=True)
    turns = _in_turns(np.arange(classes.max(initial=-1) + 1), len(targets), rng)
    order = np.empty(len(targets), np.int64)
    for number in range(classes.max(initial=-1) + 1):
        drawn = np.flatnonzero(turns == number)
        order[drawn] = _in_turns(np.flatnonzero(classes == number), len(drawn), rng)
    return order


def _in_turns(items: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Items in random order, all of them again and again until there are enough."""
    if not count:
        return items[:0]
    rounds = -(-count // len(items))
    return np.concatenate([rng.permutation(items) for _ in range(rounds)])[:count]
