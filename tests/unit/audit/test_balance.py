"""Counts, groups and what they are worth, against figures worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import t

from handlens.audit.balance import counts, effective_number, find, reach
from handlens.audit.finding import Finding, Subject
from handlens.audit.spec import BalanceSpec
from handlens.data.samples import Samples

SPEC = BalanceSpec()
Rows = Sequence[tuple[str | None, str, str | None]]


def subject_of(rows: Rows, made_by: Sequence[str | None] | None = None) -> Subject:
    ids = [f"{at}.png" for at in range(len(rows))]
    labels, groups, sides = zip(*rows, strict=True)
    table = pl.DataFrame(
        {"id": ids, "path": ids, "label": labels, "group": groups, "split": sides},
        schema=dict.fromkeys(("id", "path", "label", "group", "split"), pl.String),
    )
    if made_by:
        table = table.with_columns(made_by=pl.Series(made_by, dtype=pl.String))
    return Subject(Samples(table, Path()), (), 0)


def findings(rows: Rows, made_by: Sequence[str | None] | None = None) -> list[Finding]:
    subject = subject_of(rows, made_by)
    return find(subject, counts(subject, SPEC), SPEC)


def titles(found: list[Finding]) -> list[str]:
    return [f"{each.severity}: {each.title}" for each in found]


def many(
    label: str, num: int, side: str | None = None, a_group: int = 1
) -> list[tuple[str, str, str | None]]:
    return [(label, f"{label}-{at // a_group}-{side}", side) for at in range(num)]


def test_equal_groups_are_worth_their_number() -> None:
    assert effective_number([7] * 12) == pytest.approx(12)
    # Kish: (8 + 1 + 1)² / (64 + 1 + 1).
    assert effective_number([8, 1, 1]) == pytest.approx(100 / 66)
    assert effective_number([]) == 0


@pytest.mark.parametrize("groups", [3, 10, 41, 400])
def test_the_reach_is_half_of_wilsons_interval(groups: int) -> None:
    quantile = t.ppf(0.975, groups - 1)
    # (0.9 - p)² = q² p (1 - p) / n, as a polynomial in p.
    roots = np.roots([1 + quantile**2 / groups, -(2 * 0.9 + quantile**2 / groups), 0.9**2])
    assert reach(groups) == pytest.approx(abs(roots[0] - roots[1]) / 2, rel=0.01)
    assert reach(0.4) == 1


def test_counts_are_counts() -> None:
    rows = [*many("a", 4, "train", 2), *many("a", 2, "test"), *many("b", 3, "train")]
    first, second = counts(subject_of(rows), SPEC)
    assert (first.pictures, first.groups) == (6, 4)
    assert (first.by_side, first.groups_by_side) == ({"train": 4, "test": 2}, {"train": 2, "test": 2})
    assert first.effective == pytest.approx(36 / (4 + 4 + 1 + 1))
    assert first.largest == pytest.approx(2 / 6)
    assert first.on_test == pytest.approx(2)
    assert (second.pictures, second.by_side, second.on_test) == (3, {"train": 3, "test": 0}, 0)


def test_what_was_made_from_others_does_not_count() -> None:
    rows = [*many("a", 4), *many("b", 4)]
    counted = counts(subject_of(rows, [None, "expand", "expand", None, *[None] * 4]), SPEC)
    assert [each.pictures for each in counted] == [2, 4]


def test_enough_of_everything_is_no_finding() -> None:
    assert findings([*many("a", 400, a_group=2), *many("b", 300, a_group=2)]) == []


def test_a_class_of_one_group_has_to_be_mended() -> None:
    found = findings([*many("a", 300, a_group=2), *(("b", "only", None) for _ in range(50))])
    assert titles(found) == ["must: 1 class of a single group"]
    assert "“b”" in found[0].sentence


def test_classes_missing_on_a_side_are_found() -> None:
    rows = [
        *many("a", 200, "train", 2),
        *many("a", 200, "test", 2),
        *many("b", 100, "test", 2),
        *many("c", 100, "train", 2),
    ]
    assert titles(findings(rows)) == [
        "must: The training side lacks 1 class",
        "should: The test side lacks 1 class",
    ]


def test_small_and_uneven_classes_are_found() -> None:
    found = findings([*many("a", 600, a_group=2), *many("b", 40, a_group=2)])
    assert titles(found) == [
        "should: 1 class too small to judge",
        "should: The largest class is 15 times as large as the smallest",
    ]
    assert "about 4 independent groups of “b”" in found[0].sentence


def test_a_class_mostly_of_one_group_is_told() -> None:
    one = [("b", "video", None) for _ in range(200)]
    found = findings([*many("a", 300, a_group=2), *many("b", 200, a_group=2), *one])
    assert "note: 1 class mostly of one group" in titles(found)


def test_groups_that_nobody_told_are_told() -> None:
    rows = [(label, f"{at}.png", None) for at, label in enumerate("ab" * 200)]
    assert titles(findings(rows)) == ["note: Nothing was told about what the pictures came from"]


def test_pictures_without_a_label_are_told() -> None:
    found = findings([*many("a", 300, a_group=2), *many("b", 300, a_group=2), (None, "x", None)])
    assert titles(found) == ["note: 1 picture without a label of “label”"]
