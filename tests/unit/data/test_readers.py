"""Readers: every kind of place that people keep pictures in, and every way it can be wrong."""

import json
import os
import sys
import unicodedata
from pathlib import Path

import polars as pl
import pytest

from handlens.base.errors import HandlensError, Problems
from handlens.data.label_files import read_class_names
from handlens.data.samples import Samples

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file names and links that Windows lacks")


@pytest.fixture
def pictures(tmp_path, write_picture):
    """Write pictures below a folder, and give the folder."""

    def write(*names):
        for name in names:
            write_picture(tmp_path / "photos" / name)
        return tmp_path / "photos"

    return write


def rows(samples):
    return samples.table.select("id", "label").rows()


class TestFolders:
    def test_one_folder_a_class(self, pictures):
        root = pictures(
            "B/2.PNG", "A/1.jpg", "A/deep/down/3.Jpeg", "B/x.tiff", "B/y.WebP", "A/z.bmp", "A/w.gif"
        )
        samples = Samples.read(root)
        assert rows(samples) == [
            ("A/1.jpg", "A"),
            ("A/deep/down/3.Jpeg", "A"),
            ("A/w.gif", "A"),
            ("A/z.bmp", "A"),
            ("B/2.PNG", "B"),
            ("B/x.tiff", "B"),
            ("B/y.WebP", "B"),
        ]
        assert samples.table["group"].to_list() == samples.table["id"].to_list()
        assert samples.table["split"].null_count() == 7
        assert samples.root == root
        assert samples.notes == ("Read as one folder a class.",)
        assert samples == Samples.from_folder(str(root))

    def test_names_in_any_script(self, pictures):
        root = pictures("石墨 ore/图 1.jpg", "Électrode/pièce, 2.png", "a;b/it's #1.png")
        samples = Samples.read(root)
        assert samples.classes == ("a;b", "Électrode", "石墨 ore")
        assert all(Path(path).is_file() for path in samples.table["path"])

    def test_a_name_as_macos_spells_it_is_shown_composed_and_opened_as_it_is(self, pictures):
        root = pictures("cafe\u0301/1.png", "thé/2.png")
        samples = Samples.read(root)
        assert samples.table["id"][0] == unicodedata.normalize("NFC", "café/1.png")
        assert samples.classes[0] == unicodedata.normalize("NFC", "café")
        assert Path(samples.table["path"][0]).is_file()

    def test_what_is_left_out_is_told_except_clutter(self, pictures):
        root = pictures("A/1.png", "B/1.png", "loose.png", "A/.hidden.png", ".cache/9.png", "A/.git/1.png")
        (root / "__MACOSX" / "A").mkdir(parents=True)
        (root / "__MACOSX" / "A" / "._1.png").touch()
        for name in ("A/Thumbs.db", "A/notes.txt", "readme.md"):
            (root / name).touch()
        (root / "empty").mkdir()
        samples = Samples.read(root)
        assert rows(samples) == [("A/1.png", "A"), ("B/1.png", "B")]
        assert samples.notes == (
            "Read as one folder a class.",
            "1 pictures beside the class folders were left out: loose.png.",
            "Folders without a picture were left out: empty.",
            "Left out as not a picture: 2 (A/notes.txt, readme.md).",
        )

    def test_links_are_followed_once(self, pictures, tmp_path, write_picture):
        root = pictures("A/1.png", "B/sub/1.png")
        write_picture(tmp_path / "store" / "far.png")
        (root / "A" / "linked.png").symlink_to(tmp_path / "store" / "far.png")
        (root / "C").symlink_to(tmp_path / "store")
        (root / "A" / "up").symlink_to(root)
        (root / "B" / "sub" / "self").symlink_to(root / "B")
        (root / "B" / "again").symlink_to(root / "B" / "sub")
        (root / "B" / "dead.png").symlink_to(tmp_path / "nothing.png")
        (root / "B" / "ring.png").symlink_to(root / "B" / "ring.png")
        samples = Samples.read(root)
        assert [id_ for id_, _ in rows(samples)] == ["A/1.png", "A/linked.png", "B/sub/1.png", "C/far.png"]
        assert any(note.startswith("Left out as a link back") and "A/up" in note for note in samples.notes)
        assert any("a link that leads nowhere: 2 (B/dead.png, B/ring.png)" in note for note in samples.notes)

    def test_a_name_that_is_not_text_is_told(self, pictures):
        root = pictures("A/1.png", "B/1.png")
        try:
            (root / "A" / os.fsdecode(b"bad\xff.png")).touch()
        except OSError:
            pytest.skip("this file system allows only UTF-8 names")
        samples = Samples.read(root)
        assert len(samples) == 2
        assert "not valid UTF-8: 1 (A/bad?.png)" in samples.notes[-1]

    @pytest.mark.parametrize(
        "names", [("train", "val", "test"), ("Training", "VALIDATION", "Testing"), ("TRAIN", "valid", "test")]
    )
    def test_a_ready_made_split_is_kept(self, pictures, names):
        first, second, third = names
        root = pictures(f"{first}/A/1.png", f"{first}/B/1.png", f"{second}/A/2.png", f"{third}/B/deep/3.png")
        pictures("extra/9.png", f"{first}/loose.png")
        (root / "annotations").mkdir()
        samples = Samples.read(root)
        assert samples.table["label"].value_counts().sort("label").rows() == [("A", 2), ("B", 2)]
        assert [len(samples.side(side)) for side in ("train", "val", "test")] == [2, 1, 1]
        assert samples.notes[1:] == (
            f"1 pictures beside the class folders were left out: {first}/loose.png.",
            f"Folders with pictures beside {', '.join(sorted(names))} were left out: extra.",
        )

    def test_a_class_may_be_called_train(self, pictures):
        assert Samples.read(pictures("train/1.png", "car/1.png")).classes == ("car", "train")

    def test_many_folders_deep(self, pictures):
        root = pictures("A/" + "d/" * 200 + "1.png", "B/1.png")
        assert len(Samples.read(root)) == 2

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ([], "There is no picture in .*photos. Give a folder"),
            (["1.png", "2.png"], "holds 2 pictures but no class folders"),
            (["A/1.png", "A/x/2.png"], "only one class in .*photos: 'A'. Add pictures"),
            (
                ["all/A/1.png", "all/B/1.png"],
                "only one class.*'all'. If the classes are the folders inside it, give .*photos/all",
            ),
            (["train/1.png", "test/A/2.png", "test/B/2.png"], "train holds pictures but no class folders"),
            (["train/A/1.png", "test/A/2.png"], "only one class"),
        ],
    )
    def test_folders_that_will_not_do(self, pictures, names, message):
        root = pictures(*names)
        root.mkdir(exist_ok=True)
        with pytest.raises(HandlensError, match=message):
            Samples.read(root)

    def test_videos_are_not_pictures_yet(self, tmp_path):
        (tmp_path / "froth").mkdir()
        (tmp_path / "froth" / "1.MP4").touch()
        with pytest.raises(HandlensError, match="Cut pictures out of videos with 'handlens frames'"):
            Samples.read(tmp_path)

    def test_a_folder_of_pictures_with_a_table_names_the_table(self, pictures):
        root = pictures("1.png")
        (root / "labels.csv").touch()
        with pytest.raises(HandlensError, match=r"or give the table .*labels\.csv"):
            Samples.read(root)

    def test_places_that_are_something_else(self, pictures):
        root = pictures("A/1.png", "B/1.png")
        with pytest.raises(HandlensError, match=r"no folder .*foto. Did you mean 'photos'|no folder"):
            Samples.read(root.with_name("photoss"))
        with pytest.raises(HandlensError, match=r"1\.png is a file"):
            Samples.from_folder(root / "A" / "1.png")
        with pytest.raises(HandlensError, match=r"1\.png is a file, and a folder of pictures was meant"):
            Samples.read(root / "A" / "1.png")
        with pytest.raises(HandlensError, match=r"the label 'ore'.*is not a table"):
            Samples.read(root, label="ore")


