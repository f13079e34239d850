"""Samples: the table with one row a picture that everything else starts from."""

import csv
import io
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.files import whole_file, write_text

if TYPE_CHECKING:
    from handlens.data.remote_copy import Fetched

SIDES = ("train", "val", "test")
COLUMNS = ("id", "path", "label", "group", "split")

# A manifest carries this word before the few facts that do not fit into its columns.
MANIFEST_MARK = "handlens"

BESIDE = "./"
"""How the path of a picture begins that is not below the root but below its manifest's own folder."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Pictures with their labels, what they came from, and their side.

    The columns `id`, `path`, `label`, `group` and `split` are always there; other columns of the source
    are kept behind them. `label` holds what is judged; `label_name` is what the source calls it. A picture
    may lack a label only where another column has one that is learned too (`data.tasks`). `marks` are what
    every run on these pictures has to tell, such as that they leak.
    """

    table: pl.DataFrame
    root: Path
    notes: tuple[str, ...] = ()
    label_name: str = "label"
    marks: tuple[str, ...] = ()
    split_made: bool = False
    """Whether Handlens made the split, as far as the manifest says: its near copies are told, not refused."""

    @classmethod
    def read(
        cls,
        path: Path | str,
        *,
        format: str | None = None,  # noqa: A002 (what it is called everywhere else)
        label: str | None = None,
        group: str | None = None,
        split: str | None = None,
        class_names: Path | None = None,
        tasks: Sequence[str] = (),
    ) -> "Samples":
        """Read pictures from whatever `path` is: a folder of class folders, a table, a manifest, ...

        `path` may be an address, such as `s3://bucket/photos`. `format` names what it is where that is not
        to be recognised. `label`, `group` and `split` name columns of a table or of a format; `class_names`
        goes with label files. A picture without a label is kept if one of the columns `tasks` has one for it.
        """
        from handlens.data.readers import read

        return read(
            path, format=format, label=label, group=group, split=split, class_names=class_names, tasks=tasks
        )

    @classmethod
    def from_folder(cls, root: Path | str) -> "Samples":
        """Read a folder with one folder a class, or with such folders below train, val and test."""
        return cls.read(root, format="folder")

    @classmethod
    def from_table(
        cls,
        path: Path | str,
        *,
        label: str | None = None,
        group: str | None = None,
        split: str | None = None,
        picture: str = "path",
        tasks: Sequence[str] = (),
    ) -> "Samples":
        """Read a CSV, TSV or Parquet table; the arguments name its columns where they are unusual.

        A picture without a label is kept if one of the columns `tasks` has one for it.
        """
        from handlens.data.readers import anywhere
        from handlens.data.tables import read_table

        def reader(local: Path, fetched: "Fetched | None") -> "Samples":
            return read_table(
                local,
                label=label,
                group=group,
                split=split,
                picture=picture,
                tasks=tasks,
                base=None if fetched is None else fetched.base,
            )

        return anywhere(path, reader)

    @classmethod
    def from_label_files(cls, root: Path | str, class_names: Path | None = None) -> "Samples":
        """Read a folder with one text file a picture that says `picture.jpg, number of the class`."""
        return cls.read(root, format="label_files", class_names=class_names)

    @classmethod
    def from_huawei(cls, root: Path | str, class_names: Path | None = None) -> "Samples":
        """Read label files and the names of their classes, as in Huawei's set of sorted waste."""
        return cls.read(root, format="huawei", class_names=class_names)

    @classmethod
    def from_mvtec(cls, root: Path | str, label: str | None = None) -> "Samples":
        """Read MVTec AD, one category or all; `label` may be state (good or defective) or category."""
        return cls.read(root, format="mvtec", label=label)

    @classmethod
    def from_dagm(cls, root: Path | str, label: str | None = None) -> "Samples":
        """Read DAGM 2007, one texture or all; `label` may be state (good or defective) or category."""
        return cls.read(root, format="dagm", label=label)

    @classmethod
    def from_severstal(cls, root: Path | str, label: str | None = None) -> "Samples":
        """Read Severstal's steel by the class of most area; `label` may be one_or_several or state."""
        return cls.read(root, format="severstal", label=label)

    @classmethod
    def from_coco(cls, path: Path | str, label: str | None = None) -> "Samples":
        """Read COCO by the category of most area; `path` is the folder or a JSON file, `label` a column."""
        return cls.read(path, format="coco", label=label)

    @classmethod
    def from_yolo_cls(cls, path: Path | str) -> "Samples":
        """Read a set of YOLO for classifying: its folder, or its YAML file."""
        return cls.read(path, format="yolo_cls")

    @classmethod
    def from_manifest(cls, path: Path | str) -> "Samples":
        """Read what `save` wrote; the pictures themselves need not be there."""
        from handlens.data.tables import read_manifest

        return read_manifest(Path(path))

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted(self.table["label"].drop_nulls().unique().to_list()))

    @property
    def is_split(self) -> bool:
        """Whether any picture has a side already."""
        return self.table["split"].null_count() < len(self)

    def __len__(self) -> int:
        return self.table.height

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return NotImplemented
        return (self.root, self.notes, self.label_name, self.marks, self.split_made) == (
            other.root,
            other.notes,
            other.label_name,
            other.marks,
            other.split_made,
        ) and self.table.equals(other.table)

    __hash__ = None  # type: ignore[assignment]  # a table cannot be hashed

    def side(self, name: str) -> "Samples":
        """Only the pictures of one side: train, val or test; none if that side is empty."""
        if name not in SIDES:
            raise HandlensError(
                f"There is no side called {name!r}.{suggestion(name, SIDES)} There are {', '.join(SIDES)}."
            )
        if not self.is_split:
            raise HandlensError(
                "These pictures have no sides yet. Split them first: 'handlens split' does it."
            )
        return self.with_table(self.table.filter(pl.col("split") == name))

    def counts(self) -> dict[str, int]:
        """How many pictures each class has, in the order of `classes`."""
        return {
            str(label): int(count)
            for label, count in self.table["label"].drop_nulls().value_counts().sort("label").iter_rows()
        }

    def missing(self) -> list[str]:
        """The ids of pictures that are not where they should be."""
        return [
            id_
            for id_, path in self.table.select("id", "path").iter_rows()
            if not os.path.isfile(path)  # noqa: PTH113 (a Path a row is slow)
        ]

    def with_table(self, table: pl.DataFrame, *notes: str) -> "Samples":
        """The same source with another table, and perhaps more to tell."""
        return replace(self, table=table, notes=(*self.notes, *notes))

    def to_folder(self, out: Path | str, how: Literal["copy", "link"] = "copy") -> "Samples":
        """Copy the pictures into one folder a class, or link to them; gives the samples as they are there."""
        from handlens.data.formats.writing import to_folder

        return to_folder(self, out, how)

    def to_table(self, out: Path | str) -> Path:
        """Write a plain .csv or .parquet table that any program reads."""
        from handlens.data.formats.writing import to_table

        return to_table(self, out)

    def save(self, path: Path, *, together: bool = False) -> None:
        """Write a manifest, `.parquet` or `.csv`, that `from_manifest` reads again.

        `together` says that the manifest belongs to its folder: a root that is this folder is then always
        where the manifest is, and the same pictures give the same bytes anywhere.
        """
        folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 (links stay as they are)
        stored = self._stored_paths(folder)
        table = self.table.drop("id").with_columns(path=pl.Series(stored, dtype=pl.String))
        facts = {
            "root": "." if together and self.root == folder else str(self.root),
            # Pictures that travel together with their manifest are found in their new place by this.
            "root_from_here": _relative(self.root, folder),
            "label_name": self.label_name,
            "notes": self.notes,
            "marks": self.marks,
            **({"split_made": True} if self.split_made else {}),
        }
        if path.suffix.lower() == ".parquet":
            with whole_file(path) as partial:
                table.write_parquet(partial, metadata={MANIFEST_MARK: json.dumps(facts)})
        elif path.suffix.lower() == ".csv":
            write_text(path, _as_csv(table, facts, path))
        else:
            raise HandlensError(f"A manifest is a .parquet or a .csv file: give {path} one of these endings.")

    def _stored_paths(self, folder: Path) -> list[str]:
        """Paths below the root without it, so that it may be moved; others as they are.

        Those outside the root that lie below the manifest's own folder begin with `./` and go where it goes.
        """
        root, here = (os.path.join(top, "") for top in (self.root, folder))  # noqa: PTH118 (it adds the separator only where it is missing)

        def stored(text: str) -> str:
            if text.startswith(root):
                return text.removeprefix(root).replace(os.sep, "/")
            if text.startswith(here):
                return BESIDE + text.removeprefix(here).replace(os.sep, "/")
            return text

        return [stored(text) for text in self.table["path"]]


