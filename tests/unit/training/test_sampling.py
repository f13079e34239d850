"""The order of an epoch: plain and balanced."""

import numpy as np
import pytest

from handlens.training.sampling import order_of_epoch

TARGETS = np.repeat([0, 1, 2], [70, 24, 6])


def order(targets=TARGETS, seed=0, balanced=True):
    return order_of_epoch(targets, np.random.default_rng(seed), balanced)


def test_plain_has_every_picture_once():
    drawn = order(balanced=False)
    assert not (drawn == np.arange(100)).all()
    assert sorted(drawn) == list(range(100))


def test_balanced_draws_every_class_equally_often():
    drawn = order()
    assert len(drawn) == 100
    assert sorted(np.bincount(TARGETS[drawn])) == [33, 33, 34]


def test_classes_take_turns_so_that_batches_are_balanced_too():
    rounds = TARGETS[order()[:99]].reshape(33, 3)
    assert (np.sort(rounds, axis=1) == [0, 1, 2]).all()
    # In another order each time.
    assert len({tuple(each) for each in rounds}) > 1


@pytest.mark.parametrize("label", [0, 1, 2])
def test_no_picture_comes_again_before_all_of_its_class_have(label):
    members = np.flatnonzero(label == TARGETS)
    drawn = [place for place in order() if TARGETS[place] == label]
    for start in range(0, len(drawn), len(members)):
        chunk = drawn[start : start + len(members)]
        assert len(set(chunk)) == len(chunk)
        assert set(chunk) <= set(members)


def test_over_epochs_pictures_of_a_large_class_get_their_turn():
    seen = np.concatenate([order(seed=seed) for seed in range(30)])
    assert set(seen) == set(range(100))


def test_it_depends_on_the_generator_alone():
    assert (order(seed=3) == order(seed=3)).all()
    assert not (order(seed=3) == order(seed=4)).all()


def test_without_a_label_and_with_gaps_between_the_labels():
    targets = np.array([5, 5, 5, -1, 9, 9, 5, 5, 5])
    drawn = order(targets)
    assert sorted(targets[drawn]) == [-1] * 3 + [5] * 3 + [9] * 3
    assert list(drawn[targets[drawn] == -1]) == [3, 3, 3]


@pytest.mark.parametrize("balanced", [False, True])
def test_few_pictures(balanced):
    assert list(order(np.array([4]), balanced=balanced)) == [0]
    assert len(order(np.empty(0, np.int64), balanced=balanced)) == 0