class TestTables:
    def table(self, root, text, name="t.csv", encoding="utf-8"):
        path = root / name
        path.write_bytes(text.encode(encoding))
        return path

    def test_a_table_with_everything(self, pictures):
        root = pictures("A/1.png", "x/é 2.png", "3.png")
        lines = ["\ufeffPath, Label ,GROUP,Split,time", "A/1.png,007,s1,Training,10:00"]
        lines += ['"x/é 2.png",1.0,s1, VAL ,', "3.png, 007,,test,9", ""]
        text = "\r\n".join(lines)
        samples = Samples.read(self.table(root, text))
        assert samples.table.columns == ["id", "path", "label", "group", "split", "time"]
        assert samples.table.drop("path").rows() == [
            ("A/1.png", "007", "s1", "train", "10:00"),
            ("x/é 2.png", "1.0", "s1", "val", None),
            ("3.png", "007", "3.png", "test", "9"),
        ]
        assert samples.label_name == "label"

    @pytest.mark.parametrize(("name", "separator"), [("t.tsv", "\t"), ("t.csv", ";"), ("T.CSV", ",")])
    def test_separators(self, pictures, name, separator):
        root = pictures("1.png", "2.png")
        text = "path,label\n1.png,a\n2.png,b\n".replace(",", separator)
        assert rows(Samples.read(self.table(root, text, name))) == [("1.png", "a"), ("2.png", "b")]

    def test_parquet_keeps_other_columns_as_they_are(self, pictures):
        root = pictures("1.png", "2.png")
        frame = pl.DataFrame(
            {"path": [str(root / "1.png"), "2.png"], "label": [0, 1], "grain_um": [1.5, None]}
        )
        frame.write_parquet(root / "t.parquet")
        samples = Samples.read(root / "t.parquet")
        assert rows(samples) == [("1.png", "0"), ("2.png", "1")]
        assert samples.table["grain_um"].to_list() == [1.5, None]

    def test_several_labels_and_names_of_ours(self, pictures):
        root = pictures("1.png", "2.png")
        path = self.table(root, "file,label,Mineral,id,specimen\n1.png,x,ore,7,s\n2.png,x,gangue,8,s\n")
        samples = Samples.from_table(path, picture="file", label="mineral", group="specimen")
        assert samples.label_name == "Mineral"
        assert samples.classes == ("gangue", "ore")
        assert samples.table.columns[5:] == ["table_label", "Mineral", "table_id", "specimen"]
        assert samples.table["group"].to_list() == ["s", "s"]
        samples.save(root / "m.csv")
        assert Samples.read(root / "m.csv") == samples

    def test_paths_outside_written_on_windows_or_spelt_otherwise(self, pictures):
        root = pictures("tables/x.png", "A/1.png", "A/cafe\u0301.png", "B/3.png")
        text = "path,label\n..\\A\\1.png,a\n../A/caf\u00e9.png,a\n" + f"{root}/B/3.png,b\n"
        samples = Samples.read(self.table(root / "tables", text))
        assert samples.table["id"].to_list() == ["../A/1.png", "../A/caf\u00e9.png", "../B/3.png"]
        assert all(Path(path).is_file() for path in samples.table["path"])

    def test_everything_wrong_is_told_at_once(self, pictures):
        root = pictures("1.png", "2.png")
        text = "path,label,split\n1.png,a,train\n./1.png,b,test\nno.png,a,test\n2.png,,holdout\n,b,test\n"
        with pytest.raises(Problems) as error:
            Samples.read(self.table(root, text))
        told = str(error.value)
        assert "row 4: there is no such file (no.png)" in told
        assert "row 6: there is no path" in told
        assert "row 5: there is no label" in told
        assert "rows 2, 3: the picture" in told
        assert "row 5: the split is 'holdout'. Write one of train, val, test." in told
        assert len(error.value.problems) == 5

    def test_many_rows_are_counted(self, pictures):
        text = "path,label\n" + "".join(f"{number}.png,a\n" for number in range(50))
        with pytest.raises(
            Problems,
            match=r"rows 2, 3, 4, 5, 6 and 45 more: there is no such file \(0.png, 1.png, 2.png and 47",
        ):
            Samples.read(self.table(pictures("x.png"), text))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("picture,label\n1.png,a\n", "no column 'path' for the path.*picture, label. Rename"),
            ("path,labels\n1.png,a\n", "no column 'label'.*Did you mean 'labels'"),
            ("path,label\n1.png,a\n2.png,a\n", "only one class in the column 'label'"),
            ("path,label\n", "There is no picture"),
            ("", "cannot be read as a table"),
            ("path,label\n1.png,a,b\n", "cannot be read as a table"),
        ],
    )
    def test_tables_that_will_not_do(self, pictures, text, message):
        path = self.table(pictures("1.png", "2.png"), text)
        with pytest.raises(HandlensError, match=message):
            Samples.read(path)

    def test_a_named_column_must_be_there(self, pictures):
        path = self.table(pictures("1.png", "2.png"), "path,label\n1.png,a\n2.png,b\n")
        with pytest.raises(Problems, match=r"'specimen' for the group(.|\n)*'side' for the split"):
            Samples.read(path, group="specimen", split="side")

    def test_files_that_are_no_tables(self, pictures, tmp_path):
        root = pictures("1.png")
        with pytest.raises(HandlensError, match="not UTF-8"):
            Samples.read(self.table(root, "path,label\n1.png,塑料\n", encoding="gbk"))
        with pytest.raises(HandlensError, match="cannot be read as a table"):
            Samples.read(self.table(root, "not parquet", "t.parquet"))
        with pytest.raises(HandlensError, match=r"no file .*Did you mean 't\.csv'"):
            Samples.read(root / "tt.csv")
        with pytest.raises(HandlensError, match="is a folder"):
            Samples.from_table(root)
        with pytest.raises(HandlensError, match="Class names go with"):
            Samples.read(root / "t.csv", class_names=root / "names.txt")


