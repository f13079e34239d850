import io
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from saved import exif

from handlens.base.errors import HandlensError
from handlens.data.image import (
    NORMALISATIONS,
    JudgingView,
    UnreadablePicture,
    judge,
    normalise,
    open_picture,
    prepare,
    undecoded,
)

COLOURS = np.random.default_rng(7).integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]


def smooth(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    bands = [127 + 100 * np.sin(3 * x / width + band) * np.cos(2 * y / height - band) for band in range(3)]
    return np.stack(bands, axis=-1).round().astype(np.uint8)


def opened(path: Path, **how: int) -> np.ndarray:
    picture = open_picture(path, **how)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# Formats and modes


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_lossless_colours_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOURS).save(path)
    np.testing.assert_array_equal(opened(path), COLOURS)


def test_lossless_webp_with_and_without_alpha(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(opened(tmp_path / "a.webp"), COLOURS)
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:5] = 0
    rgba = np.dstack([COLOURS, alpha])
    Image.fromarray(rgba).save(tmp_path / "b.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(opened(tmp_path / "b.webp"), over_white(COLOURS, alpha))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "pgm"])
def test_grey_becomes_three_equal_bands(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(GREY).save(path)
    np.testing.assert_array_equal(opened(path), as_rgb(GREY))


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp"])
def test_one_bit_becomes_black_and_white(tmp_path: Path, suffix: str) -> None:
    bits = GREY > 127
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(bits).save(path)
    np.testing.assert_array_equal(opened(path), as_rgb(bits * np.uint8(255)))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "gif"])
