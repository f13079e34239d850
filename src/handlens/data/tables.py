"""Reading samples from a table (CSV, TSV, Parquet) and from a manifest that `Samples.save` wrote."""

import csv
import io
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError, Problems
from handlens.data.addresses import is_address, without_secrets
from handlens.data.samples import BESIDE, COLUMNS, MANIFEST_MARK, SIDES, Samples, identities, join_names
from handlens.data.tasks import as_labels, without_any_label

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

SIDE_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_table(
    path: Path,
    *,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    picture: str = "path",
    tasks: Sequence[str] = (),
    base: str | None = None,
) -> Samples:
    """Read a table with a row a picture: its path, its label, and perhaps a group and a split.

    The label may be missing where one of the columns `tasks` holds another one. Paths may be addresses;
    `base` is the one that paths are told from where the table itself was fetched.
    """
    path = existing_file(path)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise HandlensError(f"{path} is not a table that can be read. Save it as .csv, .tsv or .parquet.")
    source, _ = _source(path)
    wanted = {"path": picture, "label": label or "label", "group": group, "split": split}
    columns = _find_columns(source, wanted, path)
    # `a.jpg, pyrite` and `a.jpg,pyrite` mean the same; a cell of blanks is empty.
    parts = pl.col(list(set(columns.values()))).cast(pl.String).str.strip_chars()
    source = source.with_columns(pl.when(parts != "").then(parts))
    root = path.parent
    written = _texts(source, columns["path"])
    if base is not None or any(text and is_address(text) for text in written):
        from handlens.data.remote import pictures_of_table

        paths, root = pictures_of_table(written, path, base)
        told = ["The pictures were read through copies in the cache folder."]
    else:
        paths, told = [_on_disk(text, root) if text else "" for text in written], []
    rows = _row_numbers(path, source.height)
    missing = [index for index, found in enumerate(paths) if found and not os.path.isfile(found)]  # noqa: PTH113 (a Path a row is slow)
    problems = []
    without_label = without_any_label(source, columns["label"], tasks)
    if without_label:
        problems.append(f"{rows(without_label)}: there is no label. Fill it in, or delete the row.")
    if missing:
        start = root if base is None else without_secrets(base)
        problems.append(
            f"{rows(missing)}: there is no such file ({join_names([str(written[i]) for i in missing], 3)}). "
            f"Paths are looked for from the folder of the table, {start}."
        )
    samples = _assemble(source, columns, paths, root, rows=rows, where=path, problems=problems)
    require_classes(samples, f"the column {columns['label']!r} of {path}")
    kind = "Parquet" if path.suffix.lower() == ".parquet" else path.suffix[1:].upper()
    how = f"Read as a table ({kind}); labels in {columns['label']!r}."
    return replace(samples, notes=(how, *told, *samples.notes))


def is_manifest(path: Path) -> bool:
    """Whether a table is one that `Samples.save` wrote."""
    if path.suffix.lower() == ".parquet":
        return MANIFEST_MARK in _parquet_facts(path)
    if path.suffix.lower() != ".csv":
        return False
    with path.open("rb") as file:
        start = file.read(64).decode("utf-8", errors="replace").lstrip('\ufeff"')
    return start.startswith(f"# {MANIFEST_MARK} ")


def read_manifest(path: Path, *, moved: bool = False) -> Samples:
    """Read a manifest; the pictures need not be there, so that a report can be made anywhere.

    `moved` says that it came from elsewhere, and that where its pictures lay there means nothing here.
    """
    path = existing_file(path)
    if path.suffix.lower() not in TABLE_SUFFIXES or not is_manifest(path):
        raise HandlensError(f"{path} is not a manifest that Handlens wrote; read it as a table instead.")
    source, facts = _source(path)
    root = path.parent if facts["root"] == "." else Path(facts["root"])
    if (moved or not root.is_dir()) and facts["root_from_here"] is not None:
        beside = Path(os.path.normpath(path.parent / facts["root_from_here"]))
        root = beside if moved or beside.is_dir() else root
    columns = _find_columns(
        source, {"path": "path", "label": "label", "group": "group", "split": "split"}, path
    )
    paths = [
        os.path.normpath((path.parent if text.startswith(BESIDE) else root) / text) if text else ""
        for text in _texts(source, columns["path"])
    ]
    rows = _row_numbers(path, source.height)
    samples = _assemble(source, columns, paths, root, rows=rows, where=path, problems=[])
    marks = tuple(facts.get("marks", ()))
    made = bool(facts.get("split_made", False))
    return Samples(samples.table, root, tuple(facts["notes"]), facts["label_name"], marks, made)


