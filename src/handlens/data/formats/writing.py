"""Samples written out for others: a folder with one folder a class, or a plain table.

Originals are copied or linked to, never moved. The same command goes on after a stop, and writes the same
again; a place that holds something else is refused.
"""

import io
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import polars as pl

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError, Problems
from handlens.base.files import digest, whole_file
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.derived import MADE_BY
from handlens.data.made import Made, MadeFolder, Making, digest_of_files
from handlens.data.names import distinct, safe_name, safe_part
from handlens.data.samples import COLUMNS, Samples, join_names
from handlens.data.walk import absolute

How = Literal["copy", "link"]

NO_SIDE = "no-side"
"""The folder of pictures without a side, where others have one."""

ORIGIN = "origin"
"""The column that says what each picture was called where it comes from."""

TABLE_SUFFIXES = (".csv", ".parquet")


def convert(samples: Samples, to: str, out: Path | str, how: How = "copy") -> tuple[Path, tuple[str, ...]]:
    """Write samples as a `folder` or as a `table`; gives what was written, and notes on it."""
    if to == "table" and how != "copy":
        raise HandlensError("A table holds paths, so that there is nothing to link. Take --link away.")
    return look_up(FORMS, to, "form to convert to")(samples, out, how)


def to_folder(samples: Samples, out: Path | str, how: How = "copy") -> Samples:
    """Write the pictures into one folder a class, below their sides if they have some, beside a manifest.

    The manifest keeps label, group, split, every other column and what each picture was called before; a
    folder's name is the label made safe for every system. `link` makes symbolic links instead of copies.
    """
    write = look_up(WAYS, how, "way to write pictures")
    _require_pictures(samples)
    made = Made(
        step="convert",
        settings={"to": "folder", "how": how},
        sources=(str(samples.root),),
        source_digest=_digest(samples),
    )
    folder = MadeFolder(Path(out), made)
    makings, paths = _planned(samples)

    def one(making: Making) -> None:
        path = folder.path / making.name
        # What is there is whole: it got its name only at its end.
        if not os.path.lexists(path):
            write(paths[making.name], path)

    with folder.writing(), progress("Writing pictures", len(makings)) as advance:
        for _ in in_order(one, makings):
            advance(1)
    labels = {making.label for making in makings if making.label is not None}
    renamed = sorted(label for label in labels if safe_part(label) != label)
    notes = [f"Written as one folder a class ({how}) from {len(samples)} pictures."]
    if renamed:
        notes.append(
            f"Labels that cannot be folders' names everywhere: {join_names(renamed)}. The manifest has them."
        )
    return folder.finish(makings, *notes, copied=samples)


def to_table(samples: Samples, out: Path | str) -> Path:
    """Write a plain .csv or .parquet table: path, label, group, split and every other column.

    Paths below the table's folder are written without it, so that both may be moved together; others whole.
    """
    path = absolute(Path(out))
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise HandlensError(f"A table is written as {' or '.join(TABLE_SUFFIXES)}: give {path} that ending.")
    if samples.marks:
        raise HandlensError(
            f"These pictures are marked ({join_names(samples.marks)}), which a plain table could not say. "
            "Write them as a folder, whose manifest keeps the mark."
        )
    below = os.path.join(path.parent, "")  # noqa: PTH118 (it adds the separator only where it is missing)
    paths = [
        each.removeprefix(below).replace(os.sep, "/") if each.startswith(below) else each
        for each in samples.table["path"].to_list()
    ]
    table = samples.table.drop("id").with_columns(path=pl.Series(paths, dtype=pl.String))
    buffer = io.BytesIO()
    if path.suffix.lower() == ".parquet":
        table.write_parquet(buffer)
    else:
        nested = [name for name, dtype in table.schema.items() if dtype.is_nested()]
        if nested:
            raise HandlensError(
                f"The columns {join_names(nested)} do not fit into a .csv file: write {path.stem}.parquet."
            )
        table.write_csv(buffer)
    if path.is_dir() or (path.exists() and path.read_bytes() != buffer.getvalue()):
        raise HandlensError(f"{path} is there already, and nothing is written over it. Choose another --out.")
    if not path.exists():
        with whole_file(path) as partial:
            partial.write_bytes(buffer.getvalue())
    return path


