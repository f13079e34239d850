"""Frozen means once: the features of a picture are computed one time and kept for every run.

A store holds one view through one backbone. `rows.f32` has a row of fixed width for each picture;
`index` opens with that width and lists the digests of the pictures in the order of the rows. A row
counts only once its digest is written, so a killed run leaves a store that the next run goes on with.
"""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from handlens.base.files import room_on_disk
from handlens.base.progress import say

MAGIC = b"handlens"
DIGEST_BYTES = 16
# Pages read through the memory map count as this process's memory until the kernel hears that they are
# no longer needed. For each row that is asked for, the kernel may bring in this much around it.
BROUGHT_IN_BYTES = 64 * 2**10
# Rare enough that the telling costs nothing, often enough that the memory stays flat.
FORGET_AFTER_BYTES = 64 * 2**20


class FeatureStore:
    """The kept features of one view through one backbone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows_path = folder / "rows.f32"
        self.index_path = folder / "index"
        self.width = 0
        self._positions: dict[bytes, int] = {}
        self._map: mmap.mmap | None = None
        self._rows: NDArray[np.float32] | None = None
        self._touched_bytes = 0
        self._read_index()

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def size_bytes(self) -> int:
        """Room on disk."""
        return len(self) * self.width * 4

    def missing(self, digests: Iterable[str]) -> list[int]:
        """The first place of each different picture that has no row yet."""
        seen = set(self._positions)
        places = []
        for place, name in enumerate(digests):
            key = bytes.fromhex(name)
            if key not in seen:
                seen.add(key)
                places.append(place)
        return places

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that adds rows; what another one added meanwhile is known afterwards."""
        with room_on_disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("Another run is computing the same features; waiting for it.")
            lock.acquire()
        try:
            self._read_index()
            yield
        finally:
            lock.release()

    def append(self, digests: Sequence[str], rows: NDArray[np.float32]) -> None:
        """Add one batch of rows, inside `writing`."""
        with room_on_disk(self.folder):
            if not self._positions:
                self.width = rows.shape[1]
                self.index_path.write_bytes(MAGIC + self.width.to_bytes(8, "little"))
            known = len(self)
            # What a killed run wrote beyond the last known row is cut off here.
            _write_at(
                self.rows_path, known * self.width * 4, np.ascontiguousarray(rows, np.float32).tobytes()
            )
            keys = [bytes.fromhex(name) for name in digests]
            _write_at(self.index_path, (1 + known) * DIGEST_BYTES, b"".join(keys))
        self._positions.update(zip(keys, range(known, known + len(keys)), strict=True))
        self._map = self._rows = None

    def positions(self, digests: Iterable[str]) -> NDArray[np.int64]:
        """Where the rows of these pictures stand."""
        return np.array([self._positions[bytes.fromhex(name)] for name in digests], dtype=np.int64)

    def gather(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of these rows."""
        if self._rows is None:
            with self.rows_path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), self.size_bytes, access=mmap.ACCESS_READ)
            self._rows = np.frombuffer(self._map, dtype=np.float32).reshape(len(self), self.width)
        rows = self._rows[positions]
        self._touched_bytes += len(positions) * max(BROUGHT_IN_BYTES, 4 * self.width)
        if self._touched_bytes > FORGET_AFTER_BYTES and self._map and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched_bytes = 0
        return rows

    def _read_index(self) -> None:
        raw = self.index_path.read_bytes() if self.index_path.is_file() else b""
        self._positions, self.width, self._map, self._rows = {}, 0, None, None
        if len(raw) < DIGEST_BYTES or not raw.startswith(MAGIC):
            return
        self.width = int.from_bytes(raw[len(MAGIC) : DIGEST_BYTES], "little")
        if not self.width:
            return
        written = self.rows_path.stat().st_size // (4 * self.width) if self.rows_path.is_file() else 0
        known = min(len(raw) // DIGEST_BYTES - 1, written)
        keys = (raw[(at + 1) * DIGEST_BYTES : (at + 2) * DIGEST_BYTES] for at in range(known))
        self._positions = {key: at for at, key in enumerate(keys)}


def _write_at(path: Path, offset: int, content: bytes) -> None:
    """Write at a place and let the file end there."""
    with path.open("r+b" if path.is_file() else "w+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)
