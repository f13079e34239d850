"""The copy in the cache folder of what lies at one address, and bringing it up to date.

Each file is known by its size and what the protocol tells of its content (a tag, a hash, a date): only what
has changed is brought again. A file gets its name when it is whole, and its stamp after that.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

from handlens.base.errors import HandlensError
from handlens.base.files import PARTIAL, cache_folder, digest, in_turn, room_on_disk, whole_file
from handlens.base.progress import Advance, progress, say
from handlens.data.names import safe_part

CONNECTIONS = 16
"""Files on their way at the same time: they wait for the network, not for a core."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFile:
    """One file to be brought."""

    name: str
    """Where it goes below the copy's folder."""
    source: str
    """What it is called where it lies."""
    size: int | None
    stamp: str | None
    """What tells that it has not changed; none where nothing does."""


@dataclass(frozen=True)
class Fetched:
    """A copy on this machine of what lies at an address."""

    path: Path
    """The folder or the table."""
    note: str
    """Where it comes from, in a sentence."""
    base: str | None = None
    """The address that paths in a table are told from."""


GetFile = Callable[[RemoteFile, Path, Advance], None]
"""Brings one file to a path, and calls with the MiB that have just come."""


class RemoteCopy:
    """The copy of one address: its files below `root`, and the stamp of each in a file beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root.parent
        self._record = self.folder / "fetched.jsonl"

    @classmethod
    def of(cls, place: str, name: str) -> "RemoteCopy":
        """The copy of a place; its folder bears a name that says to people what it is."""
        return cls(copies_folder() / digest(place) / (safe_part(name) if name else "pictures"))

    def bring(
        self,
        files: Sequence[RemoteFile],
        get: GetFile,
        told: str,
        *,
        connections: int | None = None,
        nothing_else: bool = False,
    ) -> None:
        """Bring what is missing or has changed; `nothing_else` removes what is no longer there."""
        with room_on_disk(self.folder):
            self.root.mkdir(parents=True, exist_ok=True)
        with in_turn(self.folder, "Another process is fetching the same; waiting for it."):
            stamps = self._stamps()
            if nothing_else:
                for name in stamps.keys() - {file.name for file in files}:
                    self._remove(self.root / name)
            wanted = [file for file in files if not self._is_here(file, stamps)]
            if wanted:
                # What a killed process was bringing when it was killed.
                for partial in self.root.rglob(f".*{PARTIAL}"):
                    partial.unlink()
                self._refuse_full_disk(wanted, told)
                say(
                    f"Fetching {len(wanted):,} files{size_told(wanted, ' of ')} from {told}; they are kept "
                    f"in {self.folder}."
                )
                self._bring(wanted, get, told, connections)

    def _bring(self, wanted: Sequence[RemoteFile], get: GetFile, told: str, connections: int | None) -> None:
        writing = Lock()

        def one(file: RemoteFile, advance: Advance = lambda _: None) -> None:
            with whole_file(self.root / file.name) as partial:
                get(file, partial, advance)
                brought = partial.stat().st_size
                if file.size is not None and brought != file.size:
                    raise HandlensError(
                        f"{file.name} of {told} ended early: {brought:,} of {file.size:,} bytes came. Give "
                        "the same command again: it goes on where it stopped."
                    )
            # Only now: a stamp says that the file is whole.
            with writing:
                record.write(json.dumps([file.name, file.stamp], ensure_ascii=False) + "\n")
                record.flush()

        with room_on_disk(self.folder), self._record.open("a", encoding="utf-8") as record:
            # What a stop cut off must not spoil the next line.
            record.write("\n")
            if len(wanted) > 1:
                for _ in each(one, wanted, "Fetching", connections):
                    pass
            else:
                # A single one may be an archive of many GiB.
                with progress("Fetching", (wanted[0].size or 0) >> 20, "MiB") as advance:
                    one(wanted[0], advance)

    def _is_here(self, file: RemoteFile, stamps: dict[str, str | None]) -> bool:
        if file.stamp is None or stamps.get(file.name) != file.stamp:
            return False
        try:
            size = (self.root / file.name).stat().st_size
        except OSError:
            return False
        return file.size is None or size == file.size

    def _remove(self, path: Path) -> None:
        """Take a file away, with the folders that are empty then."""
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root or not folder.is_dir() or any(folder.iterdir()):
                return
            folder.rmdir()

    def _stamps(self) -> dict[str, str | None]:
        """What was brought before; a line that a stop cut off counts as nothing."""
        stamps: dict[str, str | None] = {}
        if self._record.is_file():
            for line in self._record.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    name, stamp = json.loads(line)
                except ValueError:
                    continue
                stamps[name] = stamp
        return stamps

    def _refuse_full_disk(self, wanted: Sequence[RemoteFile], told: str) -> None:
        needed = sum(file.size or 0 for file in wanted)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise HandlensError(
                f"{told} needs {mib(needed)}, and the disk that holds {self.folder} has {mib(free)} left. "
                "Make room, or set HANDLENS_CACHE to a folder on another disk."
            )


def copies_folder() -> Path:
    """Where all copies are."""
    return cache_folder().absolute() / "remote"


def each(
    function: Callable[[Item], Result], items: Sequence[Item], what: str, connections: int | None = None
) -> Iterator[Result]:
    """The results in order, several at a time: more than there are cores, because they wait for others."""
    with (
        progress(what, len(items), "files") as advance,
        ThreadPoolExecutor(connections or CONNECTIONS) as pool,
    ):
        try:
            for result in pool.map(function, items):
                advance(1)
                yield result
        finally:
            # An error or Ctrl-C must not wait for all the others.
            pool.shutdown(wait=False, cancel_futures=True)


def size_told(files: Sequence[RemoteFile], before: str) -> str:
    """How much files are, as far as it is known; nothing where nothing is."""
    known = [file.size for file in files if file.size is not None]
    at_least = "at least " if len(known) < len(files) else ""
    return f"{before}{at_least}{mib(sum(known))}" if known else ""


def mib(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"
