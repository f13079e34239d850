"""Decoded pictures on disk: RGB, each of its own height and width, found again by content."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlens.base.files import room_on_disk
from handlens.training.store import Store, write_at

Pixels = NDArray[np.uint8]

MAGIC = b"handlens pictures".ljust(32, b"\0")
ENTRY = struct.Struct("<16sQII")
"""Digest, offset in the data file, height, width."""


class PictureStore(Store):
    """Decoded pictures of any height and width."""

    def __init__(self, folder: Path) -> None:
        self._entries: list[tuple[int, int, int]] = []
        super().__init__(folder, "pictures.rgb")

    @property
    def size_bytes(self) -> int:
        """Room on disk."""
        if not self._entries:
            return 0
        offset, height, width = self._entries[-1]
        return offset + height * width * 3

    def num_bytes(self, name: str) -> int:
        """Room on disk of the picture with this digest."""
        _, height, width = self._entries[self._positions[bytes.fromhex(name)]]
        return height * width * 3

    def append(self, digests: Sequence[str], rows: Sequence[Pixels]) -> None:
        """Add some pictures, each (height, width, 3), inside `writing`."""
        entries, keys, offset = [], [], self.size_bytes
        for name, pixels in zip(digests, rows, strict=True):
            entries.append((offset, *pixels.shape[:2]))
            keys.append(bytes.fromhex(name))
            offset += pixels.size
        with room_on_disk(self.folder):
            if not self._entries:
                self.index_path.write_bytes(MAGIC)
            # What a killed run wrote beyond the last known picture is cut off here.
            write_at(self.data_path, self.size_bytes, b"".join(pixels.tobytes() for pixels in rows))
            raw = b"".join(ENTRY.pack(key, *entry) for key, entry in zip(keys, entries, strict=True))
            write_at(self.index_path, len(MAGIC) + len(self) * ENTRY.size, raw)
        self._positions.update(zip(keys, range(len(self), len(self) + len(keys)), strict=True))
        self._entries += entries

    def row(self, name: str) -> Pixels:
        """A copy of the picture with this digest; many threads may ask at once."""
        offset, height, width = self._entries[self._positions[bytes.fromhex(name)]]
        pixels = np.fromfile(self.data_path, np.uint8, height * width * 3, offset=offset)
        return pixels.reshape(height, width, 3)

    def _read_index(self) -> None:
        raw = self.index_path.read_bytes() if self.index_path.is_file() else b""
        self._positions, self._entries = {}, []
        if not raw.startswith(MAGIC):
            return
        written = self.data_path.stat().st_size if self.data_path.is_file() else 0
        whole = (len(raw) - len(MAGIC)) // ENTRY.size * ENTRY.size
        for key, offset, height, width in ENTRY.iter_unpack(raw[len(MAGIC) : len(MAGIC) + whole]):
            if offset != self.size_bytes or offset + height * width * 3 > written:
                return
            self._positions[key] = len(self._entries)
            self._entries.append((offset, height, width))
