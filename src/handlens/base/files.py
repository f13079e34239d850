"""Files that are whole or not there, digests, and the folder for what can be computed again."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handlens.base.errors import HandlensError
from handlens.base.progress import say

PARTIAL = ".partial"
"""The ending of files that are being written."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; it becomes `path` only if the writing succeeds."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with room_on_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Tell a disk that is full, or not to be written, in a sentence instead of a traceback."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HandlensError(
                f"The disk that holds {folder} is full. Make room and give the same command again: "
                "it goes on where it stopped."
            ) from None
        if error.errno == errno.EROFS:
            raise HandlensError(
                f"{folder} cannot be written: {os.strerror(error.errno)}. Choose another one."
            ) from None
        raise


@contextmanager
def in_turn(folder: Path, waiting: str) -> Iterator[None]:
    """Be the one process that adds to a folder; `waiting` is said where another has to end first."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep a second process from writing the same folder; the lock goes when the process does."""
    from filelock import FileLock, Timeout

    # Outside the folder, whose content is fixed.
    path = folder.parent / f".{folder.name}.lock"
    with room_on_disk(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        with room_on_disk(folder.parent):
            lock.acquire(timeout=0)
    except Timeout:
        raise HandlensError(
            f"Another process is writing {folder} at this moment. Wait for it, or choose another --out."
        ) from None
    try:
        # What a killed process was writing when it was killed.
        for partial in folder.rglob(f".*{PARTIAL}"):
            partial.unlink()
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file, whole or not at all; words in any script stay readable."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def digest(*parts: bytes | str, length: int = 16) -> str:
    """A short, stable name (hexadecimal BLAKE2b) of some bytes or words."""
    hasher = hashlib.blake2b(digest_size=length)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        # The length in front keeps ("ab", "c") apart from ("a", "bc").
        hasher.update(len(raw).to_bytes(8, "little") + raw)
    return hasher.hexdigest()


def cache_folder() -> Path:
    """Where what can be computed again is kept: `HANDLENS_CACHE`, else the system's cache folder."""
    chosen = os.environ.get("HANDLENS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    system = os.environ.get("XDG_CACHE_HOME")
    return (Path(system) if system else Path.home() / ".cache") / "handlens"
