"""Samples made believable: unreadable pictures left out and named, copies brought into one group."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import Field

from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.base.spec import Spec
from handlens.data.groups import GroupSpec, assign_groups, conflicting_copies
from handlens.data.image import PIXEL_LIMIT
from handlens.data.samples import Samples, join_names
from handlens.data.scan import FileFacts, same_pixels, scan
from handlens.data.tables import judged_by


class DataSpec(Spec):
    """How the pictures are read, checked and grouped."""

    label: str | None = None
    """The column that is judged, where a table has several; none: `label`."""
    group: GroupSpec = GroupSpec()
    """What pictures came from: all pictures of one group stay on one side of the split."""
    max_bad: float = Field(0.01, ge=0, le=1)
    """Share of unreadable pictures above which the run stops."""
    pixel_limit: int = Field(PIXEL_LIMIT, ge=1)
    """Pictures with more pixels are left out."""


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

    @property
    def digest(self) -> str:
        """Hash of all contents, labels and groups."""
        rows = self.samples.table.select("id", "digest", "label", "group").sort("id").rows()
        return digest(*("\t".join(map(str, row)) for row in rows))


def check(samples: Samples, spec: DataSpec) -> Checked:
    """Look at every file, leave the unreadable ones out, and group what belongs together."""
    if spec.label not in (None, samples.label_name):
        samples = judged_by(samples, str(spec.label))
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
            f"There is only one class, {samples.classes[0]!r}: nothing to tell apart. "
            "Add a folder with pictures of another class."
        )
    same = same_pixels(facts, pixel_limit=spec.pixel_limit)
    grouped = assign_groups(samples, spec.group, same)
    conflicts = tuple(copies.sentence() for copies in conflicting_copies(grouped, same))
    return Checked(grouped, tuple(bad), conflicts, (*grouped.notes, *_told(facts)))


def _bad(samples: Samples, facts: Sequence[FileFacts]) -> list[tuple[str, str]]:
    return [
        (name, fact.problem)
        for name, fact in zip(samples.table["id"], facts, strict=True)
        if fact.problem is not None
    ]


def _too_many(bad: Sequence[tuple[str, str]], num: int, limit: float) -> str:
    named = "\n".join(f"  - {name}: {reason}" for name, reason in bad[:20])
    more = f"\n  - and {len(bad) - 20} more" if len(bad) > 20 else ""
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
