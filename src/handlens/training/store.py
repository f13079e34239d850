"""Once means once: what is computed from a picture is kept on disk and found again by its content.

A store holds one thing of every picture: the features of one view through one backbone, or the pixels
of one view. Its data file has them one behind the other, and its index lists the digests of the pictures
in the same order. What is kept counts only once its digest is written, so that a killed run leaves a
store that the next run goes on with.
"""

import math
import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from handlens.base.files import in_turn, room_on_disk
from handlens.base.progress import progress
from handlens.data.sides import Shot

MAGIC = b"handlens"
# Rows of more than one dimension open their index with this, and tell their shape behind their width.
MAGIC_OF_SHAPED = b"handrows"
DIGEST_BYTES = 16
MOST_DIMENSIONS = 4
# Pages read through the memory map count as this process's memory until the kernel hears that they are
# no longer needed. For each row that is asked for, the kernel may bring in this much around it.
BROUGHT_IN_BYTES = 64 * 2**10
# Rare enough that the telling costs nothing, often enough that the memory stays flat.
FORGET_AFTER_BYTES = 64 * 2**20

RowKind = Literal["float32", "uint8", "bfloat16"]

ROW_KINDS: dict[RowKind, tuple[Any, str]] = {
    "float32": (np.float32, "rows.f32"),
    "uint8": (np.uint8, "rows.u8"),
    # NumPy has no such numbers: they are kept as the 16-bit words that they are.
    "bfloat16": (np.int16, "rows.bf16"),
}


class Store(ABC):
    """What every store has: an index by content, and one writer at a time."""

    def __init__(self, folder: Path, data_name: str) -> None:
        self.folder = folder
        self.data_path = folder / data_name
        self.index_path = folder / "index"
        self._positions: dict[bytes, int] = {}
        self._read_index()

    def __len__(self) -> int:
        return len(self._positions)

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """Room on disk."""

    @abstractmethod
    def append(self, digests: Sequence[str], rows: Any) -> None:
        """Add what belongs to some pictures, inside `writing`."""

    @abstractmethod
    def row(self, name: str) -> NDArray[Any]:
        """A copy of what is kept of the picture with this digest; many threads may ask at once."""

    @abstractmethod
    def _read_index(self) -> None:
        """Learn what is kept."""

    def missing(self, digests: Iterable[str]) -> list[int]:
        """The first place of each different picture of which nothing is kept yet."""
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
        with in_turn(self.folder, "Another run is computing the same; waiting for it."):
            self._read_index()
            yield

    def positions(self, digests: Iterable[str]) -> NDArray[np.int64]:
        """Where the rows of these pictures stand."""
        return np.array([self._positions[bytes.fromhex(name)] for name in digests], dtype=np.int64)


