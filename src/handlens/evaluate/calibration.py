"""Making a model's confidence mean what it says: one temperature, fitted on pictures it did not train on.

Guo et al. 2017, "On calibration of modern neural networks", section 4.2: logits are divided by T. A
probability is its logit up to a constant of the picture, so the predictions table is all that is needed:
softmax(ln(p) / T) is p^(1/T) made to add up to one.
"""

import numpy as np
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.evaluate.metrics import Floats, Judged
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import ReliabilityBin

COOLEST, HOTTEST = 0.05, 100.0
"""The temperatures that are looked at."""

_TINY = float(np.finfo(np.float32).tiny)
_HALVINGS = 60


def fit_temperature(predictions: Predictions) -> float:
    """The temperature between `COOLEST` and `HOTTEST` with the least log loss on the labelled pictures.

    Where every picture is judged right, log loss falls without end as T falls and says nothing about how
    sure to be; T is then 1, which leaves the model's confidence as it is.
    """
    labelled = predictions.labelled()
    if labelled.targets is None or not len(labelled.targets):
        raise HandlensError(
            "A temperature cannot be fitted: no picture of these predictions has a known class."
        )
    if labelled.correct.all():
        return 1.0
    logits = _logits(labelled.probabilities)
    own = logits[np.arange(len(logits)), labelled.targets]
    # Log loss is convex in 1/T, so its slope crosses zero once and halving cannot miss.
    low, high = 1 / HOTTEST, 1 / COOLEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = (_softmax(logits * middle) * logits).sum(axis=1)
        if float((expected - own).sum()) > 0:
            high = middle
        else:
            low = middle
    return 2 / (low + high)


def apply_temperature(probabilities: Floats, temperature: float) -> NDArray[np.float32]:
    """The probabilities as they would be with logits divided by `temperature`."""
    return _softmax(_logits(probabilities) / temperature).astype(np.float32)


def reliability(judged: Judged) -> tuple[ReliabilityBin, ...]:
    """Confidence against accuracy in the bins of the calibration error; empty bins are left out."""
    bins = judged.bins
    each = np.stack(
        [np.ones(len(judged.targets)), judged.confidence, judged.predicted == judged.targets], axis=1
    )
    return tuple(
        ReliabilityBin(confidence=confidence / n, accuracy=correct / n, n=round(n))
        for n, confidence, correct in bins.sums(each).tolist()
    )


def _logits(probabilities: Floats) -> NDArray[np.float64]:
    # A softmax that fell below what float32 holds left a 0; its logit is at most that of the smallest number.
    return np.log(np.maximum(probabilities.astype(np.float64), _TINY))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
