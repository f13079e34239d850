"""The page of an audit: what was found, the gravest first, with the pictures side by side."""

import io
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from handlens import __version__
from handlens.audit import shortcuts
from handlens.audit.finding import Finding, Row
from handlens.audit.trials import FEWEST_GROUPS
from handlens.base.errors import HandlensError
from handlens.base.files import write_text
from handlens.base.parallel import in_order
from handlens.data.image import open_picture
from handlens.data.samples import SIDES
from handlens.report.pages import page_template
from handlens.report.thumbnails import QUALITY, data_uri
from handlens.report.words import count

if TYPE_CHECKING:
    from handlens.audit.audit import Audited

EDGE = 208
"""The long side of a picture on the page."""
MOST_SETS = 12
"""Of sets of pictures to be compared so many are shown, and of single pictures twice as many."""
MOST_PICTURES = 24

TITLES = {
    "files": "Files",
    "copies": "Copies",
    "leak": "Leaks of the split",
    "labels": "Labels",
    "shortcuts": "Shortcuts",
    "balance": "Balance and coverage",
}
# The report's colours for what is grave.
COLOURS = {"must": "serious", "should": "caution", "note": "note"}
WORDS = {"must": "Mend", "should": "Look", "note": "Note"}
QUESTIONS = {"class": "The class", "split": "Training or test"}

NOTHING = {
    "files": "Every file can be read, and none stands out by its size, its mode, its sharpness or its light.",
    "copies": "No picture is there twice, neither as the same file nor as nearly the same picture.",
    "leak": "No picture of the test or the validation side has a copy or one of its group in training.",
    "labels": "Nothing was found.",
    "shortcuts": "Nothing tells by more than the margin from which on it would be named.",
    "balance": "No class is too small or too uneven.",
}
"""What is said of a check that found nothing."""
NO_SPLIT = "There is no split that could leak. Give one with --split, or audit a manifest that has sides."
NO_TRIAL = f"None was sought: fewer than two classes have {count(FEWEST_GROUPS, 'group')}."
NONE_DRAWN = "None was sought: of fewer than two classes groups could be drawn."
NOT_QUICKLY = "Not looked for in a quick audit."


@dataclass(frozen=True)
class Shown:
    """One picture with what stands below it."""

    id: str
    label: str
    side: str
    action: str
    why: str


@dataclass(frozen=True)
class Together:
    """Pictures to be compared with each other."""

    pictures: tuple[Shown, ...]
    action: str
    """What is proposed for all of them alike; it then stands at none of them."""


@dataclass(frozen=True)
class Told:
    """One finding with its pictures."""

    finding: Finding
    key: str
    sets: tuple[Together, ...]
    single: tuple[Shown, ...]
    more: int
    """Rows that are only in the table."""


def write_page(audited: "Audited", command: str) -> None:
    """Write the page; it stands alone and opens anywhere."""
    samples = audited.checked.samples
    table = samples.table
    facts = {id_: (label, side) for id_, label, side in table.select("id", "label", "split").iter_rows()}
    told = [_told(number, finding, facts) for number, finding in enumerate(audited.findings)]
    wanted = {shown.id for each in told for shown in each.single}
    wanted |= {shown.id for each in told for some in each.sets for shown in some.pictures}
    paths = {id_: Path(path) for id_, path in table.select("id", "path").iter_rows() if id_ in wanted}
    proposals = [row.action for finding in audited.findings for row in finding.rows if row.action]
    text = page_template("audit.html").render(
        titles=TITLES,
        colours=COLOURS,
        words=WORDS,
        name_of_data=samples.root.name,
        root=str(samples.root),
        headline=audited.headline(),
        samples=samples,
        num_groups=table["group"].n_unique(),
        num_bad=len(audited.checked.bad),
        quick=audited.quick,
        told=told,
        nothing=_nothing(audited),
        notes=audited.checked.notes,
        thumbnails=whole_thumbnails(paths),
        tried={
            words: [each for each in audited.shortcuts if each.of == of] for of, words in QUESTIONS.items()
        },
        left_out=shortcuts.left_out(audited.classes, audited.shortcuts),
        classes=audited.classes,
        sides=[side for side in SIDES if any(side in each.by_side for each in audited.classes)],
        proposals={action: proposals.count(action) for action in ("drop", "group together", "relabel?")},
        actions=audited.actions.name,
        command=command,
        mending=_mending(command),
        version=__version__,
    )
    write_text(audited.page, text)


