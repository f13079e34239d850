"""Labels that are likely wrong: found among swapped ones, and counted as cleanlab counts them."""

import itertools

import numpy as np
import polars as pl
import pytest
from cleanlab.count import compute_confident_joint, get_confident_thresholds, num_label_issues

from alone import nothing_at_hand, one_thread
from handlens.audit import labels as module
from handlens.audit.confident import (
    confident_joint,
    likely_others,
    num_wrong,
    self_confidences,
    shares,
    sure_classes,
)
from handlens.audit.finding import Subject
from handlens.audit.labels import LabelsSpec, is_by_chance, labels, out_of_fold, suspects
from handlens.base.errors import HandlensError
from handlens.data.samples import Samples
from handlens.training.store import RowStore
from handlens.training.table import FeatureTable

__all__ = ["nothing_at_hand", "one_thread"]

NUM = 240
CLASSES = ("glass", "metal", "紙 paper")


def judgments(seed, num=NUM, classes=4, sharpness=2.0):
    """Made judgments that are mostly right, with a tenth of the labels swapped."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, num)
    scores = generator.normal(size=(num, classes))
    scores[np.arange(num), truth] += sharpness
    odds = np.exp(scores)
    judged = (odds / odds.sum(1, keepdims=True)).astype(np.float32)
    given = np.where(generator.random(num) < 0.1, (truth + 1) % classes, truth)
    return judged, given


# confident learning, held against cleanlab


@pytest.mark.parametrize("seed", range(5))
def test_the_confident_joint_is_that_of_cleanlab(seed):
    judged, given = judgments(seed)
    exactly = judged.astype(np.float64)
    assert self_confidences(judged, given) == pytest.approx(get_confident_thresholds(given, exactly))
    theirs = compute_confident_joint(given, exactly, calibrate=False)
    assert confident_joint(judged, given).tolist() == theirs.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_as_many_labels_are_wrong_as_cleanlab_says(seed):
    judged, given = judgments(seed)
    theirs = num_label_issues(given, judged.astype(np.float64), estimation_method="off_diagonal_calibrated")
    # Theirs is rounded label by label.
    assert num_wrong(judged, given) == pytest.approx(theirs, abs=2)


def test_confident_learning_by_hand():
    judged = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.55, 0.45]], np.float32)
    given = np.array([0, 0, 1, 0, 1])
    # Class 0: (0.9 + 0.7 + 0.1) / 3; class 1: (0.8 + 0.45) / 2.
    assert self_confidences(judged, given) == pytest.approx([1.7 / 3, 0.625])
    assert sure_classes(judged, given).tolist() == [0, 0, 1, 1, -1]
    assert confident_joint(judged, given).tolist() == [[2, 1], [0, 1]]
    # One of the three that are labelled 0; of the two that are labelled 1 none.
    assert num_wrong(judged, given) == pytest.approx(1)
    assert shares(judged, given) == pytest.approx([0.9, 0.7, 0.8, 0.1, 0.45])
    assert likely_others(judged, given).tolist() == [1, 1, 0, 1, 0]


def test_of_several_classes_the_label_is_held_against_the_likeliest_other_one():
    judged = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.0, 0.0, 1.0]], np.float32)
    given = np.array([0, 1, 0])
    assert shares(judged, given) == pytest.approx([5 / 8, 3 / 9, 0])
    assert likely_others(judged, given).tolist() == [1, 2, 2]


def test_a_class_that_no_picture_has_is_nobodys_true_class():
    judged = np.full((4, 3), [0.4, 0.1, 0.5], np.float32)
    assert set(sure_classes(judged, np.array([0, 1, 0, 1]))) <= {-1, 0, 1}


# heads that had not learned from a picture


@pytest.fixture
def table_of(tmp_path):
    """A table of made features: a row a picture, kept in a real store."""
    count = itertools.count()

    def make(rows):
        digests = [f"{number:032x}" for number in range(len(rows))]
        store = RowStore(tmp_path / "made" / str(next(count)))
        with store.writing():
            store.append(digests, np.asarray(rows, dtype=np.float32))
        return FeatureTable([store], digests)

    return make


def features(truth, seed, width=12):
    """Features by which the classes can nearly always be told."""
    generator = np.random.default_rng(seed)
    made = generator.normal(size=(len(truth), width)).astype(np.float32)
    made[np.arange(len(truth)), truth] += 4
    return made


def swapped(truth, share, seed):
    generator = np.random.default_rng(seed)
    which = generator.choice(len(truth), round(share * len(truth)), replace=False)
    given = truth.copy()
    given[which] = (truth[which] + generator.integers(1, truth.max() + 1, len(which))) % (truth.max() + 1)
    return given, set(which.tolist())


def test_swapped_labels_come_first_in_the_ranking(table_of):
    truth = np.arange(NUM) % 3
    given, wrong = swapped(truth, 0.05, seed=1)
    names = [str(row) for row in range(NUM)]
    found = suspects(table_of(features(truth, 2)), given, np.arange(NUM), names, 3, LabelsSpec(rounds=1), 0)
    assert sorted(found.rows.tolist()) == list(range(NUM))
    assert set(found.rows[: NUM // 10].tolist()) >= wrong
    assert len(found.first) == found.num_wrong
    assert len(wrong) <= found.num_wrong < 2 * len(wrong)
    assert sorted([*found.first.rows, *found.trusted]) == list(range(NUM))
    assert found.likely[:8].tolist() == truth[found.rows[:8]].tolist()
    assert (np.diff(found.shares) >= 0).all()


def test_nothing_of_a_group_is_learned_when_it_is_judged(table_of):
    """Four pictures of each specimen are the same; its label is chance, and only they can tell it."""
    generator = np.random.default_rng(3)
    specimen = np.repeat(np.arange(60), 4)
    table = table_of(generator.normal(size=(60, 256)).astype(np.float32)[specimen])
    given = generator.integers(0, 2, 60)[specimen]
    spec = LabelsSpec(rounds=1)

    def accuracy(groups):
        return (out_of_fold(table, given, np.arange(240), groups, 2, spec, 0).argmax(1) == given).mean()

    assert accuracy([str(each) for each in specimen]) < 0.65
    assert accuracy([str(row) for row in range(240)]) > 0.75


def test_the_same_again_gives_the_same_ranking(table_of):
    truth = np.arange(90) % 3
    table, names = table_of(features(truth, 5)), [str(row) for row in range(90)]
    first, again = (suspects(table, truth, np.arange(90), names, 3, LabelsSpec(rounds=2), 7) for _ in "12")
    assert first.rows.tolist() == again.rows.tolist()
    assert first.shares.tobytes() == again.shares.tobytes()


# the finding


def subject_of(given, groups=None):
    names = [f"{CLASSES[label]}/图 {row}.png" for row, label in enumerate(given)]
    table = pl.DataFrame(
        {
            "id": names,
            "path": [f"/nowhere/{name}" for name in names],
            "label": [CLASSES[label] for label in given],
            "group": groups or names,
            "split": pl.Series([None] * len(names), dtype=pl.String),
            "digest": [f"{row:032x}" for row in range(len(names))],
        }
    )
    return Subject(Samples(table, root=None), (), 0)


@pytest.fixture
def seen(table_of, monkeypatch):
    """Let the network see made features."""

    def see(made):
        monkeypatch.setattr(module, "features_of", lambda *_: table_of(made))

    return see


def test_a_finding_tells_the_given_and_the_likely_label_and_what_to_see_beside_it(seen):
    truth = np.arange(NUM) % 3
    given, wrong = swapped(truth, 0.05, seed=1)
    seen(features(truth, 2))
    subject = subject_of(given)
    (finding,) = labels(subject, None)
    assert (finding.check, finding.severity) == ("labels", "should")
    assert finding.title.endswith(f"of {NUM} labels are worth a second look")
    ids = subject.samples.table["id"].to_list()
    place = {name: row for row, name in enumerate(ids)}
    assert {place[row.id] for row in finding.rows} >= wrong
    for row in finding.rows:
        at = place[row.id]
        if at in wrong:
            assert (row.action, row.to) == ("relabel?", CLASSES[truth[at]])
            assert row.why == f"labelled {CLASSES[given[at]]}, looks like {CLASSES[truth[at]]}"
            # One that bears its label, and one of the class that it looks like.
            assert [given[place[other]] for other in row.beside] == [given[at], truth[at]]
            assert not {place[other] for other in row.beside} & wrong
    assert [row.figure for row in finding.rows] == sorted(row.figure for row in finding.rows)


def test_a_class_of_few_groups_is_told_and_left_out(seen):
    truth = np.array([0, 1] * 60 + [2] * 12)
    seen(features(truth, 4))
    groups = [f"specimen {row}" for row in range(120)] + ["one of paper", "two of paper"] * 6
    told = labels(subject_of(truth, groups), None, LabelsSpec(rounds=1))
    assert told[-1].title == "Labels of 1 of 3 classes could not be judged"
    assert "紙 paper" in told[-1].sentence
    assert "(12 pictures)" in told[-1].sentence
    assert not [row for finding in told for row in finding.rows if "paper" in row.id + row.to]


def test_where_nothing_can_be_judged_it_is_said(seen):
    seen(features(np.array([0, 1] * 6), 4))
    (finding,) = labels(subject_of([0, 1] * 6, ["a", "b"] * 6), None)
    assert (finding.severity, finding.title) == ("note", "Labels could not be judged")


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_cannot_tell_the_classes_accuses_nobody(seen, seed):
    random = np.random.default_rng(seed)
    seen(random.standard_normal((NUM, 8)).astype(np.float32))
    (finding,) = labels(subject_of(random.integers(0, 3, NUM)), None, LabelsSpec(rounds=1))
    assert (finding.severity, finding.title, finding.rows) == ("note", "Labels could not be judged", ())
    assert "most frequent class would do as well" in finding.sentence


def test_pictures_of_one_group_are_one_piece_of_evidence():
    targets = np.array([0, 1] * 50)
    assert not is_by_chance(0.7, targets, 100)
    assert is_by_chance(0.7, targets, 10)


def test_without_any_label_nothing_is_judged(seen):
    subject = subject_of([0, 1] * 6)
    table = subject.samples.table.with_columns(label=pl.lit(None, dtype=pl.String))
    (finding,) = labels(Subject(subject.samples.with_table(table), (), 0), None)
    assert (finding.severity, finding.rows) == ("note", ())


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"rounds": 0}, {"fold": 3}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(HandlensError):
        LabelsSpec.parse(wrong, "The search for wrong labels")


def test_pictures_without_a_label_are_left_alone(seen):
    truth = np.arange(60) % 3
    seen(features(truth, 6))
    subject = subject_of(truth)
    table = subject.samples.table.with_columns(
        label=pl.when(pl.int_range(60) < 10).then(None).otherwise(pl.col("label"))
    )
    told = labels(Subject(subject.samples.with_table(table), (), 0), None, LabelsSpec(rounds=1))
    assert "50 labels" in told[0].title + told[0].sentence
