"""What is joined two by two is in one set."""

import random

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from handlens.base.joined import Joined


def joined(pairs: list[tuple[int, int]]) -> Joined[int]:
    made: Joined[int] = Joined()
    for one, other in pairs:
        made.join(one, other)
    return made


@pytest.mark.parametrize("num_pairs", [0, 1, 30, 60, 100, 400])
@pytest.mark.parametrize("seed", range(5))
def test_the_sets_are_the_connected_components(num_pairs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 100, (2, num_pairs))
    found = joined(list(zip(first.tolist(), second.tolist(), strict=True))).sets()
    graph = coo_array((np.ones(num_pairs), (first, second)), shape=(100, 100))
    _, component = connected_components(graph, directed=False)
    named = np.union1d(first, second)
    expected = {frozenset(named[component[named] == which].tolist()) for which in component[named]}
    assert {frozenset(each) for each in found} == expected
    assert sorted(thing for each in found for thing in each) == named.tolist()


def test_joining_tells_whether_two_sets_became_one() -> None:
    made = joined([(1, 2), (3, 4)])
    assert made.join(2, 3)
    assert not made.join(4, 1)
    assert not made.join(5, 5)
    assert made.sets() == [[1, 2, 3, 4], [5]]


def test_sets_and_things_stand_as_they_were_first_named() -> None:
    assert joined([(9, 3), (7, 1), (1, 3), (8, 8)]).sets() == [[9, 3, 7, 1], [8]]


def test_the_order_of_the_pairs_does_not_change_the_sets() -> None:
    pairs = [(place, place + step) for place in range(0, 60, 3) for step in (1, 6)]
    expected = {frozenset(each) for each in joined(pairs).sets()}
    for seed in range(5):
        shuffled = random.Random(seed).sample(pairs, len(pairs))
        assert {frozenset(each) for each in joined(shuffled).sets()} == expected


def test_long_chains_need_no_deep_recursion() -> None:
    for pairs in ([(n, n + 1) for n in range(20_000)], [(n + 1, n) for n in range(20_000)]):
        (found,) = joined(pairs).sets()
        assert len(found) == 20_001


def test_things_may_be_anything_that_a_dictionary_can_hold() -> None:
    made: Joined[tuple[str, bool]] = Joined()
    made.join(("a", False), ("a", True))
    made.join(("b", False), ("b", False))
    assert made.sets() == [[("a", False), ("a", True)], [("b", False)]]
