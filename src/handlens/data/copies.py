"""Copies: pictures that are there again, as the same file, the same pixels, or nearly the same picture."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from handlens.base.joined import Joined
from handlens.base.spec import Spec
from handlens.data.groups import GroupSpec, assign_groups
from handlens.data.image import PIXEL_LIMIT
from handlens.data.near import NearPairs, near_pairs
from handlens.data.neighbours import Pairs
from handlens.data.orientations import WORDS, after, inverse
from handlens.data.samples import Samples, join_names
from handlens.data.scan import FileFacts, same_pixels

Kind = Literal["bytes", "pixels", "near"]

Confirm = Callable[[Pairs], NDArray[np.float32]]
"""From pairs, whose rows are places in the facts, to how alike they are, from 0 to 1."""

Features = Callable[[Sequence[tuple[int, int]]], NDArray[np.float32]]
"""From rows and the orientations they are to be turned by to what a network makes of them (n, features)."""


class CopySpec(Spec):
    """Which pictures count as copies of each other."""

    near: bool = True
    """Whether pictures that are nearly the same are sought too; those with the same pixels always are."""
    similarity: float = Field(0.35, gt=0, le=1)
    """How similar the fine structure of near copies is, laid over each other: 1 if it agrees in all."""
    doubtful: float = Field(0.15, gt=0, le=1)
    """Pairs of less similarity than that, but as much as this, are decided by features if there are any."""
    features: float = Field(0.95, gt=0, le=1)
    """Cosine of their features from which on a doubtful pair is one of copies."""
    neighbours: int = Field(16, ge=1)
    """How many of the pictures nearest to each are looked at closely, in each of eight orientations."""


@dataclass(frozen=True)
class Member:
    """A picture of a cluster, and how it is linked to the first one: through others, perhaps."""

    row: int
    kind: Kind
    """The weakest link on the way: the same file, the same pixels, or nearly the same picture."""
    orientation: int
    """The first picture, turned so, looks like this one: numbered as in EXIF, 1 is as it is."""
    similarity: float
    """The least similarity on the way; 1 for the same pixels."""

    def told(self, name: str) -> str:
        """In which way it is the first picture again, for people."""
        if self.kind != "near":
            return f"{name} (the same {'file' if self.kind == 'bytes' else 'pixels'})"
        turned = "" if self.orientation == 1 else f", {WORDS[self.orientation]}"
        return f"{name} (nearly, {self.similarity:.2f}{turned})"


@dataclass(frozen=True)
class Cluster:
    """Pictures that are copies of each other, perhaps only through others: they belong into one group."""

    members: tuple[Member, ...]
    """By their rows."""

    @property
    def rows(self) -> tuple[int, ...]:
        """Where the pictures stand."""
        return tuple(member.row for member in self.members)

    @property
    def kind(self) -> Kind:
        """The weakest of the links."""
        return max((member.kind for member in self.members), key=_STRONGEST_FIRST.index)

    @property
    def similarity(self) -> float:
        """The least of the links."""
        return min(member.similarity for member in self.members)

    def sentence(self, names: Sequence[str]) -> str:
        """What is there again, for people; `names` are those of all rows."""
        again = join_names([member.told(names[member.row]) for member in self.members[1:]])
        return f"{names[self.rows[0]]} is there again: {again}."


@dataclass(frozen=True)
class Copies:
    """All copies among some pictures."""

    clusters: tuple[Cluster, ...]
    """By their first rows; no picture is in two of them."""
    exact: tuple[tuple[int, ...], ...]
    """The rows of each set of pictures with the very same pixels, which are in one cluster."""
    notes: tuple[str, ...]
    """What could not be compared."""

    @property
    def identical(self) -> tuple[Cluster, ...]:
        """Each set with the very same pixels by itself, without what only nearly looks like it."""
        return tuple(Cluster(tuple(Member(row, "pixels", 1, 1.0) for row in rows)) for rows in self.exact)


@dataclass(frozen=True)
class DividedCopies:
    """Copies with different labels, of which one at most is right, or on different sides of a split."""

    cluster: Cluster
    ids: tuple[str, ...]
    values: tuple[str, ...]
    column: str

    def sentence(self) -> str:
        """What is wrong, for people."""
        what = "Nearly the same picture" if self.cluster.kind == "near" else "The same picture"
        told = join_names([f"{id_} ({value})" for id_, value in zip(self.ids, self.values, strict=True)])
        if self.column == "split":
            return f"{what} stands on several sides of the split: {told}."
        of = "" if self.column == "label" else f"{self.column}: "
        return f"{of}{what} has different labels: {told}."


def find_copies(
    facts: Sequence[FileFacts],
    spec: CopySpec | None = None,
    confirm: Confirm | None = None,
    pixel_limit: int = PIXEL_LIMIT,
    cache: Path | None = None,
) -> Copies:
    """All copies among files that were scanned; rows are places in `facts`, unreadable files stay aside.

    `confirm` decides the pairs that laying pictures over each other leaves in doubt: see `by_features`.
    """
    spec = spec or CopySpec()
    same = same_pixels(facts, pixel_limit, cache)
    links = [link for rows in same for link in _same(facts, rows)]
    notes: tuple[str, ...] = ()
    if spec.near:
        again = {row for rows in same for row in rows[1:]}
        kept = [row for row, found in enumerate(facts) if found.problem is None and row not in again]
        found = near_pairs([facts[row] for row in kept], spec.neighbours, pixel_limit, cache)
        links += _near(found, np.array(kept, np.int64), spec, confirm)
        notes = found.notes
    return Copies(tuple(_clusters(links)), tuple(tuple(rows) for rows in same), notes)


def by_features(features: Features) -> Confirm:
    """Tell how alike pairs are by the cosine of what a network makes of them, the first of each turned."""

    def confirm(pairs: Pairs) -> NDArray[np.float32]:
        asked = list(zip(pairs.first.tolist(), pairs.orientation.tolist(), strict=True))
        asked += [(row, 1) for row in pairs.second.tolist()]
        places = {key: place for place, key in enumerate(dict.fromkeys(asked))}
        made = features(list(places))
        made = made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
        at = np.array([places[key] for key in asked], np.int64)
        return np.asarray((made[at[: len(pairs)]] * made[at[len(pairs) :]]).sum(1), np.float32)

    return confirm


def divided(samples: Samples, clusters: Iterable[Cluster], column: str = "label") -> list[DividedCopies]:
    """The clusters that have several values in a column: labels of a task, or `split`, the sides.

    A picture without a value contradicts none.
    """
    ids, values = samples.table["id"].to_list(), samples.table[column].to_list()
    found = []
    for cluster in clusters:
        named = sorted((ids[row], str(values[row])) for row in cluster.rows if values[row] is not None)
        if len({value for _, value in named}) > 1:
            found.append(
                DividedCopies(cluster, tuple(id_ for id_, _ in named), tuple(v for _, v in named), column)
            )
    return sorted(found, key=lambda each: each.ids)


def grouped(samples: Samples, clusters: Iterable[Cluster]) -> Samples:
    """The samples with the copies of each cluster in one group; groups that share a cluster become one."""
    return assign_groups(samples, GroupSpec(), [cluster.rows for cluster in clusters])


@dataclass(frozen=True)
class _Link:
    """Two rows that show the same: the first picture, turned, looks like the second one."""

    first: int
    second: int
    kind: Kind
    orientation: int = 1
    similarity: float = 1.0

    @property
    def weakness(self) -> tuple[int, float, int, int, int]:
        """By which the strongest links come first; two orders of the same links must not differ."""
        return (
            _STRONGEST_FIRST.index(self.kind),
            -self.similarity,
            self.orientation,
            self.first,
            self.second,
        )


def _same(facts: Sequence[FileFacts], rows: Sequence[int]) -> Iterator[_Link]:
    """The links of a set of identical pixels: between the same files, and from one file to the others."""
    by_content: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_content[facts[row].digest].append(row)
    for first, *others in by_content.values():
        yield from (_Link(first, other, "bytes") for other in others)
    first, *others = (alike[0] for alike in by_content.values())
    yield from (_Link(first, other, "pixels") for other in others)


def _near(
    found: NearPairs, rows: NDArray[np.int64], spec: CopySpec, confirm: Confirm | None
) -> Iterator[_Link]:
    """The links of those pairs that are near copies; `rows` are those of the files that were compared."""
    is_near = found.similarity >= spec.similarity
    pairs = Pairs(rows[found.pairs.first], rows[found.pairs.second], found.pairs.orientation)
    doubtful = np.flatnonzero(~is_near & (found.similarity >= spec.doubtful))
    if confirm is not None and len(doubtful):
        is_near[doubtful] = confirm(pairs.only(doubtful)) >= spec.features
    for place in np.flatnonzero(is_near).tolist():
        yield _Link(
            int(pairs.first[place]),
            int(pairs.second[place]),
            "near",
            int(pairs.orientation[place]),
            min(float(found.similarity[place]), 1.0),
        )


def _clusters(links: Iterable[_Link]) -> Iterator[Cluster]:
    """What is linked, and how each picture is linked to the first one over the strongest links there are.

    The strongest links that connect all (Kruskal 1956) also hold the ways whose weakest link is strongest.
    """
    joined: Joined[int] = Joined()
    neighbours: dict[int, list[_Link]] = defaultdict(list)
    for link in sorted(links, key=lambda link: link.weakness):
        if joined.join(link.first, link.second):
            neighbours[link.first].append(link)
            back = _Link(link.second, link.first, link.kind, inverse(link.orientation), link.similarity)
            neighbours[link.second].append(back)
    for row in sorted(min(rows) for rows in joined.sets()):
        yield Cluster(tuple(sorted(_reached(row, neighbours), key=lambda member: member.row)))


def _reached(row: int, neighbours: dict[int, list[_Link]]) -> Iterator[Member]:
    """All that is linked to a row, itself first."""
    waiting = [(Member(row, "bytes", 1, 1.0), row)]
    while waiting:
        member, came_from = waiting.pop()
        yield member
        for link in neighbours[member.row]:
            if link.second != came_from:
                further = Member(
                    link.second,
                    max(member.kind, link.kind, key=_STRONGEST_FIRST.index),
                    after(member.orientation, link.orientation),
                    min(member.similarity, link.similarity),
                )
                waiting.append((further, member.row))


_STRONGEST_FIRST: tuple[Kind, ...] = ("bytes", "pixels", "near")
