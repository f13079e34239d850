"""Small videos for tests, whose frames bear their number as a pattern that no coding destroys."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'handlens[video]'")

BITS = 8
BLOCK = 16
WIDTH, HEIGHT = 2 * BITS * BLOCK // 2, 3 * BLOCK
RATE = 25

UPRIGHT = (1, 0, 0, 1)
CLOCKWISE = (0, 1, -1, 0)
UPSIDE_DOWN = (-1, 0, 0, -1)
ANTICLOCKWISE = (0, -1, 1, 0)
MIRRORED = (-1, 0, 0, 1)


def numbered(number: int) -> Image.Image:
    """A picture that says its number in white and black blocks below a red and a blue corner."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pixels[:BLOCK, : 2 * BLOCK] = (220, 30, 30)
    pixels[:BLOCK, -2 * BLOCK :] = (30, 30, 220)
    for bit in range(BITS):
        pixels[BLOCK : 2 * BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 20
    return Image.fromarray(pixels)


def number_on(picture: Image.Image) -> int:
    """The number that a picture says."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    middles = grey[BLOCK + BLOCK // 2, BLOCK // 2 :: BLOCK]
    return sum(int(value > 128) << bit for bit, value in enumerate(middles))


def film(
    path: Path,
    pictures: Sequence[Image.Image],
    codec: str = "mpeg4",
    *,
    times_ms: Sequence[int] | None = None,
    rate: int = RATE,
    gop: int = 10,
    between: int = 0,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    pixel_shape: Fraction | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a video; `between` frames in a row rest on later ones, `gop` is the step of key frames."""
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = pixels
        stream.codec_context.gop_size = gop
        stream.codec_context.bit_rate = 2_000_000
        if between:
            stream.codec_context.max_b_frames = between
        if pixel_shape is not None:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        stream.metadata.update(metadata or {})
        unit = Fraction(1, 1000) if times_ms is not None else Fraction(1, rate)
        stream.codec_context.time_base = unit
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture)
            frame.pts = times_ms[number] if times_ms is not None else number
            frame.time_base = unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbered_film(path: Path, count: int, codec: str = "mpeg4", **how: Any) -> Path:
    """A video of `count` numbered frames."""
    return film(path, [numbered(number) for number in range(count)], codec, **how)


def held(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write into an MP4 file how the phone was held, without the help of any library.

    The box `tkhd` holds 40 bytes of other things (ISO 14496-12, 8.3.2), then the matrix a b u c d v x y w.
    """
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(content))
    return path
