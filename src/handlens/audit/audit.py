"""The story of an audit, read from top to bottom: pictures in, a page and a table of what to mend out."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handlens.audit import actions, balance, files, shortcuts, trials
from handlens.audit.balance import ClassCount
from handlens.audit.finding import Finding, Severity, Subject
from handlens.audit.looks import looks
from handlens.audit.page import TITLES, WORDS, write_page
from handlens.audit.spec import AuditSpec
from handlens.audit.trials import Shortcut
from handlens.base.errors import HandlensError
from handlens.base.files import digest, only_writer, write_json, write_text
from handlens.data.check import Checked, check
from handlens.data.copies import Copies, by_features, find_copies, grouped
from handlens.data.names import name_of_data
from handlens.data.samples import Samples
from handlens.data.walk import absolute
from handlens.report.words import count

if TYPE_CHECKING:
    from handlens.training.extract import Extractor

SEVERITIES: tuple[Severity, ...] = ("must", "should", "note")
CHECKS = ("files", "copies", "leak", "labels", "shortcuts", "balance")

PAGE, RECORD, TABLE = "audit.html", "audit.json", "actions.csv"
WRITTEN = "actions_digest"


@dataclass(frozen=True)
class Audited:
    """What an audit found, and where it stands."""

    folder: Path
    checked: Checked
    findings: tuple[Finding, ...]
    """The gravest first."""
    shortcuts: tuple[Shortcut, ...]
    classes: tuple[ClassCount, ...]
    quick: bool

    @property
    def must(self) -> bool:
        """Whether something has to be mended before any figure is believed."""
        return any(found.severity == "must" for found in self.findings)

    @property
    def page(self) -> Path:
        """What a person reads."""
        return self.folder / PAGE

    @property
    def actions(self) -> Path:
        """What a person changes, and `--apply` does."""
        return self.folder / TABLE

    def headline(self) -> str:
        """What came out, in a sentence."""
        return headline(self.findings)

    def lines(self) -> list[str]:
        """What came out, for a terminal; of what has to be mended all that is said."""
        told = [f"{self.headline()}.", ""]
        for found in self.findings:
            told.append(f"{WORDS[found.severity]:<5} {TITLES[found.check]}: {found.title}")
            if found.severity == "must":
                told.append(f"      {found.sentence}")
        return [*told, "", f"Pictures and reasons: {self.page}", f"What is proposed: {self.actions}"]

    def as_json(self) -> dict[str, Any]:
        """What came out, for programs."""
        return {
            "root": str(self.checked.samples.root),
            "notes": list(self.checked.notes),
            "pictures": len(self.checked.samples),
            "groups": self.checked.samples.table["group"].n_unique(),
            "quick": self.quick,
            "must_be_mended": self.must,
            "findings": [_finding_as_json(found) for found in self.findings],
            "shortcuts": [shortcuts.as_json(each) for each in self.shortcuts],
            "classes": [balance.as_json(each) for each in self.classes],
        }


def run_audit(samples: Samples, spec: AuditSpec, out: Path, command: str = "") -> Audited:
    """Look at pictures as a careful person would before believing any figure, and write down what was found.

    Nothing is written but into the folder `out`. What was found about files is remembered, so that a second
    audit is quick.
    """
    folder = absolute(out)
    refuse_other_folder(folder)
    checked = checked_for(samples, spec)
    subject = Subject(checked.samples, checked.facts, spec.seed)
    seen = looks(checked.facts, spec.data.pixel_limit)
    extractor = None if spec.quick else _extractor(spec)
    found = list(files.find(subject, seen, checked.bad, spec.files))

    confirm = None
    if extractor is not None:
        from handlens.audit.quick_head import turned_features

        confirm = by_features(turned_features(checked.samples, extractor))
    copied = find_copies(checked.facts, confirm=confirm, pixel_limit=spec.data.pixel_limit)
    found += _about_copies(subject, copied, extractor)
    # From here on copies count as one group, so that none is learned from when another is judged.
    apart = replace(subject, samples=grouped(checked.samples, copied.clusters))
    if extractor is not None:
        from handlens.audit.labels import labels

        found += labels(apart, extractor)
    tried = trials.measure(apart, seen, spec.shortcuts)
    counted = balance.counts(apart, spec.balance)
    found += [*shortcuts.find(tried, spec.shortcuts), *balance.find(apart, counted, spec.balance)]

    audited = Audited(folder, checked, tuple(_gravest_first(found)), tuple(tried), tuple(counted), spec.quick)
    _write(audited, command)
    return audited


def refuse_other_folder(folder: Path) -> None:
    """An audit writes into a folder of its own, and never over a table that a person has changed."""
    if folder.exists() and not folder.is_dir():
        raise HandlensError(f"{folder} is a file. Choose a folder with --out.")
    entries = folder.iterdir() if folder.is_dir() else ()
    # Systems leave hidden files wherever somebody looks.
    there = {entry.name for entry in entries if not entry.name.startswith(".")}
    if not there <= {PAGE, RECORD, TABLE}:
        raise HandlensError(
            f"{folder} holds other files, and nothing is written among them. Choose another "
            "folder with --out."
        )
    table = changed_table(folder)
    if table is not None:
        raise HandlensError(
            f"{table} was changed since it was written, and an audit would write over it. Do what "
            "it says with --apply NEW.csv, move it away, or choose another folder with --out."
        )


def changed_table(folder: Path) -> Path | None:
    """The table of an earlier audit in a folder, if a person has changed it since."""
    record, table = absolute(folder) / RECORD, absolute(folder) / TABLE
    # Without the record an audit was stopped while it wrote.
    if record.is_file() and table.is_file() and digest(table.read_bytes()) != _recorded(record):
        return table
    return None


def audit_folder(data: str, audits: Path = Path("audits")) -> Path:
    """`audits/<data>`, where an audit goes that was told no folder."""
    return audits / name_of_data(data)


def headline(findings: Sequence[Finding]) -> str:
    """What came out, in a sentence without its full stop."""
    must, should = (sum(found.severity == grave for found in findings) for grave in ("must", "should"))
    if must:
        also = f", {should:,} more to look at" if should else ""
        return f"{count(must, 'thing')} to mend before any figure is believed{also}"
    if should:
        return f"Nothing has to be mended, {count(should, 'thing')} to look at"
    return "Nothing stands out"


def checked_for(samples: Samples, spec: AuditSpec) -> Checked:
    """The pictures that can be read, grouped."""
    # However many are bad: telling it is what an audit is for.
    return check(samples, spec.data.model_copy(update={"max_bad": 1.0}))


def _extractor(spec: AuditSpec) -> "Extractor":
    """The frozen network; imported here, because a quick audit does without it."""
    from handlens.data.views import ViewsSpec
    from handlens.training.device import choose_device
    from handlens.training.extract import Extractor

    views = ViewsSpec(judge=spec.view)
    return Extractor(spec.model, views, choose_device("auto"), spec.data.pixel_limit)


def _about_copies(subject: Subject, copied: Copies, extractor: "Extractor | None") -> Iterator[Finding]:
    from handlens.audit.copies import copies
    from handlens.audit.leak import leak

    yield from copies(subject, copied)
    yield from leak(subject, copied, extractor)
    for mark in subject.samples.marks:
        yield Finding(
            "leak",
            "must",
            f"The manifest itself says “{mark}”",
            "Copies stand on both sides of its split, or will stand there. Take the pictures from before.",
        )


def _gravest_first(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda found: (SEVERITIES.index(found.severity), CHECKS.index(found.check)))


def _write(audited: Audited, command: str) -> None:
    """The page and the table, and last the record, which makes them complete."""
    record = audited.folder / RECORD
    with only_writer(audited.folder):
        record.unlink(missing_ok=True)
        table = actions.table_of(audited.findings)
        write_text(audited.actions, table)
        write_page(audited, command)
        write_json(record, audited.as_json() | {WRITTEN: digest(table.encode())})


def _recorded(record: Path) -> str | None:
    """The hash of the table as it was written."""
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return values.get(WRITTEN) if isinstance(values, dict) else None


def _finding_as_json(found: Finding) -> dict[str, Any]:
    return {
        "check": found.check,
        "severity": found.severity,
        "title": found.title,
        "sentence": found.sentence,
        "rows": [
            {
                "id": row.id,
                "action": row.action,
                "to": row.to,
                "beside": list(row.beside),
                "figure": row.figure,
                "why": row.why,
            }
            for row in found.rows
        ],
    }
