"""Copies as findings: groups to be made one, labels that contradict each other, copies that do no harm."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from handlens.audit.copies import copies
from handlens.audit.finding import Subject
from handlens.audit.quick_head import turned_features
from handlens.data.copies import Cluster, Copies, Member, find_copies
from handlens.data.image import JudgingView
from handlens.data.samples import Samples
from handlens.data.scan import scan
from handlens.data.views import ViewsSpec
from handlens.models.build import ModelSpec
from handlens.training.device import Device
from handlens.training.extract import Extractor

NAMES = ("a 图.png", "b.png", "c.png", "d.png", "e.png", "f.png")


def subject(labels=("ore",) * 6, groups=NAMES):
    table = pl.DataFrame(
        {"id": NAMES, "path": NAMES, "label": labels, "group": groups, "split": [None] * 6},
        schema=dict.fromkeys(("id", "path", "label", "group", "split"), pl.String),
    )
    return Subject(Samples(table, Path("/p")), (), 0)


def cluster(*rows, kind="near", orientation=1, similarity=0.8):
    first, *others = rows
    return Cluster(
        (Member(first, "bytes", 1, 1.0), *(Member(row, kind, orientation, similarity) for row in others))
    )


def found(*clusters, notes=()):
    return Copies(clusters, tuple(each.rows for each in clusters if each.kind != "near"), notes)


def test_without_copies_nothing_is_found():
    assert copies(subject(), found()) == []


def test_copies_of_several_groups_should_be_grouped_together():
    (finding,) = copies(
        subject(), found(cluster(0, 2, orientation=6), cluster(3, 5, kind="bytes", similarity=1.0))
    )
    assert (finding.check, finding.severity) == ("copies", "should")
    assert finding.title == "4 pictures are copies of each other, but not in one group"
    assert [(row.id, row.action, row.to, row.beside) for row in finding.rows] == [
        ("a 图.png", "group together", "a 图.png", ("c.png",)),
        ("c.png", "group together", "a 图.png", ("a 图.png",)),
        ("d.png", "group together", "d.png", ("f.png",)),
        ("f.png", "group together", "d.png", ("d.png",)),
    ]
    assert finding.rows[1].why == "a 图.png again: nearly the same picture, turned by 90° clockwise"
    assert finding.rows[3].why == "d.png again: the same file"
    assert [row.figure for row in finding.rows] == [0.8, 0.8, 1.0, 1.0]


def test_groups_that_several_clusters_join_have_one_name():
    groups = ("s1", "s2", "s2", "s3", "s4", "s5")
    (finding,) = copies(subject(groups=groups), found(cluster(0, 1), cluster(2, 3)))
    assert {row.to for row in finding.rows} == {"s1"}


def test_copies_of_one_group_are_only_told():
    (finding,) = copies(subject(groups=("s1",) * 6), found(cluster(0, 1, 2)))
    assert finding.severity == "note"
    assert finding.title.startswith("2 pictures are there again")
    assert {row.action for row in finding.rows} == {""}


@pytest.mark.parametrize(("kind", "severity"), [("pixels", "must"), ("bytes", "must"), ("near", "should")])
def test_labels_that_contradict_each_other_are_found(kind, severity):
    labels = ("ore", "ore", "rock", "ore", "ore", "rock")
    finding = copies(subject(labels, ("s1",) * 6), found(cluster(0, 1, 2, kind=kind)))[0]
    assert finding.severity == severity
    assert "different labels" in finding.title
    assert [(row.id, row.action, row.to) for row in finding.rows] == [
        ("a 图.png", "", ""),
        ("b.png", "", ""),
        ("c.png", "relabel?", "ore"),
    ]
    assert finding.rows[2].beside == ("a 图.png", "b.png")


def test_of_two_labels_neither_is_proposed():
    finding = copies(subject(("ore", "rock") * 3, ("s1",) * 6), found(cluster(0, 1)))[0]
    assert {row.action for row in finding.rows} == {""}


@pytest.mark.parametrize("kind", ["pixels", "bytes"])
def test_of_the_same_picture_under_two_labels_nobody_can_learn(kind):
    finding = copies(subject(("ore", "rock") * 3, ("s1",) * 6), found(cluster(0, 1, kind=kind)))[0]
    assert [(row.id, row.action) for row in finding.rows] == [("a 图.png", "drop"), ("b.png", "drop")]


def beside_near_copies(*same):
    """A cluster of all six, of which only some are the very same picture."""
    return Copies((cluster(*range(6)),), same, ())


def test_a_near_copy_makes_no_less_of_the_same_picture_under_two_labels():
    labels = ("slag", "ore", "rock", "slag", None, "ore")
    (grave, *others) = copies(subject(labels, ("s1",) * 6), beside_near_copies((1, 2, 4)))
    assert (grave.severity, grave.title) == ("must", "The same picture stands under different labels")
    assert grave.sentence.endswith("The same picture has different labels: b.png (ore), c.png (rock).")
    # Two for ore, two for slag: nobody knows, and only what is the very same goes.
    assert [(row.id, row.action) for row in grave.rows] == [
        *(("a 图.png", ""), ("b.png", "drop"), ("c.png", "drop"), ("d.png", ""), ("f.png", ""))
    ]
    assert [each.severity for each in others] == ["note"]


def test_near_copies_have_a_vote_on_the_same_picture_under_two_labels():
    labels = ("ore", "ore", "rock", "ore", None, "ore")
    (grave, *_) = copies(subject(labels, ("s1",) * 6), beside_near_copies((1, 2), (3, 5)))
    assert grave.severity == "must"
    assert [(row.id, row.to) for row in grave.rows if row.action] == [("c.png", "ore")]


def test_the_same_pictures_under_one_label_contradict_a_near_copy_only_nearly():
    labels = ("rock", "ore", "ore", "ore", "ore", "ore")
    (finding, *_) = copies(subject(labels, ("s1",) * 6), beside_near_copies((1, 2)))
    assert (finding.severity, finding.title) == (
        "should",
        "Nearly the same picture stands under different labels",
    )
    assert [(row.id, row.action, row.to) for row in finding.rows if row.action] == [
        ("a 图.png", "relabel?", "ore")
    ]


def test_a_picture_without_a_label_contradicts_none():
    told = copies(subject(("ore", None, "ore", "ore", "ore", "rock"), ("s1",) * 6), found(cluster(0, 1)))
    assert [finding.severity for finding in told] == ["note"]


def test_a_thousand_copies_are_not_all_shown_beside_each():
    names = [f"{number}.png" for number in range(1000)]
    table = pl.DataFrame(
        {"id": names, "path": names, "label": ["ore"] * 1000, "group": names, "split": [None] * 1000}
    )
    many = Subject(Samples(table.with_columns(pl.col("split").cast(pl.String)), Path("/p")), (), 0)
    (finding,) = copies(many, found(cluster(*range(1000))))
    assert {len(row.beside) for row in finding.rows} == {3}
    assert not [row for row in finding.rows if row.id in row.beside]


def test_what_could_not_be_compared_is_told():
    (finding,) = copies(subject(), found(notes=("3 pictures are too plain.",)))
    assert (finding.severity, finding.sentence) == ("note", "3 pictures are too plain.")


def test_what_is_found_on_real_files_becomes_findings(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    paths = []
    for number in range(6):
        field = gaussian_filter(generator.normal(size=(96, 96, 3)), (4, 4, 0))
        paths.append(tmp_path / f"图 {number}.png")
        Image.fromarray(np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)).save(paths[-1])
    with Image.open(paths[0]) as picture:
        picture.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.jpg", quality=85)
    paths[5] = tmp_path / "turned.jpg"
    facts = scan(paths)
    table = subject().samples.table.with_columns(id=pl.Series([path.name for path in paths]))
    table = table.with_columns(group=pl.col("id"))
    (finding,) = copies(Subject(Samples(table, tmp_path), facts, 0), find_copies(facts))
    assert [row.id for row in finding.rows] == ["图 0.png", "turned.jpg"]
    assert finding.rows[1].why == "图 0.png again: nearly the same picture, turned by 180°"


def test_on_real_files_the_same_under_two_labels_is_grave_beside_a_near_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "cache"))
    field = gaussian_filter(np.random.default_rng(0).normal(size=(96, 96, 3)), (4, 4, 0))
    picture = Image.fromarray(np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8))
    paths = [tmp_path / name for name in ("near.jpg", "one.png", "two.png")]
    picture.resize((80, 80)).save(paths[0], quality=90)
    picture.save(paths[1])
    paths[2].write_bytes(paths[1].read_bytes())
    table = subject(("slag", "ore", "rock", "ore", "ore", "ore")).samples.table.head(3)
    samples = Samples(table.with_columns(id=pl.Series([path.name for path in paths])), tmp_path)
    facts = scan(paths)
    found_here = find_copies(facts)
    assert [each.kind for each in found_here.clusters] == ["near"]
    grave = copies(Subject(samples, facts, 0), found_here)[0]
    assert grave.severity == "must"
    assert {row.id for row in grave.rows if row.action == "drop"} == {"one.png", "two.png"}


def test_the_features_of_a_turned_picture_are_those_of_the_file_turned(tmp_path):
    names = ["图 a.png", "图 b.png", "turned.png"]
    for number, name in enumerate(names[:2]):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    with Image.open(tmp_path / names[0]) as picture:
        # Pillow turns anticlockwise.
        picture.transpose(Image.Transpose.ROTATE_270).save(tmp_path / names[2])
    paths = [str(tmp_path / name) for name in names]
    table = pl.DataFrame({"id": names, "path": paths, "digest": [f"{row:032x}" for row in range(3)]})
    views = ViewsSpec(judge=JudgingView(size=32))
    device = Device(torch.device("cpu"), torch.float32)
    extractor = Extractor(ModelSpec(backbone="handlens/nano", weights="bundled"), views, device)
    asked = [(1, 1), (0, 6), (2, 1), (0, 1)]
    made = turned_features(Samples(table, tmp_path), extractor)(asked)
    assert np.allclose(made[1], made[2], atol=1e-3 * np.abs(made[2]).max())
    for place in (0, 3):
        assert not np.allclose(made[place], made[2], atol=1e-2 * np.abs(made[2]).max())
