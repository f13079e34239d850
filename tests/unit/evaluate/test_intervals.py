"""Intervals hold the truth as often as they promise, and are honest where nothing is known."""

import numpy as np
import pytest
from scipy import stats

from handlens.evaluate import intervals
from handlens.evaluate.intervals import (
    Basis,
    Grouping,
    Spread,
    interval,
    left_out,
    resamples,
    spreads,
    student,
)
from handlens.evaluate.metrics import Judged, accuracy, f1_by_class, macro


def experiment(rng: np.random.Generator, num_groups: int, size: int, right: float, together: float):
    """Pictures of 4 classes whose errors hang together within a group (beta-binomial)."""
    group = np.repeat(np.arange(num_groups), size)
    targets = rng.integers(4, size=len(group))
    wrong = np.full(len(group), 1 - right)
    if together:
        strength = 1 / together - 1
        wrong = rng.beta((1 - right) * strength, right * strength, num_groups)[group]
    missed = rng.random(len(group)) < wrong
    predicted = np.where(missed, (targets + rng.integers(1, 4, len(group))) % 4, targets)
    return Judged(targets, np.eye(4, dtype=np.float32)[predicted]), Grouping(group, num_groups)


@pytest.mark.parametrize(
    ("num_groups", "size", "right", "together"),
    [(100, 1, 0.85, 0.0), (25, 8, 0.85, 0.3), (60, 8, 0.95, 0.3)],
)
def test_coverage_of_accuracy_and_macro_f1(num_groups, size, right, together) -> None:
    rng = np.random.default_rng(11)
    experiments, covered = 200, np.zeros(2)
    for _ in range(experiments):
        judged, grouping = experiment(rng, num_groups, size, right, together)

        def measure(weights, judged=judged):
            weighed = judged.weighed(weights)
            return np.stack([accuracy(weighed), macro(weighed, f1_by_class)])

        values = measure(np.ones(len(judged.targets)))[:, 0]
        basis = Basis(len(judged.targets), num_groups, num_groups, trials=len(judged.targets))
        for at, (value, spread) in enumerate(zip(values, spreads(measure, grouping, rng), strict=True)):
            found = interval(value, spread, basis)
            assert 0 <= found.low <= value <= found.high <= 1
            # Errors spread evenly over classes make accuracy the true macro F1 too.
            covered[at] += found.low <= right <= found.high
    # 95 % with the chance of 200 experiments (standard error 1.5 %).
    assert np.all((covered / experiments >= 0.92) & (covered / experiments <= 0.985)), covered / experiments


def test_single_pictures_give_wilson_intervals() -> None:
    judged = Judged(np.zeros(200, dtype=int), np.eye(2)[(np.arange(200) < 20).astype(int)])
    spread = spreads(
        lambda weights: accuracy(judged.weighed(weights))[None],
        Grouping(np.arange(200), 200),
        np.random.default_rng(0),
    )[0]
    found = interval(0.9, spread, Basis(200, 200, 200, trials=200))
    wilson = stats.binomtest(180, 200).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=0.004)
    assert found.method == "bootstrap over 200 groups, 2000 resamples"


CERTAIN = Spread(np.ones(2000), np.ones(30))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_exception_the_bound_is_exact(value: float) -> None:
    found = interval(value, CERTAIN, Basis(300, 30, 30, trials=300))
    exact = stats.binomtest(round(30 * value), 30).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert found.method == "exact bound for 30 groups without exception"


def test_the_bound_scales_with_what_a_figure_can_be() -> None:
    found = interval(0.0, CERTAIN, Basis(300, 30, 30, trials=None, highest=0.5))
    assert found.high == pytest.approx(0.5 * (1 - 0.025 ** (1 / 30)))


def test_nothing_known() -> None:
    one = interval(0.9, CERTAIN, Basis(50, 1, 1, trials=50))
    assert (one.low, one.high, one.method) == (0, 1, "one group: unknown")
    none = interval(0.0, CERTAIN, Basis(0, 0, 0, trials=0))
    assert (none.low, none.high, none.method) == (0, 1, "no pictures: unknown")


def test_groups_that_err_alike_are_not_certain() -> None:
    found = interval(0.75, Spread(np.full(2000, 0.75), np.full(10, 0.75)), Basis(40, 10, 10, trials=40))
    assert found.low < 0.65 < 0.85 < found.high


def test_few_groups_with_all_the_errors_widen() -> None:
    even = Spread(np.random.default_rng(0).normal(0.9, 0.03, 2000), np.linspace(0.89, 0.91, 40))
    lone = Spread(even.drawn, np.array([0.94] + [0.9] * 39))
    basis = Basis(320, 40, 40, trials=320)
    assert interval(0.9, lone, basis).low < interval(0.9, even, basis).low


def test_resamples_are_groups_with_replacement(monkeypatch) -> None:
    grouping = Grouping.of(["b", "a", "b", "c"])
    whole = np.concatenate(list(resamples(grouping, np.random.default_rng(3), 500)), axis=1)
    assert whole.shape == (4, 500)
    assert np.array_equal(whole[0], whole[2])
    assert np.all(whole[0] + whole[1] + whole[3] == 3)
    assert whole.mean(axis=1) == pytest.approx(np.ones(4), abs=0.1)
    # How many are held at once changes nothing.
    monkeypatch.setattr(intervals, "_CHUNK", 28)
    pieces = list(resamples(grouping, np.random.default_rng(3), 500))
    assert len(pieces) > 50
    assert np.array_equal(np.concatenate(pieces, axis=1), whole)


def test_every_part_is_left_out_once() -> None:
    few = np.concatenate(list(left_out(Grouping.of(["b", "a", "b"]))), axis=1)
    assert few.tolist() == [[1, 0], [0, 1], [1, 0]]
    many = np.concatenate(list(left_out(Grouping(np.arange(1000), 1000))), axis=1)
    assert many.shape == (1000, 200)
    assert np.all((many == 0).sum(axis=1) == 1)


def test_students_quantiles() -> None:
    for degrees in (1, 2, 3, 3.5, 7, 10, 16, 30, 70, 300, 1e6):
        assert student(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=0.004)