class TestLabelFiles:
    def label(self, root, **texts):
        for stem, text in texts.items():
            (root / f"{stem}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())

    def test_numbers_without_names(self, pictures):
        root = pictures("img_1.jpg", "img_2.jpg", "a, b.jpg", "图.jpg")
        self.label(root, img_1="img_1.jpg, 0", img_2="\ufeffimg_2.jpg,12\r\n", 图="图.jpg , 0\n\n")
        (root / "a, b.txt").write_text("a, b.jpg, 3")
        (root / "readme.txt").write_text("Labelled by hand.")
        samples = Samples.read(root)
        assert dict(rows(samples)) == {"a, b.jpg": "3", "img_1.jpg": "0", "img_2.jpg": "12", "图.jpg": "0"}
        assert samples.notes == (
            "Read as pictures with a label file each.",
            "Left out as not a picture: 1 (readme.txt).",
        )

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("names.txt", "paper\nother/塑料 bag\n"),
            ("names.txt", "\ufeff1: other/塑料 bag\r\n0：paper\r\n"),
            ("names.json", json.dumps({"0": "paper", "1": "other/塑料 bag"})),
        ],
    )
    def test_class_names(self, pictures, name, text):
        root = pictures("1.jpg", "2.jpg")
        self.label(root, **{"1": "1.jpg, 0", "2": "2.jpg, 1"})
        (root / name).write_text(text, encoding="utf-8")
        samples = Samples.read(root, class_names=root / name)
        assert rows(samples) == [("1.jpg", "paper"), ("2.jpg", "other/塑料 bag")]
        assert len(samples.notes) == 1 if name.endswith(".txt") else 2

    def test_all_problems_are_told_together(self, pictures):
        root = pictures(*(f"{number}.jpg" for number in range(1, 8)))
        self.label(
            root,
            **{
                "1": "1.jpg, 0",
                "2": "2.jpg 1",
                "3": "3.jpg, 9",
                "5": "5.jpg, 0",
                "5b": "5.jpg, 1",
                "6": "塑料.jpg, 1".encode("gbk"),
                "8": "8.jpg, 0",
            },
        )
        (root / "names.txt").write_text("a\nb\n")
        self.label(root, **{"7": "7.jpg, 0\n7.jpg, 1"})
        with pytest.raises(Problems) as error:
            Samples.from_label_files(root, root / "names.txt")
        told = dict(problem.split(": ", 1) for problem in error.value.problems)
        assert set(told) == {"2.txt", "3.txt", "4.jpg", "5.jpg", "6.txt", "7.txt", "8.txt"}
        assert "Write one line like 'img_1.jpg, 0'" in told["2.txt"]
        assert "the class 9 has no name" in told["3.txt"]
        assert "no label file" in told["4.jpg"]
        assert "(5.txt, 5b.txt)" in told["5.jpg"]
        assert "not UTF-8" in told["6.txt"]
        assert "'8.jpg' is not there" in told["8.txt"]

    def test_many_problems_are_cut_short(self, pictures):
        root = pictures(*(f"{number}.jpg" for number in range(50)))
        with pytest.raises(Problems, match="and 30 more"):
            Samples.from_label_files(root)

    @pytest.mark.parametrize(
        ("name", "data", "message"),
        [
            ("n.txt", b"", "holds no class name"),
            ("n.json", b"[1]", "maps no numbers"),
            ("n.json", b"{", "maps no numbers"),
            ("n.txt", "塑料".encode("gbk"), "not UTF-8"),
        ],
    )
    def test_wrong_class_names(self, tmp_path, name, data, message):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(HandlensError, match=message):
            read_class_names(tmp_path / name)

    def test_nothing_to_label(self, tmp_path):
        with pytest.raises(HandlensError, match="There is no picture"):
            Samples.from_label_files(tmp_path)
