"""What an existing split leaks: copies and groups on two sides, and what they are worth."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from alone import nothing_at_hand, one_thread
from handlens.audit import leak as module
from handlens.audit.finding import Subject
from handlens.audit.leak import leak, quick_predictions
from handlens.data.copies import Cluster, Copies, Member
from handlens.data.image import JudgingView
from handlens.data.leak import find_leak
from handlens.data.samples import Samples
from handlens.data.views import ViewsSpec
from handlens.evaluate.leaked import leaked
from handlens.evaluate.predictions import Predictions
from handlens.models.build import ModelSpec
from handlens.training.device import Device
from handlens.training.extract import Extractor

__all__ = ["nothing_at_hand", "one_thread"]

NAMES = ("a 图.png", "b.png", "c.png", "d.png", "e.png", "f.png", "g.png", "h.png")
SIDES = ("train", "train", "train", "val", "test", "test", "test", "test")


def subject(sides=SIDES, groups=NAMES, labels=("ore", "rock") * 4):
    table = pl.DataFrame(
        {"id": NAMES, "path": NAMES, "label": labels, "group": groups, "split": sides, "digest": NAMES},
        schema=dict.fromkeys(("id", "path", "label", "group", "split", "digest"), pl.String),
    )
    return Subject(Samples(table, Path("/p")), (), 0)


def copies(*clusters):
    made = tuple(Cluster(tuple(Member(row, "near", 1, 0.9) for row in rows)) for rows in clusters)
    return Copies(made, (), ())


NONE = copies()


# which pictures leak


def test_pictures_leak_whose_copies_are_learned_from():
    found = find_leak(subject().samples, [NAMES[:2], (NAMES[2], NAMES[4], NAMES[5]), (NAMES[3], NAMES[6])])
    assert [(each.id, each.copies) for each in found.copied] == [
        ("e.png", ("c.png",)),
        ("f.png", ("c.png",)),
        ("g.png", ("d.png",)),
    ]
    assert found.learned == ("c.png", "d.png")
    assert found.num_judged == 4


def test_the_sentence_counts_names_and_stays_short():
    found = find_leak(subject().samples, [(NAMES[0], *NAMES[4:])])
    assert found.sentence() == (
        "4 of the 4 test pictures have copies in training: e.png (a copy of a 图.png), f.png (a copy of "
        "a 图.png), g.png (a copy of a 图.png) and 1 more."
    )
    (one,) = [find_leak(subject().samples, [(NAMES[0], NAMES[4])])]
    assert one.sentence().startswith("1 of the 4 test pictures has a copy in training: ")


def test_copies_of_pictures_that_are_not_on_any_side_are_no_leak():
    found = find_leak(subject((None,) * 4 + SIDES[4:]).samples, [NAMES])
    assert found.copied == found.learned == ()


def test_thousands_of_copies_of_one_picture_are_told_by_a_few_names():
    names = [f"{number}.png" for number in range(4000)]
    table = pl.DataFrame({"id": names, "split": ["train", "test"] * 2000})
    found = find_leak(Samples(table, Path("/p")), [names])
    assert len(found.copied) == len(found.learned) == 2000
    assert {len(each.copies) for each in found.copied} == {3}


# what it is worth


def test_the_accuracy_with_and_without_copies_by_hand():
    right = [True, True, True, False, False, True]
    judged = np.array([[0.8, 0.2] if each else [0.2, 0.8] for each in right], np.float32)
    names = tuple("abcdef")
    predictions = Predictions(names, names, np.zeros(6, np.int64), ("ore", "rock"), judged)
    copied = find_leak(
        Samples(pl.DataFrame({"id": [*names, "x"], "split": ["test"] * 6 + ["train"]}), Path("/p")),
        [("a", "b", "x")],
    ).copied
    told = leaked(predictions, copied)
    assert told is not None
    assert told.with_copies.value == pytest.approx(4 / 6)
    assert told.on_copies.value == 1
    assert told.without_copies is not None
    assert (told.without_copies.value, told.without_copies.n) == (0.5, 4)
    assert told.without_copies.low < 0.5 < told.without_copies.high


def test_where_every_picture_is_a_copy_nothing_is_known_of_others():
    predictions = Predictions(
        ("a",), ("a",), np.zeros(1, np.int64), ("ore", "rock"), np.array([[1, 0]], np.float32)
    )
    samples = Samples(pl.DataFrame({"id": ["a", "x"], "split": ["test", "train"]}), Path("/p"))
    told = leaked(predictions, find_leak(samples, [("a", "x")]).copied)
    assert told is not None
    assert told.without_copies is None


def test_pictures_without_a_known_label_tell_nothing():
    predictions = Predictions(("a",), ("a",), np.array([-1]), ("ore", "rock"), np.array([[1, 0]], np.float32))
    samples = Samples(pl.DataFrame({"id": ["a", "x"], "split": ["test", "train"]}), Path("/p"))
    assert leaked(predictions, find_leak(samples, [("a", "x")]).copied) is None


# the findings


def test_without_a_split_or_a_leak_nothing_is_found():
    assert leak(subject((None,) * 8), copies((0, 4))) == []
    assert leak(subject(), NONE) == []
    assert leak(subject(), copies((0, 1), (4, 5))) == []


def test_a_leak_must_be_mended_by_taking_copies_out_of_training():
    (finding,) = leak(subject(), copies((0, 1, 4), (2, 6)))
    assert finding.severity == "must"
    assert finding.title == "The split leaks: 2 of 4 test pictures have copies in training"
    assert [(row.id, row.action, row.beside) for row in finding.rows] == [
        ("e.png", "", ("a 图.png", "b.png")),
        ("g.png", "", ("c.png",)),
        ("a 图.png", "drop", ("e.png",)),
        ("b.png", "drop", ("e.png",)),
        ("c.png", "drop", ("g.png",)),
    ]


def test_after_the_proposed_drops_nothing_leaks():
    found = copies((0, 1, 4), (2, 6))
    (finding,) = leak(subject(), found)
    dropped = {row.id for row in finding.rows if row.action == "drop"}
    kept = subject().samples
    kept = kept.with_table(kept.table.filter(~pl.col("id").is_in(dropped)))
    sets = [[NAMES[row] for row in cluster.rows] for cluster in found.clusters]
    assert find_leak(kept, sets).copied == ()


def test_groups_on_two_sides_are_told_beside_the_copies():
    groups = ("s1", "s1", "s2", "s3", "s1", "s2", "s4", "s5")
    first, second = leak(subject(groups=groups), copies((0, 4)))
    assert first.title == "The split leaks: 1 of 4 test pictures has a copy in training"
    assert second.title == "The split leaks: 1 of 4 test pictures has a picture of its group in training"
    assert [(row.id, row.action) for row in second.rows] == [("f.png", "")]


def test_copies_between_training_and_validation_should_be_mended():
    (finding,) = leak(subject(), copies((0, 3)))
    assert finding.severity == "should"
    assert finding.title == "1 of 1 validation pictures has a copy in training"
    assert [row.action for row in finding.rows] == ["", "drop"]


def nano():
    views = ViewsSpec(judge=JudgingView(size=32))
    device = Device(torch.device("cpu"), torch.float32)
    return Extractor(ModelSpec(backbone="handlens/nano", weights="bundled"), views, device)


@pytest.fixture
def drawn(tmp_path):
    """Dark and bright pictures with sides; of the last one on the test side nobody knows the label."""
    rows = []
    for number in range(24):
        name, side = f"{number} 图.png", "test" if number % 4 == 3 else "train"
        pixels = np.random.default_rng(number).integers(0, 90, (40, 40, 3)) + 150 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
        label = None if number == 23 else ("dark", "bright")[number % 2]
        rows.append((name, str(tmp_path / name), label, name, side, f"{number:032x}"))
    columns = ("id", "path", "label", "group", "split", "digest")
    return Samples(pl.DataFrame(rows, dict.fromkeys(columns, pl.String), orient="row"), tmp_path)


def test_the_quick_head_learns_from_training_and_judges_what_is_labelled_on_the_test_side(drawn):
    predictions = quick_predictions(Subject(drawn, (), 0), nano())
    assert predictions is not None
    assert predictions.ids == tuple(f"{number} 图.png" for number in range(3, 23, 4))
    assert predictions.classes == ("bright", "dark")
    assert predictions.correct.all()


def test_there_is_no_quick_head_where_there_is_nothing_to_learn_or_to_judge(drawn):
    bright = pl.when(pl.col("split") == "train").then(pl.lit("bright")).otherwise(pl.col("label"))
    unknown = pl.when(pl.col("split") == "test").then(None).otherwise(pl.col("label"))
    for labels in (bright, unknown):
        changed = drawn.with_table(drawn.table.with_columns(label=labels))
        assert quick_predictions(Subject(changed, (), 0), nano()) is None


def test_the_quick_head_says_what_the_leak_is_worth(monkeypatch):
    names = NAMES[4:]
    judged = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]], np.float32)
    predictions = Predictions(names, names, np.array([0, 1, 0, 1]), ("ore", "rock"), judged)
    monkeypatch.setattr(module, "quick_predictions", lambda *_: predictions)
    (finding,) = leak(subject(), copies((0, 4), (1, 7)), extractor=object())
    told = "A quick head is right on 50.0 % of the test side: on 100.0 % of the pictures that are concerned"
    assert f"{told}, and on 0.0 % of the others" in finding.sentence
