"""How pictures are prepared before a study: honestly, or as the paper did it.

The honest way divides first, by what pictures came from, and expands the training side alone. The papers'
way expands first and divides then, or throws generated pictures into the same heap: copies of one picture
stand on both sides, and what is learned by heart is judged.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from handlens.data.check import DataSpec, check
from handlens.data.derived import MADE_BY, PAPER_PROTOCOL, derived_rows, without_derived
from handlens.data.expand import before_any_split, expand
from handlens.data.expand_plan import ExpandSpec
from handlens.data.groups import GroupSpec
from handlens.data.samples import Samples
from handlens.data.split import SplitSpec
from handlens.reproduce.paper import PaperSpec, ProtocolName

HONEST: ProtocolName = "honest"
AS_PAPER: ProtocolName = "paper"
WITHOUT: ProtocolName = "without"

WORDS: dict[ProtocolName, str] = {
    HONEST: "divided first, by what pictures came from",
    AS_PAPER: "the paper's protocol, which leaks",
    WITHOUT: "without generated pictures",
}


@dataclass(frozen=True)
class Given:
    """The pictures of a reproduction, and how they are to be divided."""

    samples: Samples
    source: str
    folder: Path
    """Where new pictures may go, a folder a protocol."""
    division: SplitSpec
    group: GroupSpec | None

    @property
    def has_generated(self) -> bool:
        """Whether some of the pictures were made from others."""
        return bool(derived_rows(self.samples).any())


def honest(given: Given, paper: PaperSpec) -> Samples:
    """Divided by what pictures came from; only then is the training side expanded."""
    if paper.expand is None:
        return given.samples
    return expand(
        given.samples,
        given.source,
        given.folder / "honest-pictures",
        ExpandSpec.load(paper.expand),
        division=given.division,
        group=given.group,
    ).samples


def as_paper(given: Given, paper: PaperSpec) -> Samples:
    """All pictures first expanded, or with generated ones in one heap; then divided picture by picture."""
    if paper.expand is None:
        checked = check(given.samples, DataSpec(group=given.group or GroupSpec())).samples
        # What files hold is looked at anew whenever pictures are checked.
        heap = before_any_split(checked.with_table(checked.table.drop("digest")))
        return replace(heap, marks=(*heap.marks, PAPER_PROTOCOL))
    return expand(
        given.samples,
        given.source,
        given.folder / "paper-pictures",
        ExpandSpec.load(paper.expand),
        group=given.group,
        paper_protocol=True,
    ).samples


def without(given: Given, paper: PaperSpec) -> Samples:
    """The pictures that were taken, and no generated ones."""
    del paper
    return without_derived(given.samples)


def missing(name: ProtocolName, given: Given, paper: PaperSpec) -> str:
    """Why a protocol says nothing of these pictures; empty where it does."""
    if name == HONEST or paper.expand is not None or given.has_generated:
        return ""
    return (
        f"Not run: {WORDS[name]}. None of these pictures were generated (no column {MADE_BY!r}); "
        "'handlens synthesize' makes some."
    )


PROTOCOLS: dict[ProtocolName, Callable[[Given, PaperSpec], Samples]] = {
    HONEST: honest,
    AS_PAPER: as_paper,
    WITHOUT: without,
}
