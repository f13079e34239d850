"""Cutting frames: from videos to a folder of pictures, every decision told and every one reversible."""

import hashlib
import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from filmed import film, number_on, numbered, numbered_film
from PIL import Image, ImageEnhance, ImageFilter
from typer.testing import CliRunner, Result

from handlens import cli
from handlens.base.errors import HandlensError
from handlens.cli import frames as command
from handlens.data import footage, video_frames
from handlens.data import frames as frames_module
from handlens.data.clips import find_clips
from handlens.data.footage import FramesSpec
from handlens.data.frames import Cut, cut_frames
from handlens.data.moments import MomentsSpec
from handlens.data.samples import Samples
from handlens.data.screening import ScreeningSpec
from handlens.data.video_survey import survey

EVERYTHING = FramesSpec(screening=None)


def scene(number: int) -> Image.Image:
    drawn = np.random.default_rng(number).integers(60, 200, (8, 10)).astype(np.uint8)
    return Image.fromarray(drawn).resize((160, 128), Image.Resampling.NEAREST).convert("RGB")


def story(path: Path) -> Path:
    """A second each: three scenes, blurred, dark, burnt, the last scene again, and another one."""
    seconds = [
        *(scene(0), scene(1), scene(2)),
        scene(3).filter(ImageFilter.GaussianBlur(3)),
        ImageEnhance.Brightness(scene(4)).enhance(0.1),
        ImageEnhance.Brightness(scene(5)).enhance(5),
        *(scene(2), scene(6)),
    ]
    return film(path, [picture for picture in seconds for _ in range(5)], rate=5, gop=5)


def files(folder: Path) -> dict[str, str]:
    """The hash of every file, but for what says where the videos lay."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("made.json", "samples.csv")
    }


def pictures(folder: Path) -> list[str]:
    return [name for name in files(folder) if name.endswith((".jpg", ".png")) and not name.startswith(".")]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the frames that are decoded from now on."""
    decoded: list[int] = []
    whole = video_frames.Frame.picture

    def picture(frame: video_frames.Frame) -> Image.Image:
        decoded.append(frame.number)
        return whole(frame)

    monkeypatch.setattr(video_frames.Frame, "picture", picture)
    return decoded


def test_one_frame_a_second_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "pyrite" / "clip.mp4", 80)
    cut = cut_frames([path], tmp_path / "out", EVERYTHING)
    table = cut.samples.table
    assert table["id"].to_list() == [f"pyrite/clip-000{second}.000s.jpg" for second in range(4)]
    assert [number_on(Image.open(each)) for each in table["path"]] == [0, 25, 50, 75]
    assert table["time_s"].to_list() == [0, 1, 2, 3]
    assert table["frame"].to_list() == [0, 25, 50, 75]
    assert set(table["label"]) == {"pyrite"}
    assert set(table["group"]) == {"pyrite/clip"}
    assert set(table["source"]) == {"clip.mp4"}
    assert set(table["made_by"]) == {"frames"}
    assert table["split"].null_count() == 4
    assert table["kept"].all()
    for name in ("sharpness", "relative_sharpness", "dark", "bright"):
        assert table[name].null_count() == 0
    assert Samples.from_manifest(tmp_path / "out" / "samples.csv").table.equals(table)


def test_frames_are_left_out_for_their_reasons(tmp_path: Path) -> None:
    cut = cut_frames([story(tmp_path / "ore" / "a.mp4")], tmp_path / "out")
    told = {row.time_s: row.reason for row in cut.rows}
    assert told == {
        **dict.fromkeys((0, 1, 2, 7)),
        **{3: "blurred", 4: "under-exposed", 5: "over-exposed", 6: "near-identical"},
    }
    assert cut.dropped == dict.fromkeys(("blurred", "under-exposed", "over-exposed", "near-identical"), 1)
    assert pictures(tmp_path / "out") == [f"ore/a-000{second}.000s.jpg" for second in (0, 1, 2, 7)]
    dropped = pl.read_csv(tmp_path / "out" / "dropped.csv")
    kept = cut.samples.table
    assert dropped.columns == kept.drop("id").columns
    assert dropped["reason"].to_list() == ["blurred", "under-exposed", "over-exposed", "near-identical"]
    assert dropped["path"].to_list() == [f"ore/a-000{second}.000s.jpg" for second in (3, 4, 5, 6)]
    assert dropped["relative_sharpness"][0] < 0.4
    assert dropped["dark"][1] > 0.98
    assert dropped["bright"][2] > 0.5
    assert dropped["likeness"][3] > 0.97
    for row in cut.rows:
        with Image.open(cut.thumbnail(row)) as thumbnail:
            assert max(thumbnail.size) <= 240


