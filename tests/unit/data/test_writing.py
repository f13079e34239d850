"""Writing samples out: class folders and plain tables that read back as the same samples."""

import json
import threading
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from handlens.base.errors import HandlensError
from handlens.data.derived import PAPER_PROTOCOL, derived_rows
from handlens.data.formats import writing
from handlens.data.formats.writing import convert, to_folder, to_table
from handlens.data.samples import Samples


def samples_at(root, rows, **columns):
    """Draw a picture of its own for each (name, label, group, split), and give their samples."""
    for number, (name, *_) in enumerate(rows):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            Image.new("RGB", (3, 2), (number, 9, 90)).save(file, "PNG")
    names, labels, groups, splits = zip(*rows, strict=True)
    table = pl.DataFrame(
        {
            "id": names,
            "path": [str(root / name) for name in names],
            "label": labels,
            "group": groups,
            "split": splits,
            **columns,
        },
        schema_overrides={"split": pl.String, "label": pl.String},
    )
    return Samples(table, root)


ROWS = [
    ("石 墨/1.png", "a/b", "s1", "train"),
    ("other/1.png", "a_b", "s1", "train"),
    ("other/2.PNG", "A_B", "s2", "test"),
    ("x/1.png", "石墨 ore", "s3", "train"),
    ("y/1.png", "石墨 ore", "s4", "train"),
    ("z/1.png", "石墨 ore", "s5", None),
]


