"""Files that are broken or stand out, and those that do not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from soft_noise import noise

from handlens.audit import files
from handlens.audit.finding import Finding, Subject
from handlens.audit.looks import Look, looks
from handlens.audit.spec import FilesSpec
from handlens.data.check import DataSpec, check
from handlens.data.samples import Samples
from handlens.data.scan import scan

SPEC = FilesSpec()
Draw = Callable[..., Samples]


def found_in(samples: Samples, spec: FilesSpec = SPEC) -> list[Finding]:
    checked = check(samples, DataSpec(max_bad=1))
    facts = scan([Path(path) for path in checked.samples.table["path"]])
    return files.find(Subject(checked.samples, facts, 0), looks(facts), checked.bad, spec)


def titles(found: list[Finding]) -> list[str]:
    return [f"{each.severity}: {each.title}" for each in found]


def ids(finding: Finding) -> list[str]:
    return [row.id for row in finding.rows]


def with_one(
    draw: Draw, picture: Image.Image | bytes, name: str = "奇 妙.png", num: int = 25
) -> list[Finding]:
    """What is found where a single picture of a clean set is another."""
    samples = draw(num=num)
    path = samples.root / "ore" / name
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture.save(path)
    return found_in(Samples.from_folder(samples.root))


def test_a_clean_set_has_nothing(draw: Draw) -> None:
    assert found_in(draw()) == []


def test_what_cannot_be_read_is_to_be_dropped(draw: Draw) -> None:
    found = with_one(draw, b"no picture at all", num=60)
    assert titles(found) == ["should: 1 file cannot be read"]
    (row,) = found[0].rows
    assert (row.id, row.action, row.why) == ("ore/奇 妙.png", "drop", "this is not a picture")


def test_many_that_cannot_be_read_have_to_be_mended(draw: Draw) -> None:
    assert titles(with_one(draw, b"", num=20)) == ["must: 1 file cannot be read"]


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_picture_of_one_colour_is_to_be_dropped(draw: Draw, level: int) -> None:
    found = with_one(draw, Image.new("RGB", (72, 64), (level, level, level)))
    assert "must: 1 picture of a single colour" in titles(found)
    assert not [each for each in found if "dark" in each.title or "burnt" in each.title]
    assert {row.action for row in found[0].rows} == {"drop"}
    assert len(found) == 1


def test_a_speck_is_not_nothing(draw: Draw) -> None:
    speck = np.full((64, 72), 128, np.uint8)
    speck[30:32, 30:32] = 60
    found = with_one(draw, Image.fromarray(speck).convert("RGB"))
    assert not [each for each in found if "single" in each.title]


def test_dark_and_burnt_out_ones_are_found(draw: Draw) -> None:
    dark = noise(900).point(lambda level: level // 9)
    found = [each for each in with_one(draw, dark) if "dark" in each.title]
    assert ids(found[0]) == ["ore/奇 妙.png"]
    assert found[0].rows[0].action == ""
    bright = noise(900).point(lambda level: min(255, level + 225))
    found = [each for each in with_one(draw, bright) if "burnt" in each.title]
    assert ids(found[0]) == ["ore/奇 妙.png"]


def test_a_dark_set_is_as_it_is_meant(draw: Draw) -> None:
    def dark(picture: Image.Image, label: str, number: int) -> Image.Image:
        return picture.point(lambda level: level // 9)

    assert found_in(draw(change=dark)) == []


def smoothed(picture: Image.Image) -> Image.Image:
    """Blurred, and with the contrast that it had."""
    return picture.filter(ImageFilter.GaussianBlur(4)).point(lambda level: 3 * level - 256)


def test_blurred_ones_are_found_and_not_dropped(draw: Draw) -> None:
    found = with_one(draw, smoothed(noise(900)))
    blurred = [each for each in found if "blurred" in each.title]
    assert ids(blurred[0]) == ["ore/奇 妙.png"]
    assert blurred[0].severity == "should"
    (row,) = blurred[0].rows
    assert row.action == ""
    assert row.figure is not None
    assert row.figure > SPEC.most_blurred


def test_a_class_that_is_smooth_is_not_blurred(draw: Draw) -> None:
    def smooth(picture: Image.Image, label: str, number: int) -> Image.Image:
        return picture if label == "waste" else smoothed(picture)

    assert not [each for each in found_in(draw(change=smooth)) if "blurred" in each.title]


@pytest.mark.parametrize(
    ("size", "title"),
    [
        ((72, 30), "1 picture with a side under 64 pixels"),
        ((400, 90), "1 picture more than 4 times as long as wide"),
        ((90, 400), "1 picture more than 4 times as long as wide"),
        ((80, 70), "1 picture of another size than the rest"),
    ],
)
def test_odd_sizes_are_found(draw: Draw, size: tuple[int, int], title: str) -> None:
    found = with_one(draw, noise(900, *size))
    assert title in [each.title for each in found]
    assert ids(next(each for each in found if each.title == title)) == ["ore/奇 妙.png"]


def test_a_much_smaller_one_is_found(draw: Draw) -> None:
    samples = draw(num=6, change=lambda picture, label, number: picture.resize((360, 320)))
    noise(1, 80, 70).save(samples.root / "waste" / "small.png")
    found = found_in(Samples.from_folder(samples.root))
    small = [each for each in found if "much smaller" in each.title]
    assert ids(small[0]) == ["waste/small.png"]


def test_sizes_all_different_are_no_finding(draw: Draw) -> None:
    sizes = iter(range(1000))
    samples = draw(change=lambda picture, label, number: picture.resize((70 + next(sizes), 100)))
    assert found_in(samples) == []


def test_suspiciously_few_bytes_are_found(draw: Draw) -> None:
    almost = np.full((64, 72), 128, np.uint8)
    almost[::32, ::32] = 60
    found = with_one(draw, Image.fromarray(almost).convert("RGB"))
    assert "should: 1 file with suspiciously few bytes" in titles(found)


def test_modes_and_grey_ones_are_told(draw: Draw) -> None:
    found = with_one(draw, noise(900).convert("L"))
    assert titles(found) == [
        "note: Modes are mixed: 50 in colour (RGB), 1 grey (L)",
        "note: 1 grey picture among coloured ones",
    ]
    assert ids(found[0]) == ids(found[1]) == ["ore/奇 妙.png"]


def test_wide_modes_beside_others_do_not_compare(draw: Draw) -> None:
    wide = Image.fromarray(np.asarray(noise(1).convert("L")).astype(np.uint16) * 64)
    found = with_one(draw, wide)
    assert found[0].severity == "should"
    assert "scaled by the range" in found[0].sentence


def test_wrong_endings_are_told(draw: Draw, tmp_path: Path) -> None:
    noise(900).save(tmp_path / "other.bmp")
    found = with_one(draw, (tmp_path / "other.bmp").read_bytes())
    assert "note: 1 file with a wrong ending" in titles(found)


def test_files_that_change_meanwhile_are_told(
    draw: Draw, look_at: Callable[..., tuple[Subject, list[Look | None]]]
) -> None:
    subject, seen = look_at(draw(num=6))
    found = files.find(subject, [None, *seen[1:]], (), SPEC)
    assert titles(found) == ["should: 1 file changed while it was audited"]
