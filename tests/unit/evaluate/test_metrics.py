"""Every metric against scikit-learn and against arithmetic by hand."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from handlens.evaluate.metrics import (
    METRICS,
    NUM_BINS,
    Judged,
    f1_by_class,
    precision_by_class,
    recall_by_class,
)


def value(name: str, targets, probabilities, weights=None) -> float:
    judged = Judged(np.asarray(targets), np.asarray(probabilities))
    return float(METRICS[name].compute(judged.weighed(weights))[0])


def pictures(num_classes: int, missing: tuple[int, ...] = (), n: int = 400):
    rng = np.random.default_rng(num_classes)
    targets = rng.choice([index for index in range(num_classes) if index not in missing], n)
    logits = rng.normal(size=(n, num_classes))
    logits[np.arange(n), targets] += 1.5
    # Rounded, so that the ROC curves have ties.
    probabilities = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 2) + 1e-3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return targets, probabilities, rng.uniform(0.1, 3, n)


CASES = [(2, ()), (3, ()), (6, (0, 4)), (40, (7,))]


@pytest.mark.parametrize(("num_classes", "missing"), CASES)
def test_against_scikit_learn(num_classes: int, missing: tuple[int, ...]) -> None:
    targets, probabilities, weights = pictures(num_classes, missing)
    predicted = probabilities.argmax(axis=1)
    occurring = np.unique(targets)
    expected = {
        "accuracy": reference.accuracy_score(targets, predicted, sample_weight=weights),
        "log_loss": reference.log_loss(
            targets, probabilities, sample_weight=weights, labels=list(range(num_classes))
        ),
        "mse": reference.mean_squared_error(
            np.eye(num_classes)[targets].T, probabilities.T, multioutput="raw_values"
        )
        @ weights
        / weights.sum(),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected["balanced_accuracy"] = reference.balanced_accuracy_score(
            targets, predicted, sample_weight=weights
        )
        for kind in ("macro", "weighted"):
            precision, recall, f1, _ = reference.precision_recall_fscore_support(
                targets, predicted, labels=occurring, average=kind, sample_weight=weights, zero_division=0
            )
            expected |= {f"precision_{kind}": precision, f"recall_{kind}": recall, f"f1_{kind}": f1}
    both = expected["precision_macro"], expected["recall_macro"]
    expected["f1_of_means"] = 2 * both[0] * both[1] / sum(both)
    # With ties in rank scikit-learn prefers the last class and we the first, so k is tested without ties.
    areas = [
        reference.roc_auc_score(targets == index, probabilities[:, index], sample_weight=weights)
        for index in ([1] if num_classes == 2 else occurring)
    ]
    expected["roc_auc"] = np.mean(areas)
    assert {name: value(name, targets, probabilities, weights) for name in expected} == pytest.approx(
        expected
    )


@pytest.mark.parametrize(("num_classes", "k"), [(6, 3), (6, 5), (40, 5)])
def test_top_k_against_scikit_learn(num_classes: int, k: int) -> None:
    targets, _, weights = pictures(num_classes)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(num_classes), len(targets))
    expected = reference.top_k_accuracy_score(
        targets, probabilities, k=k, sample_weight=weights, labels=list(range(num_classes))
    )
    assert value(f"top_{k}", targets, probabilities, weights) == pytest.approx(expected)


@pytest.mark.parametrize(("num_classes", "missing"), CASES)
def test_confusion_and_classes_against_scikit_learn(num_classes: int, missing: tuple[int, ...]) -> None:
    targets, probabilities, weights = pictures(num_classes, missing)
    predicted = probabilities.argmax(axis=1)
    weighed = Judged(targets, probabilities).weighed(weights)
    confusion = reference.confusion_matrix(
        targets, predicted, labels=range(num_classes), sample_weight=weights
    )
    assert weighed.confusion[:, :, 0] == pytest.approx(confusion)
    expected = reference.precision_recall_fscore_support(
        targets, predicted, labels=range(num_classes), sample_weight=weights, zero_division=np.nan
    )
    for compute, wanted in zip((precision_by_class, recall_by_class, f1_by_class), expected, strict=False):
        assert compute(weighed)[:, 0] == pytest.approx(wanted, nan_ok=True)


def test_calibration_error_by_the_definition() -> None:
    targets, probabilities, weights = pictures(6)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    expected = 0.0
    for index in range(NUM_BINS):
        inside = (confidence > index / NUM_BINS) & (confidence <= (index + 1) / NUM_BINS)
        if inside.any():
            gap = np.average(confidence[inside], weights=weights[inside])
            gap -= np.average(correct[inside], weights=weights[inside])
            expected += abs(gap) * weights[inside].sum() / weights.sum()
    assert value("ece", targets, probabilities, weights) == pytest.approx(expected)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_many_weightings_at_once_are_each_alone(precision) -> None:
    targets, probabilities, _ = pictures(6, (2,))
    weights = np.random.default_rng(1).integers(0, 4, size=(len(targets), 5)).astype(precision)
    judged = Judged(targets, probabilities)
    for metric in METRICS.values():
        together = metric.compute(judged.weighed(weights))
        alone = [metric.compute(judged.weighed(weights[:, column].astype(float)))[0] for column in range(5)]
        assert together == pytest.approx(alone, rel=1e-5)
        assert together.dtype == np.float64


def test_a_weight_is_as_many_pictures() -> None:
    targets, probabilities, _ = pictures(4)
    times = np.random.default_rng(2).integers(0, 3, len(targets))
    rows = np.repeat(np.arange(len(targets)), times)
    for name in METRICS:
        weighed = value(name, targets, probabilities, times.astype(float))
        assert weighed == pytest.approx(value(name, targets[rows], probabilities[rows]))


def test_perfect() -> None:
    targets = np.array([0, 1, 2, 2])
    least = {"log_loss": pytest.approx(1.19e-7, rel=0.01), "mse": 0.0, "ece": 0.0}
    for name in METRICS:
        assert value(name, targets, np.eye(3)[targets]) == least.get(name, pytest.approx(1))


def test_by_hand() -> None:
    # Two of class 0 (one found), one of class 1 (found), none of class 2, which one picture is called.
    targets = [0, 0, 1]
    probabilities = [[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.1, 0.7, 0.2]]
    assert value("accuracy", targets, probabilities) == pytest.approx(2 / 3)
    assert value("balanced_accuracy", targets, probabilities) == pytest.approx(3 / 4)
    # Class 2 is called but does not occur: it does not count.
    assert value("precision_macro", targets, probabilities) == pytest.approx(1)
    assert value("f1_macro", targets, probabilities) == pytest.approx((2 / 3 + 1) / 2)
    assert value("f1_of_means", targets, probabilities) == pytest.approx(2 * 0.75 / 1.75)
    assert value("mse", targets, probabilities) == pytest.approx((0.06 + 0.98 + 0.14) / 9)
    assert value("log_loss", targets, probabilities) == pytest.approx(-np.log([0.8, 0.2, 0.7]).mean())
    assert value("roc_auc", targets, probabilities) == pytest.approx(1.0)


def test_nothing_right_is_zero_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        targets, probabilities = np.array([0, 1]), np.array([[0.0, 1.0], [1.0, 0.0]])
        for name in ("accuracy", "f1_macro", "precision_macro", "f1_of_means", "roc_auc"):
            assert value(name, targets, probabilities) == 0
        assert value("log_loss", targets, probabilities) == pytest.approx(15.94, rel=1e-3)
        assert value("mse", targets, probabilities) == METRICS["mse"].highest(2)


def test_no_curve_where_only_one_class_occurs() -> None:
    assert np.isnan(value("roc_auc", [1, 1], [[0.4, 0.6], [0.7, 0.3]]))


def test_level_classes_are_ranked_in_their_order_as_argmax_does() -> None:
    judged = Judged(np.array([0, 1, 2]), np.full((3, 3), 1 / 3))
    assert judged.ranks.tolist() == [0, 1, 2]
    assert judged.predicted.tolist() == [0, 0, 0]
