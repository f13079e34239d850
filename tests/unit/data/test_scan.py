import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from saved import LONG_AGO, exif, keep

from handlens.data import scan as scan_module
from handlens.data.scan import FileFacts, same_pixels, scan

COLOURS = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def photograph(seed: int = 0, width: int = 640, height: int = 480) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    bands = [
        127 + 90 * np.sin(rng.uniform(1, 9) * x / width + rng.uniform(1, 9) * y / height) for _ in range(3)
    ]
    pixels = np.stack(bands, axis=-1) + rng.normal(0, 9, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def one(path: Path, cache: Path) -> FileFacts:
    (found,) = scan([path], cache=cache)
    # What is remembered must be what was found.
    assert scan([path], cache=cache) == [found]
    return found


def facts_of(sketches: np.ndarray, picture_format: str) -> list[FileFacts]:
    return [
        FileFacts(
            Path("x"), digest=f"{picture_format}{n}", format=picture_format, width=640, height=480, sketch=s
        )
        for n, s in enumerate(row.tobytes() for row in sketches.clip(0, 255).astype(np.uint8))
    ]


# Facts


def test_facts_of_an_ordinary_picture(tmp_path: Path, cache: Path) -> None:
    path = keep(Image.fromarray(COLOURS), tmp_path / "Größe 鉱石.png")
    found = one(path, cache)
    content = path.read_bytes()
    assert found == FileFacts(
        path=path,
        size_bytes=len(content),
        modified_ns=LONG_AGO * 10**9,
        digest=hashlib.blake2b(content, digest_size=16).hexdigest(),
        format="PNG",
        mode="RGB",
        width=80,
        height=60,
        frames=1,
        sketch=found.sketch,
    )
    means = COLOURS.reshape(4, 15, 4, 20, 3).mean((1, 3))
    np.testing.assert_allclose(np.frombuffer(found.sketch, np.uint8).reshape(4, 4, 3), means, atol=1)


def test_facts_keep_the_order_given(tmp_path: Path, cache: Path) -> None:
    paths = [keep(Image.new("RGB", (10 + n, 9)), tmp_path / f"{n}.png") for n in range(600)]
    known = scan(paths[100:200], cache=cache)
    found = scan(paths[::-1], cache=cache)
    assert [facts.width for facts in found] == [10 + n for n in range(600)][::-1]
    assert [facts.path for facts in found] == paths[::-1]
    assert found[400:500] == known[::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_sketch_are_upright(tmp_path: Path, cache: Path, orientation: int) -> None:
    stored = photograph(width=600, height=500)
    found = one(keep(stored, tmp_path / "a.jpg", quality=95, exif=exif(orientation)), cache)
    stored.getexif()[274] = orientation
    upright = np.asarray(ImageOps.exif_transpose(stored), dtype=float)
    assert (found.height, found.width) == upright.shape[:2]
    height, width = upright.shape[:2]
    means = upright.reshape(4, height // 4, 4, width // 4, 3).mean((1, 3))
    np.testing.assert_allclose(np.frombuffer(found.sketch, np.uint8).reshape(4, 4, 3), means, atol=3)


def test_notes(tmp_path: Path, cache: Path) -> None:
    pages = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    wide = np.full((9, 9), 312, np.uint16)
    wide[0, 0] = 4095
    expected = {
        keep(pages[0], tmp_path / "a.tif", save_all=True, append_images=pages[1:]): "first of 3 pages used",
        keep(
            pages[0], tmp_path / "b.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw"
        ): "first of 3 pages used",
        keep(pages[0], tmp_path / "c.gif", save_all=True, append_images=pages[1:]): "first of 3 frames used",
        keep(pages[0], tmp_path / "d.jpg", format="PNG"): "the suffix says JPEG, the content is PNG",
        keep(Image.fromarray(wide), tmp_path / "e.png"): "16-bit, scaled from 312..4095",
        keep(Image.fromarray(wide.astype(np.float32) / 8), tmp_path / "f.tif"): (
            "floating point, scaled from 39..511.875"
        ),
    }
    for path, note in expected.items():
        found = one(path, cache)
        assert found.problem is None
        assert found.notes == (note,)
    assert one(keep(pages[0], tmp_path / "g.JPEG"), cache).notes == ()
    # A phone's second picture is no page that anybody would miss.
    phone = one(
        keep(pages[0], tmp_path / "h.jpg", format="MPO", save_all=True, append_images=pages[1:]), cache
    )
    assert (phone.format, phone.frames, phone.notes) == ("MPO", 3, ())


def test_damage_behind_the_first_frame_is_no_problem(tmp_path: Path, cache: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (90, 90), dtype=np.uint8)) for _ in range(4)]
    path = keep(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert one(path, cache).problem is None


def test_what_cannot_be_used_says_why_and_stops_nothing(tmp_path: Path, cache: Path) -> None:
    good = keep(photograph(), tmp_path / "good.jpg", quality=90)
    png = keep(photograph(), tmp_path / "good.png")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (tmp_path / "cut.png").write_bytes(png.read_bytes()[: png.stat().st_size // 2])
    os.mkfifo(tmp_path / "pipe.jpg")
    expected = {
        "good.jpg": None,
        "folder.jpg": "this is a folder, not a picture",
        "link.jpg": "this link leads to a file that is not there",
        "absent.jpg": "there is no such file",
        "empty.jpg": "the file is empty",
        "text.jpg": "this is not a picture",
        "cut.jpg": "the file is truncated",
        "cut.png": "the file is truncated",
        "pipe.jpg": "this is not an ordinary file",
    }
    found = scan([tmp_path / name for name in expected], cache=cache)
    assert {facts.path.name: facts.problem for facts in found} == expected
    assert same_pixels(found, cache=cache) == []


def test_pixel_limit(tmp_path: Path, cache: Path) -> None:
    path = keep(Image.new("RGB", (2000, 1500)), tmp_path / "a.png")
    assert scan([path], cache=cache)[0].problem is None
    assert scan([path], 1_000_000, cache)[0].problem == "3 megapixels are over the limit of 1"
    assert scan([path], cache=cache)[0].problem is None


def test_names_that_are_not_text(tmp_path: Path, cache: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    assert one(keep(Image.new("RGB", (9, 9)), path), cache).problem is None


# Memory


def test_unchanged_files_are_not_read_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [keep(photograph(n, 64, 48), tmp_path / f"{n}.png") for n in range(20)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    os.utime(broken, (LONG_AGO, LONG_AGO))
    paths.append(broken)
    first = scan(paths, cache=cache)
    monkeypatch.setattr(scan_module, "open_file", None)
    assert scan(paths, cache=cache) == first
    # The key is the absolute path, the facts carry the path as given.
    monkeypatch.chdir(tmp_path)
    assert scan([Path("3.png")], cache=cache)[0].path == Path("3.png")


def test_changed_files_are_read_again(tmp_path: Path, cache: Path) -> None:
    path = keep(Image.new("RGB", (30, 20), "red"), tmp_path / "a.png")
    before = one(path, cache)
    keep(Image.new("RGB", (30, 20), "lime"), path)
    os.utime(path, (LONG_AGO, LONG_AGO + 1))
    after = one(path, cache)
    assert after.digest != before.digest
    assert after.sketch[:3] == bytes((0, 255, 0))


def test_a_file_rewritten_in_the_same_tick_gives_no_stale_facts(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.bmp"
    now_ns = time.time_ns()
    for colour in ("red", "lime"):
        Image.new("RGB", (30, 20), colour).save(path)
        os.utime(path, ns=(now_ns, now_ns))
        (found,) = scan([path], cache=cache)
        assert found.digest == hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def test_a_damaged_memory_is_made_anew(tmp_path: Path, cache: Path) -> None:
    path = keep(photograph(), tmp_path / "a.png")
    expected = scan([path], cache=cache)
    (store,) = cache.iterdir()
    for damage in (b"not a database at all, but some text" * 99, b"", store.read_bytes()[:5000]):
        store.write_bytes(damage)
        assert scan([path], cache=cache) == expected
        assert scan([path], cache=cache) == expected
        assert scan([path], cache=cache) == expected
        assert sqlite3.connect(store).execute("SELECT count(*) FROM facts").fetchone() == (1,)


def test_an_unwritable_cache_folder_stops_nothing(tmp_path: Path) -> None:
    path = keep(photograph(), tmp_path / "a.png")
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        found = scan([path, path], cache=cache)
        assert found[0].problem is None
        assert same_pixels(found, cache=cache) == [[0, 1]]


def test_a_locked_memory_stops_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.1))
    path = keep(photograph(), tmp_path / "a.png")
    expected = scan([path], cache=cache)
    (store,) = cache.iterdir()
    other = connect(store, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert scan([path], cache=cache) == expected
    other.close()


def test_concurrent_and_killed_runs_leave_it_whole(tmp_path: Path, cache: Path) -> None:
    paths = [keep(photograph(n, 200, 150), tmp_path / f"{n}.png") for n in range(300)]
    script = (
        "import sys; from pathlib import Path; from handlens.data.scan import scan\n"
        "found = scan(sorted(Path(sys.argv[1]).glob('*.png')), cache=Path(sys.argv[2]))\n"
        "assert len(found) == 300 and all(f.problem is None for f in found)"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(cache)]
    runs = [subprocess.Popen(command) for _ in range(4)]
    # Killed as soon as facts are being written, each at another moment of it.
    while not any(cache.iterdir()):
        time.sleep(0.01)
    for run in runs[:2]:
        time.sleep(0.1)
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert [run.wait() for run in runs[2:]] == [0, 0]
    (store,) = cache.glob("*.sqlite3")
    connection = sqlite3.connect(store)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM facts").fetchone() == (300,)
    assert all(found.problem is None for found in scan(paths, cache=cache))


def test_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "kept"))
    scan([keep(photograph(), tmp_path / "a.png")])
    assert len(list((tmp_path / "kept" / "scan").iterdir())) == 1


# The same pixels


def test_the_same_picture_in_other_files_is_found(tmp_path: Path, cache: Path) -> None:
    jpeg = keep(photograph(1), tmp_path / "a.jpg", quality=90)
    decoded = Image.open(jpeg).convert("RGB")
    turned = decoded.transpose(Image.Transpose.ROTATE_90)
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(jpeg.read_bytes())
    marked = tmp_path / "marked.jpg"
    # A comment behind the start marker: other bytes, the same pixels.
    marked.write_bytes(jpeg.read_bytes()[:2] + b"\xff\xfe\x00\x07hello" + jpeg.read_bytes()[2:])
    same = [
        jpeg,
        copy,
        marked,
        keep(decoded, tmp_path / "a.png"),
        keep(decoded, tmp_path / "a.bmp"),
        keep(decoded, tmp_path / "a.tiff", compression="tiff_lzw"),
        keep(decoded.convert("RGBA"), tmp_path / "alpha.png"),
        keep(turned, tmp_path / "turned.png", exif=exif(6)),
    ]
    almost = np.array(decoded)
    almost[100, 100, 0] ^= 1
    other = [
        keep(decoded, tmp_path / "again.jpg", quality=60),
        keep(Image.fromarray(almost), tmp_path / "almost.png"),
        keep(turned, tmp_path / "sideways.png"),
        keep(photograph(2), tmp_path / "other.jpg", quality=90),
        keep(decoded.resize((320, 240)), tmp_path / "half.png"),
    ]
    paths = [other[0], *same, *other[1:]]
    facts = scan(paths, cache=cache)
    assert all(found.problem is None for found in facts)
    expected = [list(range(1, 1 + len(same)))]
    assert same_pixels(facts, cache=cache) == expected
    assert same_pixels(facts, cache=cache) == expected


def test_several_sets_in_order(tmp_path: Path, cache: Path) -> None:
    names = ["0.png", "1.png", "2.png", "3.png", "2.bmp", "0.bmp"]
    paths = [keep(photograph(int(name[0]), 90, 70), tmp_path / name) for name in names]
    assert same_pixels(scan(paths, cache=cache), cache=cache) == [[0, 5], [2, 4]]
    assert same_pixels([], cache=cache) == []


def noise(kind: int) -> np.ndarray:
    rng = np.random.default_rng(kind)
    bits = rng.random((389, 517, 1)) < 0.5
    if kind == 0:
        return np.where(bits, 255, 0).repeat(3, axis=2)
    if kind == 1:
        return np.where(bits, (255, 0, 0), (0, 0, 255))
    if kind == 2:
        return np.where(rng.random((389, 517, 1)) < 0.1, 255, 0).repeat(3, axis=2)
    return np.asarray(photograph(kind, 517, 389))


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_reduced_sketches_stay_within_the_radius(
    tmp_path: Path, cache: Path, kind: int, quality: int
) -> None:
    # Clipping is where the mean of a reduced decoding and of the full one part; these clip the most.
    jpeg = keep(Image.fromarray(noise(kind).astype(np.uint8)), tmp_path / "a.jpg", quality=quality)
    png = keep(Image.open(jpeg).convert("RGB"), tmp_path / "a.png")
    facts = scan([jpeg, png], cache=cache)
    assert scan_module._is_reduced(facts[0])
    reduced, full = (np.frombuffer(found.sketch, np.uint8).astype(int) for found in facts)
    assert np.abs(reduced - full).max() <= scan_module._SKETCH_RADIUS
    assert same_pixels(facts, cache=cache) == [[0, 1]]


def test_candidates_agree_with_plain_arithmetic() -> None:
    rng = np.random.default_rng(0)
    reduced = rng.integers(100, 130, (80, 48))
    full = np.vstack([reduced[:20] + 20, reduced[20:40] - 21, rng.integers(100, 130, (40, 48))])
    distances = np.abs(reduced[:, None] - full[None]).max(axis=2)
    expected = {f"JPEG{n}" for n in np.flatnonzero((distances <= 20).any(axis=1))}
    expected |= {f"PNG{n}" for n in np.flatnonzero((distances <= 20).any(axis=0))}
    found = scan_module._candidates(facts_of(reduced, "JPEG") + facts_of(full, "PNG"))
    assert {facts.digest for facts in found} == expected


def test_thousands_of_black_frames_do_not_explode() -> None:
    black = np.zeros((20_000, 48))
    dark = np.random.default_rng(0).normal(10, 2, (4_000, 48))
    start = time.perf_counter()
    assert len(scan_module._candidates(facts_of(black, "JPEG") + facts_of(black, "PNG"))) == 40_000
    assert len(scan_module._candidates(facts_of(dark, "JPEG") + facts_of(dark, "PNG"))) == 8_000
    # Two seconds on an idle machine; every pair compared would take minutes and all its memory.
    assert time.perf_counter() - start < 30


def test_frames_of_one_format_that_only_look_alike_are_not_decoded() -> None:
    alike = np.random.default_rng(0).normal(100, 2, (5_000, 48))
    assert scan_module._candidates(facts_of(alike, "JPEG")) == []


def test_a_file_that_changed_since_is_not_compared(tmp_path: Path, cache: Path) -> None:
    paths = [keep(photograph(1, 90, 70), tmp_path / name) for name in ("a.png", "a.bmp")]
    facts = scan(paths, cache=cache)
    keep(photograph(2, 90, 70), paths[0])
    os.utime(paths[0], (LONG_AGO, LONG_AGO + 5))
    assert same_pixels(facts, cache=cache) == []
    paths[1].unlink()
    assert same_pixels(facts, cache=cache) == []


SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="the measuring data is not here")
@pytest.mark.parametrize(("name", "sets"), [("trashnet6", 3), ("minerals7", 1), ("neu6", 1), ("weld2", 8)])
def test_known_doubles_of_real_data(cache: Path, name: str, sets: int) -> None:
    facts = scan(sorted(path for path in (SHARED / name).glob("*/*") if path.is_file()), cache=cache)
    assert all(found.problem is None for found in facts)
    assert len(same_pixels(facts, cache=cache)) == sets
