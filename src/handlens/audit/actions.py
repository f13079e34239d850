"""The table of what is proposed for single pictures, and a new manifest in which it is done.

A person reads the table, takes rows away, or writes `relabel` where a proposed label is right. Pictures and
manifests that were there before are never touched.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.audit.finding import Finding
from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError, Problems
from handlens.base.joined import Joined
from handlens.data.derived import parents_of
from handlens.data.samples import Samples, join_names
from handlens.data.walk import absolute
from handlens.report.words import count

COLUMNS = ("id", "action", "to", "check", "severity", "title", "figure", "why", "beside")

DROP, GROUP, PROPOSED, CONFIRMED = "drop", "group together", "relabel?", "relabel"
ACTIONS = (DROP, GROUP, PROPOSED, CONFIRMED)

BETWEEN = " | "
"""What stands between the ids of pictures that are to be seen beside another one."""


@dataclass(frozen=True)
class Action:
    """One row of the table that is to be done."""

    id: str
    action: str
    to: str


@dataclass(frozen=True)
class Applied:
    """What was done, in numbers."""

    dropped: int
    relabelled: int
    regrouped: int
    """Pictures whose group has another name now."""
    unconfirmed: int
    """Proposed labels that were left alone."""
    torn: int
    """Groups that stand on several sides of the split now."""
    unreadable: int = 0
    """Files that are left out because they cannot be read."""

    def sentences(self) -> list[str]:
        """What was done, for people."""
        told = [
            f"{count(self.dropped, 'picture')} left out, {self.relabelled:,} with another label, "
            f"{self.regrouped:,} in another group."
        ]
        if self.unreadable:
            told.append(f"{count(self.unreadable, 'file')} left out that cannot be read.")
        if self.unconfirmed:
            told.append(
                f"{count(self.unconfirmed, 'proposed label')} left alone. Write 'relabel' where one is "
                "right, or give --relabel to take them all."
            )
        if self.torn:
            told.append(
                f"{count(self.torn, 'group')} now on several sides of the split: split the pictures anew."
            )
        return told


def table_of(findings: Iterable[Finding]) -> str:
    """All rows of all findings as a .csv table; those without an action are there to be read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in findings:
        for row in finding.rows:
            figure = "" if row.figure is None else f"{row.figure:.4g}"
            told = (row.id, row.action, row.to, finding.check, finding.severity, finding.title)
            writer.writerow((*told, figure, row.why, BETWEEN.join(row.beside)))
    # Spreadsheet programs take a table without this mark for one in the letters of their own country.
    return "\ufeff" + text.getvalue()


def proposed(findings: Iterable[Finding]) -> list[Action]:
    """The rows of findings that have an action."""
    return [Action(row.id, row.action, row.to) for found in findings for row in found.rows if row.action]


def read_actions(path: Path) -> list[Action]:
    """The rows of a table that have an action, as a person may have changed it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise HandlensError(f"There is no file {path}. An audit writes the table as actions.csv.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise HandlensError(f"{path} cannot be read as a table: {error}. Save it as 'CSV UTF-8'.") from None
    # Excel writes semicolons where the comma is the decimal sign.
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    if not {"id", "action", "to"} <= set(rows.fieldnames or ()):
        raise HandlensError(f"{path} is no table of an audit: it needs the columns id, action and to.")
    actions, problems = [], []
    for row in rows:
        action = (row["action"] or "").strip()
        if not action:
            continue
        if action not in ACTIONS:
            known = ", ".join(ACTIONS)
            problems.append(
                f"line {rows.line_num}: there is no action {action!r}.{suggestion(action, ACTIONS)} "
                f"There are {known}, or nothing."
            )
        elif action != DROP and not (row["to"] or "").strip():
            problems.append(f"line {rows.line_num}: {action!r} needs something in the column to.")
        else:
            actions.append(Action(row["id"], action, (row["to"] or "").strip()))
    if problems:
        raise Problems(f"{path} has problems:", problems[:20])
    return actions


def apply(samples: Samples, actions: Sequence[Action], relabel: bool = False) -> tuple[Samples, Applied]:
    """The same pictures with the actions done; labels only where confirmed, or all of them by `relabel`."""
    _require_known(samples, actions)
    table = samples.table
    ids = table["id"].to_list()
    labels = _labels(samples, actions, relabel)
    dropped = {action.id for action in actions if action.action == DROP}
    groups = _groups(dict(zip(ids, table["group"].to_list(), strict=True)), actions)
    parents = parents_of(samples)
    kept = _kept(parents, [id_ not in dropped for id_ in ids])
    if not kept.any():
        raise HandlensError(
            f"Nothing would be left of {len(ids)} pictures. Clear the action of those to keep in the table."
        )
    named = {row: labels[id_] for row, id_ in enumerate(ids) if id_ in labels}
    changed = _changed(parents, kept, table["label"].to_list(), named)

    def relabelled(column: str) -> pl.Series:
        old = table[column].cast(pl.String).to_list()
        return pl.Series(column, [changed.get(row, label) for row, label in enumerate(old)], dtype=pl.String)

    # The column that the label was read from would otherwise bring the old one back.
    columns = {"label", samples.label_name} & set(table.columns) if changed else set()
    mended = table.with_columns(
        *map(relabelled, sorted(columns)), group=pl.Series([groups[id_] for id_ in ids], dtype=pl.String)
    )
    before, after = table.filter(kept), mended.filter(kept)
    applied = Applied(
        dropped=int((~kept).sum()),
        relabelled=_different(before, after, "label"),
        regrouped=_different(before, after, "group"),
        unconfirmed=0 if relabel else sum(action.action == PROPOSED for action in actions),
        torn=max(0, _torn(after) - _torn(before)),
    )
    return samples.with_table(after), applied


def write_manifest(samples: Samples, path: Path) -> None:
    """Write a manifest where none is yet; the very same one may be there already."""
    require_manifest_name(path)
    path = absolute(path)
    fresh = path.with_name(f".{path.stem}.fresh{path.suffix}")
    try:
        samples.save(fresh)
        if not path.exists():
            fresh.replace(path)
        elif path.is_dir() or path.read_bytes() != fresh.read_bytes():
            raise HandlensError(
                f"{path} is there already, and nothing is ever written over. Choose a new name with --apply."
            )
    finally:
        fresh.unlink(missing_ok=True)


def require_manifest_name(path: Path) -> None:
    """Tell early what could not be written in the end."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise HandlensError(f"A manifest is a .parquet or a .csv file: give {path} one of these endings.")


