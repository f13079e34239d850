"""A run beside another one on the same pictures: how far apart they are, picture by picture."""

from collections.abc import Callable, Sequence

import numpy as np

from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.evaluate.intervals import (
    Basis,
    Grouping,
    Interval,
    as_figure,
    difference_interval,
    mean_difference,
    spreads,
    student,
)
from handlens.evaluate.metrics import Judged, Values, Weighed, Weights
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure


class Compared(Spec):
    """The shape of compared.json: another run's figures on the pictures that this run was judged on."""

    run: str
    """The other run's folder, by its name."""
    weights: str
    """Where the other run's weights came from, in words."""
    pretrained: bool
    """Whether the other run's weights were learned from other pictures."""
    side: str
    """The side of the split that both judged."""
    figures: dict[str, Figure]
    """The other run's headline figures on it by name."""
    difference: Figure
    """Accuracy of this run less that of the other."""


def accuracy_difference(own: Predictions, other: Predictions, seed: int = 0) -> Figure:
    """The accuracy of one model less that of another on the same pictures, with its interval.

    It is paired: a resample draws groups, and both models are measured on what was drawn, so that pictures
    that are hard for both do not blur the difference.
    """
    own = own.labelled()
    other = _in_order(other.labelled(), own.ids)
    steps = own.correct.astype(np.float64) - other.correct
    return mean_difference(steps, own.groups, seed)


def figure_difference(
    compute: Callable[[Weighed], Values],
    own: Sequence[Predictions],
    others: Sequence[Predictions],
    worth: int | None = None,
    seed: int = 0,
) -> Figure:
    """A figure after one kind of training less that after another, on the same pictures, with its interval.

    Each kind may have been trained several times, from other seeds: the figure is the mean over them. The
    interval is paired, over groups; what another seed alone changes is added to it, as far as the trainings
    tell. `worth` is the number of groups that the figure rests on, where that is not all.
    """
    if not own or not others:
        raise HandlensError("A difference needs a training of each kind, and there is none.")
    names = own[0].labelled().ids
    judged = [[_judged(_in_order(each.labelled(), names)) for each in kind] for kind in (own, others)]

    def measure(weights: Weights) -> Values:
        kinds = [np.mean([compute(each.weighed(weights)) for each in kind], axis=0) for kind in judged]
        return np.asarray(kinds[0] - kinds[1])[None]

    grouping = Grouping.of(own[0].labelled().groups)
    (spread,) = spreads(measure, grouping, np.random.default_rng(seed))
    value = float(measure(np.ones(len(names), np.float32))[0, 0])
    basis = Basis(len(names), grouping.count, min(worth or grouping.count, grouping.count), trials=None)
    found = difference_interval(value, spread, basis)
    low, high, method = found.low, found.high, found.method
    trainings = [[float(compute(each.weighed())[0]) for each in kind] for kind in judged]
    degrees = len(own) + len(others) - 2
    if degrees > 0:
        # Student's for two means; another seed changes both kinds about as much.
        squares = sum(float(np.var(kind)) * len(kind) for kind in trainings)
        by_seed = student(degrees) * (squares / degrees * (1 / len(own) + 1 / len(others))) ** 0.5
        low = max(-1.0, value - float(np.hypot(value - low, by_seed)))
        high = min(1.0, value + float(np.hypot(high - value, by_seed)))
        method += f", and {len(own)} and {len(others)} trainings"
    return as_figure(value, Interval(low, high, method), basis)


def _in_order(predictions: Predictions, names: Sequence[str]) -> Predictions:
    """Predictions in the order of the names, which must be all the pictures there are."""
    place = {name: at for at, name in enumerate(predictions.ids)}
    if place.keys() != set(names) or not names:
        raise HandlensError("Two runs can only be compared on the same pictures, and these judged others.")
    return predictions.only(np.array([place[name] for name in names], dtype=np.int64))


def _judged(predictions: Predictions) -> Judged:
    assert predictions.targets is not None
    return Judged(predictions.targets, predictions.probabilities)
