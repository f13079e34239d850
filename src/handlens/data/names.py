"""Names that stand in files, archives and addresses: may they be opened, and how may they be written?

And what data that lie somewhere are called.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from handlens.data.addresses import is_address, without_secrets
from handlens.data.tables import TABLE_SUFFIXES
from handlens.data.walk import CLUTTER, absolute

LONGEST_BYTES = 180
"""File systems hold 255; what is being written has a longer name for a while."""

_DRIVE = re.compile(r"[A-Za-z]:")
# What Windows refuses in a name, and what no terminal shows.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
# What Windows takes for a device, whatever the ending.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}


def name_of_data(data: str) -> str:
    """What folders made of the data are called: two tables in one folder are told apart."""
    path = Path(without_secrets(data)) if is_address(data) else absolute(Path(data))
    return (path.stem if path.suffix.lower() in TABLE_SUFFIXES else path.name) or "pictures"


def leads_out(name: str) -> bool:
    """Whether a name read from somewhere else may point outside the folder that it is meant for."""
    slashed = name.replace("\\", "/")
    return (
        not slashed.strip()
        or "\0" in slashed
        or slashed.startswith("/")
        or _DRIVE.match(slashed) is not None
        or ".." in slashed.split("/")
    )


def safe_name(name: str) -> str:
    """A name with `/` that every system can write and that reading a folder does not pass over."""
    return "/".join(safe_part(part) for part in name.split("/") if part not in ("", "."))


def safe_part(text: str) -> str:
    """One part of a path that every system can write: a folder's or a file's name."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = _FORBIDDEN.sub("_", text).strip().rstrip(". ")
    if text.startswith("."):
        # Names that begin with a dot are hidden.
        text = "_" + text[1:]
    if text.partition(".")[0].casefold() in _DEVICES or text.casefold() in CLUTTER:
        text = f"_{text}"
    return _cut(text) or "_"


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number in those that some system would take for an earlier one."""
    taken: set[str] = set()
    next_number: dict[str, int] = {}
    found = []
    for name in names:
        candidate = name
        while _folded(candidate) in taken:
            number = next_number.get(_folded(name), 2)
            next_number[_folded(name)] = number + 1
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 (a Path a picture is slow)
            candidate = f"{stem}-{number}{suffix}"
        taken.add(_folded(candidate))
        found.append(candidate)
    return found


def _folded(name: str) -> str:
    """What Windows and macOS compare names by."""
    return unicodedata.normalize("NFC", name).casefold()


def _cut(text: str) -> str:
    """A long name cut in the middle, so that its ending stays."""
    if len(text.encode()) <= LONGEST_BYTES:
        return text
    stem, suffix = os.path.splitext(text)  # noqa: PTH122
    if len(suffix.encode()) > 10:
        stem, suffix = text, ""
    room = LONGEST_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + suffix
