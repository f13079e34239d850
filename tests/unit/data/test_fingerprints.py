"""Thumbnails, hashes and the eight orientations."""

import signal
import sqlite3
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image
from saved import exif, keep
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from handlens.data import fingerprints
from handlens.data.fingerprints import FREQUENCIES, SIDE, coefficients, grey, hashes, thumbnails
from handlens.data.image import turned
from handlens.data.orientations import ORIENTATIONS, WORDS, after, inverse, turn, turn_frequencies
from handlens.data.scan import scan


@lru_cache(maxsize=64)
def texture(seed: int, width: int = 200, height: int = 160) -> Image.Image:
    """A picture with coarse and fine structure; the same seed gives the very same object."""
    rng = np.random.default_rng(seed)
    bands = []
    for _ in range(3):
        field = sum(
            gaussian_filter(rng.normal(0, scale, (height, width)), scale) * scale for scale in (2, 5, 14)
        )
        bands.append(128 + 45 * field / field.std())
    return Image.fromarray(np.stack(bands, -1).clip(0, 255).astype(np.uint8))


# Orientations


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turning_planes_is_turning_pictures(orientation: int) -> None:
    square = np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)
    expected = np.asarray(turned(Image.fromarray(square), orientation))
    np.testing.assert_array_equal(turn(square, orientation), expected)
    stack = np.stack([square, square.T])
    np.testing.assert_array_equal(turn(stack, orientation)[0], expected)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turned_frequencies_are_those_of_turned_planes(orientation: int) -> None:
    planes = np.random.default_rng(1).normal(0, 1, (3, 16, 16)).astype(np.float32)
    waves = dctn(planes, axes=(1, 2), norm="ortho").astype(np.float32)
    expected = dctn(turn(planes, orientation), axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(turn_frequencies(waves, orientation), expected, atol=1e-5)


def test_orientations_are_the_symmetries_of_the_square() -> None:
    square = np.arange(25).reshape(5, 5)
    for first in ORIENTATIONS:
        assert after(first, inverse(first)) == after(inverse(first), first) == 1
        assert after(first, 1) == after(1, first) == first
        for then in ORIENTATIONS:
            both = turn(turn(square, first), then)
            np.testing.assert_array_equal(turn(square, after(first, then)), both)
    assert {each for each in ORIENTATIONS if inverse(each) != each} == {6, 8}
    assert len(set(WORDS.values())) == 8


# Thumbnails


def test_a_thumbnail_is_the_mean_grey_of_each_part(tmp_path: Path, cache: Path) -> None:
    picture = texture(0, 320, 256)
    facts = scan([keep(picture, tmp_path / "Größe 鉱石 1.png")], cache=cache)
    found = thumbnails(facts, cache=cache)
    assert found.seen.all()
    luma = np.asarray(picture, float) @ [0.299, 0.587, 0.114]
    means = luma.reshape(SIDE, 256 // SIDE, SIDE, 320 // SIDE).mean((1, 3))
    assert np.abs(found.levels[0] - means).mean() < 2
    assert np.corrcoef(found.levels[0].ravel(), means.ravel())[0, 1] > 0.998


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_thumbnail_is_upright(tmp_path: Path, cache: Path, orientation: int) -> None:
    stored = texture(1, 640, 480)
    upright = keep(turned(stored, orientation), tmp_path / "upright.png")
    tagged = keep(stored, tmp_path / "tagged.jpg", quality=95, exif=exif(orientation))
    found = thumbnails(scan([upright, tagged], cache=cache), cache=cache)
    assert np.abs(found.levels[0].astype(int) - found.levels[1]).max() <= 4


def test_a_large_jpeg_is_decoded_reduced_to_nearly_the_same(tmp_path: Path, cache: Path) -> None:
    # Its last row and column of blocks are cut, so that the reduced decoding ends within a pixel.
    picture = texture(2, 1203, 997)
    paths = [keep(picture, tmp_path / "a.jpg", quality=95), keep(picture, tmp_path / "a.png")]
    found = thumbnails(scan(paths, cache=cache), cache=cache)
    assert np.abs(found.levels[0].astype(int) - found.levels[1]).max() <= 3


def test_all_sorts_of_files(tmp_path: Path, cache: Path) -> None:
    picture = texture(3)
    pixels = np.asarray(picture.convert("L"))
    wide = Image.fromarray(pixels.astype(np.uint16) * 12)
    paths = [
        keep(picture, tmp_path / "colour.png"),
        keep(picture.convert("L"), tmp_path / "grey.png"),
        keep(wide, tmp_path / "wide.png"),
        keep(picture.convert("P", palette=Image.Palette.ADAPTIVE), tmp_path / "palette.gif"),
        keep(picture, tmp_path / "折.webp", lossless=True),
        keep(Image.new("RGB", (1, 1), "red"), tmp_path / "one pixel.png"),
    ]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    found = thumbnails(scan([*paths, broken, tmp_path / "missing.png"], cache=cache), cache=cache)
    assert found.seen.tolist() == [True] * 6 + [False] * 2
    for other in (1, 4):
        assert np.abs(found.levels[0].astype(int) - found.levels[other]).max() <= 1
    # A wide picture is scaled by its own range, which brightens it, and a palette has few colours.
    for other in (2, 3):
        assert np.corrcoef(found.levels[0].ravel(), found.levels[other].ravel())[0, 1] > 0.98
    assert not found.levels[6:].any()


def test_known_thumbnails_are_not_taken_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [keep(texture(n), tmp_path / f"{n}.png") for n in range(3)]
    facts = scan(paths, cache=cache)
    first = thumbnails(facts, cache=cache)
    # The same content under another name is known as well.
    moved = scan([paths[2].rename(tmp_path / "另.png"), *paths[:2]], cache=cache)
    monkeypatch.setattr(fingerprints, "grey", lambda *_: pytest.fail("decoded again"))
    again = thumbnails(moved, cache=cache)
    np.testing.assert_array_equal(again.levels, first.levels[[2, 0, 1]])


def test_a_file_that_changed_since_it_was_scanned_has_none(tmp_path: Path, cache: Path) -> None:
    paths = [keep(texture(n), tmp_path / f"{n}.png") for n in range(2)]
    facts = scan(paths, cache=cache)
    texture(7).save(paths[1])
    assert thumbnails(facts, cache=cache).seen.tolist() == [True, False]
    assert thumbnails(scan(paths, cache=cache), cache=cache).seen.all()


def test_a_stop_loses_little(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [keep(texture(n, 32, 32), tmp_path / f"{n}.png") for n in range(300)]
    facts = scan(paths, cache=cache)
    taken = []

    def stopped(found: object, *rest: int) -> np.ndarray:
        taken.append(found)
        if len(taken) > 290:
            raise KeyboardInterrupt
        return grey(found, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(fingerprints, "grey", stopped)
    with pytest.raises(KeyboardInterrupt):
        thumbnails(facts, cache=cache)
    taken.clear()
    assert thumbnails(facts, cache=cache).seen.all()
    assert len(taken) <= 300 - 256


def test_killed_and_concurrent_runs_leave_the_memory_whole(tmp_path: Path, cache: Path) -> None:
    paths = [keep(texture(n, 40, 40), tmp_path / f"{n}.png") for n in range(400)]
    facts = scan(paths, cache=cache)
    code = (
        "import sys; from pathlib import Path\n"
        "from handlens.data.scan import scan\n"
        "from handlens.data.fingerprints import thumbnails\n"
        "paths = sorted(Path(sys.argv[1]).glob('*.png'))\n"
        "thumbnails(scan(paths, cache=Path(sys.argv[2])), cache=Path(sys.argv[2]))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(cache)]) for _ in range(2)]
    while not list(cache.glob("thumbnails*")):
        time.sleep(0.01)
    time.sleep(0.05)
    runs[0].send_signal(signal.SIGKILL)
    runs[0].wait()
    assert runs[1].wait() == 0
    (store,) = cache.glob("thumbnails*.sqlite3")
    connection = sqlite3.connect(store)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM thumbnails").fetchone() == (400,)
    assert thumbnails(facts, cache=cache).seen.all()


def test_a_damaged_memory_is_made_anew(tmp_path: Path, cache: Path) -> None:
    facts = scan([keep(texture(0), tmp_path / "a.png")], cache=cache)
    first = thumbnails(facts, cache=cache)
    (store,) = cache.glob("thumbnails*.sqlite3")
    store.write_bytes(b"this is no database, and longer than a header of one would be" * 9)
    for _ in range(2):
        np.testing.assert_array_equal(thumbnails(facts, cache=cache).levels, first.levels)
    assert store.read_bytes().startswith(b"SQLite")


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "kept"))
    thumbnails(scan([keep(texture(0), tmp_path / "a.png")]))
    assert len(list((tmp_path / "kept" / "fingerprints").iterdir())) == 1


# Waves and hashes


def levels_of(*pictures: Image.Image) -> np.ndarray:
    return np.stack(
        [np.asarray(each.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)) for each in pictures]
    )


def test_coefficients_are_those_of_scipy() -> None:
    levels = levels_of(*(texture(n) for n in range(4)))
    expected = dctn(levels.astype(float), axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES]
    expected[:, 0, 0] = 0
    expected /= np.linalg.norm(expected, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(coefficients(levels), expected, atol=1e-5)


def test_brightness_and_contrast_change_nothing() -> None:
    levels = levels_of(texture(0)) // 3
    np.testing.assert_allclose(coefficients(levels), coefficients(levels * 2 + 31), atol=1e-5)


def test_plain_pictures_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    plain = np.full((3, SIDE, SIDE), 128, np.uint8)
    plain[1] += rng.integers(0, 2, (SIDE, SIDE), dtype=np.uint8)
    plain[2, :16] = 133
    assert coefficients(plain).any((1, 2)).tolist() == [False, False, True]


def test_the_waves_are_those_that_imagehash_hashes() -> None:
    for seed in range(8):
        small = texture(seed).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        waves = coefficients(np.asarray(small)[None])[0, :8, :8].astype(float)
        # Theirs are not orthonormal, and the mean is one of them, the greatest.
        factor = np.where(np.arange(8), 1, np.sqrt(2))
        theirs = waves * factor[:, None] * factor
        theirs[0, 0] = np.inf
        np.testing.assert_array_equal(theirs > np.median(theirs), imagehash.phash(small).hash)


def test_hashes_of_copies_are_near_and_of_others_are_not() -> None:
    originals = [texture(seed) for seed in range(12)]
    copies = [each.resize((90, 60)).point(lambda level: min(level * 1.2 + 6, 255)) for each in originals]
    waves = coefficients(levels_of(*originals, *copies))
    codes = hashes(waves, waves.mean(0))
    assert codes.shape == (24, 32)
    bits = np.unpackbits(codes, axis=1)
    distance = (bits[:12, None] != bits[None, 12:]).sum(-1)
    theirs = [[imagehash.phash(one) - imagehash.phash(other) for other in copies] for one in originals]
    own = np.eye(12, dtype=bool)
    assert distance[own].max() < 25 < 70 < distance[~own].min()
    # imagehash tells the same pairs apart.
    assert np.array(theirs)[own].max() < np.array(theirs)[~own].min()


def test_pictures_of_one_scene_are_told_apart_by_what_they_do_not_share() -> None:
    scene = np.asarray(texture(0).convert("L").resize((SIDE, SIDE)), float)
    rng = np.random.default_rng(0)
    own = np.stack([gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 2) for _ in range(40)])
    waves = coefficients((scene + 12 * own / own.std()).clip(0, 255).astype(np.uint8))
    bits = np.unpackbits(hashes(waves, waves.mean(0)), axis=1)[:, : 2 * FREQUENCIES**2].reshape(40, -1, 2)
    differ = (bits[:20] != bits[20:]).mean((0, 1))
    assert differ[0] < 0.3 < 0.4 < differ[1]
