"""Samples made believable: unreadable pictures left out and named, copies brought into one group."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl
from pydantic import Field, model_validator

from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.base.spec import Spec
from handlens.data.groups import GroupSpec, assign_groups, conflicting_copies
from handlens.data.image import PIXEL_LIMIT
from handlens.data.kinds import FOLDER_COLUMN, Kinds, classes_in_kind_folders
from handlens.data.samples import Samples, join_names
from handlens.data.scan import FileFacts, same_pixels, scan
from handlens.data.tables import judged_by
from handlens.data.tasks import task_columns, with_tasks, without_any_label


class DataSpec(Spec):
    """How the pictures are read, checked and grouped."""

    label: str | None = None
    """The column that is judged, where a table has several; none: `label`."""
    tasks: tuple[str, ...] = ()
    """Further columns of labels to learn and judge at the same time; a picture may lack some of them."""
    kinds: dict[str, tuple[str, ...]] | None = None
    """Classes that belong together by the name of their kind, such as {metal: [can, foil]}, judged too."""
    kind_column: str | None = None
    """The column that names the kind of each picture's class, instead of `kinds`."""
    kind_folders: bool = False
    """Whether class folders lie in folders of kinds (kind/class/picture.jpg), instead of `kinds`."""
    group: GroupSpec = GroupSpec()
    """What pictures came from: all pictures of one group stay on one side of the split."""
    max_bad: float = Field(0.01, ge=0, le=1)
    """Share of unreadable pictures above which the run stops."""
    pixel_limit: int = Field(PIXEL_LIMIT, ge=1)
    """Pictures with more pixels are left out."""

    @model_validator(mode="after")
    def _one_way_to_kinds(self) -> Self:
        ways = [name for name in ("kinds", "kind_column", "kind_folders") if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} both say which classes belong together: keep one of them")
        return self


@dataclass(frozen=True)
class Checked:
    """Samples whose pictures can all be read, and what was found on the way."""

    samples: Samples
    """With the column `digest`, the hash of each file."""
    bad: tuple[tuple[str, str], ...]
    """Pictures that were left out: id and reason."""
    conflicts: tuple[str, ...]
    """Identical pictures under different labels, in sentences."""
    notes: tuple[str, ...]
    """Other things worth knowing."""
    tasks: tuple[str, ...] = ()
    """The columns of the further tasks."""
    facts: tuple[FileFacts, ...] = ()
    """What each file is, in the order of the samples."""

    @property
    def digest(self) -> str:
        """Hash of all contents, labels and groups."""
        columns = ("id", "digest", "label", "group", *self.tasks)
        rows = self.samples.table.select(columns).sort("id").rows()
        return digest(*("\t".join(map(str, row)) for row in rows))


def check(samples: Samples, spec: DataSpec) -> Checked:
    """Look at every file, leave the unreadable ones out, and group what belongs together."""
    samples = _labelled(samples, spec)
    facts = scan([Path(path) for path in samples.table["path"]], pixel_limit=spec.pixel_limit)
    bad = _bad(samples, facts)
    if len(bad) > spec.max_bad * len(samples):
        raise HandlensError(_too_many(bad, len(samples), spec.max_bad))
    good = [place for place, fact in enumerate(facts) if fact.problem is None]
    facts = [facts[place] for place in good]
    table = samples.table[good].with_columns(
        digest=pl.Series([fact.digest for fact in facts], dtype=pl.String)
    )
    samples = samples.with_table(table)
    if not good:
        raise HandlensError(_too_many(bad, len(bad), spec.max_bad))
    if len(samples.classes) < 2:
        raise HandlensError(
            f"There is only one class, {', '.join(map(repr, samples.classes))}: nothing to tell apart. "
            "Add a folder with pictures of another class."
            if samples.classes
            else "No picture that can be read has a label of the main task. Choose another with data.label."
        )
    same = same_pixels(facts, pixel_limit=spec.pixel_limit)
    grouped = assign_groups(samples, spec.group, same)
    tasks = task_columns(grouped, spec.tasks)
    conflicts = tuple(sentence for name in ("label", *tasks) for sentence in _conflicts(grouped, name, same))
    return Checked(grouped, tuple(bad), conflicts, (*grouped.notes, *_told(facts)), tasks, tuple(facts))


def kinds_of(samples: Samples, spec: DataSpec) -> Kinds | None:
    """The kinds of the classes of checked samples, if the recipe asks for any."""
    if spec.kinds is not None:
        return Kinds.of(samples.classes, spec.kinds, "data.kinds")
    if spec.kind_column is not None:
        return Kinds.from_column(samples, spec.kind_column)
    return Kinds.from_column(samples, FOLDER_COLUMN) if spec.kind_folders else None


def _labelled(samples: Samples, spec: DataSpec) -> Samples:
    """The pictures with the labels that the recipe asks for; each must have one at least."""
    if spec.label not in (None, samples.label_name):
        samples = judged_by(samples, str(spec.label), spec.tasks)
    if spec.kind_folders:
        samples = classes_in_kind_folders(samples)
    samples = with_tasks(samples, spec.tasks)
    lacking = without_any_label(samples.table, "label", spec.tasks)
    if lacking:
        names = samples.table["id"].gather(lacking).to_list()
        other = " nor one of the further tasks" if spec.tasks else ""
        raise HandlensError(
            f"{len(lacking)} of {len(samples)} pictures have no label{other} ({join_names(names, 3)}). "
            "Fill it in, take them out, or name the column that labels them in data.tasks."
        )
    return samples


def _conflicts(samples: Samples, column: str, same: Sequence[Sequence[int]]) -> list[str]:
    """Identical pictures under different labels of one task; a missing label contradicts none."""
    known = samples.table[column].is_not_null().to_list()
    labelled = [[row for row in rows if known[row]] for rows in same]
    told = samples.with_table(samples.table.with_columns(label=pl.col(column)))
    of = "" if column == "label" else f"{column}: "
    return [of + copies.sentence() for copies in conflicting_copies(told, labelled)]


def _bad(samples: Samples, facts: Sequence[FileFacts]) -> list[tuple[str, str]]:
    return [
        (name, fact.problem)
        for name, fact in zip(samples.table["id"], facts, strict=True)
        if fact.problem is not None
    ]


def _too_many(bad: Sequence[tuple[str, str]], num: int, limit: float) -> str:
    named = "\n".join(f"  - {name}: {reason}" for name, reason in bad[:20])
    more = f"\n  - and {len(bad) - 20} more" if len(bad) > 20 else ""
    if num == 0:
        return "There is no picture to look at: what was given names none."
    if len(bad) == num:
        return f"None of the {num} pictures can be used:\n{named}{more}"
    return (
        f"{len(bad)} of {num} pictures cannot be used, more than the {limit:.0%} that data.max_bad allows:\n"
        f"{named}{more}\n"
        "Mend or remove them, or allow more, for example --set data.max_bad=0.1."
    )


def _told(facts: Sequence[FileFacts]) -> list[str]:
    """What the scan noted about files that are used, the same note told once with its count."""
    places: dict[str, list[str]] = {}
    for fact in facts:
        for note in fact.notes:
            places.setdefault(note, []).append(fact.path.name)
    return [f"{note}: {join_names(names, 3)}" for note, names in places.items()]