def _planned(samples: Samples) -> tuple[list[Making], dict[str, Path]]:
    """What is to be written where, in the order of ids, and where each picture comes from."""
    table = samples.table.sort("id")
    labels = sorted(label for label in table["label"].unique() if label is not None)
    unlabelled = ["no-label"] if table["label"].null_count() else []
    folders = dict(
        zip(
            [*labels, *unlabelled],
            distinct([safe_part(label) for label in [*labels, *unlabelled]]),
            strict=True,
        )
    )
    extra = [name for name in table.columns if name not in COLUMNS]
    # What was converted before has such a column already, and after two goes the one that it moves aside to.
    aside = f"table_{ORIGIN}"
    while aside in extra:
        aside = f"table_{aside}"
    called = {name: aside if name == ORIGIN else name for name in extra}
    # A manifest is text: what is neither text nor a number is told in words.
    odd = [name for name in extra if not _fits_into_text(table.schema[name])]
    rows = [{**row, **{name: _told(row[name]) for name in odd}} for row in table.to_dicts()]
    names = []
    for row in rows:
        side = [row["split"] or NO_SIDE] if samples.is_split else []
        last = safe_name(os.path.basename(row["path"]))  # noqa: PTH119 (a Path a picture is slow)
        names.append("/".join([*side, folders[row["label"] or "no-label"], last]))
    makings = [
        Making(
            name=name,
            label=row["label"],
            group=row["group"],
            split=row["split"],
            # Copies of derived pictures stay derived; no others become it.
            facts={ORIGIN: row["id"], MADE_BY: None, **{called[each]: row[each] for each in extra}},
        )
        for name, row in zip(distinct(names), rows, strict=True)
    ]
    return makings, {making.name: Path(row["path"]) for making, row in zip(makings, rows, strict=True)}


def _fits_into_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Boolean) or dtype.is_numeric()


def _told(value: object) -> str | None:
    return None if value is None else str(value)


def _require_pictures(samples: Samples) -> None:
    missing = samples.missing()
    if missing:
        raise Problems(
            f"{len(missing)} of {len(samples)} pictures are not there:",
            [f"{join_names(missing)}. Put them back below {samples.root}, or take their rows out."],
        )


def _digest(samples: Samples) -> str:
    """Hash of the table and of what its files are, so that other pictures are not mixed in."""
    rows = samples.table.drop("path").sort("id").write_json()
    return digest(rows, digest_of_files([Path(path) for path in samples.table["path"]]))


def _copy(source: Path, path: Path) -> None:
    with whole_file(path) as partial:
        shutil.copyfile(source, partial)


def _link(source: Path, path: Path) -> None:
    try:
        with whole_file(path) as partial:
            partial.symlink_to(_way(source.resolve(), path.parent))
    except OSError as error:
        raise HandlensError(
            f"No link can be made in {path.parent} ({error.strerror}). Write copies instead."
        ) from None


def _way(source: Path, folder: Path) -> Path:
    """The way from a folder to a picture, so that both may be moved together; whole between two drives."""
    try:
        return Path(os.path.relpath(source, folder.resolve()))
    except ValueError:
        return source


WAYS: Mapping[str, Callable[[Path, Path], None]] = {"copy": _copy, "link": _link}


def _as_folder(samples: Samples, out: Path | str, how: How) -> tuple[Path, tuple[str, ...]]:
    written = to_folder(samples, out, how)
    return written.root, written.notes


def _as_table(samples: Samples, out: Path | str, _: How) -> tuple[Path, tuple[str, ...]]:
    return to_table(samples, out), ()


FORMS = {"folder": _as_folder, "table": _as_table}
