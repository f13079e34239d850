"""The kernel inception distance against plain loops, and what its interval covers."""

import numpy as np
import pytest

from handlens.synthesis.kid import Cloud, kernel, kid


def cloud(rows, size: int = 1) -> Cloud:
    """Rows in groups of a size."""
    return Cloud(np.asarray(rows, np.float32), [str(number // size) for number in range(len(rows))])


def by_loops(one: Cloud, other: Cloud) -> float:
    """Equation 4 of Bińkowski et al., over pairs of different groups."""

    def k(a, b):
        return (float(np.dot(a.astype(float), b.astype(float))) / len(a) + 1) ** 3

    def within(each: Cloud) -> float:
        values = [
            k(a, b)
            for a, group in zip(each.rows, each.groups, strict=True)
            for b, second in zip(each.rows, each.groups, strict=True)
            if group != second
        ]
        return sum(values) / len(values)

    between = [k(a, b) for a in one.rows for b in other.rows]
    return within(one) + within(other) - 2 * sum(between) / len(between)


@pytest.mark.parametrize(("size", "size_other"), [(1, 1), (2, 3)])
def test_it_is_the_estimate_of_the_paper(size, size_other) -> None:
    rng = np.random.default_rng(0)
    one, other = cloud(rng.normal(size=(12, 5)), size), cloud(rng.normal(0.5, 1, (9, 5)), size_other)
    found = kid(one, other)
    assert found.value == pytest.approx(by_loops(one, other))
    assert found.low < found.value < found.high
    assert (found.n, found.n_groups) == (12, 12 // size)


def test_the_jackknife_is_that_of_leaving_out() -> None:
    rng = np.random.default_rng(1)
    one, other = cloud(rng.normal(size=(10, 4)), 2), cloud(rng.normal(1, 1, (6, 4)))

    def without(each: Cloud, group: str) -> Cloud:
        kept = [place for place, name in enumerate(each.groups) if name != group]
        return Cloud(each.rows[kept], [each.groups[place] for place in kept])

    first = np.array([by_loops(without(one, name), other) for name in sorted(set(one.groups))])
    second = np.array([by_loops(one, without(other, name)) for name in sorted(set(other.groups))])
    variance = (len(first) - 1) * first.var() + (len(second) - 1) * second.var()
    found = kid(one, other)
    # Student's quantile for 4 degrees of freedom, since the fewer groups are five.
    assert (found.high - found.low) / 2 == pytest.approx(2.776 * np.sqrt(variance), rel=1e-4)


def test_the_same_source_is_at_distance_nothing_and_another_one_is_not() -> None:
    rng = np.random.default_rng(2)
    values, covered = [], 0
    for _ in range(100):
        found = kid(cloud(rng.normal(size=(20, 6))), cloud(rng.normal(size=(20, 6))))
        values.append(found.value)
        covered += found.low <= 0 <= found.high
    assert abs(np.mean(values)) < 3 * np.std(values) / 10
    assert covered >= 92
    far = kid(cloud(rng.normal(size=(20, 6))), cloud(rng.normal(1.5, 1, (20, 6))))
    assert far.low > 0


def test_the_interval_covers_the_truth_of_sources_that_differ() -> None:
    rng = np.random.default_rng(3)
    # The kernel's mean over many pairs is the truth, near enough.
    x, y, second_x, second_y = (rng.normal(shift, 1, (3000, 4)) for shift in (0, 0.6, 0, 0.6))
    truth = kernel(x, second_x).mean() + kernel(y, second_y).mean() - 2 * kernel(x, y).mean()
    covered = 0
    for _ in range(100):
        found = kid(cloud(rng.normal(size=(25, 4))), cloud(rng.normal(0.6, 1, (25, 4))))
        covered += found.low <= truth <= found.high
    assert covered >= 88


def test_one_group_says_nothing() -> None:
    rows = np.ones((3, 2))
    assert kid(Cloud(rows, ["a", "a", "a"]), cloud(rows)) is None
    assert kid(cloud(rows), cloud(rows[:0])) is None
