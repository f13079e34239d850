"""PNG files, written by several threads at once.

Pillow compresses them while it holds Python's lock, so that a second core would have nothing to do. What it
takes to write one is little, and one filter for all rows is faster than a choice for each: over photographs
of minerals, steel and waste at the same level it took 0.6 to 0.7 of the time, and gave files of 0.9 to 1.01
of the size.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# Beyond, files get a tenth smaller at best, for three times the time.
LEVEL = 3

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {"L": 0, "RGB": 2}
WRITTEN_MODES = tuple(_COLOUR_TYPES)
# Each value as the difference from the one above it (PNG specification, 9.2, filter type 2).
_UP = 2


def write_png(picture: Image.Image, path: Path) -> None:
    """Write a grey or RGB picture; the same pixels give the same bytes."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    values = pixels.reshape(height, -1)
    rows = np.empty((height, 1 + values.shape[1]), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[picture.mode], 0, 0, 0)
    with path.open("wb") as file:
        file.write(_SIGNATURE)
        for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, LEVEL)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(content)))
            file.write(name)
            file.write(content)
            file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))