def test_a_person_decides_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = story(tmp_path / "ore" / "a.mp4"), tmp_path / "out"
    before = cut_frames([path], out)
    decoded = counted(monkeypatch)
    cut = cut_frames([path], out, keep=["ore/a-0003.000s"], drop=["ore/a-0001.000s.jpg"])
    # Only what is wanted after all is decoded, and nothing else is decided anew.
    assert decoded == [15]
    assert [row.time_s for row in cut.rows if row.kept] == [0, 2, 3, 7]
    assert {row.time_s: row.reason for row in cut.rows if row.reason == "by hand"} == dict.fromkeys(
        (1, 3), "by hand"
    )
    assert pictures(out) == [f"ore/a-000{second}.000s.jpg" for second in (0, 2, 3, 7)]
    assert cut.samples.table["reason"].to_list() == [None, None, "by hand", None]
    # It is remembered, and can be taken back.
    assert [row.kept for row in cut_frames([path], out).rows] == [row.kept for row in cut.rows]
    back = cut_frames([path], out, keep=["ore/a-0001.000s"], drop=["ore/a-0003.000s"])
    assert [(row.kept, row.reason) for row in back.rows] == [(row.kept, row.reason) for row in before.rows]
    # A fresh folder with the same decisions is the same.
    cut_frames([path], out, keep=["ore/a-0003.000s"], drop=["ore/a-0001.000s.jpg"])
    cut_frames([path], tmp_path / "new", keep=["ore/a-0003.000s"], drop=["ore/a-0001.000s"])
    new, old = files(tmp_path / "new"), files(out)
    assert {name: new[name] for name in new if name.endswith((".jpg", ".csv"))} == {
        name: old[name] for name in old if name.endswith((".jpg", ".csv"))
    }


def test_decisions_about_no_frame_are_refused(tmp_path: Path) -> None:
    path, out = story(tmp_path / "ore" / "a.mp4"), tmp_path / "out"
    cut_frames([path], out)
    before = files(out)
    with pytest.raises(HandlensError) as told:
        cut_frames([path], out, keep=["ore/a-0009.000s", "ore/a-0001.000s"], drop=["ore/a-0001.000s"])
    assert "there is no frame 'ore/a-0009.000s'. Did you mean 'ore/a-000" in str(told.value)
    assert "'ore/a-0001.000s' is to be kept and to be dropped: name it once" in str(told.value)
    assert files(out) == before


def test_the_same_command_gives_the_same_bytes_and_reads_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = story(tmp_path / "ore" / "a.mp4")
    for name in ("one", "two"):
        cut_frames([path], tmp_path / name)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    one = (tmp_path / "one" / "samples.csv").read_text().replace(str(tmp_path / "one"), "")
    assert one == (tmp_path / "two" / "samples.csv").read_text().replace(str(tmp_path / "two"), "")
    whole = (tmp_path / "one" / "samples.csv").read_bytes()
    for module in (frames_module, footage):
        monkeypatch.setattr(module, "survey", lambda *_: pytest.fail("the video was read again"))
    cut_frames([path], tmp_path / "one")
    assert (tmp_path / "one" / "samples.csv").read_bytes() == whole


