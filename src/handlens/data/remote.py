"""Pictures that lie elsewhere: anything fsspec opens, brought into the cache folder once and read from there.

Only pictures and what may hold their labels are brought.
"""

import posixpath
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.base.progress import Advance
from handlens.data import archive
from handlens.data.addresses import (
    LOCAL,
    WEB,
    is_address,
    place_of,
    protocol_of,
    refuse_offline,
    text_without_secrets,
    without_query,
    without_secrets,
)
from handlens.data.names import distinct, leads_out, safe_name
from handlens.data.remote_copy import Fetched, GetFile, RemoteCopy, RemoteFile, each, size_told
from handlens.data.tables import TABLE_SUFFIXES
from handlens.data.walk import CLUTTER, PICTURE_SUFFIXES

LABEL_SUFFIXES = (*TABLE_SUFFIXES, ".txt", ".json", ".yaml", ".yml")
"""Files that are brought besides pictures, because they may hold labels."""

# What the protocols tell of a file's content, in their own words, the surest first.
_MARKS = (
    *(
        "ETag",
        "etag",
        "md5Hash",
        "md5",
        "Content-MD5",
        "content_md5",
        "checksum",
        "sha256",
        "sha",
        "blob_id",
        "CRC",
    ),
    *("LastModified", "Last-Modified", "last_modified", "mtime", "updated", "modified", "modify", "created"),
    *("modificationTime", "last_write_time", "date_time"),
)


def fetch(address: str) -> Fetched | Path:
    """Bring the folder, the table or the archive at an address, as far as it is not here already.

    What lies on this machine is not copied; its path is given.
    """
    refuse_offline(address)
    told = without_secrets(address)
    first, _, container = address.partition("::")
    protocol, _, inside = first.partition("://")
    if protocol.lower() in archive.PROTOCOLS:
        if not container:
            raise HandlensError(
                f"{told} does not say in which archive. Write it like zip://folder::https://host/photos.zip."
            )
        return _from_archive(told, container, inside)
    if archive.is_archive(without_query(address)):
        return _from_archive(told, address, "")
    if protocol_of(address) in ("file", "local") and not container:
        return _on_this_machine(address)
    with _reaching(told):
        if without_query(address).lower().endswith(TABLE_SUFFIXES):
            return _table(address, told)
        return _folder(address, told)


def pictures_of_table(written: Sequence[str | None], table: Path, base: str | None) -> tuple[list[str], Path]:
    """Bring the pictures that a table names by addresses, or from where it lies itself; gives paths and root.

    What is not there has a path without a file.
    """
    told = without_secrets(base or str(table))
    addresses = [_absolute(text, base, table) if text else None for text in written]
    different = list(dict.fromkeys(address for address in addresses if address))
    for address in different:
        refuse_offline(address)
    copy = RemoteCopy(table.parent) if base else RemoteCopy.of(f"table {table}", table.parent.name)
    names = dict(zip(different, _names(different, base), strict=True))
    with _reaching(told):
        found = list(each(lambda address: _asked(address, names[address]), different, "Asking for pictures"))
        copy.bring([file for file in found if file is not None], _get, told)
    # What is no longer there must not be read from the copy.
    gone = {address for address, file in zip(different, found, strict=True) if file is None}
    for address in gone:
        (copy.root / names[address]).unlink(missing_ok=True)
    return [str(copy.root / names[address]) if address else "" for address in addresses], copy.root


def _folder(address: str, told: str) -> Fetched:
    """Bring all pictures and labels below an address."""
    fs, path = _opened(address)
    web = protocol_of(address) in WEB
    top = path.rstrip("/") + "/" if web else path.rstrip("/")
    if not fs.isdir(top):
        if fs.exists(path):
            raise HandlensError(
                f"{told} is a file that cannot be read. Give a folder, an archive "
                f"({', '.join(archive.SUFFIXES[:3])}) or a table ({', '.join(TABLE_SUFFIXES)})."
            )
        raise FileNotFoundError(told)
    listed: dict[str, dict[str, Any]] = fs.find(top, detail=True)
    wanted = []
    for source, info in sorted(listed.items()):
        name = source.removeprefix(top).lstrip("/")
        name = "/".join(map(unquote, name.split("/"))) if web else name
        if _is_wanted(name):
            if leads_out(name):
                raise HandlensError(
                    f"{told} holds {name!r}, a name that leads out of the folder. Rename it there, or give "
                    "the folders beside it."
                )
            wanted.append((name, source, info))
    if not any(name.lower().endswith(PICTURE_SUFFIXES) for name, _, _ in wanted):
        raise HandlensError(
            f"There is no picture in {told}. Give a folder with pictures, which end in "
            f"{', '.join(PICTURE_SUFFIXES)}; on the web it must be one that lists its files."
        )
    # Lists of the web tell names only: each of their files is asked about itself.
    silent = [source for _, source, info in wanted if info.get("size") is None]
    asked = dict(zip(silent, each(fs.info, silent, "Asking for files"), strict=True))
    files = [
        _remote_file(name, source, asked.get(source, info))
        for name, (_, source, info) in zip(
            distinct([safe_name(name) for name, _, _ in wanted]), wanted, strict=True
        )
    ]
    copy = RemoteCopy.of(place_of(address), unquote(posixpath.basename(path.rstrip("/"))))
    copy.bring(files, _get_from(fs), told, nothing_else=True)
    return Fetched(copy.root, _note(told, files))