def judged_by(samples: Samples, label: str, tasks: Sequence[str] = ()) -> Samples:
    """The same pictures judged by another of their columns; one of `tasks` may stand in for its label."""
    name = _column(samples.table.columns, label, "label", "this manifest")
    table = samples.table.with_columns(label=as_labels(samples.table[name]))
    without = len(without_any_label(table, "label", tasks))
    if without:
        raise HandlensError(
            f"{without} pictures have no label in the column {name!r}. Fill it in, or take them out."
        )
    return replace(samples, table=table, label_name=name)


def existing_file(path: Path) -> Path:
    """The absolute path of a file, or a sentence about what is there instead."""
    path = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 (links stay as they are)
    if path.is_dir():
        raise HandlensError(f"{path} is a folder, and a table is a file. Give a .csv, .tsv or .parquet file.")
    if not path.is_file():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise HandlensError(f"There is no file {path}.{suggestion(path.name, beside)}")
    return path


def require_classes(samples: Samples, where: str, mend: str = "") -> None:
    """A classifier needs something to tell apart."""
    if len(samples) == 0:
        raise HandlensError(f"There is no picture in {where}. Give a place that holds at least two classes.")
    if len(samples.classes) == 1:
        mend = mend or "Add pictures of at least one other class."
        raise HandlensError(f"There is only one class in {where}: {samples.classes[0]!r}. {mend}")