@pytest.mark.parametrize("after", [2, 6])
def test_what_was_stopped_goes_on(after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [story(tmp_path / "ore" / "a.mp4"), story(tmp_path / "ore" / "b.mp4")]
    cut_frames(sources, tmp_path / "whole")
    written: list[Path] = []
    write = footage.write_picture

    def stopped(picture: Image.Image, path: Path) -> None:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(path)
        write(picture, path)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(footage, "write_picture", stopped)
        cut_frames(sources, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "samples.csv").exists()
    cut_frames(sources, tmp_path / "stopped")
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_other_settings_and_changed_videos_are_refused(tmp_path: Path) -> None:
    path, out = numbered_film(tmp_path / "ore" / "a.mp4", 50), tmp_path / "out"
    cut_frames([path], out)
    with pytest.raises(HandlensError, match="was made by another command"):
        cut_frames([path], out, FramesSpec(moments=MomentsSpec(every="2s")))
    numbered_film(path, 60)
    with pytest.raises(HandlensError, match="was made by another command"):
        cut_frames([path], out)


def test_classes_are_folders(tmp_path: Path) -> None:
    for name in ("pyrite/a.mp4", "pyrite/day 1/a.mp4", "石英/b.mp4", "石英/b.avi", "loose.mkv"):
        numbered_film(tmp_path / "videos" / name, 3)
    (tmp_path / "videos" / "pyrite" / "notes.txt").write_text("x")
    numbered(1).save(tmp_path / "videos" / "pyrite" / "photo.jpg")
    (tmp_path / "videos" / ".hidden").mkdir()
    numbered_film(tmp_path / "videos" / ".hidden" / "c.mp4", 3)
    clips, notes = find_clips([tmp_path / "videos"])
    assert [(clip.source, clip.label, clip.name) for clip in clips] == [
        ("loose.mkv", "videos", "videos/loose"),
        ("pyrite/a.mp4", "pyrite", "pyrite/a"),
        ("pyrite/day 1/a.mp4", "pyrite", "pyrite/day 1/a"),
        # Two videos that differ in their ending alone keep it.
        ("石英/b.avi", "石英", "石英/b.avi"),
        ("石英/b.mp4", "石英", "石英/b.mp4"),
    ]
    assert notes == ("Left out as not a video: 2 (pyrite/notes.txt, pyrite/photo.jpg).",)
    cut = cut_frames([tmp_path / "videos"], tmp_path / "out", EVERYTHING)
    assert cut.samples.counts() == {"pyrite": 2, "videos": 1, "石英": 2}
    assert cut.samples.table["group"].n_unique() == 5


def test_one_label_for_all(tmp_path: Path) -> None:
    numbered_film(tmp_path / "one" / "a.mp4", 3)
    numbered_film(tmp_path / "two" / "a.mp4", 3)
    clips, _ = find_clips(
        [tmp_path / "one", tmp_path / "two" / "a.mp4", tmp_path / "one" / "a.mp4"], "fein/grob"
    )
    # A video that is given twice is there once; a class may be called what no folder may.
    assert [(clip.source, clip.label, clip.name) for clip in clips] == [
        ("a.mp4", "fein/grob", "fein_grob/a.mp4"),
        ("a.mp4", "fein/grob", "fein_grob/a-2.mp4"),
    ]
    with pytest.raises(HandlensError, match="The label is empty"):
        find_clips([tmp_path / "one"], " ")


@pytest.mark.parametrize(
    "name", ["it's $5; rm -rf.mp4", "泡沫 一.mp4", "a\nb.mp4", "-v.mp4", "%d.mp4", "x" * 200 + ".mp4"]
)
def test_hostile_names(name: str, tmp_path: Path) -> None:
    numbered_film(tmp_path / "plain.mp4", 30).rename(tmp_path / name)
    cut = cut_frames([tmp_path / name], tmp_path / "out", FramesSpec(label="ore", screening=None))
    assert [number_on(Image.open(path)) for path in cut.samples.table["path"]] == [0, 25]
    again = cut_frames(
        [tmp_path / name], tmp_path / "out", FramesSpec(label="ore", screening=None), drop=[cut.rows[0].id]
    )
    assert len(again.samples) == 1
    assert Samples.from_manifest(tmp_path / "out" / "samples.csv").table.equals(again.samples.table)


def test_one_bad_video_does_not_end_it(tmp_path: Path) -> None:
    numbered_film(tmp_path / "v" / "ore" / "good.mp4", 30)
    cut_off = numbered_film(tmp_path / "v" / "ore" / "short.avi", 100)
    cut_off.write_bytes(cut_off.read_bytes()[:9000])
    (tmp_path / "v" / "ore" / "empty.mp4").touch()
    cut = cut_frames([tmp_path / "v"], tmp_path / "out", EVERYTHING)
    assert cut.unreadable == {"ore/empty.mp4": "the file is empty"}
    notes = Samples.from_manifest(tmp_path / "out" / "samples.csv").notes
    assert any(note.startswith("ore/short.avi: It holds ") for note in notes)
    assert "ore/empty.mp4 was left out: the file is empty." in notes
    assert {row.id.split("-")[0] for row in cut.rows} == {"ore/good", "ore/short"}


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "empty.mp4").touch()
    with pytest.raises(HandlensError, match=r"The video cannot be read:\n  - empty\.mp4: the file is empty"):
        cut_frames([tmp_path / "v"], tmp_path / "out")
    (tmp_path / "p").mkdir()
    numbered(1).save(tmp_path / "p" / "photo.jpg")
    with pytest.raises(HandlensError, match=r"There is no video in .*It holds other files \(photo\.jpg\)"):
        cut_frames([tmp_path / "p"], tmp_path / "out2")
    with pytest.raises(HandlensError, match=r"There is no file or folder .*vv.*Did you mean 'v'"):
        cut_frames([tmp_path / "vv"], tmp_path / "out3")


