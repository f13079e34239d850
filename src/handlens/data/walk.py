"""Finding the pictures below a folder, and telling what was left out on the way."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.data.samples import COLUMNS, Samples, identities, join_names

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")

# What operating systems leave in folders of pictures, besides names that begin with a dot.
CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")

Row = tuple[str, str, str | None]
"""A picture's path, its label, and its side if that is known."""


class Walk:
    """One reading of a folder of pictures: finds them, and remembers what it left out and why."""

    def __init__(self, root: Path) -> None:
        self.root = existing_folder(root)
        self.stray: list[str] = []
        self._left_out: defaultdict[str, list[str]] = defaultdict(list)

    def relative(self, path: str) -> str:
        """The path as people read it: below the root, with `/`."""
        return Path(path).relative_to(self.root).as_posix()

    def listed(self, folder: str) -> tuple[list[str], list[str]]:
        """The folders and the pictures that lie directly in a folder."""
        folders: list[str] = []
        links: list[str] = []
        pictures: list[str] = []
        for entry in _entries(folder):
            if entry.name.startswith(".") or entry.name.lower() in CLUTTER:
                continue
            if not _is_text(entry.name):
                self._left_out["bearing a name that is not valid UTF-8"].append(entry.path)
            elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                self._left_out["a link that leads nowhere"].append(entry.path)
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry.path)
            elif entry.name.lower().endswith(PICTURE_SUFFIXES):
                pictures.append(entry.path)
            else:
                self.stray.append(entry.path)
        # Real folders come first: a picture that is also reached by a link keeps its real name.
        return sorted(folders) + sorted(links), sorted(pictures)

    def pictures_below(self, folder: str) -> list[str]:
        """All pictures in a folder and the folders below it; a folder is entered once, links or not."""
        entered = {_identity(above) for above in _folders_above(folder, self.root)}
        waiting, pictures = [folder], []
        while waiting:
            current = waiting.pop()
            if _identity(current) in entered:
                self._left_out["a link back to a folder that was read already"].append(current)
                continue
            entered.add(_identity(current))
            folders, here = self.listed(current)
            pictures.extend(here)
            waiting.extend(reversed(folders))
        return pictures

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        told = [
            f"Left out as {reason}: {len(paths)} ({shown(paths, self)})."
            for reason, paths in self._left_out.items()
        ]
        if self.stray:
            told.append(f"Left out as not a picture: {len(self.stray)} ({shown(self.stray, self)}).")
        return tuple(told)

    def samples(self, rows: Iterable[Row], *notes: str) -> Samples:
        """The table of these pictures, sorted by id, each its own group."""
        paths, labels, sides = zip(*rows, strict=True)
        ids = identities(paths, self.root)
        columns = {
            "id": ids,
            "path": paths,
            "label": [unicodedata.normalize("NFC", label) for label in labels],
            "group": ids,
            "split": sides,
        }
        table = pl.DataFrame(columns, schema=dict.fromkeys(COLUMNS, pl.String)).sort("id")
        return Samples(table, self.root, (*notes, *self.notes()))


def existing_folder(path: Path) -> Path:
    """The absolute path of a folder, or a sentence about what is there instead."""
    path = absolute(path)
    if path.is_dir():
        return path
    if path.exists():
        raise HandlensError(
            f"{path} is a file, and a folder of pictures was meant. Give the folder that holds it."
        )
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    raise HandlensError(f"There is no folder {path}.{suggestion(path.name, beside)} Check the spelling.")


def absolute(path: Path) -> Path:
    """The path from the top of the disk, with the links in it left as they are."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 (resolve would follow the links)


def shown(paths: Iterable[str], walk: Walk) -> str:
    """A few paths by name, for a sentence; also those that are not valid text."""
    return join_names([walk.relative(path).encode("utf-8", "replace").decode() for path in sorted(paths)])


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError:
        raise HandlensError(
            f"The folder {folder} may not be read. Give yourself the right to read it."
        ) from None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(folder: str) -> tuple[int, int]:
    """What a folder is on the disk, by whatever name it was reached."""
    status = os.stat(folder)  # noqa: PTH116 (a Path a folder is slow)
    return status.st_dev, status.st_ino


def _folders_above(folder: str, root: Path) -> list[str]:
    """The folders between the root, which counts, and a folder, which does not."""
    between = Path(folder).relative_to(root).parents
    return [str(root / above) for above in between]