class RowStore(Store):
    """Rows of one shape, a row a picture."""

    def __init__(self, folder: Path, kind: RowKind = "float32") -> None:
        self.dtype, data_name = ROW_KINDS[kind]
        self.shape: tuple[int, ...] = ()
        self.width = 0
        """Numbers a row."""
        self._map: mmap.mmap | None = None
        self._touched_bytes = 0
        super().__init__(folder, data_name)

    @property
    def size_bytes(self) -> int:
        """Room on disk."""
        return len(self) * self.row_bytes

    @property
    def row_bytes(self) -> int:
        """Room on disk of one row."""
        return self.width * int(np.dtype(self.dtype).itemsize)

    def append(self, digests: Sequence[str], rows: NDArray[Any]) -> None:
        """Add one batch of rows, inside `writing`."""
        if self.dtype is not np.float32 and rows.dtype != self.dtype:
            raise TypeError(f"rows of {rows.dtype} are not what this store keeps")
        with room_on_disk(self.folder):
            if not self._positions:
                self.shape, self.width = rows.shape[1:], math.prod(rows.shape[1:])
                self.index_path.write_bytes(_header(self.shape))
            known = len(self)
            # What a killed run wrote beyond the last known row is cut off here.
            write_at(self.data_path, known * self.row_bytes, np.ascontiguousarray(rows, self.dtype).tobytes())
            keys = [bytes.fromhex(name) for name in digests]
            write_at(self.index_path, len(_header(self.shape)) + known * DIGEST_BYTES, b"".join(keys))
        self._positions.update(zip(keys, range(known, known + len(keys)), strict=True))
        self._map = None

    def gather(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of these rows."""
        if self._map is None:
            with self.data_path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), self.size_bytes, access=mmap.ACCESS_READ)
        rows: NDArray[Any] = np.frombuffer(self._map, self.dtype).reshape(-1, *self.shape)[positions]
        self._touched_bytes += len(positions) * max(BROUGHT_IN_BYTES, self.row_bytes)
        if self._touched_bytes > FORGET_AFTER_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched_bytes = 0
        return rows

    def row(self, name: str) -> NDArray[Any]:
        """A copy of the row of the picture with this digest; many threads may ask at once."""
        offset = self._positions[bytes.fromhex(name)] * self.row_bytes
        return np.fromfile(self.data_path, self.dtype, self.width, offset=offset).reshape(self.shape)

    def _read_index(self) -> None:
        raw = self.index_path.read_bytes() if self.index_path.is_file() else b""
        self._positions, self.shape, self.width, self._map = {}, (), 0, None
        shape = _shape_in(raw)
        if shape is None:
            return
        self.shape, self.width = shape, math.prod(shape)
        written = self.data_path.stat().st_size // self.row_bytes if self.data_path.is_file() else 0
        start = len(_header(shape))
        known = min((len(raw) - start) // DIGEST_BYTES, written)
        keys = (raw[start + at * DIGEST_BYTES : start + (at + 1) * DIGEST_BYTES] for at in range(known))
        self._positions = {key: at for at, key in enumerate(keys)}


Computed = Callable[[Sequence[Shot]], Iterable[tuple[Sequence[Shot], Any]]]
"""What is to be kept of pictures, a few of them at a time."""


def fill(store: Store, shots: Sequence[Shot], computed: Computed, what: str) -> None:
    """Compute and keep what is missing; `what` it is shows beside the progress bar."""
    if not store.missing(shot.digest for shot in shots):
        return
    with store.writing():
        todo = [shots[place] for place in store.missing(shot.digest for shot in shots)]
        with progress(what, len(todo)) as advance:
            for batch, rows in computed(todo):
                store.append([shot.digest for shot in batch], rows)
                advance(len(batch))


def _header(shape: tuple[int, ...]) -> bytes:
    """How the index opens; in rows of one dimension as it always did."""
    width = math.prod(shape).to_bytes(8, "little")
    if len(shape) == 1:
        return MAGIC + width
    sides = [*shape, *[0] * (MOST_DIMENSIONS - len(shape))]
    return MAGIC_OF_SHAPED + width + b"".join(side.to_bytes(4, "little") for side in sides)


def _shape_in(raw: bytes) -> tuple[int, ...] | None:
    """The shape of the rows that an index tells of; none where it is not an index or not whole."""
    width = int.from_bytes(raw[len(MAGIC) : DIGEST_BYTES], "little")
    if len(raw) < DIGEST_BYTES or not width:
        return None
    if raw.startswith(MAGIC):
        return (width,)
    sides = [int.from_bytes(raw[at : at + 4], "little") for at in range(DIGEST_BYTES, 2 * DIGEST_BYTES, 4)]
    shape = tuple(side for side in sides if side)
    return shape if raw.startswith(MAGIC_OF_SHAPED) and raw.startswith(_header(shape)) else None


def write_at(path: Path, offset: int, content: bytes) -> None:
    """Write at a place and let the file end there."""
    with path.open("r+b" if path.is_file() else "w+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)
