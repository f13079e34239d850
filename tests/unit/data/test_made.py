"""Folders of made pictures: whole or not there, the same again, and found wherever they are moved."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from handlens.base.errors import HandlensError
from handlens.base.files import only_writer
from handlens.data.made import (
    MADE,
    MANIFEST,
    Made,
    MadeFolder,
    Making,
    column_of,
    digest_of_files,
    write_picture,
)
from handlens.data.samples import Samples

MADE_BY_TEST = Made(step="expand", settings={"factor": 2}, sources=("/nowhere/photos",), source_digest="d1")
NAMES = ("ore/1.png", "石墨 graphite/naïve name.jpg", "ore/deep/er/2.png")


def making(name, **facts):
    return Making(name, name.split("/")[0], f"group of {name}", "train", facts)


MAKINGS = [making(name, number=number, parent='a, "b"\nc') for number, name in enumerate(NAMES)]


def draw(made):
    """A picture that follows from the name."""
    rng = np.random.default_rng(sum(made.name.encode()))
    return Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8))


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def make(out, makings=MAKINGS, made=MADE_BY_TEST, **how):
    folder = MadeFolder(out, made)
    folder.make(makings, draw)
    return folder.finish(makings, "A note.", **how)


# what is there afterwards


def test_a_folder_holds_the_pictures_the_manifest_and_the_record_and_nothing_else(tmp_path):
    make(tmp_path / "out")
    assert set(content(tmp_path / "out")) == {*NAMES, MANIFEST, MADE}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    record = json.loads((tmp_path / "out" / MADE).read_text("utf-8"))
    assert record == {
        "step": "expand",
        "settings": {"factor": 2},
        "sources": ["/nowhere/photos"],
        "source_digest": "d1",
    }


def test_the_manifest_says_all_and_reads_back_equal(tmp_path):
    samples = make(tmp_path / "out")
    assert Samples.read(tmp_path / "out" / MANIFEST) == samples
    assert samples.table.select("id", "label", "group", "split", "made_by", "number", "parent").rows() == [
        (name, name.split("/")[0], f"group of {name}", "train", "expand", number, 'a, "b"\nc')
        for number, name in enumerate(NAMES)
    ]
    assert samples.notes == ("A note.",)
    # Nothing in it tells where the folder lies.
    assert str(tmp_path) not in (tmp_path / "out" / MANIFEST).read_text("utf-8")
    for each, path in zip(MAKINGS, samples.table["path"], strict=True):
        made = np.asarray(Image.open(path)).astype(int)
        error = np.abs(made - np.asarray(draw(each)))
        assert error.max() == 0 if path.endswith(".png") else error.mean() < 4


def test_a_command_may_say_by_what_a_picture_was_made_before(tmp_path):
    samples = make(
        tmp_path / "out",
        [making("a/1.png", made_by="frames"), making("a/2.png", made_by=None), making("a/3.png")],
    )
    assert samples.table["made_by"].to_list() == ["frames", None, "expand"]


def test_marks_are_kept_in_the_manifest(tmp_path):
    samples = make(tmp_path / "out", marks=("leaking: somehow",))
    assert samples.marks == ("leaking: somehow",)
    read = Samples.from_manifest(tmp_path / "out" / MANIFEST)
    assert read.marks == samples.marks
    assert read.with_table(read.table.head(1), "less").marks == samples.marks
    assert replace(read, marks=()) != read


def test_what_is_known_of_pictures_stays_where_they_are_only_copied(tmp_path):
    known = Samples(pl.DataFrame(), Path("/p"), ("old",), "kind", ("leaking: somehow",), split_made=True)
    make(tmp_path / "out", copied=known)
    read = Samples.read(tmp_path / "out")
    assert (read.label_name, read.marks, read.split_made) == ("kind", ("leaking: somehow",), True)
    assert read.notes == ("A note.",)
    assert read.root == tmp_path / "out"


# facts of all kinds


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, None, 3], pl.Int64, [1, None, 3]),
        ([1, 2.5, None], pl.Float64, [1.0, 2.5, None]),
        ([1, "007", None, 2.5], pl.String, ["1", "007", None, "2.5"]),
        ([None, "a"], pl.String, [None, "a"]),
        ([None, None], pl.String, [None, None]),
        ([True, None], pl.Boolean, [True, None]),
        ([True, 2], pl.String, ["True", "2"]),
        ([date(2026, 11, 21)], pl.String, ["2026-11-21"]),
    ],
)
def test_facts_of_mixed_kinds_become_one_column(values, dtype, expected):
    column = column_of("fact", values)
    assert column.dtype == dtype
    assert column.to_list() == expected


def test_pictures_may_lack_facts_that_others_have(tmp_path):
    makings = [
        making("a/1.png", time_s=0.5, good=True),
        making("a/2.png", operation="crop"),
        making("a/3.png", time_s=2),
    ]
    samples = make(tmp_path / "out", makings)
    assert Samples.from_manifest(tmp_path / "out" / MANIFEST) == samples
    assert samples.table["time_s"].to_list() == [0.5, None, 2.0]
    assert samples.table["operation"].to_list() == [None, "crop", None]
    assert samples.table["good"].to_list() == [True, None, None]


# stopped and given again


def test_given_again_nothing_is_written_and_all_is_the_same(tmp_path):
    make(tmp_path / "out")
    before = content(tmp_path / "out")
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in NAMES}
    make(tmp_path / "out")
    assert content(tmp_path / "out") == before
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in NAMES} == times


def test_after_a_stop_it_goes_on_and_ends_with_the_same_bytes(tmp_path):
    make(tmp_path / "whole")

    def draw_once(made):
        if made.name == NAMES[1]:
            raise KeyboardInterrupt
        return draw(made)

    folder = MadeFolder(tmp_path / "stopped", MADE_BY_TEST)
    with pytest.raises(KeyboardInterrupt):
        folder.make(MAKINGS, draw_once)
    assert not folder.manifest.exists()
    # What a process leaves that was killed while it wrote.
    (folder.path / "ore" / ".9.png.4711.partial").write_bytes(b"half")
    (folder.path / ".samples.csv.4711.partial").write_bytes(b"half")
    make(tmp_path / "stopped")
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


def test_only_what_is_missing_of_a_set_is_drawn(tmp_path):
    folder = MadeFolder(tmp_path / "out", MADE_BY_TEST)
    asked = []

    def draw_set(wanted):
        asked.append([each.name for each in wanted])
        return map(draw, wanted)

    folder.make_together([MAKINGS[:2], MAKINGS[2:]], draw_set)
    assert sorted(map(sorted, asked)) == sorted([sorted(NAMES[:2]), [NAMES[2]]])
    (folder.path / NAMES[0]).unlink()
    asked.clear()
    folder.make_together([MAKINGS[:2], MAKINGS[2:]], draw_set)
    assert asked == [[NAMES[0]]]


def test_two_processes_do_not_write_one_folder(tmp_path):
    folder = MadeFolder(tmp_path / "out", MADE_BY_TEST)

    def draw_and_begin_again(made):
        with pytest.raises(HandlensError, match="Another process is writing"):
            MadeFolder(tmp_path / "out", MADE_BY_TEST).make(MAKINGS, draw)
        return draw(made)

    folder.make(MAKINGS[:1], draw_and_begin_again)


def test_a_folder_that_is_being_written_keeps_its_record(tmp_path):
    MadeFolder(tmp_path / "out", MADE_BY_TEST)
    before = content(tmp_path / "out")
    with only_writer(tmp_path / "out"), pytest.raises(HandlensError, match="Another process is writing"):
        MadeFolder(tmp_path / "out", MADE_BY_TEST.model_copy(update={"settings": {"factor": 3}}))
    assert content(tmp_path / "out") == before


def test_of_two_commands_that_open_a_folder_the_first_to_write_has_it(tmp_path):
    first = MadeFolder(tmp_path / "out", MADE_BY_TEST)
    second = MadeFolder(tmp_path / "out", MADE_BY_TEST.model_copy(update={"settings": {"factor": 3}}))
    first.make(MAKINGS, draw)
    assert json.loads((tmp_path / "out" / MADE).read_text())["settings"] == {"factor": 2}
    with pytest.raises(HandlensError, match="different: its settings"):
        second.make(MAKINGS, draw)


def test_what_others_are_writing_in_a_folder_that_is_refused_stays(tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("holiday.jpg", ".run.4711.partial"):
        (tmp_path / "out" / name).write_bytes(b"mine")
    with pytest.raises(HandlensError, match="holds other files"):
        MadeFolder(tmp_path / "out", MADE_BY_TEST)
    assert set(content(tmp_path / "out")) == {"holiday.jpg", ".run.4711.partial"}


def test_a_name_twice_is_a_mistake_of_ours(tmp_path):
    with pytest.raises(AssertionError):
        make(tmp_path / "out", [*MAKINGS, MAKINGS[0]])


# refused


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"step": "frames"}, "different: the command)"),
        ({"settings": {"factor": 3}}, "different: its settings)"),
        ({"source_digest": "d2"}, "different: what is read)"),
    ],
)
def test_a_folder_made_by_another_command_is_refused(tmp_path, change, told):
    make(tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(HandlensError) as caught:
        MadeFolder(tmp_path / "out", MADE_BY_TEST.model_copy(update=change))
    assert told in str(caught.value)
    assert "--out" in str(caught.value)
    assert content(tmp_path / "out") == before


def test_a_folder_in_which_nothing_was_made_yet_is_free(tmp_path):
    MadeFolder(tmp_path / "out", MADE_BY_TEST)
    MadeFolder(tmp_path / "out", MADE_BY_TEST.model_copy(update={"settings": {"factor": 3}}))
    assert json.loads((tmp_path / "out" / MADE).read_text())["settings"] == {"factor": 3}


def test_sources_may_have_moved_since(tmp_path):
    make(tmp_path / "out")
    make(tmp_path / "out", made=MADE_BY_TEST.model_copy(update={"sources": ("/elsewhere/photos",)}))
    assert json.loads((tmp_path / "out" / MADE).read_text())["sources"] == ["/elsewhere/photos"]


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(HandlensError, match="holds other files"):
        MadeFolder(tmp_path / "out", MADE_BY_TEST)
    assert set(content(tmp_path / "out")) == {"holiday.jpg"}


def test_a_damaged_record_is_told(tmp_path):
    make(tmp_path / "out")
    (tmp_path / "out" / MADE).write_text("{half")
    with pytest.raises(HandlensError, match="missing or damaged"):
        make(tmp_path / "out")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(HandlensError, match="is a file"):
        MadeFolder(tmp_path / "out", MADE_BY_TEST)


@pytest.mark.parametrize("out", ["photos", "photos/made", "photos/deep/made", "link/made"])
def test_a_folder_among_its_sources_is_refused(tmp_path, out):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    made = MADE_BY_TEST.model_copy(update={"sources": (str(tmp_path / "photos"),)})
    with pytest.raises(HandlensError, match=r"which is read|is what is read"):
        MadeFolder(tmp_path / out, made)
    assert list((tmp_path / "photos").iterdir()) == []
    MadeFolder(tmp_path / "photos-made", made)


# beside others, and moved


@pytest.fixture
def photos(tmp_path, write_picture):
    for name in ("ore/1.png", "rock/2.png"):
        write_picture(tmp_path / "lab" / "photos" / name)
    table = tmp_path / "lab" / "photos" / "table.csv"
    table.write_text("path,label,lot,tags\nore/1.png,ore,7,x\nrock/2.png,rock,8,\n")
    samples = Samples.from_table(table)
    odd = samples.table.with_columns(
        day=pl.Series([date(2026, 1, 2), None]), box=pl.Series([[1, 2], [3]]), count=pl.Series([1, 2])
    )
    return samples.with_table(odd)


def test_pictures_beside_are_told_first_with_their_columns(tmp_path, photos):
    makings = [making("ore/1-1.png", lot="7", day="2026-01-02", count=1, box="left out with the other")]
    samples = make(tmp_path / "lab" / "out", makings, beside=replace(photos, marks=("m",)), marks=("n", "m"))
    assert Samples.from_manifest(tmp_path / "lab" / "out" / MANIFEST) == samples
    assert samples.root == photos.root
    assert samples.table["id"].to_list() == ["ore/1.png", "rock/2.png", "../out/ore/1-1.png"]
    assert samples.table["lot"].to_list() == ["7", "8", "7"]
    assert samples.table["day"].to_list() == ["2026-01-02", None, "2026-01-02"]
    assert samples.table["count"].to_list() == [1, 2, 1]
    assert samples.table["made_by"].to_list() == [None, None, "expand"]
    assert "box" not in samples.table.columns
    assert any("'box'" in note for note in samples.notes)
    assert samples.marks == ("m", "n")
    assert "\n./ore/1-1.png,ore," in (tmp_path / "lab" / "out" / MANIFEST).read_text()


def found(manifest):
    return [Path(path).read_bytes() for path in Samples.read(manifest).table["path"]]


def test_a_folder_that_is_moved_still_finds_its_pictures_and_the_originals(tmp_path, photos):
    make(tmp_path / "lab" / "out", beside=photos)
    before = found(tmp_path / "lab" / "out" / MANIFEST)
    shutil.move(tmp_path / "lab" / "out", tmp_path / "elsewhere")
    assert found(tmp_path / "elsewhere" / MANIFEST) == before
    shutil.move(tmp_path / "elsewhere", tmp_path / "lab" / "out")
    shutil.move(tmp_path / "lab", tmp_path / "new lab")
    assert found(tmp_path / "new lab" / "out" / MANIFEST) == before
    assert Samples.read(tmp_path / "new lab" / "out" / MANIFEST).root == tmp_path / "new lab" / "photos"


def test_originals_that_are_gone_are_named(tmp_path, photos):
    make(tmp_path / "lab" / "out", beside=photos)
    shutil.rmtree(tmp_path / "lab" / "photos")
    with pytest.raises(HandlensError, match=r"2 of 5 pictures.*ore/1.png"):
        Samples.read(tmp_path / "lab" / "out" / MANIFEST)


# pictures and files


def test_a_jpeg_keeps_its_colours_to_the_pixel(tmp_path):
    # One red pixel on white would become pink, and wide, with colours at half the size.
    pixels = np.full((16, 16, 3), 255, np.uint8)
    pixels[8, 8] = (255, 0, 0)
    write_picture(Image.fromarray(pixels), tmp_path / "a.jpg")
    read = np.asarray(Image.open(tmp_path / "a.jpg")).astype(int)
    assert np.abs(read - pixels).max() < 40


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "I;16"])
def test_a_png_keeps_every_pixel_of_any_mode(tmp_path, mode):
    values = np.random.default_rng(2).integers(0, 255, (9, 7, 4), dtype=np.uint8)
    picture = Image.fromarray(values, "RGBA")
    picture = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
    write_picture(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == mode
        assert np.array_equal(np.asarray(read.convert("RGBA")), np.asarray(picture.convert("RGBA")))


def test_the_digest_of_files_knows_them_wherever_they_lie(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first = tmp_path / "a" / "v.avi"
    first.write_bytes(b"video")
    before = digest_of_files([first])
    moved = Path(shutil.move(first, tmp_path / "b" / "v.avi"))
    assert digest_of_files([moved]) == before
    moved.write_bytes(b"longer video")
    assert digest_of_files([moved]) != before
