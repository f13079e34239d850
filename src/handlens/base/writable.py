"""Whether what is made can be written where it is asked for: told before any work is done for it."""

import os
import tempfile
from pathlib import Path

from handlens.base.errors import HandlensError


def require_folder(out: Path | None) -> None:
    """Refuse an --out in which no folder can be made or written; it need not be there yet."""
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise HandlensError(f"{out} is a file. Choose a folder with --out.")
    _require_writable(out, out)


def require_file(out: Path | None) -> None:
    """Refuse an --out at which no file can be written; the folders above it need not be there yet."""
    if out is None:
        return
    if out.is_dir():
        raise HandlensError(
            f"{out} is a folder, and a file is to be written. Choose a name in it with --out."
        )
    _require_writable(out.parent, out)


def _require_writable(folder: Path, out: Path) -> None:
    """Try it in the nearest folder that is there, and leave nothing.

    Rights alone do not tell: those of an administrator allow what /proc and a disk to read from refuse.
    """
    # Not Path.exists, which fails below a folder that may not be looked into.
    nearest = next(each for each in (folder, *folder.absolute().parents) if os.path.exists(each))  # noqa: PTH110
    if not nearest.is_dir():
        raise HandlensError(
            f"{nearest} is a file, so {out} cannot be written below it. Choose another place with --out."
        )
    try:
        with tempfile.TemporaryFile(dir=nearest, prefix="."):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise HandlensError(
            f"{out} cannot be written: in {nearest} nothing can be made (the system says: {reason}). "
            "Choose another place with --out."
        ) from None
