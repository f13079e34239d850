"""The table of samples: its methods, and manifests that survive."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from handlens.base.errors import HandlensError
from handlens.data.samples import COLUMNS, Samples, identities

ROWS = """path,label,group,split,mineral,note
A/1.png,a,s1,train,007,
A/2.png,a,s1,train,8,"x, y"
B/1.png,b,,test,9,ü
"""


@pytest.fixture
def samples(tmp_path, write_picture):
    for name in ("A/1.png", "A/2.png", "B/1.png"):
        write_picture(tmp_path / "pictures" / name)
    table = tmp_path / "pictures" / "table.csv"
    table.write_text(ROWS, encoding="utf-8")
    return Samples.from_table(table)


def test_what_samples_say(samples):
    assert len(samples) == 3
    assert samples.table.columns == [*COLUMNS, "mineral", "note"]
    assert samples.classes == ("a", "b")
    assert samples.counts() == {"a": 2, "b": 1}
    assert samples.side("train").table["id"].to_list() == ["A/1.png", "A/2.png"]
    assert len(samples.side("val")) == 0
    assert samples.table["group"].to_list() == ["s1", "s1", "B/1.png"]


def test_sides_that_are_not_there(samples):
    with pytest.raises(HandlensError, match="Did you mean 'train'"):
        samples.side("trian")
    unsplit = samples.with_table(samples.table.with_columns(split=pl.lit(None, dtype=pl.String)))
    assert not unsplit.is_split
    with pytest.raises(HandlensError, match="no sides yet"):
        unsplit.side("train")


def test_with_table_keeps_the_source_and_adds_notes(samples):
    other = samples.with_table(samples.table.head(1), "Two pictures went.")
    assert (other.root, other.label_name) == (samples.root, samples.label_name)
    assert other.notes == (*samples.notes, "Two pictures went.")
    assert other != samples


@pytest.mark.parametrize("ending", ["csv", "parquet", "CSV"])
def test_a_manifest_reads_back_equal(samples, tmp_path, ending):
    table = samples.table.with_columns(
        age=pl.Series([0.1, None, 3e-17]), count=pl.Series([1, 2, None]), good=pl.Series([True, None, False])
    )
    full = samples.with_table(table, 'A note, with ü and "quotes".')
    path = tmp_path / "deep" / f"manifest.{ending}"
    full.save(path)
    assert Samples.from_manifest(path) == full
    assert Samples.read(path) == full


def test_a_manifest_stores_paths_below_the_root(samples, tmp_path):
    samples.save(tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[2].startswith("A/1.png,a,s1,train")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_that_moved_with_its_pictures_finds_them(samples, tmp_path, ending):
    samples.save(tmp_path / f"m.{ending}")
    new = tmp_path / "elsewhere"
    new.mkdir()
    shutil.move(tmp_path / "pictures", new / "pictures")
    shutil.move(tmp_path / f"m.{ending}", new / f"m.{ending}")
    moved = Samples.read(new / f"m.{ending}")
    assert moved.root == new / "pictures"
    assert all(Path(path).is_file() for path in moved.table["path"])
    assert moved.table.drop("path").equals(samples.table.drop("path"))


def test_a_manifest_without_its_pictures_serves_a_report_but_not_a_run(samples, tmp_path):
    samples.save(tmp_path / "m.parquet")
    shutil.rmtree(tmp_path / "pictures")
    assert Samples.from_manifest(tmp_path / "m.parquet") == samples
    with pytest.raises(HandlensError, match="3 of 3 pictures"):
        Samples.read(tmp_path / "m.parquet")


def test_a_manifest_judged_by_another_column(samples, tmp_path):
    samples.save(tmp_path / "m.csv")
    other = Samples.read(tmp_path / "m.csv", label="Mineral")
    assert (other.label_name, other.classes) == ("mineral", ("007", "8", "9"))
    with pytest.raises(HandlensError, match="2 pictures have no label in the column 'note'"):
        samples_with_blanks = samples.with_table(
            samples.table.with_columns(note=pl.Series([None, None, "x"], dtype=pl.String))
        )
        samples_with_blanks.save(tmp_path / "n.csv")
        Samples.read(tmp_path / "n.csv", label="note")


def test_a_manifest_saved_again_by_a_spreadsheet_still_reads(samples, tmp_path):
    path = tmp_path / "m.csv"
    samples.save(path)
    first, *rest = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\ufeff" + "\r\n".join([first + ",,,,,", *rest]) + "\r\n", encoding="utf-8", newline="")
    assert Samples.read(path) == samples


def test_manifests_that_cannot_be(samples, tmp_path):
    with pytest.raises(HandlensError, match=r"\.parquet or a \.csv"):
        samples.save(tmp_path / "m.xlsx")
    nested = samples.with_table(samples.table.with_columns(box=pl.Series([[1, 2]] * 3)))
    with pytest.raises(HandlensError, match=r"'box'.*does not fit"):
        nested.save(tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()
    with pytest.raises(HandlensError, match="not a manifest"):
        Samples.from_manifest(samples.root / "table.csv")


def test_identities_are_the_same_on_every_system():
    root = Path("/data/photos")
    decomposed, composed = "/data/photos/cafe\u0301/1.png", "/data/photos/caf\u00e9/1.png"
    assert identities([decomposed], root) == ["caf\u00e9/1.png"]
    both = identities([decomposed, composed], root)
    assert len(set(both)) == 2
    assert identities(["/data/other/1.png"], root) == ["../other/1.png"]
