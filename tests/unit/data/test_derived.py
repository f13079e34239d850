"""Derived pictures: in their parents' group, in training, and nowhere else."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from handlens.base.errors import HandlensError
from handlens.data.derived import PAPER_PROTOCOL, derived_rows, mixed_rows, parents_of, without_derived
from handlens.data.groups import GroupSpec, assign_groups
from handlens.data.samples import Samples
from handlens.data.sides import Sides
from handlens.data.split import SplitSpec, split


def samples_of(num=20, each=2, sides=None, made_by="expand"):
    """Pictures of two classes, two a group, and `each` made from every one of them."""
    rows = []
    for number in range(num):
        label = "ab"[number % 2]
        name = f"{label}/video{number // 4}_{number:02}.png"
        side = sides(number) if sides else None
        group = f"{label}{number // 4}"
        rows.append((name, label, group, side, None, None, f"digest of {name}"))
        for copy in range(each):
            made = f"../made/{label}/{number:02}-{copy}.png"
            rows.append((made, label, group, None, made_by, f"digest of {name}", f"digest of {made}"))
    columns = ("id", "label", "group", "split", "made_by", "parent_digest", "digest")
    table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    table = table.with_columns(path=pl.lit("/p/") + pl.col("id")).select(
        "id", "path", "label", "group", "split", "made_by", "parent_digest", "digest"
    )
    return Samples(table, Path("/p"))


def by_kind(samples):
    """The pictures that were taken and those that were made."""
    made = pl.col("made_by").is_not_null()
    return samples.table.filter(~made), samples.table.filter(made)


# which they are


def test_expansions_and_synthetic_pictures_are_derived_and_frames_are_not():
    assert derived_rows(samples_of(each=3)).sum() == 60
    assert derived_rows(samples_of(each=1, made_by="synthesize")).sum() == 20
    assert derived_rows(samples_of(each=1, made_by="frames")).sum() == 0


def test_none_is_under_the_papers_protocol():
    assert derived_rows(replace(samples_of(), marks=(PAPER_PROTOCOL,))).sum() == 0
    plain = samples_of()
    assert derived_rows(plain.with_table(plain.table.drop("made_by"))).sum() == 0


def test_what_shows_something_of_many_does_so_in_all_that_is_made_of_it():
    expected = {"taken": False, "augment": False, "blend": True, "diffusion": True, "untold": True}
    rows = []
    for name in expected:
        way = name if name in ("augment", "blend", "diffusion") else None
        made = (None, None) if name == "taken" else ("synthesize", "taken")
        rows += [(name, *made, way), (f"{name} 1", "expand", name, "crop")]
        rows.append((f"{name} 2", "expand", f"{name} 1", "crop"))
    columns = ("digest", "made_by", "parent_digest", "operation")
    table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    id_ = pl.col("digest")
    table = table.with_columns(id=id_, path=id_, label=pl.lit("a"), group=pl.lit("g"), split=pl.lit("train"))
    # Whatever stands first.
    samples = Samples(table.sample(fraction=1, shuffle=True, seed=3), Path("/p"))
    found = dict(zip(samples.table["id"], mixed_rows(samples).tolist(), strict=True))
    assert found == {name: expected[name.partition(" ")[0]] for name, *_ in rows}
    sides = Sides.of(samples)
    assert sides.mixed == sides.only("train").mixed == tuple(found.values())
    assert mixed_rows(replace(samples, marks=(PAPER_PROTOCOL,))).sum() == 0
    assert mixed_rows(samples_of(made_by="expand")).sum() == 0


# the split


@pytest.mark.parametrize(
    "spec",
    [
        SplitSpec(),
        SplitSpec(ratios=(6, 2, 2)),
        SplitSpec(folds=3, fold=1),
        SplitSpec(ratios=(6, 2, 2), folds=3),
        SplitSpec(seed=5),
    ],
)
def test_a_split_is_that_of_the_taken_pictures_with_the_derived_ones_of_training_added(spec):
    samples = samples_of(40)
    taken_alone = samples.with_table(samples.table.filter(pl.col("made_by").is_null()))
    alone, told_alone = split(taken_alone, spec)
    done, told = split(samples, spec)
    taken, made = by_kind(done)
    assert taken.equals(alone.table)
    assert set(made["split"]) == {"train"}
    groups = set(taken.filter(pl.col("split") == "train")["group"])
    assert set(made["group"]) == groups
    in_train = taken.filter(pl.col("split") == "train").height
    assert made.height == 2 * in_train
    # The report is about pictures that were taken.
    assert told.sides == told_alone.sides
    assert (told.n_derived, told.n_derived_left_out) == (2 * in_train, 2 * (40 - in_train))
    assert any(f"{2 * in_train} pictures that were made" in sentence for sentence in told.sentences())
    assert any("left out" in sentence for sentence in told.sentences())


def test_the_order_of_the_pictures_stays():
    done, _ = split(samples_of(), SplitSpec())
    order = samples_of().table["id"].to_list()
    assert done.table["id"].to_list() == [name for name in order if name in set(done.table["id"])]


def test_a_given_split_is_kept_and_derived_pictures_need_no_side_in_it():
    done, told = split(samples_of(sides=lambda number: "test" if number % 8 < 2 else "train"), SplitSpec())
    taken, made = by_kind(done)
    assert told.given
    assert set(made["split"]) == {"train"}
    assert not set(made["group"]) & set(taken.filter(pl.col("split") == "test")["group"])


def test_a_side_that_is_told_for_a_derived_picture_is_not_heeded():
    samples = samples_of(sides=lambda number: "test" if number // 4 == 1 else "train")
    made = pl.col("made_by").is_not_null()
    everywhere = samples.table.with_columns(split=pl.when(made).then(pl.lit("val")).otherwise("split"))
    done, told = split(samples.with_table(everywhere), SplitSpec())
    assert set(by_kind(done)[1]["split"]) == {"train"}
    assert told.n_derived_left_out == 8
    # Nor do sides of derived pictures alone make a given split.
    only_made = samples.table.with_columns(split=pl.when(made).then(pl.lit("train")))
    assert not split(samples.with_table(only_made), SplitSpec())[1].given


def test_synthetic_pictures_of_no_group_are_in_training():
    samples = samples_of(each=1, made_by="synthesize")
    own = samples.table.with_columns(
        group=pl.when(pl.col("made_by").is_null()).then("group").otherwise("id"),
        parent_digest=pl.lit(None, dtype=pl.String),
    )
    done, told = split(samples.with_table(own), SplitSpec())
    assert (told.n_derived, told.n_derived_left_out) == (20, 0)
    assert set(by_kind(done)[1]["split"]) == {"train"}


def test_nothing_but_derived_pictures_cannot_be_split():
    samples = samples_of()
    with pytest.raises(HandlensError, match="nothing to test on"):
        split(samples.with_table(by_kind(samples)[1]), SplitSpec())


def test_under_the_papers_protocol_copies_stand_on_both_sides():
    samples = replace(samples_of(40), marks=(PAPER_PROTOCOL,))
    apart = samples.with_table(samples.table.with_columns(group="id"))
    done, told = split(assign_groups(apart, GroupSpec()), SplitSpec())
    assert len(done) == 120
    assert (told.n_derived, told.n_derived_left_out) == (0, 0)
    test = done.table.filter(pl.col("split") == "test")
    train = done.table.filter(pl.col("split") == "train")
    assert set(test["parent_digest"].drop_nulls()) & set(train["digest"])
    assert done.marks == (PAPER_PROTOCOL,)


# groups


@pytest.mark.parametrize("spec", [GroupSpec(pattern=r"video(\d+)"), GroupSpec(level=1), GroupSpec()])
def test_derived_pictures_follow_their_parents_whatever_groups_are_told_by(spec):
    samples = samples_of()
    if spec.level:
        deeper = pl.col("id").str.replace("video", "part/video")
        samples = samples.with_table(samples.table.with_columns(id=deeper))
    grouped = assign_groups(samples, spec)
    group_of = dict(grouped.table.select("digest", "group").iter_rows())
    _, made = by_kind(grouped)
    assert [group_of[parent] for parent in made["parent_digest"]] == made["group"].to_list()
    assert not any("groups of their own" in note for note in grouped.notes)
    if spec.pattern:
        assert set(grouped.table["group"]) == set("01234")


def test_what_is_made_of_made_pictures_follows_the_first_of_the_line():
    samples = samples_of(each=1)
    _, made = by_kind(samples)
    again = made.with_columns(
        id=pl.col("id") + "-2", parent_digest="digest", digest=pl.col("digest") + " 2", group=pl.lit("lost")
    )
    grouped = assign_groups(samples.with_table(pl.concat([again, samples.table])), GroupSpec())
    group_of = dict(grouped.table.select("id", "group").iter_rows())
    for name in made["id"]:
        assert group_of[f"{name}-2"] == group_of[name] != "lost"


def test_parents_are_all_the_files_with_the_content_that_a_picture_was_made_from():
    rows = [
        ("a1", None, "A", None),
        ("a2", None, "A", None),
        ("made", "expand", "B", "A"),
        ("made again", "expand", "C", "B"),
        ("left as it was", "expand", "A", "A"),
        ("lost", "expand", "D", "gone"),
        ("frame", "frames", "E", "A"),
    ]
    schema = dict.fromkeys(("id", "made_by", "digest", "parent_digest"), pl.String)
    table = pl.DataFrame(rows, schema=schema, orient="row")
    assert parents_of(Samples(table, Path("/p"))) == [(), (), (0, 1), (2,), (0, 1), (), ()]
    assert parents_of(Samples(table.drop("digest"), Path("/p"))) == [()] * 7


def test_without_its_parent_a_derived_picture_stays_in_the_group_that_the_manifest_tells():
    samples = samples_of()
    kept = samples.table.filter(pl.col("made_by").is_not_null() | ~pl.col("id").str.contains("_00"))
    grouped = assign_groups(samples.with_table(kept), GroupSpec(pattern=r"video(\d+)"))
    told = grouped.table.filter(pl.col("parent_digest") == "digest of a/video0_00.png")
    assert set(told["group"]) == {"a0"}


def test_pictures_that_are_each_others_parents_do_not_go_on_for_ever():
    samples = samples_of(2, 1)
    odd = samples.table.with_columns(made_by=pl.lit("expand"), parent_digest=pl.col("digest").reverse())
    grouped = assign_groups(samples.with_table(odd), GroupSpec())
    assert grouped.table["group"].to_list() == odd["group"].to_list()


# as training meets them


def test_sides_know_which_pictures_were_made():
    done, _ = split(samples_of(40), SplitSpec())
    sides = Sides.of(done)
    train = sides.places("train")
    taken = sides.taken(train)
    assert {done.table["made_by"][int(place)] for place in taken} == {None}
    assert len(train) == 3 * len(taken)
    learning = sides.only("train")
    assert len(learning.taken(learning.places("train"))) == len(taken)
    assert sides.only("test").derived == (False,) * len(sides.places("test"))


def test_sides_of_taken_pictures_alone_say_nothing_of_it():
    samples = samples_of(40)
    done, _ = split(samples.with_table(by_kind(samples)[0]), SplitSpec())
    sides = Sides.of(done)
    assert sides.derived == ()
    assert sides.taken(sides.places("train")).tolist() == sides.places("train").tolist()


def test_nothing_is_judged_on_what_was_made() -> None:
    samples = samples_of()
    derived = derived_rows(samples)
    assert 0 < derived.sum() < len(samples)
    taken = without_derived(samples)
    assert set(taken.table["id"]) == set(samples.table["id"].filter(~derived))
    assert taken.notes[-1] == f"{derived.sum()} pictures that were made from others are not judged."
    assert without_derived(taken) == taken
    with pytest.raises(HandlensError, match="Judge pictures that were taken"):
        without_derived(samples.with_table(samples.table.filter(derived)))
