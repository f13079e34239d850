"""The table of actions, what a person may make of it, and the manifest that comes out."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from handlens.audit.actions import (
    COLUMNS,
    Action,
    Applied,
    apply,
    proposed,
    read_actions,
    table_of,
    write_manifest,
)
from handlens.audit.finding import Finding, Row
from handlens.base.errors import HandlensError, Problems
from handlens.data.samples import Samples

NAMES = ("ore/a 图.png", "ore/b.png", "ore/c.png", "rock/d.png", 'rock/e,"1".png', "rock/f.png")
LABELS = ("ore", "ore", "ore", "rock", "rock", "rock")
Parents = Sequence[str | None]


def pictures(
    groups: Sequence[str] = NAMES, sides: Sequence[str | None] = (None,) * 6, parents: Parents = (None,) * 6
) -> Samples:
    """Six pictures; those with a parent were made from it by `expand`."""
    table = pl.DataFrame(
        {
            "id": NAMES,
            "path": [f"/photos/{name}" for name in NAMES],
            "label": LABELS,
            "group": groups,
            "split": sides,
            "digest": NAMES,
            "parent_digest": parents,
            "made_by": ["expand" if parent else None for parent in parents],
        },
        schema_overrides=dict.fromkeys(("split", "parent_digest", "made_by"), pl.String),
    )
    return Samples(table, Path("/photos"))


def groups_of(samples: Samples) -> dict[str, str]:
    return dict(samples.table.select("id", "group").iter_rows())


def labels_of(samples: Samples) -> dict[str, str]:
    return dict(samples.table.select("id", "label").iter_rows())


FINDINGS = (
    Finding("copies", "should", "copies", "", (
        Row(NAMES[0], "group together", "one", (NAMES[1],), 0.98765, "again; nearly"),
        Row(NAMES[1], "group together", "one", (NAMES[0], NAMES[4])),
    )),
    Finding("labels", "should", "labels", "", (Row(NAMES[2], "relabel?", "rock", (), 0.01),)),
    Finding("files", "note", "files", "", (Row(NAMES[3], why="grey"), Row(NAMES[4], "drop"))),
)  # fmt: skip


# the table


def test_the_table_has_a_row_for_every_row_of_a_finding() -> None:
    text = table_of(FINDINGS)
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["id"] for row in rows] == [NAMES[0], NAMES[1], NAMES[2], NAMES[3], NAMES[4]]
    assert rows[0] == {
        "id": NAMES[0],
        "action": "group together",
        "to": "one",
        "check": "copies",
        "severity": "should",
        "title": "copies",
        "figure": "0.9877",
        "why": "again; nearly",
        "beside": NAMES[1],
    }
    assert rows[1]["beside"] == f"{NAMES[0]} | {NAMES[4]}"
    assert (rows[3]["action"], rows[3]["figure"]) == ("", "")


def test_the_table_is_read_as_it_was_proposed(tmp_path: Path) -> None:
    path = tmp_path / "actions.csv"
    path.write_text(table_of(FINDINGS), encoding="utf-8", newline="\n")
    assert read_actions(path) == proposed(FINDINGS)
    assert [action.action for action in proposed(FINDINGS)] == [
        *("group together", "group together", "relabel?", "drop")
    ]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_tables_that_a_spreadsheet_has_saved_are_read(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "saved.csv"
    lines = ["id action to note", "ore/c.png relabel rock mine", "rock/d.png  x y", "rock/f.png drop  z"]
    text = "\r\n".join(line.replace(" ", mark) for line in lines)
    path.write_bytes(("\ufeff" + text).encode())
    assert read_actions(path) == [Action("ore/c.png", "relabel", "rock"), Action("rock/f.png", "drop", "")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,action\na,drop\n", "it needs the columns id, action and to"),
        ("", "it needs the columns id, action and to"),
        ("id,action,to\na,dorp,\n", "line 2: there is no action 'dorp'. Did you mean 'drop'"),
        ("id,action,to\na,drop,\nb,relabel,\n", "line 3: 'relabel' needs something in the column to"),
    ],
)
def test_what_is_no_table_of_actions_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(HandlensError) as error:
        read_actions(tmp_path / "t.csv")
    assert told in str(error.value)


def test_a_table_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(HandlensError, match="There is no file"):
        read_actions(tmp_path / "no.csv")
    (tmp_path / "t.csv").write_bytes("id,action,to\nä,drop,".encode("latin-1"))
    with pytest.raises(HandlensError, match="CSV UTF-8"):
        read_actions(tmp_path / "t.csv")


# done


def test_what_is_to_be_dropped_goes() -> None:
    mended, applied = apply(pictures(), [Action(NAMES[0], "drop", ""), Action(NAMES[4], "drop", "")])
    assert mended.table["id"].to_list() == [NAMES[1], NAMES[2], NAMES[3], NAMES[5]]
    assert applied == Applied(dropped=2, relabelled=0, regrouped=0, unconfirmed=0, torn=0)


def test_a_manifest_of_nothing_is_refused() -> None:
    with pytest.raises(HandlensError, match="Nothing would be left of 6 pictures"):
        apply(pictures(), [Action(name, "drop", "") for name in NAMES])


def test_proposed_labels_wait_for_a_person() -> None:
    wanted = [Action(NAMES[2], "relabel?", "rock"), Action(NAMES[3], "relabel", "ore")]
    mended, applied = apply(pictures(), wanted)
    assert labels_of(mended) == dict(zip(NAMES, LABELS, strict=True)) | {NAMES[3]: "ore"}
    assert (applied.relabelled, applied.unconfirmed) == (1, 1)
    assert "1 proposed label left alone" in " ".join(applied.sentences())
    mended, applied = apply(pictures(), wanted, relabel=True)
    assert labels_of(mended)[NAMES[2]] == "rock"
    assert (applied.relabelled, applied.unconfirmed) == (2, 0)


def test_the_column_that_the_label_came_from_is_mended_too() -> None:
    samples = pictures()
    table = samples.table.with_columns(kind=pl.col("label"))
    mended, _ = apply(replace(samples, table=table, label_name="kind"), [Action(NAMES[0], "relabel", "rock")])
    assert mended.table["kind"].to_list() == mended.table["label"].to_list()
    assert mended.table["kind"][0] == "rock"


def test_whole_groups_join_and_those_that_share_one_too() -> None:
    samples = pictures(groups=("g1", "g1", "g2", "g3", "g4", "g5"))
    joined, applied = apply(
        samples,
        [
            Action(NAMES[0], "group together", "x"),
            Action(NAMES[2], "group together", "x"),
            # By b, which is of the group of a, also d joins.
            Action(NAMES[1], "group together", "y"),
            Action(NAMES[3], "group together", "y"),
        ],
    )
    groups = groups_of(joined)
    assert len({groups[name] for name in NAMES[:4]}) == 1
    assert groups[NAMES[0]] in ("x", "y")
    assert (groups[NAMES[4]], groups[NAMES[5]]) == ("g4", "g5")
    assert applied.regrouped == 4


def test_a_name_that_is_a_group_already_means_that_group() -> None:
    joined, applied = apply(pictures(), [Action(NAMES[3], "group together", NAMES[0])])
    groups = groups_of(joined)
    assert groups[NAMES[3]] == groups[NAMES[0]] == NAMES[0]
    assert applied.regrouped == 1


def test_the_order_of_the_rows_does_not_matter() -> None:
    wanted = [
        Action(NAMES[0], "group together", "x"),
        Action(NAMES[1], "group together", "y"),
        Action(NAMES[2], "group together", "x"),
        Action(NAMES[2], "group together", "y"),
        Action(NAMES[4], "drop", ""),
    ]
    forwards, _ = apply(pictures(), wanted)
    backwards, _ = apply(pictures(), wanted[::-1])
    assert forwards == backwards


def test_groups_that_stand_on_several_sides_now_are_told() -> None:
    samples = pictures(sides=("train", "train", "train", "test", "test", "test"))
    _, applied = apply(samples, [Action(name, "group together", "x") for name in (NAMES[0], NAMES[3])])
    assert applied.torn == 1
    assert "split the pictures anew" in applied.sentences()[-1]


def test_what_was_made_from_a_picture_goes_and_changes_with_it() -> None:
    samples = pictures(parents=(None, NAMES[0], NAMES[1], None, None, None))
    mended, _ = apply(samples, [Action(NAMES[0], "drop", "")])
    assert mended.table["id"].to_list() == list(NAMES[3:])
    mended, _ = apply(samples, [Action(NAMES[0], "relabel", "rock")])
    assert [labels_of(mended)[name] for name in NAMES] == ["rock"] * 6


def twins() -> Samples:
    """The first and the fifth are one file; the second was made from it, and the third from the second."""
    samples = pictures(parents=(None, NAMES[0], NAMES[1], None, None, None))
    digests = pl.Series([*NAMES[:4], NAMES[0], NAMES[5]])
    return samples.with_table(samples.table.with_columns(digest=digests))


@pytest.mark.parametrize("gone", [NAMES[0], NAMES[4]])
def test_what_was_made_from_a_file_stays_while_the_same_file_does(gone: str) -> None:
    mended, applied = apply(twins(), [Action(gone, "drop", "")])
    assert mended.table["id"].to_list() == [name for name in NAMES if name != gone]
    assert applied.dropped == 1
    assert labels_of(mended)[NAMES[1]] == "ore"


def test_what_was_made_from_a_file_goes_with_the_last_of_the_same_files() -> None:
    mended, _ = apply(twins(), [Action(NAMES[0], "drop", ""), Action(NAMES[4], "drop", "")])
    assert mended.table["id"].to_list() == [NAMES[3], NAMES[5]]


def test_what_is_made_of_two_of_the_same_files_bears_a_new_label_once_they_agree() -> None:
    # They do not: ore and rock become rock and rock, or ore and ore.
    for name, label in ((NAMES[0], "rock"), (NAMES[4], "ore")):
        mended, _ = apply(twins(), [Action(name, "relabel", label)])
        assert {labels_of(mended)[each] for each in (*NAMES[:3], NAMES[4])} == {label}
    # Ore and ore become rock and ore: of which of them the others were made, nobody knows.
    both = twins()
    rocks = both.with_table(both.table.with_columns(label=pl.Series(["ore"] * 5 + ["rock"])))
    mended, applied = apply(rocks, [Action(NAMES[4], "relabel", "rock")])
    assert [labels_of(mended)[name] for name in NAMES] == [*["ore"] * 4, "rock", "rock"]
    assert applied.relabelled == 1
    # Where the other one goes, one is left that says it.
    mended, _ = apply(rocks, [Action(NAMES[4], "relabel", "rock"), Action(NAMES[0], "drop", "")])
    assert labels_of(mended) == dict.fromkeys((*NAMES[1:3], *NAMES[4:]), "rock") | {NAMES[3]: "ore"}


def test_what_an_operation_left_as_it_was_goes_with_its_parent() -> None:
    # The second and the third were both made from the first, and are the very same file.
    samples = pictures(parents=(None, NAMES[0], NAMES[0], None, None, None))
    same = samples.with_table(samples.table.with_columns(digest=pl.Series([NAMES[0]] * 3 + [*NAMES[3:]])))
    mended, _ = apply(same, [Action(NAMES[0], "drop", "")])
    assert mended.table["id"].to_list() == list(NAMES[3:])


def test_nothing_to_do_leaves_everything_as_it_was() -> None:
    samples = pictures()
    mended, applied = apply(samples, [])
    assert mended == samples
    assert applied.sentences() == ["0 pictures left out, 0 with another label, 0 in another group."]


def test_names_that_are_not_there_are_told() -> None:
    with pytest.raises(HandlensError, match=r"1 of 2 rows name pictures that are not there .*ore/z.png"):
        apply(pictures(), [Action(NAMES[0], "drop", ""), Action("ore/z.png", "drop", "")])


def test_labels_that_are_none_or_contradict_each_other_are_told() -> None:
    with pytest.raises(Problems, match=r"there is no class 'rok'. Did you mean 'rock'"):
        apply(pictures(), [Action(NAMES[0], "relabel", "rok")])
    two = [Action(NAMES[0], "relabel", "rock"), Action(NAMES[0], "relabel", "ore")]
    with pytest.raises(Problems, match="both 'rock' and 'ore'"):
        apply(pictures(), two)


# the manifest


@pytest.mark.parametrize("name", ["新 mended.csv", "mended.parquet"])
def test_the_manifest_is_written_once(tmp_path: Path, name: str) -> None:
    samples = pictures()
    path = tmp_path / name
    write_manifest(samples, path)
    written = path.read_bytes()
    # Given again, the very same is no harm.
    write_manifest(samples, path)
    assert Samples.from_manifest(path).table["id"].to_list() == list(NAMES)
    other, _ = apply(samples, [Action(NAMES[0], "drop", "")])
    with pytest.raises(HandlensError, match="nothing is ever written over"):
        write_manifest(other, path)
    assert path.read_bytes() == written
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_manifest_needs_its_ending(tmp_path: Path) -> None:
    with pytest.raises(HandlensError, match="one of these endings"):
        write_manifest(pictures(), tmp_path / "mended.txt")
