"""Losses against formulas written out and against scikit-learn."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from handlens.training.losses import LossSpec, make_loss

GENERATOR = np.random.default_rng(0)
SCORES = GENERATOR.normal(size=(40, 4)) * 3
TARGETS = GENERATOR.choice(4, 40, p=[0.6, 0.2, 0.15, 0.05])


def probabilities(scores):
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def computed(spec, scores=SCORES, targets=TARGETS, counts=None):
    targets = torch.from_numpy(targets)
    counts = torch.bincount(targets, minlength=4) if counts is None else torch.tensor(counts)
    return make_loss(spec, counts)(torch.from_numpy(scores).float(), targets).item()


def test_cross_entropy_against_scikit_learn():
    assert computed(LossSpec()) == pytest.approx(log_loss(TARGETS, probabilities(SCORES)), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_by_its_formula(smoothing):
    # Szegedy et al. 2016, section 7: the target becomes (1 - s) of itself and s / K of every class.
    target = (1 - smoothing) * np.eye(4)[TARGETS] + smoothing / 4
    expected = -(target * np.log(probabilities(SCORES))).sum(1).mean()
    assert computed(LossSpec(smoothing=smoothing)) == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_against_scikit_learn():
    weights = compute_class_weight("balanced", classes=np.arange(4), y=TARGETS)
    expected = log_loss(TARGETS, probabilities(SCORES), sample_weight=weights[TARGETS])
    assert computed(LossSpec(class_weights="balanced")) == pytest.approx(expected, rel=1e-5)
    assert make_loss(
        LossSpec(class_weights="balanced"), torch.from_numpy(np.bincount(TARGETS))
    ).weights.numpy() == pytest.approx(weights)


def test_a_class_without_pictures_has_no_weight_and_no_influence():
    present = TARGETS[TARGETS != 2]
    weights = make_loss(
        LossSpec(class_weights="balanced"), torch.from_numpy(np.bincount(present, minlength=4))
    ).weights.numpy()
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=present)
    assert weights[[0, 1, 3]] == pytest.approx(expected)
    assert weights[2] == 0


def test_equal_classes_are_weighed_alike():
    scores, targets = GENERATOR.normal(size=(8, 4)), np.arange(8) % 4
    balanced = computed(LossSpec(class_weights="balanced"), scores, targets)
    assert balanced == pytest.approx(computed(LossSpec(), scores, targets), rel=1e-6)


def test_targets_may_be_shares_of_classes():
    shares = np.random.default_rng(1).dirichlet(np.ones(4), 40)
    loss = make_loss(LossSpec(), torch.ones(4))
    got = loss(torch.from_numpy(SCORES), torch.from_numpy(shares)).item()
    assert got == pytest.approx(-(shares * np.log(probabilities(SCORES))).sum(1).mean())


@pytest.mark.parametrize(
    "values",
    [{"name": "cross_entropi"}, {"smoothing": 1.0}, {"smoothing": -0.1}, {"class_weights": "balance"}],
)
def test_a_loss_that_cannot_be_is_refused(values):
    with pytest.raises(ValidationError):
        LossSpec(**values)
