"""What may be said of a difference: against scipy, hand arithmetic and simulated truth."""

import numpy as np
import pytest
from scipy import stats

from handlens.evaluate.beside import accuracy_difference
from handlens.evaluate.intervals import Basis, Grouping, Spread, interval, spreads
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.significance import (
    PairedDifference,
    Repeated,
    difference,
    holm,
    interval_of,
    missed_by_one,
    seeds_of,
)


def repeated(correct, groups=None, seed: int = 0) -> Repeated:
    """A row from which pictures each of its trainings judged right."""
    correct = np.atleast_2d(np.asarray(correct, dtype=np.float64))
    grouping = grouped(correct.shape[1], groups)
    found = spreads(
        lambda weights: correct @ weights / np.maximum(weights.sum(0), 1),
        grouping,
        np.random.default_rng(seed),
    )
    drawn, left_out = np.array([each.drawn for each in found]), np.array([each.left_out for each in found])
    return Repeated(correct.mean(axis=1), drawn, left_out)


def grouped(num: int, groups=None) -> Grouping:
    groups = np.arange(num) if groups is None else np.asarray(groups)
    return Grouping(groups, len(np.unique(groups)))


def basis(num: int, groups=None, trials=None) -> Basis:
    count = grouped(num, groups).count
    return Basis(num, count, count, trials)


def test_pictures_of_their_own_give_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.random(400) < 0.85, rng.random(400) < 0.78
    found = difference(repeated(one), repeated(other), basis(400))
    classic = stats.ttest_rel(one.astype(float), other.astype(float))
    low, high = classic.confidence_interval()
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert found.p == pytest.approx(classic.pvalue, abs=0.01)
    within = found.interval()
    assert (within.low, within.high) == pytest.approx((low, high), abs=0.004)


def test_copies_of_a_picture_are_no_further_witnesses() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.random(60) < 0.8, rng.random(60) < 0.6
    alone = difference(repeated(one), repeated(other), basis(60))
    groups = np.repeat(np.arange(60), 8)
    copies = difference(repeated(one[groups], groups), repeated(other[groups], groups), basis(480, groups))
    assert (copies.value, copies.deviation, copies.p) == pytest.approx(
        (alone.value, alone.deviation, alone.p), rel=1e-5
    )
    # McNemar's test, which takes each of them for a witness of its own, becomes sure of anything.
    apart = [int((one & ~other).sum()), int((~one & other).sum())]
    assert stats.binomtest(8 * apart[0], 8 * sum(apart)).pvalue < copies.p / 100


def test_the_test_and_the_interval_say_the_same() -> None:
    rng = np.random.default_rng(3)
    one, other = repeated(rng.random(80) < 0.9), repeated(rng.random(80) < 0.8)
    found = difference(one, other, basis(80))
    edge = found.interval(found.p)
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-9)
    flat = PairedDifference(0.5, 0.0, 20, 1.0, "without exception")
    edge = flat.interval(flat.p)
    assert edge.low == pytest.approx(0, abs=1e-9)
    turned = difference(other, one, basis(80))
    assert (turned.value, turned.p) == pytest.approx((-found.value, found.p))


@pytest.mark.parametrize(("right", "p"), [((1, 1), 1.0), ((1, 0), 2 * 0.5**20)])
def test_without_exception_it_is_the_exact_bound(right, p) -> None:
    groups = np.arange(60) // 3
    one, other = (np.full(60, each, dtype=float) for each in right)
    found = difference(repeated(one, groups), repeated(other, groups), basis(60, groups))
    ids = tuple(map(str, range(60)))
    names = tuple(f"group {group}" for group in groups)
    tables = [
        Predictions(
            ids, names, np.zeros(60, np.int64), ("a", "b"), np.eye(2, dtype=np.float32)[1 - each.astype(int)]
        )
        for each in (one, other)
    ]
    known = accuracy_difference(*tables)
    within = found.interval()
    assert (within.low, within.high) == pytest.approx((known.low, known.high))
    assert within.method == known.method
    assert found.p == pytest.approx(p)


def test_the_same_trainings_twice_are_a_difference_of_none_in_every_group() -> None:
    # Three trainings, wrong in other pictures each, that lie apart by less than chance on single pictures.
    place = np.arange(120)
    correct = [(place < first) | (place >= last) for first, last in ((0, 20), (20, 41), (41, 61))]
    found = difference(repeated(correct), repeated(correct), basis(120))
    within = found.interval()
    exact = stats.binomtest(0, 120).proportion_ci(method="exact")
    assert (within.low, within.high) == pytest.approx((-exact.high, exact.high))
    assert (found.value, found.p) == (0, 1)


def test_where_no_group_can_be_spared_nothing_is_known() -> None:
    # Such as the area under a curve of two groups, each of a class of its own.
    drawn = np.where(np.arange(8) % 2, 0.8, np.nan)
    row = Repeated(np.array([0.8]), drawn[None], np.full((1, 2), np.nan))
    other = Repeated(np.array([0.6]), drawn[None] - 0.2, np.full((1, 2), np.nan))
    found = difference(row, other, basis(20, np.arange(20) % 2))
    within = found.interval()
    assert (found.p, within.low, within.high) == (1, -1, 1)
    own = interval_of(row, basis(20, np.arange(20) % 2))
    assert (own.low, own.high) == (0, 1)