def test_out_is_not_among_the_videos_and_these_stay_as_they_are(tmp_path: Path) -> None:
    path = story(tmp_path / "v" / "ore" / "a.mp4")
    before = path.read_bytes(), path.stat().st_mtime_ns
    with pytest.raises(HandlensError, match="which is read"):
        cut_frames([tmp_path / "v"], tmp_path / "v" / "out")
    cut_frames([tmp_path / "v"], tmp_path / "out", keep=["ore/a-0003.000s"])
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert sorted(each.name for each in (tmp_path / "v").rglob("*")) == ["a.mp4", "ore"]


def test_png_is_exact(tmp_path: Path) -> None:
    path = story(tmp_path / "ore" / "a.mp4")
    cut = cut_frames([path], tmp_path / "out", FramesSpec(format="png", screening=None))
    (frame,) = video_frames.read_frames(survey(path), [10])
    saved = np.asarray(Image.open(tmp_path / "out" / "ore" / "a-0002.000s.png"))
    assert np.array_equal(saved, np.asarray(frame.picture()))
    assert len(cut.samples) == 8


def test_frames_of_one_millisecond_have_names_of_their_own(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "ore" / "fast.mp4", 20, rate=4000)
    spec = FramesSpec(moments=MomentsSpec(every="1f"), screening=None)
    cut = cut_frames([path], tmp_path / "out", spec)
    assert [number_on(Image.open(each)) for each in cut.samples.table["path"]] == list(range(20))
    assert len(set(cut.samples.table["id"])) == 20


def test_what_lies_beyond_the_end_is_said(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "ore" / "a.mp4", 30)
    cut = cut_frames([path], tmp_path / "out", FramesSpec(moments=MomentsSpec(start="1:00")))
    assert len(cut.samples) == 0
    assert cut.samples.notes == ("There is no frame between the start and the end that were given in a.mp4.",)


def test_interlaced_video_is_noted(tmp_path: Path) -> None:
    pictures = [numbered(number) for number in range(5)]
    fields = {"flags": "+ildct+ilme", "top": "1"}
    path = film(tmp_path / "ore" / "fields.mpg", pictures, "mpeg2video", options=fields)
    cut = cut_frames([path], tmp_path / "out", EVERYTHING)
    assert cut.videos[0].problems == ("It is interlaced: what moves has a comb at its edges.",)


def test_videos_that_tell_wrong_key_frames_are_decoded_whole(tmp_path: Path) -> None:
    """Pictures that are renewed bit by bit have no key frame that a decoder could begin with."""
    path = film(
        tmp_path / "ore" / "stream.mp4",
        [numbered(number) for number in range(100)],
        "libx264",
        options={"x264-params": "intra-refresh=1:keyint=20"},
    )
    spec = FramesSpec(moments=MomentsSpec(every="7f", start="1"), screening=None)
    cut = cut_frames([path], tmp_path / "out", spec)
    assert cut.videos[0].by_decoding
    numbers = [number_on(Image.open(each)) for each in cut.samples.table["path"]]
    assert numbers == list(range(25, 100, 7)) == cut.samples.table["frame"].to_list()
    assert len(pictures(tmp_path / "out")) == len(numbers)
    again = cut_frames([path], tmp_path / "out", spec, drop=[cut.rows[3].id])
    (tmp_path / "out" / cut.rows[3].id).unlink(missing_ok=True)
    back = cut_frames([path], tmp_path / "out", spec, keep=[cut.rows[3].id])
    assert (len(again.samples), len(back.samples)) == (10, 11)
    assert number_on(Image.open(tmp_path / "out" / cut.rows[3].id)) == cut.rows[3].number


def given(*words: object) -> Result:
    """What the command `handlens frames` comes to."""
    return CliRunner().invoke(cli.app, ["frames", *map(str, words)])


def told(*words: object) -> str:
    result = given(*words)
    assert result.exception is None, result.exception
    return result.stdout


