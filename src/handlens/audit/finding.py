"""What a check found: a sentence, how grave it is, and the pictures that it concerns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from handlens.data.samples import Samples
from handlens.data.scan import FileFacts

Severity = Literal["must", "should", "note"]
Action = Literal["", "drop", "group together", "relabel?"]


@dataclass(frozen=True)
class Row:
    """One picture of a finding: what is proposed for it, and which pictures to see beside it.

    `to` is the name of the group for "group together" and the likely label for "relabel?"; "drop" needs none.
    """

    id: str
    action: Action = ""
    to: str = ""
    beside: tuple[str, ...] = ()
    figure: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that a check has to tell.

    A "must" has to be mended before any number is believed, a "should" is to be looked at, a "note" is told.
    """

    check: str
    severity: Severity
    title: str
    sentence: str
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What every check looks at: checked and grouped samples, and the facts of their files.

    The facts stand in the order of the samples and are those of the files that could be read.
    """

    samples: Samples
    facts: Sequence[FileFacts]
    seed: int
