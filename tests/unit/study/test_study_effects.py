"""Effects and interactions: their values by hand, their intervals beside scipy's, and how often they hold."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from handlens.base.errors import HandlensError
from handlens.evaluate.predictions import Predictions
from handlens.study.effects import Effects, contrasts, effects

AXES = ("network", "a", "b")
PARTS = {"a": ("", "a"), "b": ("none", "small", "large")}
GRID = [(network, a, b) for network in ("x", "y") for a in PARTS["a"] for b in PARTS["b"]]
Right = NDArray[np.bool_]


def said(right: Right, group: NDArray[np.int64] | None = None) -> Predictions:
    """Judgments that are right where they should be."""
    names = tuple(map(str, range(len(right))))
    groups = names if group is None else tuple(map(str, group))
    chances = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9]).astype(np.float32)
    return Predictions(names, groups, np.zeros(len(right), np.int64), ("yes", "no"), chances)


def drawn(num: int = 400, seeds: int = 1, seed: int = 0) -> dict[tuple[str, ...], dict[int, Right]]:
    """Which pictures each row gets right: `a` helps, and with `large` it helps more."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=num)
    rows = {}
    for row in GRID:
        helped = 0.3 * (row[1] == "a") + 0.2 * (row[2] == "small") + 0.5 * (row[1:] == ("a", "large"))
        rows[row] = {each: hard + rng.normal(size=num) < 0.5 + helped for each in range(seeds)}
    return rows


def judged(rows: Mapping[tuple[str, ...], Mapping[int, Right]]) -> Effects:
    told = {row: {seed: said(right) for seed, right in each.items()} for row, each in rows.items()}
    return effects(AXES, PARTS, told)


def test_values_are_those_of_the_cell_means():
    rows = drawn(seeds=2)
    mean = {row: np.mean([right.mean() for right in each.values()]) for row, each in rows.items()}
    found = {each.of: each for each in judged(rows).effects}
    assert list(found) == [
        "a",
        "b: small instead of none",
        "b: large instead of none",
        "a × b: small instead of none",
        "a × b: large instead of none",
    ]
    by_a = [mean[n, "a", b] - mean[n, "", b] for n in ("x", "y") for b in PARTS["b"]]
    assert found["a"].value == pytest.approx(np.mean(by_a))
    assert (found["a"].num, found["a"].num_trainings) == (6, 2)
    large = [mean[n, a, "large"] - mean[n, a, "none"] for n in ("x", "y") for a in PARTS["a"]]
    assert found["b: large instead of none"].value == pytest.approx(np.mean(large))
    both = [
        (mean[n, "a", "large"] - mean[n, "a", "none"]) - (mean[n, "", "large"] - mean[n, "", "none"])
        for n in ("x", "y")
    ]
    interaction = found["a × b: large instead of none"]
    assert interaction.interaction and interaction.num == 2
    assert interaction.value == pytest.approx(np.mean(both))


def test_rows_that_are_missing_take_out_what_they_are_compared_with():
    rows = {
        row: right for row, right in drawn().items() if row not in {("x", "a", "large"), ("y", "", "none")}
    }
    found = {each.of: each for each in judged(rows).effects}
    assert found["a"].num == 4
    assert found["a × b: small instead of none"].num == 1
    # Of neither network all four rows are there.
    assert "a × b: large instead of none" not in found
    assert found["a"].value == pytest.approx(
        np.mean(
            [
                rows[n, "a", b][0].mean() - rows[n, "", b][0].mean()
                for n, b in (("x", "none"), ("x", "small"), ("y", "small"), ("y", "large"))
            ]
        )
    )


def test_intervals_are_those_of_a_paired_t_test_where_pictures_are_independent():
    rows = drawn(num=600)
    found = {each.of: each for each in judged(rows).effects}
    for contrast in contrasts(AXES, PARTS, set(rows)):
        signed = [rows[row][0].astype(float) for row in contrast.more]
        against = [rows[row][0].astype(float) for row in contrast.less]
        # The contrast of every single picture.
        pictures = (np.sum(signed, axis=0) - np.sum(against, axis=0)) / contrast.num
        test = stats.ttest_1samp(pictures, 0.0)
        reference = test.confidence_interval(0.95)
        each = found[contrast.of]
        assert each.low == pytest.approx(reference.low, abs=0.06 * (reference.high - reference.low))
        assert each.high == pytest.approx(reference.high, abs=0.06 * (reference.high - reference.low))
        assert each.p == pytest.approx(test.pvalue, abs=0.03)


def test_intervals_hold_over_seeds_and_groups():
    """Parts that are worth nothing, in pictures of groups, with seeds that matter."""
    held, clear = [], []
    for number in range(60):
        rng = np.random.default_rng([7, number])
        group = np.repeat(np.arange(30), 4)
        hard = 0.6 * rng.normal(size=30)[group] + 0.8 * rng.normal(size=120)
        rows = {}
        for a in ("", "a"):
            for b in ("", "b"):
                shifts = 0.15 * rng.normal(size=3)
                rows["only", a, b] = {
                    seed: said(hard + 0.7 * rng.normal(size=120) < 0.8 + shift, group)
                    for seed, shift in enumerate(shifts)
                }
        found = effects(("network", "a", "b"), {"a": ("", "a"), "b": ("", "b")}, rows).effects
        held += [each.low <= 0 <= each.high for each in found]
        clear.append(any(each.clear for each in found))
    # 180 intervals: 95 % of them within two and a half standard errors of the share itself.
    assert 0.90 <= np.mean(held) <= 1.0
    assert np.mean(clear) <= 0.12


def test_seeds_that_not_all_rows_have_are_left_out():
    rows = drawn(seeds=3)
    del rows["x", "a", "large"][1]
    found = judged(rows)
    assert found.notes == ("Of 3 seeds the 2 that every row has are used.",)
    assert {each.num_trainings for each in found.effects} == {2}


def test_without_two_rows_to_compare_there_are_no_effects():
    right = drawn()
    with pytest.raises(HandlensError, match="no effects to tell yet"):
        judged({("x", "", "none"): right["x", "", "none"], ("y", "a", "small"): right["y", "a", "small"]})
