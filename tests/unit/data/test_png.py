"""PNG files of our own: read by others as what they are."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from handlens.data.png import write_png


def some(mode, size):
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (301, 203)])
def test_pillow_reads_the_very_pixels(tmp_path, mode, size):
    picture = some(mode, size)
    write_png(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as checked:
        # It looks at the checksums.
        checked.verify()
    with Image.open(tmp_path / "a.png") as read:
        assert (read.format, read.mode, read.size) == ("PNG", mode, size)
        assert np.array_equal(np.asarray(read), np.asarray(picture))


def test_the_file_is_as_the_specification_says(tmp_path):
    picture = some("RGB", (5, 4))
    write_png(picture, tmp_path / "a.png")
    raw = (tmp_path / "a.png").read_bytes()
    assert raw[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
    place, chunks = 8, []
    while place < len(raw):
        length = struct.unpack(">I", raw[place : place + 4])[0]
        body = raw[place + 4 : place + 8 + length]
        assert struct.unpack(">I", raw[place + 8 + length : place + 12 + length])[0] == zlib.crc32(body)
        chunks.append((body[:4], body[4:]))
        place += 12 + length
    assert [name for name, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[0][1]) == (5, 4, 8, 2, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(4, 1 + 15)
    assert set(rows[:, 0]) == {2}
    assert np.array_equal(np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8), np.asarray(picture).reshape(4, 15))


def test_the_same_pixels_give_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        write_png(some("RGB", (60, 50)), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