def _require_known(samples: Samples, actions: Sequence[Action]) -> None:
    known = set(samples.table["id"])
    unknown = list(dict.fromkeys(action.id for action in actions if action.id not in known))
    if unknown:
        raise HandlensError(
            f"{len(unknown)} of {len(actions)} rows name pictures that are not there "
            f"({join_names(unknown, 3)}). Give the data that were audited, and a table made from them."
        )


def _labels(samples: Samples, actions: Sequence[Action], relabel: bool) -> dict[str, str]:
    """The new label of each picture that gets one; only one of those that there are."""
    wanted = (CONFIRMED, PROPOSED) if relabel else (CONFIRMED,)
    labels: dict[str, str] = {}
    problems = []
    for action in actions:
        if action.action not in wanted:
            continue
        if action.to not in samples.classes:
            problems.append(
                f"{action.id}: there is no class {action.to!r}.{suggestion(action.to, samples.classes)}"
            )
        elif labels.setdefault(action.id, action.to) != action.to:
            problems.append(f"{action.id}: it is to be both {labels[action.id]!r} and {action.to!r}.")
    if problems:
        raise Problems("Labels cannot be set:", problems[:20])
    return labels


def _kept(parents: Sequence[Sequence[int]], stays: Sequence[bool]) -> NDArray[np.bool_]:
    """Which pictures are left: what was made from a picture goes with it.

    Where that one is there as several files, it goes with the last of them.
    """
    kept = np.array(stays, dtype=bool)
    while gone := [
        row for row, above in enumerate(parents) if kept[row] and above and not kept[[*above]].any()
    ]:
        kept[gone] = False
    return kept


def _changed(
    parents: Sequence[Sequence[int]],
    kept: NDArray[np.bool_],
    labels: Sequence[str | None],
    named: Mapping[int, str],
) -> dict[int, str]:
    """The label of each picture that gets a new one: what was made from a picture bears its label.

    Where that one is there as several files, these have to agree: a label that is taken from one of them
    while another one keeps its own says nothing about what was made before either was mended.
    """
    changed = dict(named)

    def told(row: int) -> str | None:
        """What the files say that a picture was made from, if any of them has got a new label."""
        above = [each for each in parents[row] if kept[each]]
        said = {changed.get(each, labels[each]) for each in above}
        return said.pop() if len(said) == 1 and not changed.keys().isdisjoint(above) else None

    while more := {row: new for row in range(len(labels)) if row not in changed and (new := told(row))}:
        changed |= more
    return changed


def _groups(group_of: Mapping[str, str], actions: Sequence[Action]) -> dict[str, str]:
    """The group of each picture: whole groups join, under the name that the table gives them."""
    # Names of the table stand apart, so that they join nothing by being called like another group.
    joined: Joined[tuple[str, bool]] = Joined()
    own = set(group_of.values())
    for action in actions:
        if action.action == GROUP:
            # A name of the table that is a group's means that group.
            joined.join((group_of[action.id], False), (action.to, action.to not in own))
    called = {name: min(names, key=_told_first)[0] for names in joined.sets() for name in names}
    return {id_: called.get((group, False), group) for id_, group in group_of.items()}


def _told_first(name: tuple[str, bool]) -> tuple[bool, str]:
    """A joined group is called as the table says, else by the smallest of its names."""
    return not name[1], name[0]


def _different(before: pl.DataFrame, after: pl.DataFrame, column: str) -> int:
    return int(before[column].ne_missing(after[column]).sum())


def _torn(table: pl.DataFrame) -> int:
    """Groups on more than one side."""
    sides = table.drop_nulls("split").group_by("group").agg(pl.col("split").n_unique())
    return int((sides["split"] > 1).sum())
