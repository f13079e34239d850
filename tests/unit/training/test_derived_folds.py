"""Validation judges no picture that was made from others, and learns from none whose group it judges."""

from dataclasses import replace

import numpy as np
import pytest

from handlens.data.sides import Shot, Sides
from handlens.training.choose import validation_folds


@pytest.fixture
def learning(tmp_path):
    """Twelve pictures in six groups, each followed by one made from it, and one made from nothing."""
    groups = [f"g{number // 2}" for number in range(12) for _ in range(2)]
    labels = [(number // 2) % 2 for number in range(12) for _ in range(2)]
    derived = [False, True] * 12
    names = [f"{number}.png" for number in range(25)]
    return Sides(
        classes=("a", "b"),
        ids=tuple(names),
        groups=(*groups, "alone"),
        shots=tuple(Shot(tmp_path / name, name) for name in names),
        targets=np.array([*labels, 0], dtype=np.int64),
        names=("train",) * 25,
        derived=(*derived, True),
    )


def test_folds_judge_taken_pictures_alone(learning):
    folds, _ = validation_folds(learning, 3, seed=0)
    judged = np.concatenate([held for _, held in folds])
    assert sorted(judged.tolist()) == list(range(0, 24, 2))
    for learned, held in folds:
        groups_held = {learning.groups[place] for place in held}
        groups_learned = {learning.groups[place] for place in learned}
        assert not groups_held & groups_learned
        # All of the others teach, and what was made from nothing that is judged.
        assert groups_learned == set(learning.groups) - groups_held
        assert len(learned) == 25 - 2 * len(held)
        assert 24 in learned


def test_folds_of_taken_pictures_are_as_if_none_had_been_made(learning):
    plain = Sides(
        learning.classes,
        learning.ids[:24:2],
        learning.groups[:24:2],
        learning.shots[:24:2],
        learning.targets[:24:2],
        ("train",) * 12,
    )
    with_derived, _ = validation_folds(learning, 3, seed=4)
    without, _ = validation_folds(plain, 3, seed=4)
    for (_, held), (_, held_alone) in zip(with_derived, without, strict=True):
        assert [learning.ids[place] for place in held] == [plain.ids[place] for place in held_alone]
    for learned, held in without:
        assert sorted([*learned.tolist(), *held.tolist()]) == list(range(12))


def test_folds_learn_nothing_from_pictures_that_show_something_of_many(learning):
    mixed = tuple(number in (1, 7, 24) for number in range(25))
    folds, _ = validation_folds(replace(learning, mixed=mixed), 3, seed=4)
    as_without, _ = validation_folds(learning, 3, seed=4)
    for (learned, held), (before, held_before) in zip(folds, as_without, strict=True):
        assert learned.tolist() == [place for place in before if place not in (1, 7, 24)]
        assert held.tolist() == held_before.tolist()
