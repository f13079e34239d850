"""Huawei's sorted waste: `train_data/img_1.jpg`, `img_1.txt` that says `img_1.jpg, 0`, and JSON of names.

Its names are told with their kind, such as `recyclable/power bank`. Where what stands behind the slash is
enough to tell the classes apart it is the label, and the kind is a column.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from handlens.base.errors import HandlensError
from handlens.data.kinds import FOLDER_COLUMN
from handlens.data.label_files import has_label_files, read_label_files
from handlens.data.samples import Samples, join_names
from handlens.data.walk import existing_folder

RULES = "garbage_classify_rule.json"
PICTURES = "train_data"

NAME_FILES = (
    RULES,
    "classify_rule.json",
    "label_id_name.json",
    "class_names.json",
    "class_names.txt",
    "classes.txt",
)
"""Where class names are looked for, if none are given: in the folder, and beside it."""


def fits(root: Path) -> bool:
    """Whether a folder holds the rules, and pictures with label files here or in train_data."""
    return (root / RULES).is_file() and any(has_label_files(each) for each in (root, *_folders(root)))


def read_huawei(root: Path, class_names: Path | None = None) -> Samples:
    """Read pictures with their label files and the names of their classes."""
    root = existing_folder(root)
    names = class_names or _found_names(root)
    samples = read_label_files(root, names)
    kinds, labels = zip(*(_parted(label) for label in samples.classes), strict=True)
    notes = [f"Read as Huawei's label files; the classes are named by {names.name}."]
    if all(kinds) and len(set(labels)) == len(labels):
        table = samples.table
        found = dict(zip(samples.classes, zip(kinds, labels, strict=True), strict=True))
        table = table.with_columns(
            pl.Series("label", [found[label][1] for label in table["label"]]),
            pl.Series(FOLDER_COLUMN, [found[label][0] for label in table["label"]]),
        )
        notes.append(
            f"The names are told as kind/class: the class is the label, the kind is in {FOLDER_COLUMN!r}."
        )
        samples = samples.with_table(table)
    return replace(samples, notes=(*notes, *samples.notes[1:]))


def _found_names(root: Path) -> Path:
    for folder in (root, root.parent):
        found = [folder / name for name in NAME_FILES if (folder / name).is_file()]
        if len(found) > 1:
            raise HandlensError(
                f"{folder} holds several files that may name the classes: "
                f"{join_names([each.name for each in found])}. Say which with --class-names."
            )
        if found:
            return found[0]
    raise HandlensError(
        f"There is no file with the names of the classes in {root} or beside it, such as {RULES}. "
        "Give it with --class-names."
    )


def _folders(root: Path) -> Sequence[Path]:
    return [root / PICTURES] if (root / PICTURES).is_dir() else []


def _parted(label: str) -> tuple[str, str]:
    kind, _, name = label.partition("/")
    return (kind.strip(), name.strip()) if name.strip() else ("", label)