def test_palette(tmp_path: Path, suffix: str) -> None:
    palette = COLOURS.reshape(-1, 3)[:16]
    indices = (GREY % 16).astype(np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    path = tmp_path / f"a.{suffix}"
    picture.save(path)
    np.testing.assert_array_equal(opened(path), palette[indices])


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_one_transparent_colour(tmp_path: Path, suffix: str) -> None:
    palette = COLOURS.reshape(-1, 3)[:16].copy()
    indices = (GREY % 16).astype(np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    path = tmp_path / f"a.{suffix}"
    picture.save(path, transparency=3)
    palette[3] = 255
    np.testing.assert_array_equal(opened(path), palette[indices])


def test_palette_with_an_alpha_for_each_colour(tmp_path: Path) -> None:
    palette = COLOURS.reshape(-1, 3)[:16]
    alphas = np.linspace(0, 255, 16).round().astype(np.uint8)
    indices = (GREY % 16).astype(np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(palette.tobytes())
    picture.save(tmp_path / "a.png", transparency=alphas.tobytes())
    expected = over_white(palette[indices], alphas[indices])
    np.testing.assert_allclose(opened(tmp_path / "a.png"), expected, atol=1)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_alpha_is_laid_over_white(tmp_path: Path, suffix: str) -> None:
    alpha = COLOURS[..., 1]
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / f"rgba.{suffix}")
    np.testing.assert_allclose(opened(tmp_path / f"rgba.{suffix}"), over_white(COLOURS, alpha), atol=1)
    Image.fromarray(np.dstack([GREY, alpha])).save(tmp_path / f"la.{suffix}")
    np.testing.assert_allclose(opened(tmp_path / f"la.{suffix}"), over_white(as_rgb(GREY), alpha), atol=1)


def test_one_transparent_colour_of_a_picture_without_alpha(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png", transparency=tuple(COLOURS[2, 3].tolist()))
    expected = COLOURS.copy()
    expected[2, 3] = 255
    np.testing.assert_array_equal(opened(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_near_what_was_saved(tmp_path: Path, progressive: bool) -> None:
    pixels = smooth(200, 150)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, progressive=progressive)
    np.testing.assert_allclose(opened(tmp_path / "a.jpg"), pixels, atol=6)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "g.jpg", quality=95, progressive=progressive)
    np.testing.assert_allclose(opened(tmp_path / "g.jpg"), as_rgb(pixels[..., 0]), atol=6)


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
@pytest.mark.parametrize(
    ("ink", "colour"),
    [((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 0), (255, 255, 255)), ((0, 255, 255, 0), (255, 0, 0))],
)
def test_cmyk_is_not_inverted(
    tmp_path: Path, suffix: str, ink: tuple[int, ...], colour: tuple[int, ...]
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("CMYK", (600, 500), ink).save(path)
    assert suffix != "jpg" or b"Adobe" in path.read_bytes()
    # Reduced decoding must not touch the mode either.
    for at_least in (None, 64):
        np.testing.assert_allclose(opened(path, at_least=at_least)[5, 5], colour, atol=2)


def test_only_the_first_frame_or_page_is_used(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    for suffix in ("gif", "tiff", "png", "webp"):
        path = tmp_path / f"a.{suffix}"
        how = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **how)
        np.testing.assert_array_equal(opened(path), np.asarray(frames[0]))


# More than 8 bits


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_is_scaled_by_its_real_range(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(1).integers(312, 4096, (30, 40)).astype(np.uint16)
    values[0, :2] = 312, 4095
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    expected = np.rint((values.astype(np.float64) - 312) / (4095 - 312) * 255)
    np.testing.assert_array_equal(opened(path), as_rgb(expected.astype(np.uint8)))


def test_big_endian_16_bit_tiff(tmp_path: Path) -> None:
    values = np.arange(300, dtype=np.uint16).reshape(15, 20) * 11
    tags = [(256, 20), (257, 15), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 15), (279, 600)]
    directory = struct.pack(">H", len(tags)) + b"".join(
        struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags
    )
    content = b"MM\0*" + struct.pack(">I", 608) + values.astype(">u2").tobytes() + directory + bytes(4)
    (tmp_path / "a.tif").write_bytes(content)
    expected = np.rint(values / values.max() * 255).astype(np.uint8)
    np.testing.assert_array_equal(opened(tmp_path / "a.tif"), as_rgb(expected))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bit_tiff_is_scaled_by_its_real_range(tmp_path: Path, kind: type) -> None:
    values = np.linspace(-70_000, 130_000, 600).reshape(20, 30).astype(kind)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    expected = np.rint((values.astype(np.float64) + 70_000) / 200_000 * 255)
    np.testing.assert_allclose(opened(tmp_path / "a.tiff"), as_rgb(expected), atol=1)


def test_values_that_are_no_numbers_do_not_spoil_the_others(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    values[3, 3:6] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = opened(tmp_path / "a.tiff")
    expected = np.arange(256).reshape(16, 16)
    expected[3, 3:6] = 0, 255, 0
    np.testing.assert_array_equal(got, as_rgb(expected))


@pytest.mark.parametrize("value", [0, 700, 65535])
def test_a_constant_16_bit_picture_is_mid_grey(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((8, 9), value, np.uint16)).save(tmp_path / "a.png")
    assert (opened(tmp_path / "a.png") == 128).all()


# Orientation

STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_orientation_is_undone_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.ascontiguousarray(STORED[orientation](COLOURS))
    path = tmp_path / f"a.{suffix}"
    how = {"lossless": True} if suffix == "webp" else {}
    if suffix == "tiff":
        how = {"tiffinfo": {274: orientation}}
    else:
        how["exif"] = exif(orientation)
    Image.fromarray(stored).save(path, **how)
    np.testing.assert_array_equal(opened(path), COLOURS)
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(open_picture(path))), COLOURS)


@pytest.mark.parametrize("orientation", STORED)
def test_orientation_of_reduced_jpeg(tmp_path: Path, orientation: int) -> None:
    upright = smooth(1600, 1200)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    Image.fromarray(stored).save(tmp_path / "a.jpg", quality=95, exif=exif(orientation))
    got = opened(tmp_path / "a.jpg", at_least=150)
    assert got.shape == (150, 200, 3)
    np.testing.assert_allclose(got, upright.reshape(150, 8, 200, 8, 3).mean((1, 3)), atol=4)


def test_damaged_exif_counts_as_absent(tmp_path: Path) -> None:
    Image.fromarray(smooth(40, 30)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    Image.fromarray(smooth(40, 30)).save(tmp_path / "b.jpg", exif=exif(99))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert open_picture(tmp_path / "a.jpg").size == (40, 30)
    assert open_picture(tmp_path / "b.jpg").size == (40, 30)


# Reduced decoding


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [
        ((2000, 1500), 224, (500, 375)),
        ((4000, 400), 224, (4000, 400)),  # reduced by the long side it would be 50 high
        ((400, 4000), 100, (100, 1000)),
        ((1000, 1000), 125, (125, 125)),
        ((1000, 1000), 126, (250, 250)),
        ((300, 200), 224, (300, 200)),
    ],
)
def test_both_sides_keep_what_is_needed(
    tmp_path: Path, size: tuple[int, int], at_least: int, expected: tuple[int, int]
) -> None:
    Image.fromarray(smooth(*size)).save(tmp_path / "a.jpg")
    assert open_picture(tmp_path / "a.jpg", at_least).size == expected


def test_reduced_decoding_judges_like_full_decoding(tmp_path: Path) -> None:
    # Sides that no scale divides, where the last column stands for a part of a pixel.
    pixels = smooth(2013, 1801).astype(np.float64) + np.random.default_rng(0).normal(0, 10, (1801, 2013, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=90)
    for fit in ("whole", "crop"):
        view = JudgingView(fit=fit)
        full = prepare(open_picture(tmp_path / "a.jpg"), view).astype(int)
        difference = np.abs(judge(tmp_path / "a.jpg", view) - full)
        assert difference.mean() < 0.7
        assert difference.max() <= 4


# Preparing


def test_whole_keeps_every_part(tmp_path: Path) -> None:
    pixels = smooth(640, 448)
    got = prepare(Image.fromarray(pixels), JudgingView(size=32))
    assert got.shape == (32, 32, 3)
    assert got.dtype == np.uint8
    assert got.flags.writeable
    np.testing.assert_allclose(got, pixels.reshape(32, 14, 32, 20, 3).mean((1, 3)), atol=2)


@pytest.mark.parametrize("size", [(256, 256), (512, 256), (256, 1024), (1024, 768)])
def test_crop_is_the_middle_of_the_resized_picture(size: tuple[int, int]) -> None:
    pixels = smooth(*size)
    short = min(size)
    resized = Image.fromarray(pixels).resize(
        (size[0] * 256 // short, size[1] * 256 // short), Image.Resampling.BICUBIC
    )
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    expected = np.asarray(resized)[top : top + 224, left : left + 224]
    got = prepare(Image.fromarray(pixels), JudgingView(fit="crop"))
    np.testing.assert_allclose(got, expected.astype(int), atol=1)


def test_crop_of_a_very_long_picture_stays_small() -> None:
    got = prepare(Image.new("RGB", (30_000, 8), "teal"), JudgingView(fit="crop"))
    np.testing.assert_array_equal(got, np.broadcast_to((0, 128, 128), (224, 224, 3)))


def test_a_single_pixel_fills_the_view() -> None:
    for fit in ("whole", "crop"):
        got = prepare(Image.new("RGB", (1, 1), (9, 8, 7)), JudgingView(size=32, fit=fit))
        np.testing.assert_array_equal(got, np.broadcast_to((9, 8, 7), (32, 32, 3)))


def test_view_refuses_a_tiny_size() -> None:
    with pytest.raises(HandlensError, match="size"):
        JudgingView.parse({"size": 31}, "view")


@pytest.mark.parametrize("name", NORMALISATIONS)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_normalise_is_the_formula(name: str, batch: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*batch, 5, 6, 3), dtype=np.uint8)
    mean, std = NORMALISATIONS[name]
    expected = np.moveaxis((pixels / 255.0 - np.array(mean)) / np.array(std), -1, -3)
    got = normalise(pixels, name)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_normalise_suggests_the_name() -> None:
    with pytest.raises(HandlensError, match="Did you mean 'imagenet'"):
        normalise(np.zeros((2, 2, 3), np.uint8), "imagnet")


# What cannot be read


def saved(picture_format: str, **how: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, picture_format, **how)
    return stream.getvalue()


BROKEN = {
    "empty": (b"", "the file is empty"),
    "text": (b"this was never a picture\n" * 40, "this is not a picture"),
    "one byte": (b"\xff", "this is not a picture"),
    "start of a PNG": (saved("PNG")[:20], "the file is truncated"),
    "start of a JPEG": (saved("JPEG")[:20], "the file is truncated"),
    "half a JPEG": (saved("JPEG")[:20_000], "the file is truncated"),
    "half a progressive JPEG": (saved("JPEG", progressive=True)[:20_000], "the file is truncated"),
    "half a PNG": (saved("PNG")[:50_000], "the file is truncated"),
    "half a BMP": (saved("BMP")[:50_000], "the file is truncated"),
    "half a GIF": (saved("GIF")[:20_000], "the file is truncated"),
    "half a WebP": (saved("WEBP")[:5_000], "the file is"),
    "half a TIFF": (saved("TIFF")[:50_000], "the file is"),
    "half a compressed TIFF": (saved("TIFF", compression="tiff_lzw")[:50_000], "the file is"),
    "a phone's HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400), "HEIC and AVIF pictures"),
    "too large": (png_header(20_000, 16_000), "320 megapixels are over the limit of 179"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("at_least", [None, 64])
def test_broken_files_say_why(tmp_path: Path, name: str, at_least: int | None) -> None:
    content, reason = BROKEN[name]
    path = tmp_path / "Größe 鉱石.jpg"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadablePicture) as from_path:
            open_picture(path, at_least)
        with pytest.raises(UnreadablePicture) as from_stream:
            open_picture(io.BytesIO(content), at_least)
    assert from_path.value.reason.startswith(reason)
    assert from_path.value.path == path
    assert str(path) in str(from_path.value)
    assert from_stream.value.reason == from_path.value.reason
    assert from_stream.value.path is None


def test_names_that_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in {
        "folder.jpg": "this is a folder, not a picture",
        "link.jpg": "this link leads to a file that is not there",
        "gone.jpg": "there is no such file",
        "pipe.jpg": "this is not an ordinary file",
    }.items():
        with pytest.raises(UnreadablePicture) as error:
            open_picture(tmp_path / name)
        assert error.value.reason == reason


def test_lab_says_how_to_mend_it(tmp_path: Path) -> None:
    Image.new("LAB", (9, 9)).save(tmp_path / "a.tiff")
    with pytest.raises(UnreadablePicture, match="save it as RGB") as error:
        open_picture(tmp_path / "a.tiff")
    assert error.value.path == tmp_path / "a.tiff"


def test_unreadable_picture_survives_a_loader_process() -> None:
    error = pickle.loads(pickle.dumps(UnreadablePicture("the file is empty", Path("a.png"))))
    assert (error.reason, error.path) == ("the file is empty", Path("a.png"))
    assert str(error) == "a.png cannot be read: the file is empty."


# Limits


def test_the_limit_can_be_lowered_and_raised(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    with pytest.raises(UnreadablePicture, match="over the limit"):
        open_picture(tmp_path / "a.png", pixel_limit=13 * 17 - 1)
    assert open_picture(tmp_path / "a.png", pixel_limit=13 * 17).size == (17, 13)
    (tmp_path / "b.png").write_bytes(png_header(20_000, 16_000))
    with undecoded(tmp_path / "b.png", pixel_limit=400_000_000) as picture:
        assert picture.size == (20_000, 16_000)


def test_pillow_neither_warns_nor_keeps_a_changed_limit(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(10_000, 10_000))
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with undecoded(tmp_path / "a.png") as picture:
            assert picture.size == (10_000, 10_000)
            # Another thread's Pillow may be between asking whether there is a limit and doubling it.
            assert Image.MAX_IMAGE_PIXELS is not None
            assert Image.MAX_IMAGE_PIXELS > 10_000 * 10_000
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadablePicture):
        open_picture(tmp_path / "a.png")
    assert limit == Image.MAX_IMAGE_PIXELS


# Handles, streams and threads


def test_no_handle_stays_open_and_streams_stay_the_callers(tmp_path: Path) -> None:
    files = {
        "a.jpg": saved("JPEG"),
        "b.tiff": saved("TIFF"),
        "c.png": BROKEN["half a PNG"][0],
        "d.gif": b"GIF8",
    }
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        stream = io.BytesIO(content)
        for source in (tmp_path / name, stream):
            try:
                open_picture(source)
            except UnreadablePicture as error:
                assert name in ("c.png", "d.gif"), error.reason
        assert not stream.closed
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_stream_is_read_from_its_start() -> None:
    stream = io.BytesIO(saved("PNG"))
    stream.seek(1000)
    assert open_picture(stream).size == (300, 200)


def test_threads_agree_bit_for_bit(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    paths = []
    for number, suffix in enumerate(["jpg", "png", "tiff", "webp", "gif", "bmp"] * 5):
        path = tmp_path / f"{number}.{suffix}"
        Image.fromarray(smooth(300 + number, 200)).save(path)
        paths.append(path)
    view = JudgingView(size=64)
    alone = [judge(path, view) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: judge(path, view), paths))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_torch_is_not_imported() -> None:
    script = "import sys, handlens.data.image, handlens.data.scan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
