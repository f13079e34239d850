"""The plan of an epoch: every view once, evenly spread, the same for one process and for several."""

import numpy as np
import pytest

from handlens.base.errors import HandlensError
from handlens.training.plan import Plan, times_before

LEARNED = np.array([3, 10, 4, 7, 21, 8, 13])


def plan(**changes):
    settings = {
        "learned": LEARNED,
        "classes": np.array([0, 1, 0, 0, 0, 1, 0]),
        "num_views": 3,
        "batch_size": 8,
        "size": (16, 12),
    }
    return Plan(**(settings | changes))


def shown(step):
    return list(zip(step.places.tolist(), step.views.tolist(), strict=True))


def test_an_epoch_shows_every_view_once_and_another_one_in_another_order():
    orders = [[pair for step in plan().steps(seed) for pair in shown(step)] for seed in (1, 2)]
    everything = [(place, view) for place in sorted(LEARNED.tolist()) for view in range(3)]
    assert sorted(orders[0]) == sorted(orders[1]) == everything
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("num_pictures", "batch_size", "expected"),
    [(21, 8, [7, 7, 7]), (9, 8, [5, 4]), (8, 8, [8]), (2, 8, [2]), (17, 4, [4, 4, 3, 3, 3]), (5, 2, [3, 2])],
)
def test_batches_are_even_and_never_of_one_picture(num_pictures, batch_size, expected):
    rows = np.arange(num_pictures)
    steps = list(plan(learned=rows, classes=rows, num_views=1, batch_size=batch_size).steps(0))
    assert [step.num_own for step in steps] == expected
    assert plan(learned=rows, classes=rows, num_views=1, batch_size=batch_size).steps_per_epoch == len(
        expected
    )


@pytest.mark.parametrize("num_pictures", range(6, 60))
def test_no_process_gets_less_than_two_pictures(num_pictures):
    rows = np.arange(num_pictures)
    for batch_size in (6, 7, 13):
        parts = [
            [
                step.num_own
                for step in plan(
                    learned=rows, classes=rows, num_views=1, batch_size=batch_size, rank=rank, world=3
                ).steps(0)
            ]
            for rank in range(3)
        ]
        assert min(min(part) for part in parts) >= 2
        assert np.sum(parts) == num_pictures


@pytest.mark.parametrize("strengths", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_parts_of_several_processes_are_the_batch_of_one(strengths, balanced):
    settings = strengths | {"balanced": balanced}
    whole = list(plan(**settings).steps(5))
    for rank in range(3):
        parts = list(plan(**settings, rank=rank, world=3).steps(5))
        assert len(parts) == len(whole)
        for one, part in zip(whole, parts, strict=True):
            own = slice(rank, None, 3)
            assert shown(part)[: part.num_own] == shown(one)[own]
            assert part.times[: part.num_own].tolist() == one.times[own].tolist()
            assert len(shown(part)) <= 2 * part.num_own
            if strengths:
                partners = [shown(part)[at] for at in part.partners]
                assert partners == [shown(one)[at] for at in one.partners[own]]
                for field in ("shares", "cut", "boxes"):
                    np.testing.assert_array_equal(getattr(part.mix, field), getattr(one.mix, field)[own])


def test_an_epoch_is_taken_up_in_its_middle():
    settings = {"mixup": 0.4, "balanced": True}
    whole = list(plan(**settings).steps(5))
    for first in range(len(whole) + 1):
        rest = list(plan(**settings).steps(5, first))
        assert [shown(step) for step in rest] == [shown(step) for step in whole[first:]]
        for step, expected in zip(rest, whole[first:], strict=True):
            np.testing.assert_array_equal(step.mix.shares, expected.mix.shares)


def test_balance_shows_both_classes_alike_and_counts_what_comes_again():
    steps = list(plan(balanced=True, num_views=1, batch_size=7).steps(0))
    places = np.concatenate([step.places for step in steps])
    rare = np.isin(places, [10, 8])
    assert rare.sum() in (3, 4)
    times = np.concatenate([step.times for step in steps])
    for place in set(places.tolist()):
        assert times[places == place].tolist() == list(range((places == place).sum()))


def test_times_before_by_hand():
    assert times_before(np.array([4, 1, 4, 4, 0, 1])).tolist() == [0, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 1}, "train.batch_size is 1: set it to 2"),
        ({"batch_size": 3, "world": 2}, "set it to 4 or more for 2 processes"),
        ({"learned": LEARNED[:1], "classes": np.zeros(1, int), "num_views": 1}, "only 1 pictures"),
        ({"cutmix": 1.0, "size": None}, "train.mixup instead"),
    ],
)
def test_what_cannot_be_planned_is_told(changes, told):
    with pytest.raises(HandlensError, match=told):
        plan(**changes)
