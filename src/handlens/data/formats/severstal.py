"""Severstal's steel: `train_images` and a table of defects, each a class and a mask written as run lengths.

A classifier gives a picture one label. It is the class whose masks cover most of it, or 'none'; the other
columns say which classes there are, and whether they are several.
"""

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from handlens.base.errors import HandlensError
from handlens.data.formats.pictures import (
    DEFECTIVE,
    GOOD,
    NONE,
    Listing,
    Picture,
    counted,
    listed_problems,
    read_text,
    samples_of,
)
from handlens.data.names import leads_out
from handlens.data.samples import Samples
from handlens.data.walk import Walk

TABLE = "train.csv"
PICTURES = "train_images"
UNLABELLED = "test_images"

_COLUMNS = ("ImageId", "ClassId", "EncodedPixels")
_OLD_COLUMNS = ("ImageId_ClassId", "EncodedPixels")


@dataclass
class _Defects:
    """What the table says of one picture."""

    rows: list[int] = field(default_factory=list)
    areas: dict[str, int] = field(default_factory=dict)


def fits(root: Path) -> bool:
    """Whether a folder holds the table, under its header, and the pictures."""
    table = root / TABLE
    if not table.is_file() or not (root / PICTURES).is_dir():
        return False
    with table.open("rb") as file:
        header = file.readline(200).decode("utf-8-sig", errors="replace").strip()
    return tuple(header.split(",")) in (_COLUMNS, _OLD_COLUMNS)


def read_severstal(root: Path) -> Samples:
    """Read the labelled pictures and reduce their masks to labels."""
    walk = Walk(root)
    table = walk.root / TABLE
    if not table.is_file():
        raise HandlensError(
            f"There is no {TABLE} in {walk.root}. Give the folder that holds it and {PICTURES}."
        )
    folder = PICTURES if (walk.root / PICTURES).is_dir() else ""
    listing = Listing(walk)
    problems: list[str] = []
    told = _read_table(table, problems)
    by_path: dict[str, _Defects] = {}
    for name, defects in told.items():
        path = listing.find(name, folder)
        if path is None:
            why = "leads out of the folder" if leads_out(name) else f"is not in {folder or walk.root}"
            problems.append(f"row {defects.rows[0]}: the picture {name!r} {why}. Add it, or delete its rows.")
        else:
            by_path[path] = defects
    if problems:
        raise listed_problems(f"{table} has problems:", problems)
    pictures = []
    for path in listing.below(folder) if folder else listing.directly_in(""):
        areas = by_path[path].areas if path in by_path else {}
        classes = sorted(areas)
        # Of two with the same area the first one is taken, so that the label is always the same.
        label = max(classes, key=lambda each: areas[each]) if classes else NONE
        facts = {"state": DEFECTIVE if classes else GOOD, **counted(classes)}
        pictures.append(Picture(path, label, facts=facts))
    several = sum(picture.facts["one_or_several"] == "several" for picture in pictures)
    unmarked = sum(picture.label == NONE for picture in pictures)
    notes = [
        f"Read as Severstal's masks: the label is the class that covers most of a picture, {NONE!r} where "
        f"there is no mask ({unmarked} pictures). {several} pictures show several classes; the columns "
        "'all_labels', 'one_or_several' and 'state' tell them otherwise."
    ]
    unlabelled = len(listing.below(UNLABELLED))
    if unlabelled:
        notes.append(f"The {unlabelled} pictures of {UNLABELLED} have no labels and were left out.")
    return samples_of(walk, pictures, *notes)


def _read_table(path: Path, problems: list[str]) -> dict[str, _Defects]:
    """What the table says of each picture that it names; what is wrong is added to the problems."""
    try:
        table = pl.read_csv(io.BytesIO(read_text(path).encode()), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise HandlensError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}.") from None
    found: defaultdict[str, _Defects] = defaultdict(_Defects)
    seen: dict[tuple[str, str], int] = {}
    for number, (name, of_class, mask) in enumerate(_cells(table, path), start=2):
        if not name or not of_class:
            problems.append(f"row {number}: the picture or its class is missing. Fill it in.")
            continue
        if (name, of_class) in seen:
            problems.append(
                f"rows {seen[name, of_class]}, {number}: {name!r} has a mask of class {of_class} twice. "
                "Keep one."
            )
            continue
        seen[name, of_class] = number
        defects = found[name]
        defects.rows.append(number)
        area = _area(mask)
        if area is None:
            problems.append(
                f"row {number}: the mask {mask[:40]!r} is not made of pairs 'start length'. "
                "Download the table again."
            )
        elif area:
            defects.areas[of_class] = area
    return found


def _cells(table: pl.DataFrame, path: Path) -> Sequence[tuple[str, str, str]]:
    """Picture, class and mask of each row; in the older form the class stands behind the picture's name."""
    table = table.rename({name: name.strip() for name in table.columns})
    filled = table.with_columns(pl.all().str.strip_chars().fill_null(""))
    if set(_COLUMNS) <= set(table.columns):
        return [(name, of_class, mask) for name, of_class, mask in filled.select(_COLUMNS).iter_rows()]
    if set(_OLD_COLUMNS) <= set(table.columns):
        rows = filled.select(_OLD_COLUMNS).iter_rows()
        return [(name.rpartition("_")[0], name.rpartition("_")[2], mask) for name, mask in rows]
    raise HandlensError(
        f"{path} has the columns {', '.join(table.columns)}. Severstal's has {', '.join(_COLUMNS)}, "
        f"or {', '.join(_OLD_COLUMNS)}."
    )


def _area(mask: str) -> int | None:
    """How many pixels a mask covers: it is written as pairs of where a run starts and how long it is."""
    words = mask.split()
    if len(words) % 2 or not all(word.isascii() and word.isdigit() for word in words):
        return None
    runs = [int(word) for word in words]
    if not all(runs):
        return None
    return sum(runs[1::2])
