"""The difference between two models on the same pictures, and how sure it is."""

import numpy as np
import pytest

from handlens.base.errors import HandlensError
from handlens.evaluate.beside import accuracy_difference
from handlens.evaluate.predictions import Predictions


def predictions(correct, groups=None, targets=None) -> Predictions:
    """Judgments of pictures of two classes that are right where `correct` says so."""
    correct = np.asarray(correct, dtype=bool)
    targets = np.arange(len(correct)) % 2 if targets is None else targets
    said = np.where(correct, targets, 1 - targets) % 2
    ids = tuple(f"picture {number}" for number in range(len(correct)))
    groups = ids if groups is None else tuple(f"group {group}" for group in groups)
    return Predictions(ids, groups, targets, ("a", "b"), np.eye(2, dtype=np.float32)[said])


def test_the_difference_is_that_of_the_accuracies_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    one, other = (predictions(rng.random(120) < right) for right in (0.8, 0.6))
    found = accuracy_difference(one, other)
    assert found.value == pytest.approx(one.correct.mean() - other.correct.mean())
    assert -1 <= found.low < found.value < found.high <= 1
    assert (found.n, found.n_groups) == (120, 120)
    assert accuracy_difference(one, other.only(rng.permutation(120))) == found
    turned = accuracy_difference(other, one)
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_what_is_hard_for_both_does_not_blur_the_difference() -> None:
    # Half of the pictures are hard for both; on a tenth of the others only one is right.
    hard = np.arange(400) % 2 == 0
    one, other = predictions(~hard), predictions(~hard & (np.arange(400) % 20 != 1))
    found = accuracy_difference(one, other)
    assert found.value == pytest.approx(0.05)
    assert 0.02 < found.low < 0.05 < found.high < 0.08


@pytest.mark.parametrize(("num_groups", "size", "gain"), [(100, 1, 0.2), (15, 5, 0.2), (40, 5, 0.0)])
def test_coverage(num_groups, size, gain) -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(num_groups), size)
    covered, experiments = 0, 200
    for _ in range(experiments):
        # Groups are easy or hard, for the two in part alike.
        ease = rng.uniform(0.3, 0.7, num_groups)
        own = np.clip(ease + gain + rng.uniform(-0.1, 0.1, num_groups), 0, 1)[groups]
        one, other = (predictions(rng.random(len(groups)) < p, groups) for p in (own, ease[groups]))
        found = accuracy_difference(one, other)
        covered += found.low <= gain <= found.high
    # 95 % with the chance of 200 experiments (standard error 1.5 %).
    assert 0.91 <= covered / experiments <= 0.99, covered / experiments


@pytest.mark.parametrize(("right", "value"), [((1, 1), 0.0), ((1, 0), 1.0), ((0, 1), -1.0)])
def test_groups_without_exception_do_not_make_it_certain(right, value) -> None:
    one, other = (predictions(np.full(60, each), np.arange(60) // 3) for each in right)
    found = accuracy_difference(one, other)
    assert found.value == value
    assert found.high - found.low > 0.1
    assert found.low <= value <= found.high
    assert "20 groups without exception" in found.method


def test_one_group_tells_nothing() -> None:
    found = accuracy_difference(predictions([1, 1, 1], [0, 0, 0]), predictions([0, 0, 1], [0, 0, 0]))
    assert (found.low, found.high) == (-1.0, 1.0)


def test_pictures_of_unknown_class_are_left_out() -> None:
    targets = np.array([0, 1, 0, -1])
    one = predictions([1, 1, 1, 0], targets=targets)
    assert accuracy_difference(one, one).n == 3


def test_other_pictures_are_refused() -> None:
    with pytest.raises(HandlensError, match="same pictures"):
        accuracy_difference(predictions([1, 0, 1]), predictions([1, 0]))
