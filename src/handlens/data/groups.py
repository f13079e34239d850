"""Groups: what pictures came from, so that one specimen never stands on two sides of a split."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.joined import Joined
from handlens.base.spec import Spec
from handlens.data.derived import derived_rows, follow_parents
from handlens.data.samples import Samples, join_names


class GroupSpec(Spec):
    """How to tell which pictures came from the same specimen, video or sitting: at most one way."""

    column: str | None = None
    """The column of the table that says it; a column called group is used without being named here."""
    level: int | None = Field(default=None, ge=1)
    """The folder that says it, counted from the class folder: 1 is the first folder below it."""
    pattern: str | None = None
    """A regular expression searched in the picture's id; what its brackets capture says it."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"this is not a regular expression: {error}. Write for example '(video\\d+)_'"
                ) from None
        return pattern

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("column", "level", "pattern") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} both say what a group is: keep one of them")
        return self


@dataclass(frozen=True)
class ConflictingCopies:
    """Identical pictures that stand under different labels; at most one of the labels can be right."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]

    def sentence(self) -> str:
        """What is wrong, for people."""
        told = [f"{id_} ({label})" for id_, label in zip(self.ids, self.labels, strict=True)]
        return f"The same picture has different labels: {join_names(told)}."


def assign_groups(samples: Samples, spec: GroupSpec, same: Sequence[Sequence[int]] = ()) -> Samples:
    """Give every picture its group; `same` are rows with identical pixels, whose groups become one.

    Derived pictures are in their parents' group, whatever their own names and columns say.
    """
    notes: list[str] = []
    if spec.column is not None:
        found = _from_column(samples, spec.column)
        notes += _unmatched(samples, found, f"have nothing in the column {spec.column!r}")
    elif spec.level is not None:
        found = _from_level(samples, spec.level)
        notes += _unmatched(samples, found, f"lie less than {spec.level} folders below their class")
    elif spec.pattern is not None:
        found = _from_pattern(samples, spec.pattern)
        notes += _unmatched(samples, found, f"do not match {spec.pattern!r}")
    else:
        found = samples.table["group"].to_list()
    groups = [group or own for group, own in zip(found, samples.table["id"].to_list(), strict=True)]
    groups = follow_parents(samples, groups)
    merged = _merged(groups, same)
    lost = len(set(groups)) - len(set(merged))
    if lost:
        copies = sum(len(rows) for rows in same)
        notes.append(
            f"{copies} pictures are copies of each other, in {len(same)} set{'s' * (len(same) > 1)}; "
            f"for their sake {lost + len(set(merged))} groups became {len(set(merged))}."
        )
    return samples.with_table(
        samples.table.with_columns(group=pl.Series(merged, dtype=pl.String)),
        *notes,
    )


def conflicting_copies(samples: Samples, same: Sequence[Sequence[int]]) -> list[ConflictingCopies]:
    """The sets of identical pictures that stand under more than one label, by name."""
    ids, labels = samples.table["id"].to_list(), samples.table["label"].to_list()
    found = []
    for rows in same:
        named = sorted((ids[row], labels[row]) for row in rows)
        if len({label for _, label in named}) > 1:
            found.append(
                ConflictingCopies(tuple(id_ for id_, _ in named), tuple(label for _, label in named))
            )
    return sorted(found, key=lambda copies: copies.ids)


def _from_column(samples: Samples, column: str) -> list[str | None]:
    if column not in samples.table.columns:
        raise HandlensError(
            f"There is no column {column!r} to take groups from.{suggestion(column, samples.table.columns)} "
            f"The columns are {', '.join(samples.table.columns)}."
        )
    return samples.table[column].cast(pl.String).to_list()


def _from_level(samples: Samples, level: int) -> list[str | None]:
    """The folders from the class down to the level: the first specimen of two classes is not the same."""
    return _nonempty(
        samples,
        lambda id_, label: _folders_to_level(id_, label, level),
        f"No picture lies {level} or more folders below its class folder, so the level {level} says nothing. "
        "Choose a smaller level, or a pattern.",
    )


def _folders_to_level(id_: str, label: str, level: int) -> str | None:
    folders = id_.split("/")[:-1]
    # Above the class there may be a folder for the side, which says nothing about the specimen.
    start = folders.index(label) if label in folders else -1
    end = start + 1 + level
    return "/".join(folders[max(start, 0) : end]) if len(folders) >= end else None


def _from_pattern(samples: Samples, pattern: str) -> list[str | None]:
    compiled = re.compile(pattern)
    ids = samples.table["id"].to_list()
    return _nonempty(
        samples,
        lambda id_, _: _captured(compiled, id_),
        f"No picture matches the group pattern {pattern!r}. It is searched in names such as "
        f"{join_names([repr(id_) for id_ in ids[:3]])}: change it until it fits these.",
    )


def _captured(pattern: re.Pattern[str], id_: str) -> str | None:
    match = pattern.search(id_)
    if match is None:
        return None
    # Brackets that took no part are nothing; the slash keeps ("a1", "2") apart from ("a", "12").
    captured = "/".join(part for part in match.groups() if part) if pattern.groups else match[0]
    return captured or None


def _nonempty(samples: Samples, group_of: Callable[[str, str], str | None], message: str) -> list[str | None]:
    found = [group_of(id_, label) for id_, label in samples.table.select("id", "label").iter_rows()]
    if not any(found):
        raise HandlensError(message)
    return found


def _unmatched(samples: Samples, found: Sequence[str | None], why: str) -> list[str]:
    rows = zip(samples.table["id"].to_list(), found, derived_rows(samples), strict=True)
    own = [id_ for id_, group, is_derived in rows if not group and not is_derived]
    return [f"{len(own)} pictures {why} and are groups of their own: {join_names(own, 3)}."] if own else []


def _merged(groups: Sequence[str], same: Iterable[Sequence[int]]) -> list[str]:
    """Join groups that share a set of rows; a joined group has the smallest of the names."""
    joined: Joined[str] = Joined()
    for rows in same:
        for row in rows:
            joined.join(groups[rows[0]], groups[row])
    smallest = {group: min(together) for together in joined.sets() for group in together}
    return [smallest.get(group, group) for group in groups]
