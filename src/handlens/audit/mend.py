"""What an audit proposed, done: a new manifest, while pictures stay where and as they are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from handlens.audit import actions
from handlens.audit.actions import Action, Applied, proposed, read_actions, require_manifest_name
from handlens.audit.audit import Audited, changed_table, checked_for, run_audit
from handlens.audit.spec import AuditSpec
from handlens.base.errors import HandlensError
from handlens.data.samples import Samples


@dataclass(frozen=True)
class Mended:
    """A manifest that was written, and what was done in it."""

    manifest: Path
    table: Path | None
    """The table that was followed; none: what the audit has just proposed."""
    applied: Applied

    def lines(self) -> list[str]:
        """What was done, for a terminal."""
        by = f"As {self.table} says: " if self.table else "As proposed: "
        first, *others = self.applied.sentences()
        return [by + first, *others, f"Manifest: {self.manifest}"]


@dataclass(frozen=True)
class Done:
    """What one command did: an audit, a manifest, or both."""

    audited: Audited | None
    mended: Mended | None

    @property
    def must(self) -> bool:
        """Whether the pictures, as they were given, have to be mended."""
        return self.audited is not None and self.audited.must

    def lines(self) -> list[str]:
        """What came out, for a terminal."""
        return [line for part in (self.audited, self.mended) if part for line in part.lines()]

    def as_json(self) -> dict[str, Any]:
        """What came out, for programs."""
        told: dict[str, Any] = {}
        if self.audited:
            told |= self.audited.as_json()
            told |= {"page": str(self.audited.page), "actions": str(self.audited.actions)}
        if self.mended:
            table = str(self.mended.table) if self.mended.table else None
            told["applied"] = {
                "manifest": str(self.mended.manifest),
                "table": table,
                **asdict(self.mended.applied),
            }
        return told


def audit_or_mend(
    samples: Samples,
    spec: AuditSpec,
    folder: Path,
    command: str = "",
    *,
    apply: Path | None = None,
    table: Path | None = None,
    relabel: bool = False,
) -> Done:
    """Audit pictures, and write the manifest `apply` in which they are mended.

    Where there is a table that a person has changed, it is followed and no audit is made. It is the one
    that is given, or that of an earlier audit in the folder.
    """
    if apply is None:
        if table is not None or relabel:
            raise HandlensError("--actions and --relabel say how to mend. Say where with --apply NEW.csv.")
        return Done(run_audit(samples, spec, folder, command), None)
    require_manifest_name(apply)
    table = table or changed_table(folder)
    if table is not None:
        return Done(None, Mended(apply, table, mend(samples, spec, read_actions(table), apply, relabel)))
    audited = run_audit(samples, spec, folder, command)
    applied = mend(samples, spec, proposed(audited.findings), apply, relabel)
    return Done(audited, Mended(apply, None, applied))


def mend(
    samples: Samples, spec: AuditSpec, wanted: Sequence[Action], to: Path, relabel: bool = False
) -> Applied:
    """Write a new manifest in which some actions are done; files that cannot be read are not in it."""
    checked = checked_for(samples, spec)
    unreadable = {id_ for id_, _ in checked.bad}
    asked = [action for action in wanted if action.id not in unreadable]
    mended, applied = actions.apply(checked.samples, asked, relabel)
    applied = replace(applied, unreadable=len(unreadable))
    actions.write_manifest(mended.with_table(mended.table.drop("digest"), *applied.sentences()), to)
    return applied