def test_one_group_tells_nothing() -> None:
    found = difference(repeated([1, 1, 0], [0, 0, 0]), repeated([0, 1, 0], [0, 0, 0]), basis(3, [0, 0, 0]))
    assert found.p == 1
    within = found.interval()
    assert (within.low, within.high, within.method) == (-1, 1, "one group: unknown")


def test_seeds_that_change_nothing_but_single_pictures_are_not_counted_twice() -> None:
    rng = np.random.default_rng(4)
    noise = repeated(rng.random((12, 300)) < 0.8)
    found = seeds_of(noise)
    assert found.variance == pytest.approx(noise.values.var(ddof=1))
    # What is taken off is what chance on single pictures gives, p (1 - p) / n.
    assert found.variance - found.beyond == pytest.approx(0.8 * 0.2 / 300, rel=0.1)
    good, bad = rng.random((2, 300)) < np.array([[0.9], [0.7]])
    apart = seeds_of(repeated([good, bad]))
    assert apart.degrees == 1
    assert apart.beyond == pytest.approx(0.5 * (good.mean() - bad.mean()) ** 2 - 0.16 / 300, abs=0.002)
    assert seeds_of(repeated(good), repeated(bad)).degrees == 0


def test_a_single_training_has_the_interval_of_its_figure() -> None:
    correct = np.arange(200) % 10 > 0
    row = repeated(correct)
    own = basis(200, trials=200)
    assert interval_of(row, own) == interval(0.9, Spread(row.drawn[0], row.left_out[0]), own)


@pytest.mark.parametrize("trainings", [2, 3, 5])
def test_trainings_that_agree_make_a_figure_no_less_sure(trainings: int) -> None:
    # 33 pictures of 31 groups, two of them judged wrong by every training.
    groups = np.append(np.arange(31), [0, 1])
    correct = ~np.isin(np.arange(33), [10, 20])
    own = basis(33, groups, trials=33)
    once = interval_of(repeated(correct, groups), own)
    again = interval_of(repeated([correct] * trainings, groups), own)
    assert (again.low, again.high) == pytest.approx((once.low, once.high))
    # Wilson's for pictures of their own, within a point: hardly any two share a group.
    wilson = stats.binomtest(31, 33).proportion_ci(method="wilson")
    assert (again.low, again.high) == pytest.approx((wilson.low, wilson.high), abs=0.015)


def test_coverage_of_few_errors_that_trainings_share() -> None:
    rng = np.random.default_rng(7)
    groups, experiments, held = np.arange(90) // 3, 120, 0
    for _ in range(experiments):
        # Hard for all trainings: half of the pictures of a fifth of the groups.
        wrong = (rng.random(30) < 0.2)[groups] & (rng.random(90) < 0.5)
        correct = [~wrong | (rng.random(90) < 0.4) for _ in range(2)]
        found = interval_of(repeated(correct, groups), basis(90, groups, trials=90))
        held += found.low <= 1 - 0.2 * 0.5 * 0.6 <= found.high
    # 95 % with the chance of 120 experiments (standard error 2 %).
    assert held / experiments >= 0.9, held


@pytest.mark.parametrize(("num_groups", "size", "seed_spread"), [(150, 1, 0.03), (30, 6, 0.0), (30, 6, 0.04)])
def test_coverage_over_pictures_and_seeds(num_groups, size, seed_spread) -> None:
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(num_groups), size)
    experiments, covered = 150, np.zeros(2)
    for _ in range(experiments):
        ease = rng.uniform(0.6, 0.9, num_groups)[groups]
        rows = [
            repeated(
                [rng.random(len(groups)) < ease + gain + rng.normal(0, seed_spread) for _ in range(3)], groups
            )
            for gain in (0.05, 0.0)
        ]
        of_row = interval_of(rows[1], basis(len(groups), groups))
        of_gap = difference(*rows, basis(len(groups), groups)).interval()
        covered += [of_row.low <= 0.75 <= of_row.high, of_gap.low <= 0.05 <= of_gap.high]
    # 95 % with the chance of 150 experiments (standard error 1.8 %).
    assert np.all((covered / experiments >= 0.9) & (covered / experiments <= 0.995)), covered / experiments


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []


def test_intervals_of_all_pairs_are_wider_the_more_pairs_there_are() -> None:
    rng = np.random.default_rng(6)
    rows = [repeated(rng.random(200) < 0.8) for _ in range(6)]

    def missed(count: int) -> float:
        some = rows[:count]
        differences = {
            (a, b): difference(some[a], some[b], basis(200)) for a in range(count) for b in range(a)
        }
        return missed_by_one(some, differences)

    two, six = missed(2), missed(6)
    assert two == pytest.approx(0.05, abs=0.01)
    # Between all fifteen pairs on their own (Bonferroni) and a single one.
    assert 0.05 / 15 * 0.8 < six < 0.02
    # Tukey's range is what independent rows of equal spread have.
    tukey = 2 * stats.norm.sf(stats.studentized_range.ppf(0.95, 6, np.inf) / np.sqrt(2))
    assert six == pytest.approx(tukey, rel=0.4)
