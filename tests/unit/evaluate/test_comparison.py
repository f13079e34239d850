"""Rows side by side: what is called better, what is a tie, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from handlens.base.errors import HandlensError
from handlens.evaluate.beside import figure_difference
from handlens.evaluate.comparison import Comparison, Entry, compare
from handlens.evaluate.judged_alike import joined
from handlens.evaluate.metrics import METRICS, accuracy
from handlens.evaluate.predictions import Predictions


def said(right: float, num: int = 120, size: int = 1, seed: int = 0, classes=("a", "b", "c")) -> Predictions:
    """Judgments of pictures of groups of a size, each right with this chance."""
    rng = np.random.default_rng(seed)
    targets = np.arange(num) % len(classes)
    missed = rng.random(num) >= right
    called = np.where(missed, (targets + 1) % len(classes), targets)
    sure = np.full((num, len(classes)), 0.1, np.float32)
    sure[np.arange(num), called] = 1 - 0.1 * (len(classes) - 1)
    names = tuple(f"picture {number:03}" for number in range(num))
    groups = tuple(f"group {number // size:03}" for number in range(num))
    return Predictions(names, groups, targets, tuple(classes), sure)


def entry(name: str, right: float, trainings: int = 1, seed: int = 0, **how) -> Entry:
    return Entry(name, tuple(said(right, seed=100 * seed + number, **how) for number in range(trainings)))


def standings(found: Comparison) -> dict[str, str]:
    return {row.name: row.standing for row in found.rows}


def test_means_spread_and_difference_are_those_of_the_trainings() -> None:
    plain, other = entry("plain", 0.7, 3), entry("other", 0.8, 2, seed=1)
    found = compare([plain, other])
    row = found.row("other")
    values = [each.correct.mean() for each in other.trainings]
    assert row.figures["accuracy"].value == pytest.approx(np.mean(values))
    assert row.by_training["accuracy"] == pytest.approx(values)
    assert row.deviation("accuracy") == pytest.approx(np.std(values, ddof=1))
    assert row.num_trainings == 2
    known = figure_difference(accuracy, other.trainings, plain.trainings)
    assert row.difference is not None
    assert row.difference.value == pytest.approx(known.value)
    # Narrower than the sum of both variances, which counts chance on single pictures twice.
    assert known.low <= row.difference.low < row.difference.value < row.difference.high <= known.high
    assert np.array(row.confusion).sum() == 240
    assert sum(row.confusion[at][at] for at in range(3)) == sum(
        each.correct.sum() for each in other.trainings
    )


def test_clear_differences_are_marked_and_others_are_ties() -> None:
    entries = [
        entry(name, right, seed=at) for at, (name, right) in enumerate([("plain", 0.7), ("good", 0.95)])
    ]
    entries += [entry("alike", 0.72, seed=2), entry("bad", 0.4, seed=3)]
    found = compare(entries)
    assert standings(found) == {"plain": "reference", "good": "better", "alike": "tie", "bad": "worse"}
    assert [row.name for row in found.rows if row.leads] == ["good"]
    assert found.best.name == "good"
    assert found.num_differences == 3
    assert found.row("plain").difference is None
    for row in found.rows[1:]:
        assert row.difference is not None
        assert row.difference.p <= row.difference.p_corrected <= 1


@pytest.mark.parametrize("figure", ["accuracy", "log_loss"])
@pytest.mark.parametrize("to", ["first", "best", "bad"])
def test_each_row_tells_which_it_is_clearly_better_than(figure: str, to: str) -> None:
    rows = [("plain", 0.7), ("good", 0.95), ("alike", 0.72), ("bad", 0.3)]
    found = compare([entry(name, right, seed=at) for at, (name, right) in enumerate(rows)], figure, to=to)
    assert {row.name: row.better_than for row in found.rows} == {
        "plain": ("bad",),
        "good": ("plain", "alike", "bad"),
        "alike": ("bad",),
        "bad": (),
    }


def test_of_errors_the_smaller_is_better() -> None:
    found = compare([entry("plain", 0.6), entry("good", 0.95, seed=1)], "log_loss", also=("mse",))
    assert found.lower_is_better
    assert standings(found)["good"] == "better"
    difference = found.row("good").difference
    assert difference is not None and difference.high < 0
    assert found.best.name == "good"
    assert set(found.rows[0].figures) == {"log_loss", "mse"}


def test_a_row_ties_with_itself_under_another_name() -> None:
    found = compare([entry("one", 0.8), replace(entry("one", 0.8), name="other")])
    assert standings(found)["other"] == "tie"
    difference = found.row("other").difference
    assert difference is not None
    assert (difference.value, difference.p) == (0, 1)
    assert difference.low < 0 < difference.high
    assert all(row.leads for row in found.rows)


def test_order_changes_nothing_but_signs() -> None:
    one, other = entry("one", 0.7, size=4), entry("other", 0.85, seed=1, size=4)
    mixed = replace(other, trainings=(other.trainings[0].only(np.random.default_rng(0).permutation(120)),))
    found, again = compare([one, other]), compare([one, mixed])
    assert found == again
    turned = compare([other, one]).row("one").difference
    straight = found.row("other").difference
    assert turned is not None and straight is not None
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (-straight.value, -straight.high, -straight.low)
    )
    assert compare([one, other], to="other").reference == "other"


def test_to_the_best_every_pair_counts() -> None:
    entries = [entry(f"row {at}", 0.8, seed=at) for at in range(4)]
    first, best = compare(entries), compare(entries, to="best")
    assert best.to_best and best.reference == best.best.name
    assert (first.num_differences, best.num_differences) == (3, 6)
    other = next(row.name for row in best.rows if row.standing != "reference")
    named = compare(entries, to=best.reference).row(other).difference
    wide = best.row(other).difference
    assert named is not None and wide is not None
    assert wide.high - wide.low > 1.15 * (named.high - named.low)
    assert wide.p_corrected >= named.p_corrected


@pytest.mark.parametrize("number", [40, 44, 99])
def test_a_row_that_ties_with_the_best_leads_with_it(number: int) -> None:
    # Holm's last p values and the interval for all pairs at once need not agree.
    entries = [entry(f"row {at}", 0.7 + 0.03 * at, seed=10 * number + at, num=300) for at in range(6)]
    found = compare(entries, also=(), to="best")
    assert any(row.standing == "tie" and row.difference.p_corrected <= 0.05 for row in found.rows[:5])
    assert [row.leads for row in found.rows] == [row.standing != "worse" for row in found.rows]


def test_a_figure_that_these_pictures_cannot_tell_is_left_out_or_refused() -> None:
    def of_one_class(some: Entry) -> Entry:
        (table,) = some.trainings
        return replace(some, trainings=(replace(table, targets=np.zeros(120, np.int64)),))

    rows = [of_one_class(entry("one", 0.8)), of_one_class(entry("other", 0.7, seed=1))]
    assert set(compare(rows, also=("roc_auc", "f1_macro")).rows[0].figures) == {"accuracy", "f1_macro"}
    with pytest.raises(HandlensError, match="roc_auc says nothing of 3 classes of which 1 occur"):
        compare(rows, "roc_auc")


def test_better_is_seldom_said_where_nothing_is() -> None:
    wrong = 0
    for number in range(60):
        entries = [entry(f"row {at}", 0.8, seed=10 * number + at, num=90, size=3) for at in range(4)]
        found = compare(entries, also=())
        wrong += any(row.standing in ("better", "worse") for row in found.rows)
    # At most 5 %, with the chance of 60 experiments.
    assert wrong <= 7, wrong


def test_failed_rows_say_why_and_the_others_go_on() -> None:
    found = compare(
        [entry("plain", 0.7), Entry("broken", (), "no memory was left"), entry("good", 0.95, seed=1)]
    )
    assert standings(found) == {"plain": "reference", "broken": "failed", "good": "better"}
    assert found.row("broken").problem == "no memory was left"
    assert [row.name for row in found.judged] == ["plain", "good"]
    with pytest.raises(HandlensError, match=r"two rows.*no memory was left"):
        compare([entry("plain", 0.7), Entry("broken", (), "no memory was left")])


def test_other_pictures_are_refused_or_left_out() -> None:
    whole, part = entry("whole", 0.8), entry("part", 0.8, seed=1)
    part = replace(part, trainings=(part.trainings[0].only(np.arange(20, 120)),))
    with pytest.raises(
        HandlensError, match=r"'part' was judged on other pictures than 'whole': 100 of 100 and 120"
    ):
        compare([whole, part])
    found = compare([whole, part], common=True)
    assert found.n == 100
    assert found.notes == ("Compared on the 100 pictures that all rows judged.",)
    assert found.row("whole").figures["accuracy"].value == whole.trainings[0].correct[20:].mean()
    none = replace(part, trainings=(replace(part.trainings[0], ids=tuple(map(str, range(100)))),))
    with pytest.raises(HandlensError, match="no picture of known class that all"):
        compare([whole, none], common=True)


def test_classes_in_another_order_are_the_same_classes() -> None:
    one, other = entry("one", 0.7), entry("other", 0.8, seed=1)
    (table,) = other.trainings
    turned = replace(
        table,
        classes=("c", "a", "b"),
        targets=(table.targets + 1) % 3,
        probabilities=table.probabilities[:, [2, 0, 1]],
    )
    assert compare([one, replace(other, trainings=(turned,))]) == compare([one, other])
    strange = replace(table, classes=("a", "b", "d"))
    with pytest.raises(HandlensError, match=r"other classes apart .* c, d"):
        compare([one, replace(other, trainings=(strange,))])


def test_other_labels_are_refused() -> None:
    one, other = entry("one", 0.7), entry("other", 0.8, seed=1)
    (table,) = other.trainings
    targets = table.targets.copy()
    targets[5] = (targets[5] + 1) % 3
    with pytest.raises(HandlensError, match=r"other labels for 1 of the same pictures, such as picture 005"):
        compare([one, replace(other, trainings=(replace(table, targets=targets),))])


def test_pictures_that_any_run_holds_together_stay_together() -> None:
    fine, coarse = entry("fine", 0.8, size=2), entry("coarse", 0.8, size=3, seed=1)
    found = compare([fine, coarse])
    # Pairs and threes meet in sixes.
    assert found.n_groups == 20
    assert "differently" in found.notes[0]


def test_names_that_help() -> None:
    rows = [entry("one", 0.7), entry("other", 0.8, seed=1)]
    with pytest.raises(HandlensError, match="Two rows are called 'one'"):
        compare([rows[0], rows[0]])
    with pytest.raises(HandlensError, match="Did you mean 'accuracy'"):
        compare(rows, "acuracy")
    with pytest.raises(HandlensError, match="Did you mean 'other'"):
        compare(rows, to="othr")
    with pytest.raises(HandlensError, match="top_5 says nothing of 3 classes"):
        compare(rows, "top_5")


@pytest.mark.parametrize("figure", list(METRICS))
def test_every_figure_can_be_compared_in(figure: str) -> None:
    classes = tuple("abcdefg")
    found = compare(
        [entry("one", 0.7, 2, classes=classes), entry("two", 0.8, 2, seed=1, classes=classes)], figure
    )
    difference = found.row("two").difference
    assert difference is not None
    assert difference.low <= difference.value <= difference.high


def test_folds_make_one_training() -> None:
    whole = said(0.8)
    folds = [whole.only(np.arange(fold, 120, 3)) for fold in range(3)]
    together = joined(folds, "row")
    assert sorted(together.ids) == sorted(whole.ids)
    assert together.correct.mean() == whole.correct.mean()
    assert compare([Entry("folds", (together,)), Entry("whole", (whole,))]).row("whole").standing == "tie"
    with pytest.raises(HandlensError, match="judged some of the same pictures"):
        joined([folds[0], folds[0]], "row")
