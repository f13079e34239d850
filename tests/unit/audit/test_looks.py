"""What pictures look like in numbers, against arithmetic that is written out."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter
from soft_noise import noise

from handlens.audit.clues import jpeg_quality
from handlens.audit.looks import SIDES, Look, blur, look, looks
from handlens.data.samples import Samples
from handlens.data.scan import scan


def look_of(path: Path) -> Look:
    found = look(scan([path])[0])
    assert found is not None
    return found


def test_blur_is_what_the_paper_says() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (24, 30)).astype(np.float32)
    told = []
    for values in (grey, grey.T):
        rows, columns = values.shape
        padded = np.pad(values.astype(np.float64), ((0, 0), (4, 4)), mode="symmetric")
        again = np.array([[padded[row, at : at + 9].mean() for at in range(columns)] for row in range(rows)])
        before = lost = 0.0
        for row in range(rows):
            for at in range(1, columns):
                step = abs(float(values[row, at]) - float(values[row, at - 1]))
                before += step
                lost += max(0.0, step - abs(again[row, at] - again[row, at - 1]))
        told.append((before - lost) / before)
    assert blur(grey) == pytest.approx(max(told), rel=1e-4)


def test_blur_rises_with_blur_and_not_with_darkness() -> None:
    dark = np.asarray(noise(1, 320, 240).convert("L")).astype(np.float32)
    values = [blur(gaussian_filter(dark, radius)) for radius in (0, 1, 2, 4, 8)]
    assert values == sorted(values)
    assert values[0] < 0.4 < 0.7 < values[-1]
    assert blur(dark / 4) == pytest.approx(blur(dark), abs=1e-5)
    assert blur(np.full((20, 20), 7, np.float32)) == 0


def test_light_is_plain_arithmetic(tmp_path: Path) -> None:
    picture = noise(3)
    picture.save(tmp_path / "a.png")
    light = look_of(tmp_path / "a.png").light
    pixels, grey = np.asarray(picture).astype(float), np.asarray(picture.convert("L")).astype(float)
    assert (light.red, light.green, light.blue) == pytest.approx(tuple(pixels.mean((0, 1))))
    assert light.grey == pytest.approx(grey.mean())
    assert light.contrast == pytest.approx(grey.std())
    assert light.span == np.ptp(grey)
    assert light.dark == pytest.approx((grey < 40).mean())
    assert light.bright == pytest.approx((grey >= 250).mean())
    assert light.colourfulness == pytest.approx((pixels.max(2) - pixels.min(2)).mean())


@pytest.mark.parametrize("side", range(4))
def test_a_plain_strip_is_found_on_its_side(tmp_path: Path, side: int) -> None:
    border = [0, 0, 0, 0]
    # ImageOps counts left, top, right, bottom.
    border[(0, 2, 1, 3)[side]] = 10
    ImageOps.expand(noise(5, 190, 190), tuple(border), "black").save(tmp_path / "a.png")
    frame = look_of(tmp_path / "a.png").border.frame
    assert frame[side] == pytest.approx(10 / 200), SIDES[side]
    assert [share for at, share in enumerate(frame) if at != side] == [0, 0, 0]


def test_a_frame_survives_jpeg(tmp_path: Path) -> None:
    ImageOps.expand(noise(5, 184, 184), 8, "white").save(tmp_path / "a.jpg", quality=70)
    assert look_of(tmp_path / "a.jpg").border.frame == pytest.approx((0.04,) * 4, abs=0.006)


def test_a_texture_has_no_border(tmp_path: Path) -> None:
    found = []
    for seed in range(40):
        noise(seed, 120, 120).save(tmp_path / "a.png")
        os.utime(tmp_path / "a.png", ns=(seed, seed))
        found.append(look_of(tmp_path / "a.png").border.light)
    # In units of its spread, the outermost band lies where any other one does.
    assert np.abs(np.median(found)) < 0.5
    assert np.median(np.abs(found)) < 2.5


def test_an_upright_and_a_turned_file_look_the_same(tmp_path: Path) -> None:
    picture = ImageOps.expand(noise(6), (9, 0, 0, 0), "black")
    picture.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.png", exif=exif)
    upright, other = look_of(tmp_path / "a.png"), look_of(tmp_path / "b.png")
    assert upright.border == other.border
    assert upright.light == other.light


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 96])
def test_the_quality_of_a_jpeg_is_estimated(tmp_path: Path, quality: int) -> None:
    noise(1).save(tmp_path / "a.jpg", quality=quality, subsampling=0)
    saved = look_of(tmp_path / "a.jpg").saved
    assert jpeg_quality(saved.steps) == pytest.approx(quality, abs=1)
    assert saved.sampling == 0


def test_traces_of_an_earlier_jpeg_are_seen_in_a_png(tmp_path: Path) -> None:
    picture = noise(2, 256, 256)
    picture.save(tmp_path / "clean.png")
    picture.save(tmp_path / "once.jpg", quality=30)
    Image.open(tmp_path / "once.jpg").save(tmp_path / "again.png")
    clean, again = (look_of(tmp_path / f"{name}.png").saved for name in ("clean", "again"))
    assert clean.grid == pytest.approx(1, abs=0.08)
    assert again.grid > 1.2
    assert (clean.steps, clean.sampling, clean.progressive) == (0, -1, False)


def test_the_header_is_read_and_its_damage_forgiven(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131] = "Acme", "相机 9\0", b"\xff\xfebad"
    noise(1).save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    origin = look_of(tmp_path / "a.jpg").origin
    assert origin.camera.startswith("Acme")
    assert origin.dots == 300
    assert not origin.profile


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (40, 7)])
def test_every_mode_and_size_can_be_looked_at(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    path = tmp_path / "名 前.tif"
    Image.new(mode, size).save(path)
    found = look_of(path)
    assert all(np.isfinite([*found.border.light, *found.border.frame, found.light.blur]))


def test_looks_are_remembered_exactly(draw: Callable[..., Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    facts = scan([Path(path) for path in draw(num=4).table["path"]])
    first = looks(facts)
    monkeypatch.setattr("handlens.audit.looks.look", lambda *_: pytest.fail("looked again"))
    assert looks(facts) == first
    assert None not in first


def test_a_file_that_changed_has_no_look(tmp_path: Path) -> None:
    noise(1).save(tmp_path / "a.png")
    facts = scan([tmp_path / "a.png"])
    noise(2).save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert looks(facts) == [None]
