"""Kinds: classes that belong together, such as forty sorts of waste under four kinds."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError, Problems
from handlens.data.samples import Samples, join_names
from handlens.data.tasks import as_labels

FOLDER_COLUMN = "kind"
"""Where the outer folder is kept when class folders lie in folders of kinds."""


@dataclass(frozen=True, eq=False)
class Kinds:
    """Which kind each class belongs to: exactly one."""

    members: dict[str, tuple[str, ...]]
    """The classes of each kind, in the order in which kinds are told."""
    classes: tuple[str, ...]
    """All classes in the order of the run."""

    @classmethod
    def of(cls, classes: Sequence[str], members: Mapping[str, Sequence[str]], where: str) -> Self:
        """Check that every class has exactly one kind, or tell all that is wrong at once."""
        kinds_of: defaultdict[str, list[str]] = defaultdict(list)
        problems = []
        for kind, named in members.items():
            if not named:
                problems.append(f"{kind!r} has no classes. Name some, or take the kind away.")
            for label, count in Counter(named).items():
                kinds_of[label].append(kind)
                if count > 1:
                    problems.append(f"{kind!r} names the class {label!r} {count} times.")
        left = [label for label in classes if label not in kinds_of]
        problems += [
            # Most often a misspelt one, so that the classes without a kind are the likeliest.
            f"There is no class {label!r} ({', '.join(kinds)}).{suggestion(label, left or classes)}"
            for label, kinds in kinds_of.items()
            if label not in classes
        ]
        problems += [f"The class {label!r} has no kind." for label in left]
        problems += [
            f"The class {label!r} has several kinds: {', '.join(kinds)}. Leave it in one."
            for label, kinds in kinds_of.items()
            if len(kinds) > 1
        ]
        if len(members) < 2:
            problems.append("There must be two kinds or more, so that there is something to tell apart.")
        if problems:
            raise Problems(f"The kinds of the classes ({where}) have problems:", problems)
        order = {label: at for at, label in enumerate(classes)}
        return cls(
            {kind: tuple(sorted(named, key=order.__getitem__)) for kind, named in members.items()},
            tuple(classes),
        )

    @classmethod
    def from_column(cls, samples: Samples, column: str) -> Self:
        """The kinds that a column names for each picture: the same for all pictures of one class."""
        columns = samples.table.columns
        if column not in columns:
            raise HandlensError(
                f"There is no column {column!r} to take the kinds of the classes from."
                f"{suggestion(column, columns)} The columns are {', '.join(columns)}."
            )
        named = samples.table.select("label", as_labels(samples.table[column]).alias("kind")).drop_nulls()
        times: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for label, kind in named.iter_rows():
            times[label][kind] += 1
        problems = []
        members: defaultdict[str, list[str]] = defaultdict(list)
        for label in samples.classes:
            counted = times[label].most_common()
            if len(counted) > 1:
                told = [f"{kind!r} for {count} pictures" for kind, count in counted]
                problems.append(f"The class {label!r} has {join_names(told)}. All must have the same.")
            elif not counted:
                problems.append(f"The class {label!r} has no picture with a kind.")
            else:
                members[counted[0][0]].append(label)
        if problems:
            raise Problems(f"The column {column!r} does not give each class one kind:", problems)
        return cls.of(samples.classes, {kind: members[kind] for kind in sorted(members)}, f"column {column}")

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds in their order."""
        return tuple(self.members)

    @cached_property
    def of_class(self) -> NDArray[np.int64]:
        """The kind of each class, as an index into `names`."""
        number = {label: at for at, members in enumerate(self.members.values()) for label in members}
        return np.array([number[label] for label in self.classes], dtype=np.int64)


def classes_in_kind_folders(samples: Samples) -> Samples:
    """Pictures in kind/class/picture.jpg judged by the inner folder; the outer one becomes a column.

    A folder is read as one class, since what lies below it may as well be specimens; only the recipe can
    tell that it is a kind.
    """
    inner: list[str] = []
    kinds_of: defaultdict[str, set[str]] = defaultdict(set)
    outside = []
    for id_, kind in samples.table.select("id", "label").iter_rows():
        folders = id_.split("/")[:-1]
        below = folders[folders.index(kind) + 1 :] if kind in folders else []
        if not below:
            outside.append(id_)
            continue
        inner.append(below[0])
        kinds_of[below[0]].add(kind)
    problems = []
    if outside:
        problems.append(
            f"{len(outside)} pictures do not lie in a class folder in the folder of a kind "
            f"({join_names(outside, 3)})."
        )
    problems += [
        f"The class folder {label!r} is there in several kinds ({', '.join(sorted(kinds))}). "
        "Rename it in all but one."
        for label, kinds in kinds_of.items()
        if len(kinds) > 1
    ]
    if problems:
        raise Problems(
            "data.kind_folders asks for kind/class/picture.jpg, and these pictures stand otherwise:", problems
        )
    table = samples.table.with_columns(
        pl.Series("label", inner, dtype=pl.String), pl.col("label").alias(FOLDER_COLUMN)
    )
    return samples.with_table(
        table,
        f"The {len(set(samples.classes))} class folders are kinds; the folders in them are the classes.",
    )
