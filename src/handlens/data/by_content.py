"""What is found about files that were scanned, remembered by what they hold, whatever they are called."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import PIL
from PIL import ImageFile

from handlens.base.files import cache_folder
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.base.remembered import Remembered
from handlens.data.image import UnreadablePicture, open_file, undecoded
from handlens.data.scan import FileFacts

Found = TypeVar("Found")

_BATCH = 256
_ASKED_AT_ONCE = 500


@dataclass(frozen=True)
class Keeping(Generic[Found]):
    """Where a kind of finding is remembered, and as what."""

    folder: str
    """Its folder in the folder for caches."""
    table: str
    column: str
    version: int
    """Raised when findings come to mean something else: what older versions remembered is left alone."""
    write: Callable[[Found], str | bytes]
    read: Callable[[Any], Found]

    def memory(self, folder: Path | None) -> Remembered:
        """What earlier runs found; in another folder than the usual one if there is one."""
        folder = folder or cache_folder() / self.folder
        # Another Pillow may decode a file differently.
        path = folder / f"{self.table}-{self.version}-pillow-{PIL.__version__}.sqlite3"
        table = f"CREATE TABLE IF NOT EXISTS {self.table} (digest TEXT PRIMARY KEY, {self.column} BLOB)"
        return Remembered(path, table)

    def known(self, memory: Remembered, contents: Sequence[str]) -> Iterator[tuple[str, Found]]:
        """What is remembered of these contents."""
        for first in range(0, len(contents), _ASKED_AT_ONCE):
            asked = contents[first : first + _ASKED_AT_ONCE]
            marks = ", ".join("?" * len(asked))
            # The names stand in this project's code, and the marks are question marks alone.
            query = f"SELECT digest, {self.column} FROM {self.table} WHERE digest IN ({marks})"  # noqa: S608
            for content, kept in memory.rows(query, asked):
                yield str(content), self.read(kept)

    def remember(self, memory: Remembered, found: Mapping[str, Found]) -> None:
        """Have the next run know what was found."""
        rows = [(content, self.write(each)) for content, each in found.items()]
        memory.write(f"INSERT OR REPLACE INTO {self.table} VALUES (?, ?)", rows)  # noqa: S608


def find_by_content(
    find: Callable[[FileFacts], Found | None],
    files: Mapping[str, FileFacts],
    keeping: Keeping[Found],
    what: str,
    put: Callable[[str, Found], None],
    cache: Path | None = None,
) -> None:
    """Put what `find` makes of each content: known ones are not asked for, and nothing is put for none.

    `files` has a file with each content, by the digest of it; `what` is said of the work while it lasts.
    """
    with keeping.memory(cache) as memory, progress(what, len(files)) as advance:
        unknown = dict(files)
        for content, found in keeping.known(memory, tuple(files)):
            put(content, found)
            del unknown[content]
        advance(len(files) - len(unknown))
        new: dict[str, Found] = {}
        for content, found_now in zip(unknown, in_order(find, unknown.values()), strict=True):
            advance(1)
            if found_now is not None:
                put(content, found_now)
                new[content] = found_now
            if len(new) == _BATCH:
                keeping.remember(memory, new)
                new = {}
        keeping.remember(memory, new)


@contextmanager
def as_scanned(fact: FileFacts, pixel_limit: int) -> Iterator[ImageFile.ImageFile]:
    """Give a file undecoded; `UnreadablePicture` where it is no longer what was scanned."""
    with open_file(fact.path) as stream:
        status = os.fstat(stream.fileno())
        if (status.st_size, status.st_mtime_ns) != (fact.size_bytes, fact.modified_ns):
            raise UnreadablePicture("it has changed since it was scanned", fact.path)
        with undecoded(stream, pixel_limit) as picture:
            yield picture