def words_on(sheet: Path) -> list[str]:
    """The command on the contact sheet, as a shell reads it."""
    found = re.search(r'<code id="command">(.*?)</code>', sheet.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return shlex.split(html.unescape(found[1]))


def test_the_command(tmp_path: Path) -> None:
    path, out = story(tmp_path / "ore" / "a.mp4"), tmp_path / "out"
    lines = told(path, "--out", out).splitlines()
    assert lines == [
        "4 of 8 frames kept: ore 4.",
        "From 1 video.",
        "Left out: 1 blurred, 1 under-exposed, 1 over-exposed, 1 near-identical.",
        f"Look them through: {out / 'contact_sheet.html'}",
        f"Train on them: handlens train {out}",
    ]
    values = json.loads(told(path, "--out", out, "--keep", "ore/a-0003.000s", "--json"))
    assert (values["kept"], values["looked_at"]) == (5, 8)
    assert values["dropped"] == dict.fromkeys(("under-exposed", "over-exposed", "near-identical"), 1)
    assert values["videos"][0]["kept"] == 5
    assert [values[name] for name in ("folder", "manifest", "contact_sheet")] == [
        *(str(out), str(out / "samples.csv"), str(out / "contact_sheet.html")),
    ]
    assert (values["unreadable"], values["notes"]) == ({}, [])


def test_every_option_of_the_command(tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "ore" / "a.mp4", 100)

    def cut(name: str, *words: object) -> dict[str, list[object]]:
        told(path, "--out", tmp_path / name, *words)
        return Samples.read(tmp_path / name).table.to_dict(as_series=False)

    assert cut("every", "--every", "10f", "--no-screening")["frame"] == list(range(0, 100, 10))
    part = cut("part", "--from", "0:01", "--to", "3", "--every", "400ms", "--most-alike", "1")
    assert part["time_s"] == [1, 1.4, 1.8, 2.2, 2.6]
    few = cut("few", "--count", 4, "--most-alike", 1, "--label", "quartz", "--picture-format", "png")
    assert few["id"] == [f"quartz/a-{second:08.3f}s.png" for second in (0.52, 1.52, 2.52, 3.52)]
    assert set(few["label"]) == {"quartz"}
    # Only the number on them differs, which nobody would call another picture.
    assert cut("alike", "--most-alike", "0.5")["frame"] == [0]
    video = story(tmp_path / "ore" / "b.mp4")
    lifted = ("--least-sharp", "0", "--most-dark", "1", "--most-bright", "1", "--most-alike", "1")
    assert json.loads(told(video, "--out", tmp_path / "b", *lifted, "--json"))["kept"] == 8


def test_the_help_of_the_command_tells_the_limits() -> None:
    shown = " ".join(re.sub(r"[│─╭╮╰╯]", " ", told("--help")).split())
    for name, field in ScreeningSpec.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert f"without it {field.default}" in shown.replace("- ", "-")
    assert "for frames; without it 1s" in shown
    assert command.__doc__


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--every", "0s"], r"The choice of frames has 1 problem:\n  - every: '0s' is no step"),
        (["--every", "2s", "--count", "3"], "keep one of them"),
        (["--from", "2", "--to", "1"], "the end, 1, is not after the start, 2"),
        (["--count", "0"], "count: should be greater than or equal to 1"),
        (["--least-sharp", "40", "--most-dark", "0"], "The screening has 2 problems"),
        (["--most-alike", "nan"], "The screening has 1 problem"),
        (["--no-screening", "--most-dark", "1"], "so --most-dark says nothing"),
    ],
)
def test_wrong_options(words: list[str], problem: str, tmp_path: Path) -> None:
    result = given(tmp_path, "--out", tmp_path / "out", *words)
    assert isinstance(result.exception, HandlensError)
    assert re.search(problem, str(result.exception))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["-v.mp4", "it's $5 `x`.mp4", "泡沫 一.mp4", "!100%.mp4"])
def test_the_command_on_the_sheet_can_be_given_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story(tmp_path / "a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    options = ("--out", "the pictures", "--label", "ore", "--most-alike", "1")
    told(*options, "--drop", id_of(name, 1), "--", name)
    words = words_on(tmp_path / "the pictures" / "contact_sheet.html")
    assert words[:2] == ["handlens", "frames"]
    # What was decided before is remembered.
    told(*words[2:], "--keep", id_of(name, 3))
    table = Samples.read(tmp_path / "the pictures").table
    assert table["time_s"].to_list() == [0, 2, 3, 6, 7]
    assert words_on(tmp_path / "the pictures" / "contact_sheet.html") == words


def id_of(name: str, second: int) -> str:
    return f"ore/{Path(name).stem}-000{second}.000s"


@pytest.mark.shared
def test_a_real_clip(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "video" / "froth.avi"
    if not path.is_file():
        pytest.skip("the clip is not there")
    cut: Cut = cut_frames([path], tmp_path / "out", FramesSpec(label="froth"))
    assert len(cut.rows) == 31
    # Its first second is out of focus.
    assert cut.dropped == {"blurred": 1}
    assert {Image.open(each).size for each in cut.samples.table["path"]} == {(640, 480)}
