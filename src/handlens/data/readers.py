"""Recognising what kind of place a path is, and choosing what reads it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.data.addresses import is_address, refuse_mangled, without_secrets
from handlens.data.archive import is_archive
from handlens.data.class_folders import read_folder
from handlens.data.formats.pictures import MASK_COLUMN
from handlens.data.formats.recognise import FORMATS, read_format, recognised
from handlens.data.formats.yolo_cls import YAML_SUFFIXES
from handlens.data.label_files import has_label_files, read_label_files
from handlens.data.made import MADE, MANIFEST
from handlens.data.remote_copy import Fetched, copies_folder
from handlens.data.samples import Samples, join_names
from handlens.data.tables import (
    TABLE_SUFFIXES,
    existing_file,
    is_manifest,
    judged_by,
    read_manifest,
    read_table,
)
from handlens.data.walk import PICTURE_SUFFIXES, absolute, existing_folder


def read(
    path: Path | str,
    *,
    format: str | None = None,  # noqa: A002 (what it is called everywhere else)
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    class_names: Path | None = None,
    tasks: Sequence[str] = (),
) -> Samples:
    """Recognise what `path` is, unless `format` says so, and read it."""
    asked = _Asked(label, group, split, class_names, tasks)
    if format is not None:
        reader = look_up(READERS, format, "format")
        return anywhere(path, lambda local, fetched: reader(local, fetched, asked))
    return anywhere(path, lambda local, fetched: _recognised(local)(local, fetched, asked))


def anywhere(path: Path | str, reader: Callable[[Path, Fetched | None], Samples]) -> Samples:
    """Read what lies on this machine, or the copy of what lies at an address, of which the reader is told."""
    if isinstance(path, Path):
        refuse_mangled(path)
    if isinstance(path, Path) or not is_address(path):
        return reader(absolute(Path(path)), None)
    from handlens.data.remote import fetch

    fetched = fetch(path)
    if isinstance(fetched, Path):
        return reader(absolute(fetched), None)
    try:
        samples = reader(fetched.path, fetched)
        _require_copies(samples, absolute(fetched.path))
    except HandlensError as error:
        raise HandlensError(
            f"{error}\n({fetched.path} is the copy of {without_secrets(path)} in the cache folder.)"
        ) from None
    return replace(samples, notes=(*samples.notes, fetched.note))


def _require_copies(samples: Samples, fetched: Path) -> None:
    """What a table from elsewhere names must lie in its copy: it has no say over this machine."""
    copies = absolute(copies_folder())
    # A copy is a folder in a folder of its own.
    copy = os.path.join(copies, *fetched.relative_to(copies).parts[:2], "")  # noqa: PTH118 (it adds the separator)
    here = [path for path in samples.table["path"] if not path.startswith(copy)]
    if here:
        raise HandlensError(
            f"It names places on this machine ({join_names(here, 3)}). Write paths from the table, or "
            "addresses of the pictures."
        )
    masks = samples.table[MASK_COLUMN].to_list() if MASK_COLUMN in samples.table.columns else []
    outside = sorted(
        {
            str(mask)
            for mask in masks
            if mask and not os.path.normpath(samples.root / str(mask)).startswith(copy)
        }
    )
    if outside:
        raise HandlensError(
            f"Its column {MASK_COLUMN!r} leads out of what was fetched ({join_names(outside, 3)}). Name "
            "masks that came with it, or give the column another name."
        )


@dataclass(frozen=True)
class _Asked:
    """What was said about the columns and the names of what is read."""

    label: str | None
    group: str | None
    split: str | None
    class_names: Path | None
    tasks: Sequence[str]

    def only_names(self, path: Path) -> Path | None:
        """The class names; columns are refused, because what is read has none."""
        columns = [
            f"the {role} {name!r}"
            for role, name in (("label", self.label), ("group", self.group), ("split", self.split))
            if name
        ]
        if columns:
            raise HandlensError(
                f"A column of a table is named ({join_names(columns)}), but {path} is not a table. "
                "Give the table, or take the name away."
            )
        return self.class_names

    def refuse_names(self, what: str) -> None:
        """What has its class names in itself needs no others."""
        if self.class_names is not None:
            raise HandlensError(f"Class names go with a folder of label files, but {what}.")


def _recognised(path: Path) -> "Reader":
    """What reads a path, by what lies there."""
    if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES:
        existing_folder(path)
    if path.suffix.lower() == ".json" and path.is_file():
        return READERS["coco"]
    if path.suffix.lower() in YAML_SUFFIXES and path.is_file():
        return READERS["yolo_cls"]
    if is_archive(path.name) and path.is_file():
        raise HandlensError(
            f"{path} is an archive. Unpack it, or give it as zip://::{path.as_posix()} (tar:// for a tar)."
        )
    if path.is_file() or (not path.exists() and path.suffix.lower() in TABLE_SUFFIXES):
        return READERS["manifest" if is_manifest(existing_file(path)) else "table"]
    if (path / MADE).is_file() or ((path / MANIFEST).is_file() and is_manifest(path / MANIFEST)):
        return READERS["manifest"]
    known = recognised(path)
    if known is not None:
        return _RECOGNISED[known]
    return READERS["label_files" if has_label_files(path) else "folder"]


def _read_manifest(path: Path, fetched: Fetched | None, asked: _Asked) -> Samples:
    """Read a manifest, or a folder that was written together with one."""
    asked.refuse_names(f"{path} is a manifest")
    if fetched is not None and fetched.base is not None:
        raise HandlensError(
            f"{without_secrets(fetched.base)}/{path.name} is a manifest, which is read where its pictures "
            "are. Give the folder of the pictures."
        )
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            if not (path / MADE).is_file():
                raise HandlensError(f"There is no {MANIFEST} in {path}. Give the manifest itself.")
            raise HandlensError(
                f"{path} was not finished: there is no {MANIFEST} in it. Give the command that makes it "
                "again, and it goes on."
            )
        path = path / MANIFEST
    if asked.group is not None or asked.split is not None:
        raise HandlensError(f"{path} is a manifest, which says itself what is the group and the split.")
    samples = read_manifest(path, moved=fetched is not None)
    _require_pictures(samples, path)
    return samples if asked.label is None else judged_by(samples, asked.label, asked.tasks)


def _read_table(path: Path, fetched: Fetched | None, asked: _Asked) -> Samples:
    asked.refuse_names(f"{path} is a table")
    return read_table(
        path,
        label=asked.label,
        group=asked.group,
        split=asked.split,
        tasks=asked.tasks,
        base=None if fetched is None else fetched.base,
    )


def _read_label_files(path: Path, _: Fetched | None, asked: _Asked) -> Samples:
    return read_label_files(path, asked.only_names(path))


def _read_folder(path: Path, fetched: Fetched | None, asked: _Asked) -> Samples:
    # Class names say that there are label files, even where most pictures lack theirs.
    if asked.only_names(path) is not None:
        return _read_label_files(path, fetched, asked)
    return read_folder(path)


def _format_reader(name: str, *, was_recognised: bool) -> "Reader":
    def reader(path: Path, _: Fetched | None, asked: _Asked) -> Samples:
        return read_format(
            name,
            path,
            label=asked.label,
            group=asked.group,
            split=asked.split,
            class_names=asked.class_names,
            tasks=asked.tasks,
            was_recognised=was_recognised,
        )

    return reader


def _require_pictures(samples: Samples, path: Path) -> None:
    missing = samples.missing()
    if missing:
        raise HandlensError(
            f"{len(missing)} of {len(samples)} pictures of {path} are not there ({join_names(missing, 3)}). "
            f"They were below {samples.root}: put them back, or make a new manifest where they are now."
        )


Reader = Callable[[Path, Fetched | None, _Asked], Samples]
"""Reads a path, which may be a copy of what lies elsewhere."""

READERS: dict[str, Reader] = {
    "folder": _read_folder,
    "table": _read_table,
    "manifest": _read_manifest,
    "label_files": _read_label_files,
    **{name: _format_reader(name, was_recognised=False) for name in FORMATS},
}

_RECOGNISED: dict[str, Reader] = {name: _format_reader(name, was_recognised=True) for name in FORMATS}
