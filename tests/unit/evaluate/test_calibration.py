"""The temperature is the one with the least log loss, and it makes confidence mean what it says."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from handlens.base.errors import HandlensError
from handlens.evaluate.calibration import HOTTEST, apply_temperature, fit_temperature, reliability
from handlens.evaluate.metrics import Judged, ece, log_loss
from handlens.evaluate.predictions import Predictions


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def calibrated_times(factor: float, n: int = 6000, seed: int = 0) -> Predictions:
    """Classes drawn from the probabilities of some logits; the model says `factor` times those."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 5)) * 2
    targets = (softmax(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return Predictions(
        tuple(map(str, range(n))),
        tuple(map(str, range(n))),
        targets,
        tuple("abcde"),
        softmax(logits * factor).astype(np.float32),
    )


@pytest.mark.parametrize("factor", [0.3, 1.0, 3.0])
def test_the_temperature_is_found(factor: float) -> None:
    predictions = calibrated_times(factor)
    found = fit_temperature(predictions)
    assert found == pytest.approx(factor, rel=0.05)
    logits = np.log(predictions.probabilities.astype(float))
    rows = np.arange(len(logits))

    def loss(log_temperature: float) -> float:
        return float(-np.log(softmax(logits / np.exp(log_temperature))[rows, predictions.targets]).mean())

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(best.x), rel=1e-4)
    assert loss(np.log(found)) <= best.fun + 1e-12


def test_calibration_error_falls_on_other_pictures() -> None:
    temperature = fit_temperature(calibrated_times(3.0, seed=1))
    other = calibrated_times(3.0, seed=2)
    before = Judged(other.targets, other.probabilities).weighed()
    after = Judged(other.targets, apply_temperature(other.probabilities, temperature)).weighed()
    assert ece(before)[0] > 0.15
    assert ece(after)[0] < 0.03
    assert log_loss(after)[0] < log_loss(before)[0]
    assert np.array_equal(after.judged.predicted, before.judged.predicted)


def test_temperature_one_changes_nothing_and_zeros_stay_finite() -> None:
    probabilities = calibrated_times(1.0, n=50).probabilities
    assert apply_temperature(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-6)
    sharp = apply_temperature(np.array([[1.0, 0.0]], dtype=np.float32), 0.05)
    assert sharp.dtype == np.float32
    assert sharp.tolist() == [[1.0, 0.0]]


def of(targets, probabilities) -> Predictions:
    names = tuple(map(str, range(len(targets))))
    return Predictions(names, names, np.array(targets), ("a", "b"), np.array(probabilities, dtype=np.float32))


def test_judged_all_right_leaves_confidence_alone() -> None:
    assert fit_temperature(of([0, 1], [[0.9, 0.1], [0.2, 0.8]])) == 1.0


def test_judged_all_wrong_is_as_hot_as_allowed() -> None:
    assert fit_temperature(of([1, 0], [[0.9, 0.1], [0.2, 0.8]])) == pytest.approx(HOTTEST)


def test_only_known_classes_are_fitted_to() -> None:
    whole = calibrated_times(2.0, n=500)
    partly = Predictions(
        whole.ids,
        whole.groups,
        np.where(np.arange(500) < 250, whole.targets, -1),
        whole.classes,
        whole.probabilities,
    )
    assert fit_temperature(partly) == fit_temperature(whole.only(np.arange(250)))
    with pytest.raises(HandlensError, match="no picture of these predictions has a known class"):
        fit_temperature(of([-1], [[0.5, 0.5]]))


def test_reliability_bins() -> None:
    judged = Judged(np.array([0, 0, 1]), np.array([[0.95, 0.05], [0.04, 0.96], [0.45, 0.55]]))
    low, high = reliability(judged)
    assert (low.n, low.accuracy, low.confidence) == (1, 1.0, pytest.approx(0.55))
    assert (high.n, high.accuracy, high.confidence) == (2, 0.5, pytest.approx(0.955))
