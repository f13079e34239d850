"""Whether there is room to keep something: its size is told before it is written, and there is a limit."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from handlens.base.files import cache_folder
from handlens.base.progress import say
from handlens.training.store import Store

LEFT_FREE_BYTES = 2 * 2**30
"""What is left on the disk for everything else."""


@dataclass(frozen=True)
class Need:
    """How much room something takes."""

    total_bytes: int
    """In all, with what is kept already: the answer must not change when a run goes on after a stop."""
    missing_bytes: int
    """What is still to be written."""

    def __add__(self, other: "Need") -> "Need":
        return Need(self.total_bytes + other.total_bytes, self.missing_bytes + other.missing_bytes)


@dataclass(frozen=True)
class Room:
    """Whether something is kept, and the sentence that says so."""

    fits: bool
    sentence: str


def need_of(parts: Iterable[tuple[Store, Sequence[str], int]]) -> Need:
    """What stores with rows of a fixed size take: each with its pictures' digests and the bytes a row."""
    need = Need(0, 0)
    for store, digests, row_bytes in parts:
        need += Need(len(set(digests)) * row_bytes, len(store.missing(digests)) * row_bytes)
    return need


def room_for(what: str, need: Need, limit_bytes: int) -> Room:
    """Decide whether it is kept, and say how large it is."""
    folder = cache_folder()
    free = shutil.disk_usage(_there(folder)).free - LEFT_FREE_BYTES
    if need.total_bytes > limit_bytes:
        limit = f"the limit of {_mib(limit_bytes)} (train.keep_gib)"
        room = Room(False, f"{what} would take {_mib(need.total_bytes)}, over {limit}.")
    elif need.missing_bytes > free:
        room = Room(
            False,
            f"{what} would take {_mib(need.missing_bytes)} more, and the disk that holds {folder} "
            f"has {_mib(max(0, free))} to spare.",
        )
    else:
        return _told(Room(True, f"{what}: {_mib(need.total_bytes)}, kept in {folder}."))
    return _told(Room(False, f"{room.sentence} They are not kept."))


def _told(room: Room) -> Room:
    say(room.sentence)
    return room


def _there(folder: Path) -> Path:
    """The nearest folder above that exists."""
    return next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB" if size_bytes < 2**30 else f"{size_bytes / 2**30:,.1f} GiB"
