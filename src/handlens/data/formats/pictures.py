"""What the readers of formats share: pictures with facts, and choosing the columns that are judged."""

import json
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError, Problems
from handlens.data.names import leads_out
from handlens.data.samples import COLUMNS, SIDES, Samples, join_names
from handlens.data.tables import SIDE_NAMES, judged_by, require_classes
from handlens.data.tasks import as_labels
from handlens.data.walk import Walk

GOOD = "good"
DEFECTIVE = "defective"
"""The two states of a part, where a format tells no more or less is wanted."""

NONE = "none"
"""The label of a picture on which nothing is marked."""

SEVERAL = "several"
"""What a picture shows on which several classes are marked, in the column `one_or_several`."""

MASK_COLUMN = "mask"
"""The column that names a picture's mask, or a folder of its masks, from the root of the pictures."""

SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Picture:
    """One picture of a collection and what the collection says of it."""

    path: str
    label: str
    side: str | None = None
    facts: Mapping[str, str | None] = field(default_factory=dict)
    """Further columns."""


class Listing:
    """The pictures below a folder by name. What a file names is looked up here; nothing else is opened."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self._paths = {spelt(walk.relative(path)): path for path in walk.pictures_below(str(walk.root))}

    def __len__(self) -> int:
        return len(self._paths)

    def find(self, name: str, folder: str = "") -> str | None:
        """The picture that a file means by a name below a folder of the collection; none if there is none."""
        if leads_out(name):
            return None
        return self._paths.get(spelt(posixpath.normpath(posixpath.join(folder, name.replace("\\", "/")))))

    def below(self, folder: str) -> list[str]:
        """All pictures in a folder of the collection and below it."""
        prefix = f"{spelt(folder)}/"
        return [path for name, path in self._paths.items() if name.startswith(prefix)]

    def directly_in(self, folder: str) -> list[str]:
        """The pictures in a folder of the collection, and not those in folders inside it."""
        return [path for name, path in self._paths.items() if posixpath.dirname(name) == spelt(folder)]


def samples_of(walk: Walk, pictures: Sequence[Picture], *notes: str) -> Samples:
    """The table of these pictures with what else is known of them."""
    if not pictures:
        raise HandlensError(f"There is no picture in {walk.root}. Give the folder that holds them.")
    times = Counter(each.path for each in pictures)
    twice = [walk.relative(path) for path, count in times.items() if count > 1]
    if twice:
        raise HandlensError(
            f"{len(twice)} pictures of {walk.root} are there several times ({join_names(twice, 3)}). Name "
            "each folder for one side and one class only, and none that lies in another one."
        )
    samples = walk.samples([(each.path, each.label, each.side) for each in pictures], *notes)
    columns = list(dict.fromkeys(name for each in pictures for name in each.facts))
    facts = pl.DataFrame(
        {
            "path": [each.path for each in pictures],
            **{name: [_composed(each.facts.get(name)) for each in pictures] for name in columns},
        },
        schema=dict.fromkeys(("path", *columns), pl.String),
    )
    return replace(samples, table=samples.table.join(facts, on="path", how="left", maintain_order="left"))


def chosen(
    samples: Samples,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    tasks: Sequence[str] = (),
) -> Samples:
    """The same pictures judged, grouped or split by other columns than the format has it."""
    if group is not None:
        column = _column(samples, group, "group")
        found = pl.coalesce(as_labels(samples.table[column]), samples.table["id"])
        samples = replace(samples, table=samples.table.with_columns(group=found))
    if split is not None:
        column = _column(samples, split, "split")
        samples = replace(samples, table=samples.table.with_columns(split=_sides(samples, column)))
    if label is not None:
        samples = judged_by(samples, _column(samples, label, "label"), tasks)
    require_classes(samples, str(samples.root))
    return samples


def counted(labels: Sequence[str]) -> dict[str, str]:
    """Two more columns of a picture on which classes are marked: all of them, and the one or `several`."""
    return {
        "all_labels": "+".join(labels) if labels else NONE,
        "one_or_several": SEVERAL if len(labels) > 1 else labels[0] if labels else NONE,
    }


def listed_problems(heading: str, problems: Iterable[str]) -> Problems:
    """What is wrong, the first few of it, and how many more there are."""
    told = list(problems)
    more = len(told) - SHOWN_PROBLEMS
    return Problems(
        heading, told if more <= 0 else [*told[:SHOWN_PROBLEMS], f"and {more} more of this kind."]
    )


def folders_in(folder: Path) -> list[Path]:
    """The folders that lie directly in a folder, sorted; hidden ones are none."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def read_json(path: Path) -> Any:
    """What a JSON file holds, or where it is damaged."""
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise HandlensError(f"{path} is not UTF-8 text. Save it with the encoding UTF-8.") from None
    except json.JSONDecodeError as error:
        raise HandlensError(
            f"{path}, line {error.lineno}, column {error.colno}: this is not valid JSON ({error.msg}). "
            "Download or export it again."
        ) from None
    except RecursionError:
        raise HandlensError(f"{path} is nested too deeply to be a file of labels. Export it again.") from None


def read_text(path: Path) -> str:
    """The text of a file, or a sentence that it is none."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HandlensError(f"{path} is not UTF-8 text. Save it with the encoding UTF-8.") from None


def spelt(name: str) -> str:
    """A name in one spelling of é, to compare what a file says with what is on the disk."""
    return unicodedata.normalize("NFC", name)


def _composed(fact: str | None) -> str | None:
    return None if fact is None else spelt(fact)


def _column(samples: Samples, name: str, role: str) -> str:
    columns = [column for column in samples.table.columns if column not in COLUMNS]
    folded = {column.casefold(): column for column in ("label", *columns)}
    if name.casefold() in folded:
        return folded[name.casefold()]
    told = f"Its columns are {', '.join(columns)}." if columns else "It has no further columns."
    raise HandlensError(
        f"There is no column {name!r} for the {role} in {samples.root}.{suggestion(name, columns)} {told}"
    )


def _sides(samples: Samples, column: str) -> pl.Series:
    told = as_labels(samples.table[column]).to_list()
    strange = sorted({side for side in told if side is not None and side.casefold() not in SIDE_NAMES})
    if strange:
        raise HandlensError(
            f"The column {column!r} says {join_names([repr(side) for side in strange])}, which is no side. "
            f"Choose a column with {', '.join(SIDES)}."
        )
    return pl.Series([side and SIDE_NAMES[side.casefold()] for side in told], dtype=pl.String)
