"""Groups: from a column, a folder level or a pattern, and joined where files are copies."""

from pathlib import Path

import polars as pl
import pytest

from handlens.base.errors import HandlensError, Problems
from handlens.data.groups import GroupSpec, assign_groups, conflicting_copies
from handlens.data.samples import Samples


def samples_of(ids, labels=None, **columns):
    table = pl.DataFrame(
        {
            "id": ids,
            "path": [f"/p/{id_}" for id_ in ids],
            "label": labels or [id_.split("/")[0] for id_ in ids],
            "group": columns.pop("group", ids),
            **columns,
        }
    ).with_columns(split=pl.lit(None, dtype=pl.String))
    return Samples(table, Path("/p"))


def groups_of(samples, *, same=(), **spec):
    return assign_groups(samples, GroupSpec(**spec), same).table["group"].to_list()


def test_without_a_word_the_given_groups_stay():
    samples = samples_of(["A/1.png", "A/2.png"], group=["s", "s"])
    assert assign_groups(samples, GroupSpec()) == samples


def test_a_column_says_it_and_blanks_are_groups_of_their_own():
    samples = samples_of(["A/1.png", "A/2.png", "B/3.png"], day=[1, 1, None])
    done = assign_groups(samples, GroupSpec(column="day"))
    assert done.table["group"].to_list() == ["1", "1", "B/3.png"]
    assert done.notes == (
        "1 pictures have nothing in the column 'day' and are groups of their own: B/3.png.",
    )
    with pytest.raises(HandlensError, match="Did you mean 'day'"):
        assign_groups(samples, GroupSpec(column="Days"))


def test_a_level_counts_from_the_class():
    ids = ["A/s1/x/1.png", "A/s1/y/2.png", "A/s2/3.png", "B/s1/4.png", "B/5.png"]
    assert groups_of(samples_of(ids), level=1) == ["A/s1", "A/s1", "A/s2", "B/s1", "B/5.png"]
    assert groups_of(samples_of(ids), level=2)[:3] == ["A/s1/x", "A/s1/y", "A/s2/3.png"]
    with pytest.raises(HandlensError, match="smaller level"):
        groups_of(samples_of(ids), level=3)


def test_a_level_below_a_ready_made_split_leaves_the_side_out():
    ids = ["train/A/s1/1.png", "test/A/s1/2.png", "test/B/s9/3.png"]
    assert groups_of(samples_of(ids, ["A", "A", "B"]), level=1) == ["A/s1", "A/s1", "B/s9"]


def test_a_level_of_pictures_without_class_folders_counts_from_the_root():
    assert groups_of(samples_of(["s1/1.png", "s1/2.png", "s2/3.png"], ["a", "b", "a"]), level=1) == [
        "s1",
        "s1",
        "s2",
    ]


def test_a_pattern_says_it_across_classes():
    ids = ["A/video1_001.png", "B/video1_002.png", "A/video2_001.png", "A/still.png"]
    done = assign_groups(samples_of(ids), GroupSpec(pattern=r"(video\d+)_"))
    assert done.table["group"].to_list() == ["video1", "video1", "video2", "A/still.png"]
    assert done.notes[-1].startswith("1 pictures do not match")


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"s\d+", ["s1", "s12"]),
        (r"(s\d+)-(\d)", ["s1/2", "s12/3"]),
        (r"(?:s)(\d+)(x)?", ["1", "12"]),
        (r"(x)?-", ["A/s1-2.png", "A/s12-3.png"]),
    ],
)
def test_what_a_pattern_captures(pattern, groups):
    samples = samples_of(["A/s1-2.png", "A/s12-3.png"])
    if pattern == r"(x)?-":
        with pytest.raises(HandlensError, match="No picture matches"):
            groups_of(samples, pattern=pattern)
    else:
        assert groups_of(samples, pattern=pattern) == groups


def test_wrong_specs_are_told_together():
    with pytest.raises(Problems, match=r"group.*\n.*pattern: this is not a regular expression"):
        GroupSpec.parse({"pattern": "(video"}, "group")
    with pytest.raises(Problems, match="column and level both say"):
        GroupSpec.parse({"column": "day", "level": 1}, "group")
    with pytest.raises(Problems, match="greater than or equal to 1"):
        GroupSpec.parse({"level": 0}, "group")


def test_a_pattern_that_matches_nothing_shows_names():
    with pytest.raises(HandlensError, match=r"No picture matches .*'A/1\.png'"):
        groups_of(samples_of(["A/1.png"]), pattern="video")


def test_copies_join_their_groups_and_everything_in_them():
    samples = samples_of(list("fedcba"), group=["g3", "g3", "g2", "g2", "g1", "g0"])
    done = assign_groups(samples, GroupSpec(), [[1, 2], [3, 4]])
    assert done.table["group"].to_list() == ["g1"] * 5 + ["g0"]
    assert done.notes == (
        "4 pictures are copies of each other, in 2 sets; for their sake 4 groups became 2.",
    )


def test_a_long_chain_of_copies():
    ids = [f"{number:05}" for number in range(5000)]
    same = [[row, row + 1] for row in range(4999)]
    assert set(groups_of(samples_of(ids, ["a"] * 5000), same=same)) == {"00000"}


def test_copies_under_different_labels_are_named():
    samples = samples_of(["B/2.png", "A/1.png", "A/3.png", "B/4.png", "A/5.png"])
    found = conflicting_copies(samples, [[0, 1], [2, 4], [3, 4]])
    assert [copies.ids for copies in found] == [("A/1.png", "B/2.png"), ("A/5.png", "B/4.png")]
    assert found[0].labels == ("A", "B")
    assert found[0].sentence() == "The same picture has different labels: A/1.png (A), B/2.png (B)."