def _table(address: str, told: str) -> Fetched:
    """Bring a table; its pictures are brought when it has been read."""
    base, _, name = without_query(address).rpartition("/")
    copy = RemoteCopy.of(place_of(address), unquote(posixpath.basename(base.partition("://")[2])))
    file = _asked(address, safe_name(unquote(name)))
    if file is None:
        raise FileNotFoundError(told)
    copy.bring([file], _get, told)
    note = f"Read from {told} through a copy in the cache folder."
    return Fetched(copy.root / file.name, note, base)


def _from_archive(told: str, container: str, inside: str) -> Fetched:
    """Bring an archive if it lies elsewhere, and unpack what of it is pictures and labels."""
    inside = inside.strip("/")
    if inside and leads_out(inside):
        raise HandlensError(f"{told} leads out of the archive. Name a folder or a table inside it.")
    local, place = _archive_here(container)
    status = local.stat()
    stamp = f"{status.st_size} {status.st_mtime_ns}"
    copy = RemoteCopy.of(f"unpacked {place}", archive.stem(local.name))
    with archive.opened(local) as members:
        wanted = [member for member in members if _is_wanted(member.name)]
        if not wanted:
            raise HandlensError(
                f"There is no picture in {told}. Give an archive with pictures, which end in "
                f"{', '.join(PICTURE_SUFFIXES)}."
            )
        files = [
            RemoteFile(name, str(number), member.size, f"{stamp} {member.name}")
            for number, (name, member) in enumerate(
                zip(distinct([safe_name(member.name) for member in wanted]), wanted, strict=True)
            )
        ]

        def unpack(file: RemoteFile, to: Path, _: Advance) -> None:
            with wanted[int(file.source)].open() as stream, to.open("wb") as target:
                shutil.copyfileobj(stream, target, 2**20)

        # One after the other, as they lie in the archive: going back in a compressed one starts it anew.
        copy.bring(files, unpack, told, connections=1, nothing_else=True)
    path = copy.root / safe_name(inside) if inside else _only_folder(copy.root)
    if not path.exists():
        raise HandlensError(
            f"There is no {inside!r} with pictures or labels in {without_secrets(container)}."
        )
    return Fetched(path, _note(told, files))


def _archive_here(container: str) -> tuple[Path, str]:
    """Where an archive lies on this machine, brought first if it lies elsewhere; and what it is known by."""
    if is_address(container) and protocol_of(container) not in ("file", "local"):
        told = without_secrets(container)
        with _reaching(told):
            name = unquote(posixpath.basename(without_query(container).partition("://")[2]))
            file = _asked(container, safe_name(name) or "archive")
            if file is None:
                raise FileNotFoundError(told)
            copy = RemoteCopy.of(place_of(container), "archive")
            copy.bring([file], _get, told)
        return copy.root / file.name, place_of(container)
    path = _on_this_machine(container) if is_address(container) else Path(container).expanduser()
    if not path.is_file():
        raise HandlensError(f"There is no file {path}. Check the spelling.")
    return path, str(path.absolute())


def _only_folder(root: Path) -> Path:
    """Archives often hold one folder with everything in it."""
    while True:
        inside = list(root.iterdir())
        if len(inside) != 1 or not inside[0].is_dir():
            return root
        root = inside[0]


def _asked(address: str, name: str) -> RemoteFile | None:
    """What is told of one file; none if it is not there."""
    fs, path = _opened(address)
    try:
        info = fs.info(path)
    except FileNotFoundError as error:
        if _hides(error):
            raise
        return None
    if info.get("type") == "directory":
        return None
    return replace(_remote_file(name, path, info), source=address)


def _get(file: RemoteFile, to: Path, advance: Advance) -> None:
    fs, path = _opened(file.source)
    _get_from(fs)(replace(file, source=path), to, advance)