def _nothing(audited: "Audited") -> dict[str, str]:
    """What is said of the checks that found nothing, or were not made."""
    found = {finding.check for finding in audited.findings}
    said = {check: words for check, words in NOTHING.items() if check not in found}
    if "leak" in said and not audited.checked.samples.is_split:
        said["leak"] = NO_SPLIT
    if "shortcuts" in said and not audited.shortcuts:
        enough = [each for each in audited.classes if each.groups >= FEWEST_GROUPS]
        said["shortcuts"] = NONE_DRAWN if len(enough) > 1 else NO_TRIAL
    if "labels" in said and audited.quick:
        said["labels"] = NOT_QUICKLY
    return said


def _mending(command: str) -> str:
    """The command that does what the table says; empty where it is not known how the audit was called."""
    if not command:
        return ""
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        if word in ("--apply", "--actions"):
            next(words, None)
        elif word not in ("--json", "--relabel") and not word.startswith(("--apply=", "--actions=")):
            kept.append(word)
    return shlex.join([*kept, "--apply", "mended.csv"])


def whole_thumbnails(paths: dict[str, Path]) -> dict[str, str]:
    """Each picture small but whole, borders and all, as a data URI; those that are gone have none."""

    def small(item: tuple[str, Path]) -> tuple[str, str | None]:
        return item[0], _small(item[1])

    return {id_: uri for id_, uri in in_order(small, paths.items()) if uri is not None}


def _small(path: Path) -> str | None:
    try:
        picture = open_picture(path, at_least=EDGE)
    except HandlensError:
        return None
    picture.thumbnail((EDGE, EDGE), Image.Resampling.BILINEAR)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=QUALITY)
    return data_uri(written.getvalue())


def _told(number: int, finding: Finding, facts: dict[str, tuple[str | None, str | None]]) -> Told:
    """A finding with so many of its pictures as fit on a page."""
    together: dict[frozenset[str], list[Row]] = {}
    alone = []
    for row in finding.rows:
        if row.beside:
            together.setdefault(frozenset((row.id, *row.beside)), []).append(row)
        else:
            alone.append(row)
    rows = {row.id: row for row in finding.rows}
    sets = []
    for members in list(together.values())[:MOST_SETS]:
        ids = dict.fromkeys((*(row.id for row in members), *members[0].beside))
        sets.append(_together([_shown(id_, rows.get(id_), facts) for id_ in ids]))
    single = tuple(_shown(row.id, row, facts) for row in alone[:MOST_PICTURES])
    shown = {each.id for some in sets for each in some.pictures} | {each.id for each in single}
    more = sum(row.id not in shown for row in finding.rows)
    return Told(finding, f"finding-{number}", tuple(sets), single, more)


def _together(pictures: list[Shown]) -> Together:
    actions = {each.action for each in pictures}
    if len(actions) > 1:
        return Together(tuple(pictures), "")
    return Together(tuple(replace(each, action="") for each in pictures), actions.pop())


def _shown(id_: str, row: Row | None, facts: dict[str, tuple[str | None, str | None]]) -> Shown:
    label, side = facts.get(id_, (None, None))
    # The name of a group says no more than the pictures that stand together here.
    to = f" {row.to}" if row and row.action == "relabel?" else ""
    action = row.action + to if row else ""
    return Shown(id_, label or "", side or "", action, row.why if row else "")