def _source(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table as it stands in the file, and the facts in it if it is a manifest."""
    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path, glob=False)
            facts = _parquet_facts(path).get(MANIFEST_MARK, "{}")
            return table.rename({name: name.strip() for name in table.columns}), json.loads(facts)
        return _read_text_table(path)
    except pl.exceptions.PolarsError as error:
        raise HandlensError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}.") from None


def _parquet_facts(path: Path) -> dict[str, str]:
    try:
        return pl.read_parquet_metadata(path)
    except pl.exceptions.PolarsError as error:
        raise HandlensError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}.") from None


def _read_text_table(path: Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HandlensError(
            f"{path} is not UTF-8 text. Save it as 'CSV UTF-8' (so Excel calls it)."
        ) from None
    facts: dict[str, Any] = {}
    first = text.partition("\n")[0]
    if first.lstrip('"').startswith(f"# {MANIFEST_MARK} "):
        # The line is a cell of its own, which a spreadsheet program may have saved anew.
        facts = json.loads(next(csv.reader(io.StringIO(first)))[0].removeprefix(f"# {MANIFEST_MARK} "))
        text = text.partition("\n")[2]
    header = text.lstrip().partition("\n")[0]
    # Excel writes semicolons where the comma is the decimal sign.
    separator = max(",;\t", key=header.count)
    # Everything is text, so that the label 007 stays 007.
    dtypes = {name: _dtype(dtype) for name, dtype in facts.get("dtypes", {}).items()}
    table = pl.read_csv(text.encode(), separator=separator, infer_schema=False, schema_overrides=dtypes)
    return table.rename({name: name.strip() for name in table.columns}), facts


def _dtype(name: str) -> pl.DataType:
    dtype: pl.DataType = getattr(pl, name)()
    return dtype


def _find_columns(source: pl.DataFrame, wanted: dict[str, str | None], path: Path) -> dict[str, str]:
    """Which column of the source plays which part; group and split may be absent unless asked for."""
    found, problems = {}, []
    for role, name in wanted.items():
        try:
            found[role] = _column(source.columns, name or role, role, str(path))
        except HandlensError as error:
            if name is not None:
                problems.append(str(error))
    if problems:
        raise Problems(f"{path} lacks columns:", problems)
    return found


def _column(columns: Sequence[str], name: str, role: str, where: str) -> str:
    """The column called `name`, in whatever case it is written."""
    if name in columns:
        return name
    folded = {column.casefold(): column for column in columns}
    if name.casefold() in folded:
        return folded[name.casefold()]
    raise HandlensError(
        f"There is no column {name!r} for the {role} in {where}.{suggestion(name, columns)} "
        f"Its columns are {', '.join(columns)}. Rename one, or say which is the {role}."
    )


def _assemble(
    source: pl.DataFrame,
    columns: dict[str, str],
    paths: Sequence[str],
    root: Path,
    *,
    rows: "_Rows",
    where: Path,
    problems: list[str],
) -> Samples:
    """Check the five columns, tell everything that is wrong at once, and put the rest behind them."""
    labels = _texts(source, columns["label"])
    without_path = [index for index, found in enumerate(paths) if not found]
    if without_path:
        problems.append(f"{rows(without_path)}: there is no path. Fill it in, or delete the row.")
    problems.extend(_told_twice(paths, rows))
    sides = _texts(source, columns["split"]) if "split" in columns else [None] * source.height
    unknown = [i for i, side in enumerate(sides) if side is not None and side.casefold() not in SIDE_NAMES]
    if unknown:
        values = sorted({str(sides[index]) for index in unknown})
        problems.append(
            f"{rows(unknown)}: the split is {join_names([repr(value) for value in values])}. "
            f"Write one of {', '.join(SIDES)}."
        )
    if problems:
        raise Problems(f"{where} has problems:", problems)

    ids = identities(paths, root)
    groups = _texts(source, columns["group"]) if "group" in columns else [None] * source.height
    # A column that plays the part it is named after is there already; any other that bears the name of
    # one of ours moves aside.
    ours = [name for name in source.columns if columns.get(name.casefold()) == name]
    kept = [name for name in source.columns if name not in (*ours, columns["path"])]
    aside = {name: f"table_{name}" for name in kept if name in COLUMNS}
    table = pl.DataFrame(
        {
            "id": ids,
            "path": list(paths),
            "label": labels,
            "group": [group or own for group, own in zip(groups, ids, strict=True)],
            "split": [side and SIDE_NAMES[side.casefold()] for side in sides],
        },
        schema=dict.fromkeys(COLUMNS, pl.String),
    )
    notes = tuple(f"The column {name!r} of the table is kept as {new!r}." for name, new in aside.items())
    label_name = "label" if columns["label"] in ours else columns["label"]
    return Samples(table.hstack(source.select(kept).rename(aside)), root, notes, label_name)


def _texts(source: pl.DataFrame, column: str) -> list[str | None]:
    return source[column].cast(pl.String).to_list()


def _told_twice(paths: Sequence[str], rows: "_Rows") -> Iterable[str]:
    by_path: defaultdict[str, list[int]] = defaultdict(list)
    for index, found in enumerate(paths):
        by_path[found].append(index)
    twice = [(found, indices) for found, indices in by_path.items() if found and len(indices) > 1]
    for found, indices in twice[:5]:
        yield f"{rows(indices)}: the picture {found} is there {len(indices)} times. Keep one row."
    if len(twice) > 5:
        yield f"{len(twice) - 5} more pictures are there several times."


def _on_disk(text: str, root: Path) -> str:
    """The absolute path that a table means: also one written on Windows, or with é spelt otherwise."""
    exact = os.path.normpath(root / text)
    if os.path.isfile(exact):  # noqa: PTH113 (a Path a row is slow)
        return exact
    slashed = text.replace("\\", "/")
    for form in (slashed, unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed)):
        other = os.path.normpath(root / form)
        if os.path.isfile(other):  # noqa: PTH113
            return other
    return exact


class _Rows:
    """Names rows as a spreadsheet numbers them: the header of a text table is row 1."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __call__(self, indices: Sequence[int]) -> str:
        numbers = [str(index + self._first) for index in indices]
        return f"row {numbers[0]}" if len(numbers) == 1 else f"rows {join_names(numbers)}"


def _row_numbers(path: Path, height: int) -> _Rows:
    return _Rows(1 if path.suffix.lower() == ".parquet" or height == 0 else 2)