def join_names(names: Sequence[str], limit: int = 5) -> str:
    """The first few of many names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def identities(paths: Sequence[str], root: Path) -> list[str]:
    """The name of each picture: its path relative to the root with `/`, the same on every system.

    macOS spells é as two characters and Linux as one; names are brought to one spelling, except where
    two files differ in nothing else.
    """
    prefix = os.path.join(root, "")  # noqa: PTH118 (it adds the separator only where it is missing)
    plain = [
        path.removeprefix(prefix).replace(os.sep, "/")
        if path.startswith(prefix)
        else _relative(Path(path), root) or Path(path).as_posix()
        for path in paths
    ]
    normal = [unicodedata.normalize("NFC", name) for name in plain]
    times = Counter(normal)
    return [name if times[name] == 1 else original for name, original in zip(normal, plain, strict=True)]


def _relative(path: Path, start: Path) -> str | None:
    """The way from one folder to another; none between two drives."""
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:
        return None


def _as_csv(table: pl.DataFrame, facts: Mapping[str, object], path: Path) -> str:
    """The table as text below a line with the facts, which also say what is not text in it."""
    dtypes = {name: str(dtype) for name, dtype in table.schema.items() if dtype != pl.String}
    for name, dtype in dtypes.items():
        if not (table.schema[name].is_numeric() or table.schema[name] == pl.Boolean):
            raise HandlensError(
                f"The column {name!r} ({dtype}) does not fit into a .csv file: save {path.stem}.parquet."
            )
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(
        [f"# {MANIFEST_MARK} {json.dumps({**facts, 'dtypes': dtypes})}"]
    )
    return line.getvalue() + table.write_csv()
