"""Two runs on the same pictures: how far apart they are, picture by picture."""

import numpy as np

from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.evaluate.intervals import Basis, Grouping, difference_interval, spreads
from handlens.evaluate.metrics import Values, Weights
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
    own, other = own.labelled(), other.labelled()
    place = {name: at for at, name in enumerate(other.ids)}
    if place.keys() != set(own.ids) or not own.ids:
        raise HandlensError("Two runs can only be compared on the same pictures, and these judged others.")
    other = other.only(np.array([place[name] for name in own.ids], dtype=np.int64))
    steps = own.correct.astype(np.float64) - other.correct
    grouping = Grouping.of(own.groups)

    def measure(weights: Weights) -> Values:
        mean: Values = steps @ weights.astype(np.float64) / np.maximum(weights.sum(axis=0), 1)
        return mean[None]

    (spread,) = spreads(measure, grouping, np.random.default_rng(seed))
    basis = Basis(len(steps), grouping.count, grouping.count, trials=None)
    value = float(steps.mean())
    found = difference_interval(value, spread, basis)
    return Figure(
        value=value, low=found.low, high=found.high, method=found.method, n=basis.n, n_groups=basis.n_groups
    )
