"""The planned supply: batches follow from seeds alone, whoever loads them and wherever one starts."""

import threading

import numpy as np
import pytest
import torch

from handlens.base.errors import HandlensError
from handlens.training.planned import PlannedSupply

LEARNED = np.array([0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12])
JUDGED = np.array([3, 8, 13])
TARGETS = np.arange(14) % 3
BOTH = {"mixup": 0.4, "cutmix": 1.0}


class Made:
    """A source whose inputs tell where they come from, and which remembers what was asked for."""

    def __init__(self, shape=(3, 6, 5), num_views=2):
        self.shape = shape
        self.num_views = num_views
        self.asked = []
        self.lock = threading.Lock()

    def learned(self, place, view, words):
        with self.lock:
            self.asked.append((place, view, words))
        seed, time = map(int, words.split())
        generator = np.random.default_rng([place, view, seed, time])
        return torch.from_numpy(generator.normal(size=self.shape).astype(np.float32))

    def judged(self, place):
        return torch.full(self.shape, float(place))


def supply(source=None, targets=TARGETS, widths=(3,), batch_size=5, **settings):
    return PlannedSupply(source or Made(), targets, widths, LEARNED, JUDGED, batch_size, **settings)


def epoch(*arguments, first=0, seed=9, **settings):
    return list(supply(*arguments, **settings).epoch(seed, first))


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for (inputs, targets), (other_inputs, other_targets) in zip(batches, expected, strict=True):
        assert torch.equal(inputs, other_inputs)
        assert torch.equal(targets, other_targets)


def test_plain_batches_hold_what_the_source_gives():
    source = Made()
    batches = epoch(source)
    assert len(batches) == supply().steps_per_epoch == 5
    seen = []
    for inputs, targets in batches:
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        assert inputs.dtype == torch.float32
        for row, target in zip(inputs, targets, strict=True):
            (found,) = [key for key in source.asked[:22] if torch.equal(Made().learned(*key), row)]
            seen.append(found[:2])
            assert target == TARGETS[found[0]]
    assert sorted(seen) == [(place, view) for place in LEARNED.tolist() for view in (0, 1)]


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, BOTH | {"balanced": True}])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_epoch_goes_on_in_its_middle_without_loading_what_was_before(settings, threads):
    whole = epoch(**settings)
    assert_same(epoch(threads=threads, **settings), whole)
    for first in (1, 3, 5):
        source = Made()
        assert_same(epoch(source, first=first, threads=threads, **settings), whole[first:])
        assert len(source.asked) == sum(len(inputs) for inputs, _ in whole[first:])


def test_another_epoch_is_another():
    assert not torch.equal(epoch(seed=1)[0][0], epoch(seed=2)[0][0])


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, BOTH | {"balanced": True}])
@pytest.mark.parametrize("world", [2, 3])
def test_the_parts_of_several_processes_are_the_batches_of_one(settings, world):
    whole = epoch(batch_size=8, **settings)
    for rank in range(world):
        part = epoch(batch_size=8, rank=rank, world=world, **settings)
        assert_same(part, [(inputs[rank::world], targets[rank::world]) for inputs, targets in whole])


def test_mixed_targets_are_probabilities_and_mixed_inputs_shares():
    for inputs, targets in epoch(mixup=0.4):
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        assert targets.shape == (len(inputs), 3)
        torch.testing.assert_close(targets.sum(1), torch.ones(len(inputs)))


def test_several_tasks_keep_their_columns_and_their_missing_labels():
    targets = np.stack([TARGETS, np.where(np.arange(14) % 2, -1, 1)], axis=1)
    for inputs, of_batch in epoch(targets=targets, widths=(3, 2)):
        assert of_batch.shape == (len(inputs), 2)
    for inputs, of_batch in epoch(targets=targets, widths=(3, 2), mixup=1.0):
        assert of_batch.shape == (len(inputs), 5)
        known = of_batch[:, 3:].sum(1)
        assert ((known == 0) | (known == 1)).all()


def test_balance_draws_a_picture_that_comes_again_anew():
    rare = np.where(np.arange(14) == 4, 1, 0)
    source = Made(num_views=1)
    epoch(source, targets=rare, widths=(2,), balanced=True)
    words = [words for place, _, words in source.asked if place == 4]
    assert len(words) in (5, 6)
    assert sorted(words) == [f"9 {time}" for time in range(len(words))]


def test_judged_pictures_come_in_order_and_are_shared_out():
    batches = list(supply(batch_size=2).judged())
    assert [inputs[:, 0, 0, 0].tolist() for inputs, _ in batches] == [[3, 8], [13]]
    assert [targets.tolist() for _, targets in batches] == [[0, 2], [1]]
    parts = [
        [inputs[:, 0, 0, 0].tolist() for inputs, _ in supply(batch_size=4, rank=rank, world=2).judged()]
        for rank in range(2)
    ]
    # Whole batches, so that a loss that is a mean over each comes out as in one process.
    assert parts == [[[3, 8, 13]], []]


@pytest.mark.parametrize("judged", [None, JUDGED[:0]])
def test_without_pictures_to_judge_there_are_none(judged):
    assert PlannedSupply(Made(), TARGETS, (3,), LEARNED, judged, 4).judged() is None


def test_inputs_that_are_no_maps():
    batches = epoch(Made(shape=(7, 4)), mixup=0.4)
    assert batches[0][0].shape[1:] == (7, 4)
    with pytest.raises(HandlensError, match="cutmix"):
        supply(Made(shape=(7, 4)), cutmix=1.0)


def test_threads_work_only_a_little_ahead():
    source = Made(num_views=40)
    batches = supply(source).epoch(9)
    next(batches)
    # This batch, and the two that are loaded while it is learned from.
    assert len(source.asked) <= 15
    batches.close()
    num_asked = len(source.asked)
    assert num_asked <= 15


def test_an_error_of_a_picture_reaches_who_trains():
    source = Made()
    original = source.learned

    def learned(place, view, words):
        if place == 7:
            raise HandlensError("7.png cannot be read")
        return original(place, view, words)

    source.learned = learned
    with pytest.raises(HandlensError, match=r"7\.png"):
        epoch(source)


def test_the_threads_of_who_trains_stay_as_they_are():
    torch.set_num_threads(2)
    try:
        epoch()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_global_randomness_is_neither_used_nor_changed():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    epoch(**BOTH)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
