"""Zip and tar archives: what they hold is checked by name before anything of it is written."""

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from handlens.base.errors import HandlensError
from handlens.data.names import leads_out

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

PROTOCOLS = ("zip", "tar")
"""What an address inside an archive begins with: zip://folder::https://..."""

# The flag of a zip that says its names are UTF-8; without it the letters are those of the writer's system.
_UTF8_FLAG = 0x800

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@contextmanager
def opened(path: Path) -> Iterator[Sequence[Member]]:
    """The files of an archive, none of whose names leads out of it; no member may be a link."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _of_zip(archive, path)
        else:
            with tarfile.open(path, "r:*") as archive:
                yield _of_tar(archive, path)
    except RuntimeError as error:
        # What zipfile raises for a missing password.
        if "password" not in str(error):
            raise
        raise HandlensError(
            f"{path} is protected by a password. Unpack it, and give the folder instead."
        ) from None
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HandlensError(
            f"{path} is damaged or not whole ({reason}). Copy or download it again."
        ) from None


def is_archive(name: str) -> bool:
    """Whether a name ends like that of an archive that can be read."""
    return name.lower().endswith(SUFFIXES)


def stem(name: str) -> str:
    """A name without the ending of an archive."""
    ending = max((each for each in SUFFIXES if name.lower().endswith(each)), key=len, default="")
    return name[: len(name) - len(ending)]


def _of_zip(archive: zipfile.ZipFile, path: Path) -> list[Member]:
    members = []
    listed = archive.infolist()
    for each, written in zip(listed, _zip_names(listed), strict=True):
        name = written.replace("\\", "/")
        if stat.S_ISLNK(each.external_attr >> 16):
            raise _link(path, name)
        _refuse_leading_out(path, name)
        if not each.is_dir():
            members.append(Member(name, each.file_size, partial(archive.open, each)))
    return members


def _of_tar(archive: tarfile.TarFile, path: Path) -> list[Member]:
    members = []
    for each in archive.getmembers():
        if each.issym() or each.islnk():
            raise _link(path, each.name)
        _refuse_leading_out(path, each.name)
        if each.isdir():
            continue
        if not each.isreg():
            raise HandlensError(
                f"{path} holds {each.name!r}, which is a device or the like. Pack the pictures alone."
            )
        members.append(Member(each.name, each.size, partial(_extracted, archive, each)))
    return members


def _extracted(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None  # only directories and links have none
    return stream


def _refuse_leading_out(path: Path, name: str) -> None:
    if leads_out(name):
        raise HandlensError(
            f"{path} holds {name!r}, a name that leads out of the folder it is unpacked to. Nothing was "
            "unpacked; ask where the archive comes from."
        )


def _link(path: Path, name: str) -> HandlensError:
    return HandlensError(
        f"{path} holds the link {name!r}, and links are not followed out of an archive. Pack the pictures "
        "themselves."
    )


def _zip_names(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The members' names; Chinese and macOS systems write theirs without saying in which letters."""
    unsaid = [each.filename.encode("cp437") for each in members if not each.flag_bits & _UTF8_FLAG]
    # One archive was written by one system, and short names alone may be read either way.
    letters = next(each for each in ("ascii", "utf-8", "gb18030", "cp437") if _fits(unsaid, each))
    return [
        each.filename if each.flag_bits & _UTF8_FLAG else each.filename.encode("cp437").decode(letters)
        for each in members
    ]


def _fits(names: Sequence[bytes], letters: str) -> bool:
    """Whether all names can be read in these letters, and what is read as Chinese looks like it."""
    try:
        told = "".join(name.decode(letters) for name in names)
    except UnicodeDecodeError:
        return False
    return letters != "gb18030" or all(map(_is_chinese, told))


def _is_chinese(letter: str) -> bool:
    """Whether a letter is ASCII, Chinese, or punctuation that goes with it."""
    return letter.isascii() or "\u3000" <= letter <= "\u9fff" or "\uff00" <= letter <= "\uffef"