def _get_from(fs: Any) -> GetFile:
    """How a file system of fsspec brings its files."""

    def get(file: RemoteFile, to: Path, advance: Advance) -> None:
        from fsspec.callbacks import Callback

        arrived = 0

        def hear(_size: int | None, value: int, **_more: Any) -> None:
            nonlocal arrived
            advance((value >> 20) - arrived)
            arrived = value >> 20

        fs.get_file(file.source, str(to), callback=Callback(hooks={"arrived": hear}))

    return get


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, with nothing of what it listed before, and the path in it."""
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(address)
    fs.invalidate_cache()
    return fs, str(path)


def _remote_file(name: str, source: str, info: dict[str, Any]) -> RemoteFile:
    mark = next((f"{key} {info[key]}" for key in _MARKS if info.get(key)), None)
    size = info.get("size")
    return RemoteFile(name, source, size, mark and f"{size} {mark}")


def _absolute(text: str, base: str | None, table: Path) -> str:
    """The address that a table means by a path; one that leads elsewhere on this machine is refused."""
    if base is None:
        if is_address(text):
            return text
        raise HandlensError(
            f"{table} names both addresses and paths on this machine ({text}). Make a table of each."
        )
    where = f"The table {without_secrets(base)}/{table.name} names {text!r}"
    slashed = text.replace("\\", "/")
    if is_address(text):
        if protocol_of(text) not in LOCAL or protocol_of(text) == protocol_of(base):
            return text
        slashed = "/"
    if slashed.startswith("/") or re.match("[A-Za-z]:", slashed):
        raise HandlensError(
            f"{where}, a place on this machine. Write paths from the table, or addresses of the pictures."
        )
    head, mark, rest = base.rpartition("://")
    joined = posixpath.normpath(posixpath.join(rest, slashed))
    host = rest.lstrip("/").partition("/")[0]
    if joined.startswith("..") or (host and joined.lstrip("/").partition("/")[0] != host):
        raise HandlensError(f"{where}, which leads out of {host or base}. Write the whole address.")
    return f"{head}{mark}{joined}"


def _names(addresses: Sequence[str], base: str | None) -> list[str]:
    """What pictures of a table are called: from the table's folder, others by their host and path.

    What stands behind a question mark counts only where nothing else tells two of them apart.
    """
    plain = []
    for address in addresses:
        bare = without_query(address)
        name = bare.removeprefix(f"{base}/") if base else bare
        if name == bare:
            name = without_secrets(bare).partition("://")[2]
        if protocol_of(address) in WEB:
            name = unquote(name)
        plain.append(safe_name("/".join(part for part in name.split("/") if part != "..")))
    times = Counter(name.casefold() for name in plain)
    return [
        name if times[name.casefold()] == 1 else _marked(name, digest(place_of(address), length=4))
        for name, address in zip(plain, addresses, strict=True)
    ]


def _marked(name: str, mark: str) -> str:
    stem, suffix = posixpath.splitext(name)
    return f"{stem}-{mark}{suffix}"


def _is_wanted(name: str) -> bool:
    """Whether a file is a picture or may hold labels, and neither hidden nor clutter."""
    parts = name.split("/")
    hidden = any(
        (part.startswith(".") and part not in (".", "..")) or part.lower() in CLUTTER for part in parts
    )
    return not hidden and name.lower().endswith((*PICTURE_SUFFIXES, *LABEL_SUFFIXES))


def _on_this_machine(address: str) -> Path:
    from fsspec.implementations.local import LocalFileSystem

    return Path(LocalFileSystem._strip_protocol(address))


@contextmanager
def _reaching(told: str) -> Iterator[None]:
    """Tell in a sentence why something elsewhere could not be read."""
    try:
        yield
    except (HandlensError, TypeError, AttributeError, AssertionError):
        # The last three are mistakes in the code, and are told as such.
        raise
    except ImportError as error:
        raise HandlensError(
            f"Reading {told} needs a package that is not installed: {error}. Install it with pip."
        ) from None
    except FileNotFoundError as error:
        if _hides(error):
            raise _unreadable(told, error.__cause__) from None
        raise HandlensError(
            f"There is nothing at {told}. Check the spelling, and whether you may read it."
        ) from None
    except PermissionError as error:
        raise HandlensError(
            f"You may not read {told} ({text_without_secrets(str(error))}). Log in the way its library asks "
            "for, or ask its owner."
        ) from None
    except Exception as error:
        # Each protocol's library raises errors of its own: of connections, of rights, of addresses.
        raise _unreadable(told, error) from None


def _hides(error: FileNotFoundError) -> bool:
    """Whether a file is called missing only because nobody answered, or refused to."""
    cause = error.__cause__
    return cause is not None and not isinstance(cause, FileNotFoundError) and _status(cause) not in (404, 410)


def _status(error: BaseException) -> int | None:
    return getattr(error, "status", None)


def _unreadable(told: str, error: BaseException | None) -> HandlensError:
    reason = f"{type(error).__name__}: {text_without_secrets(str(error))}".strip().rstrip(".:")
    return HandlensError(
        f"{told} could not be read ({reason}). Check the address, the network and your rights, and give the "
        "same command again: it goes on where it stopped."
    )


def _note(told: str, files: Sequence[RemoteFile]) -> str:
    return (
        f"Read from {told} through a copy in the cache folder ({len(files):,} files{size_told(files, ', ')})."
    )
