"""Near copies: pairs of pictures that show the same, found in four steps, each on fewer pairs than the last.

Thumbnails are hashed in all eight orientations, and the nearest hashes paired (`neighbours`). The thumbnails
of a pair are laid over each other (`overlay`), coarsely and then as they are; at last, larger pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.fingerprints import Levels, Thumbnails, coefficients, grey, thumbnails
from handlens.data.image import PIXEL_LIMIT
from handlens.data.neighbours import Pairs, Rows, candidates
from handlens.data.orientations import ORIENTATIONS, turn
from handlens.data.overlay import (
    CLOSE,
    THUMBNAIL,
    WHOLE,
    Boxes,
    Planes,
    compare,
    correlation,
    fit,
    halved,
)
from handlens.data.scan import FileFacts

Shares = NDArray[np.float32]
Found = TypeVar("Found")

# Of thumbnails of half the side: copies of the finest textures, cropped, still have this.
_LEAST_CORRELATION = 0.6
# Of thumbnails. Nearly all copies have 0.6 and more, cropped ones too; of the other pairs 1 in 50 gets here.
_LEAST_SIMILARITY = 0.35
# Fields with structure, of 64. Two white sheets are not copies of each other, they are only both white.
_LEAST_STRUCTURE = 1.0

_COARSE_STEPS = 4

# Pairs of planes that fit into a processor's cache with all that is computed of them.
_THUMBNAILS_AT_ONCE = 128
_LARGER_AT_ONCE = 16
# So many of the larger pictures are in memory at once: 64 MiB.
_LARGER_KEPT = 4096


@dataclass(frozen=True)
class NearPairs:
    """Pairs that were laid over each other, and what they have in common; see `overlay.Likeness`."""

    pairs: Pairs
    """Their rows are places among the files that were given."""
    similarity: Shares
    notes: tuple[str, ...]
    """What could not be compared."""


def near_pairs(
    facts: Sequence[FileFacts], neighbours: int, pixel_limit: int = PIXEL_LIMIT, cache: Path | None = None
) -> NearPairs:
    """All pairs that may be copies, among files that were scanned and can be read."""
    small = thumbnails(facts, pixel_limit, cache)
    waves = coefficients(small.levels)
    # Each of our threads computes on one core; if each shared out its work as well, all would wait for all.
    with threadpool_limits(1, "blas"):
        pairs, boxes = _alike(candidates(waves, neighbours), small.levels)
        kept, similarity = _compared_closely(pairs, boxes, facts, pixel_limit)
    return NearPairs(pairs.only(kept), similarity, _notes(small, np.asarray(waves.any((1, 2)))))


def _alike(pairs: Pairs, levels: Levels) -> tuple[Pairs, Boxes]:
    """Those of the pairs whose thumbnails show the same, and how the second is cut out of the first."""

    def alike(places: Rows) -> tuple[Rows, Boxes]:
        first, second = _planes(pairs.only(places), levels)
        boxes = np.tile(WHOLE, (len(places), 1))
        halves = halved(first), halved(second)
        boxes = fit(*halves, boxes, _COARSE_STEPS)
        hopeful = np.flatnonzero(correlation(*halves, boxes) >= _LEAST_CORRELATION)
        first, second = first[hopeful], second[hopeful]
        boxes = fit(first, second, boxes[hopeful], THUMBNAIL.steps)
        kept = compare(first, second, boxes, THUMBNAIL).similarity >= _LEAST_SIMILARITY
        return places[hopeful[kept]], boxes[kept]

    found = list(_in_parts(alike, np.arange(len(pairs)), _THUMBNAILS_AT_ONCE, "Comparing thumbnails"))
    places = np.concatenate([np.zeros(0, np.int64), *(where for where, _ in found)])
    return pairs.only(places), np.concatenate([np.zeros((0, 4), np.float32), *(box for _, box in found)])


def _compared_closely(
    pairs: Pairs, boxes: Boxes, facts: Sequence[FileFacts], pixel_limit: int
) -> tuple[Rows, Shares]:
    """Which of the pairs could be compared by larger pictures, and how similar they are."""
    kept, similarity = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for together in _of_few_pictures(pairs):
        local, levels, there = _larger(pairs.only(together), facts, pixel_limit)

        def close(
            places: Rows, together: Rows = together, local: Pairs = local, levels: Levels = levels
        ) -> tuple[Rows, Shares]:
            first, second = _planes(local.only(places), levels)
            laid = fit(first, second, boxes[together[places]], CLOSE.steps)
            found = compare(first, second, laid, CLOSE)
            enough = found.structure >= _LEAST_STRUCTURE
            return together[places[enough]], found.similarity[enough]

        usable = np.flatnonzero(there[local.first] & there[local.second])
        for places, how in _in_parts(close, usable, _LARGER_AT_ONCE, "Comparing closely"):
            kept.append(places)
            similarity.append(how)
    return np.concatenate(kept), np.concatenate(similarity)


def _larger(
    pairs: Pairs, facts: Sequence[FileFacts], pixel_limit: int
) -> tuple[Pairs, Levels, NDArray[np.bool_]]:
    """Larger pictures of some pairs, the pairs by their places among them, and which are there."""
    rows, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    levels = np.zeros((len(rows), CLOSE.side, CLOSE.side), np.uint8)
    there = np.zeros(len(rows), bool)
    with progress("Looking closely", len(rows)) as advance:
        taken = in_order(lambda row: grey(facts[row], CLOSE.side, pixel_limit), rows.tolist())
        for place, picture in enumerate(taken):
            if picture is not None:
                levels[place], there[place] = picture, True
            advance(1)
    return Pairs(places[: len(pairs)], places[len(pairs) :], pairs.orientation), levels, there


def _of_few_pictures(pairs: Pairs) -> Iterator[Rows]:
    """The places of the pairs, so many at once that all their pictures may be in memory."""
    rows: set[int] = set()
    start = 0
    for place, both in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        rows.update(both)
        if len(rows) > _LARGER_KEPT:
            yield np.arange(start, place)
            rows, start = set(both), place
    if start < len(pairs):
        yield np.arange(start, len(pairs))


def _planes(pairs: Pairs, levels: Levels) -> tuple[Planes, Planes]:
    """Both pictures of each pair as grey planes, the first one turned."""
    first = levels[pairs.first].astype(np.float32)
    for orientation in ORIENTATIONS[1:]:
        those = pairs.orientation == orientation
        first[those] = turn(first[those], orientation)
    return first, levels[pairs.second].astype(np.float32)


def _in_parts(function: Callable[[Rows], Found], places: Rows, at_once: int, what: str) -> Iterator[Found]:
    parts = [places[start : start + at_once] for start in range(0, len(places), at_once)]
    with progress(what, len(places), "pairs") as advance:
        for part, found in zip(parts, in_order(function, parts), strict=True):
            advance(len(part))
            yield found


def _notes(small: Thumbnails, telling: NDArray[np.bool_]) -> tuple[str, ...]:
    plain, unseen = int((small.seen & ~telling).sum()), int((~small.seen).sum())
    notes = []
    if plain:
        notes.append(
            f"Too plain to tell near copies of them from other plain pictures: {plain} of the pictures."
        )
    if unseen:
        notes.append(f"Not compared, because they changed while they were read: {unseen} of the pictures.")
    return tuple(notes)