def everything(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


class TestToFolder:
    def test_class_folders_with_sides_and_a_manifest(self, tmp_path):
        samples = samples_at(tmp_path / "in", ROWS, grain_um=[1.5, None, 2.0, 3.0, 4.0, 5.0])
        written = samples.to_folder(tmp_path / "out")
        names = dict(zip(written.table["origin"], written.table["id"], strict=True))
        # 'A_B', 'a/b' and 'a_b' are one name on some system; labels in their order get the numbers.
        assert names == {
            "other/2.PNG": "test/A_B/2.PNG",
            "石 墨/1.png": "train/a_b-2/1.png",
            "other/1.png": "train/a_b-3/1.png",
            "x/1.png": "train/石墨 ore/1.png",
            "y/1.png": "train/石墨 ore/1-2.png",
            "z/1.png": "no-side/石墨 ore/1.png",
        }
        for origin, name in names.items():
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / origin).read_bytes()
        again = Samples.read(tmp_path / "out")
        assert again == written
        columns = ["label", "group", "split", "grain_um"]
        assert again.table.sort("origin").select(columns).equals(samples.table.sort("id").select(columns))
        assert any("a/b" in note for note in again.notes)

    def test_without_sides_the_folders_alone_say_it(self, tmp_path):
        samples = samples_at(tmp_path / "in", [("p/1.png", "b", "b", None), ("q/1.png", "c", "c", None)])
        to_folder(samples, tmp_path / "out")
        plain = Samples.read(tmp_path / "out", format="folder")
        assert plain.table.select("id", "label").rows() == [("b/1.png", "b"), ("c/1.png", "c")]

    def test_the_same_bytes_again_and_nothing_written_twice(self, tmp_path, monkeypatch):
        samples = samples_at(tmp_path / "in", ROWS)
        to_folder(samples, tmp_path / "out")
        first = everything(tmp_path / "out")
        monkeypatch.setattr(writing.shutil, "copyfile", None)
        to_folder(samples, tmp_path / "out")
        assert everything(tmp_path / "out") == first

    def test_it_goes_on_after_a_stop(self, tmp_path, monkeypatch):
        samples = samples_at(tmp_path / "in", ROWS)
        to_folder(samples, tmp_path / "whole")
        copy, lock, copied = writing.shutil.copyfile, threading.Lock(), []

        def stops(source, target):
            with lock:
                copied.append(source)
                if len(copied) > 3:
                    Path(target).write_bytes(b"half")
                    raise KeyboardInterrupt
            return copy(source, target)

        monkeypatch.setattr(writing.shutil, "copyfile", stops)
        with pytest.raises(KeyboardInterrupt):
            to_folder(samples, tmp_path / "out")
        assert not (tmp_path / "out" / "samples.csv").exists()
        with pytest.raises(HandlensError, match="was not finished"):
            Samples.read(tmp_path / "out")
        monkeypatch.setattr(writing.shutil, "copyfile", copy)
        to_folder(samples, tmp_path / "out")
        out, whole = everything(tmp_path / "out"), everything(tmp_path / "whole")
        assert {name: out[name] for name in out if name.endswith("ng")} == {
            name: whole[name] for name in whole if name.endswith("ng")
        }
        assert out.keys() == whole.keys()

    def test_links(self, tmp_path):
        samples = samples_at(tmp_path / "in", ROWS)
        written = to_folder(samples, tmp_path / "out", "link")
        path = Path(written.table["path"][0])
        assert path.is_symlink()
        assert not path.readlink().is_absolute()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "in").rename(tmp_path / "elsewhere" / "in")
        (tmp_path / "out").rename(tmp_path / "elsewhere" / "out")
        moved = Samples.read(tmp_path / "elsewhere" / "out")
        assert all(Path(each).is_file() for each in moved.table["path"])
        assert moved.root == tmp_path / "elsewhere" / "out"

    def test_no_system_links(self, tmp_path, monkeypatch):
        samples = samples_at(tmp_path / "in", ROWS)

        def refuse(*_):
            raise OSError(1, "a privilege is missing")

        monkeypatch.setattr(Path, "symlink_to", refuse)
        with pytest.raises(HandlensError, match=r"No link can be made .*a privilege is missing.*copies"):
            to_folder(samples, tmp_path / "out", "link")

    def test_what_is_refused(self, tmp_path):
        samples = samples_at(tmp_path / "in", ROWS)
        with pytest.raises(HandlensError, match="which is read"):
            to_folder(samples, tmp_path / "in" / "out")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "mine.txt").touch()
        with pytest.raises(HandlensError, match="holds other files"):
            to_folder(samples, tmp_path / "full")
        to_folder(samples, tmp_path / "out")
        with pytest.raises(HandlensError, match="made by another command"):
            to_folder(samples, tmp_path / "out", "link")
        with pytest.raises(HandlensError, match="no way to write pictures called 'move'"):
            to_folder(samples, tmp_path / "new", "move")
        Path(samples.table["path"][1]).unlink()
        with pytest.raises(HandlensError, match=r"1 of 6 pictures are not there(.|\n)*other/1\.png"):
            to_folder(samples, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_copies_of_derived_pictures_stay_derived(self, tmp_path):
        samples = samples_at(
            tmp_path / "in", ROWS, made_by=["expand", None, None, None, None, None], origin=["o"] * 6
        )
        marked = Samples(samples.table, samples.root, marks=(PAPER_PROTOCOL,))
        assert to_folder(marked, tmp_path / "marked").marks == (PAPER_PROTOCOL,)
        with pytest.raises(HandlensError, match="which a plain table could not say"):
            to_table(marked, tmp_path / "marked.csv")
        written = Samples.read(to_folder(samples, tmp_path / "out").root)
        assert derived_rows(written).sum() == derived_rows(samples).sum() == 1
        assert written.table["table_origin"].to_list() == ["o"] * 6

    def test_every_column_stays_however_often_pictures_are_written(self, tmp_path):
        rows = [("a/1.png", "a", "1", None), ("b/2.png", "b", "2", None)]
        samples, names = samples_at(tmp_path / "in", rows, wear=["x", "y"]), []
        for number in range(4):
            names.append(samples.table["id"].to_list())
            # Other labels, so that the pictures are called otherwise each time.
            named = samples.table.with_columns(label=pl.col("label") + str(number))
            samples = Samples.read(samples.with_table(named).to_folder(tmp_path / f"out {number}").root)
        told = samples.table.drop("id", "path", "label", "group", "split", "made_by").to_dict(as_series=False)
        assert told.pop("origin") == names[-1]
        assert told.pop("wear") == ["x", "y"]
        assert sorted(told.values()) == sorted(names[:-1])

    def test_columns_that_are_no_text(self, tmp_path):
        samples = samples_at(
            tmp_path / "in",
            ROWS,
            taken=[date(2026, 1, day) for day in range(1, 7)],
            good=[True, None] * 3,
            tags=[["a"], ["b"], [], None, ["c"], ["d"]],
        )
        again = Samples.read(to_folder(samples, tmp_path / "out").root)
        told = again.table.filter(pl.col("origin") == "x/1.png").to_dicts()[0]
        assert (told["taken"], told["good"], told["tags"]) == ("2026-01-04", None, None)

    def test_pictures_without_a_label(self, tmp_path):
        samples = samples_at(
            tmp_path / "in", [("1.png", None, "1", None), ("2.png", "b", "2", None)], wear=["x", "y"]
        )
        written = to_folder(samples, tmp_path / "out")
        assert "no-label/1.png" in written.table["id"].to_list()
        assert Samples.read(tmp_path / "out").table["label"].null_count() == 1


class TestToTable:
    @pytest.mark.parametrize("name", ["t.csv", "T.Parquet"])
    def test_it_reads_back(self, tmp_path, name):
        rows = [row for row in ROWS if row[3]]
        samples = samples_at(tmp_path / "in", rows, grain=["x", None, "z", "a,b", '"q"'])
        path = samples.to_table(tmp_path / "in" / name)
        again = Samples.read(path)
        assert again.table.equals(samples.table)
        plain = pl.read_parquet(path) if name.endswith("Parquet") else pl.read_csv(path)
        assert plain.columns == ["path", "label", "group", "split", "grain"]
        assert plain["path"].to_list() == [row[0] for row in rows]

    def test_elsewhere_paths_are_whole_and_the_same_again(self, tmp_path):
        samples = samples_at(tmp_path / "in", ROWS)
        path = to_table(samples, tmp_path / "out" / "t.csv")
        first = path.read_bytes()
        assert to_table(samples, path) == path
        assert path.read_bytes() == first
        assert pl.read_csv(path)["path"][0] == str(tmp_path / "in" / "石 墨" / "1.png")
        assert Samples.read(path).table["label"].to_list() == [row[1] for row in ROWS]

    def test_what_is_refused(self, tmp_path):
        samples = samples_at(tmp_path / "in", ROWS, tags=[["a"]] * 6)
        with pytest.raises(HandlensError, match=r"\.csv or \.parquet"):
            to_table(samples, tmp_path / "t.xlsx")
        with pytest.raises(HandlensError, match=r"columns tags do not fit.*t\.parquet"):
            to_table(samples, tmp_path / "t.csv")
        (tmp_path / "t.parquet").write_bytes(b"mine")
        with pytest.raises(HandlensError, match="is there already"):
            to_table(samples, tmp_path / "t.parquet")
        assert (tmp_path / "t.parquet").read_bytes() == b"mine"


def test_converting_by_name(tmp_path):
    samples = samples_at(tmp_path / "in", ROWS)
    folder, notes = convert(samples, "folder", tmp_path / "out", "link")
    assert (folder, notes) == (tmp_path / "out", Samples.read(tmp_path / "out").notes)
    assert convert(samples, "table", tmp_path / "t.csv") == (tmp_path / "t.csv", ())
    with pytest.raises(HandlensError, match="nothing to link"):
        convert(samples, "table", tmp_path / "u.csv", "link")
    with pytest.raises(HandlensError, match=r"no form to convert to called 'tabel'\. Did you mean 'table'"):
        convert(samples, "tabel", tmp_path / "u.csv")


def test_a_format_becomes_a_folder_that_says_where_it_came_from(tmp_path, write_picture):
    root = tmp_path / "bottle"
    for name in ("train/good/1.png", "test/scratch/1.png", "ground_truth/scratch/1_mask.png"):
        write_picture(root / name)
    written = Samples.from_mvtec(root).to_folder(tmp_path / "out")
    assert sorted(written.table["id"]) == ["good/1.png", "scratch/1.png"]
    assert Samples.read(tmp_path / "out", label="state").classes == ("defective", "good")
    assert json.loads((tmp_path / "out" / "made.json").read_text())["sources"] == [str(root)]
