"""Leaks: pictures of the test side that have a copy among those that are learned from.

A copy is the same file, the same pixels, or nearly the same picture: resized, saved again, cropped a little,
turned. What is done about it depends on who made the split. One that came with the pictures is refused. One
that is made here keeps identical pictures together anyway; the near copies that it tears apart are told, with
the accuracy without them: no other split would be better, before somebody has said what belongs together.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import PIL

from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder, digest
from handlens.base.remembered import Remembered
from handlens.base.spec import Spec
from handlens.data.check import Checked
from handlens.data.copies import CopySpec, find_copies
from handlens.data.derived import PAPER_PROTOCOL, derived_rows
from handlens.data.image import PIXEL_LIMIT
from handlens.data.samples import Samples, join_names
from handlens.data.scan import FileFacts
from handlens.data.split import SplitReport, SplitSpec, split

ALLOWED_LEAK = "leaking: allow-leak"
"""The mark of samples with a leaking split that were trained on all the same."""

LEARNED = ("train", "val")
"""The sides that a model is made from: what it learns, and what chooses its settings."""

_NAMED = 3

# The audit asks 16, which finds a few more of the pairs that were not made by a program: another shot of the
# same thing. Copies that were are found by these as well, in a third of the time.
_QUICK = CopySpec(neighbours=4)

# Raised when copies come to be found differently: what older versions remembered is then left alone.
_VERSION = 1

_REFUSED = (
    "The split that came with the pictures leaks. {leak} What is learned by heart would be judged, and the "
    "figures would be too good. 'handlens audit DATA --apply mended.csv' shows them side by side and writes "
    "a table without those in training: train on mended.csv. To train all the same, and have the run say so, "
    "add --allow-leak."
)


class Copied(Spec):
    """A judged picture, and those of its copies that are learned from."""

    id: str
    """The picture that is judged."""
    copies: tuple[str, ...]
    """Its copies in training or validation, the first few of them."""

    def words(self) -> str:
        """Which picture it is, and of which it is a copy."""
        return f"{self.id} (a copy of {join_names(self.copies, 1)})"


@dataclass(frozen=True)
class Leak:
    """The pictures of a side that have copies in training; a split leaks if there is any."""

    copied: tuple[Copied, ...]
    learned: tuple[str, ...]
    """The copies of these that are learned from."""
    num_judged: int
    """How many pictures the side has."""
    side: str = "test"

    def sentence(self) -> str:
        """How many they are, and which, for people."""
        have = "has a copy" if len(self.copied) == 1 else "have copies"
        return (
            f"{len(self.copied)} of the {self.num_judged} {self.side} pictures {have} in training: "
            f"{join_names([each.words() for each in self.copied], _NAMED)}."
        )


def split_without_leak(
    checked: Checked, spec: SplitSpec, pixel_limit: int = PIXEL_LIMIT
) -> tuple[Samples, SplitReport, Leak]:
    """Split, and say what the split leaks.

    A leaking split that came with the pictures is refused, or marked where it may leak. The papers' protocol
    means to leak, so nothing is sought there.
    """
    divided, report = split(checked.samples, spec)
    # A mark of an earlier run was about the split of that run.
    divided = replace(divided, marks=tuple(mark for mark in divided.marks if mark != ALLOWED_LEAK))
    copies = [] if PAPER_PROTOCOL in divided.marks else copies_among(checked, pixel_limit)
    leak = find_leak(divided, copies)
    # A split of ours keeps groups, and so identical pictures, whole; one that does not was changed since.
    ours = not report.given or (divided.split_made and not report.leaks)
    if leak.copied and not ours:
        if not spec.allow_leak:
            raise HandlensError(_REFUSED.format(leak=leak.sentence()))
        divided = replace(divided, marks=(*divided.marks, ALLOWED_LEAK))
    return divided, report, leak


def copies_among(checked: Checked, pixel_limit: int = PIXEL_LIMIT) -> list[list[str]]:
    """The names of pictures that are copies of each other, none of them in two sets.

    Pictures that were made from others are left aside: they go where their parents go, which are compared.
    """
    ids, derived = checked.samples.table["id"].to_list(), derived_rows(checked.samples)
    names_of: dict[str, list[str]] = defaultdict(list)
    contents: dict[str, FileFacts] = {}
    for row, found in enumerate(checked.facts):
        if not derived[row]:
            names_of[found.digest].append(ids[row])
            contents.setdefault(found.digest, found)
    sets = _alike([contents[content] for content in sorted(contents)], pixel_limit)
    apart = names_of.keys() - {content for alike in sets for content in alike}
    sets += [[content] for content in sorted(apart) if len(names_of[content]) > 1]
    return [[name for content in alike for name in names_of[content]] for alike in sets]


def _alike(facts: Sequence[FileFacts], pixel_limit: int) -> list[list[str]]:
    """The digests of different files that are copies of each other.

    Remembered by what the files hold, so that the same pictures are compared once, whatever they are called,
    labelled and trained with later.
    """
    contents = [found.digest for found in facts]
    key = digest(_QUICK.model_dump_json(), str(pixel_limit), *contents)
    # Another Pillow may decode a file differently.
    path = cache_folder() / "copies" / f"alike-{_VERSION}-pillow-{PIL.__version__}.sqlite3"
    with Remembered(
        path, "CREATE TABLE IF NOT EXISTS alike (pictures TEXT PRIMARY KEY, sets TEXT)"
    ) as memory:
        known = memory.rows("SELECT sets FROM alike WHERE pictures = ?", [key])
        if known:
            return [list(map(str, alike)) for alike in json.loads(known[0][0])]
        found = find_copies(facts, _QUICK, pixel_limit=pixel_limit)
        sets = [[contents[row] for row in cluster.rows] for cluster in found.clusters]
        if all(_is_unchanged(each) for each in facts):
            memory.write("INSERT OR REPLACE INTO alike VALUES (?, ?)", [(key, json.dumps(sets))])
    return sets


def _is_unchanged(found: FileFacts) -> bool:
    """Whether a file is still the one that was scanned: others were not compared."""
    try:
        status = found.path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (found.size_bytes, found.modified_ns)


def find_leak(
    divided: Samples,
    sets: Iterable[Sequence[str]],
    judged: str = "test",
    learned_from: Sequence[str] = LEARNED,
) -> Leak:
    """What a split leaks to one side.

    `sets` are the names of pictures that are copies of each other, none of them in two.
    """
    side_of = dict(divided.table.select("id", "split").iter_rows())
    copied: list[Copied] = []
    learned: list[str] = []
    for names in sets:
        from_these = sorted(name for name in names if side_of.get(name) in learned_from)
        those = [name for name in names if side_of.get(name) == judged]
        if from_these and those:
            learned += from_these
            copied += [Copied(id=name, copies=tuple(from_these[:_NAMED])) for name in those]
    num_judged = sum(side == judged for side in side_of.values())
    return Leak(tuple(sorted(copied, key=lambda each: each.id)), tuple(sorted(learned)), num_judged, judged)
