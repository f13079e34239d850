"""Which pictures may be copies of each other: the nearest hashes, in all eight orientations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.fingerprints import Codes, Coefficients, hashes
from handlens.data.orientations import ORIENTATIONS, inverse, turn_frequencies

Rows = NDArray[np.int64]
Nearest = Callable[[Codes, int], Rows]
"""From codes (n, bytes) and a number to the places (n, number) of the nearest codes, in any order."""

LEAST_LIKENESS = 0.4
"""Cosine of the coarsest waves: mostly over 0.8 of copies, also cropped ones, and around 0 of others."""
COARSEST = 8
"""Waves of so many lengths across and down are the coarsest."""

# Small enough that all of a block stays in a processor's cache, large enough to keep it busy.
_BLOCK = 512


@dataclass(frozen=True)
class Pairs:
    """Pairs of pictures: the first one, turned, may be the second one."""

    first: Rows
    second: Rows
    orientation: Rows

    def __len__(self) -> int:
        return len(self.first)

    def only(self, kept: NDArray[Any]) -> "Pairs":
        """Some of them: a mask, places, or a slice's places."""
        return Pairs(self.first[kept], self.second[kept], self.orientation[kept])


def candidates(waves: Coefficients, number: int) -> Pairs:
    """Pairs that are worth a closer look: each picture's nearest ones, as far as they are at all alike.

    Every picture is asked for in all eight orientations, and each time so many of the nearest are taken. A
    pair comes once in each orientation that is likely, its smaller row first.
    """
    rows = np.flatnonzero(waves.any((1, 2)))
    telling = waves[rows]
    number = min(number, len(rows) - 1)
    if number < 1:
        return _pairs(np.zeros(0, np.int64), len(waves))
    shared = telling.mean(0)
    nearest = _nearest_among(hashes(telling, shared))
    coarse = _coarse(telling)

    def near(block: tuple[int, int]) -> Rows:
        first, orientation = block
        mine = np.arange(first, min(first + _BLOCK, len(rows)))
        turned = turn_frequencies(telling[mine], orientation)
        # One more, because upright each is the nearest to itself.
        theirs = nearest(hashes(turned, shared), number + 1)
        likeness = np.einsum("nf,nkf->nk", _coarse(turned), coarse[theirs])
        who, which = np.nonzero((likeness >= LEAST_LIKENESS) & (theirs != mine[:, None]))
        return _keys(rows[mine[who]], rows[theirs[who, which]], orientation, len(waves))

    blocks = [(first, each) for each in ORIENTATIONS for first in range(0, len(rows), _BLOCK)]
    with progress("Seeking copies", len(blocks), "blocks") as advance:
        return _pairs(np.unique(np.concatenate(list(_counted(near, blocks, advance)))), len(waves))


def _counted(
    near: Callable[[tuple[int, int]], Rows], blocks: list[tuple[int, int]], advance: Callable[[int], None]
) -> Iterator[Rows]:
    for found in in_order(near, blocks, start=_one_thread):
        advance(1)
        yield found


def _coarse(waves: Coefficients) -> Coefficients:
    """The coarsest waves alone (n, waves), of length 1 again."""
    few = waves[:, :COARSEST, :COARSEST].reshape(len(waves), -1)
    return np.asarray(few / np.maximum(np.linalg.norm(few, axis=1, keepdims=True), 1e-6), np.float32)


def _keys(first: Rows, second: Rows, orientation: int, num: int) -> Rows:
    """One number a pair, the same whichever of the two was asked for."""
    swapped = first > second
    turn = np.where(swapped, inverse(orientation), orientation)
    low, high = np.where(swapped, second, first), np.where(swapped, first, second)
    return (low * num + high) * len(ORIENTATIONS) + turn - 1


def _pairs(keys: Rows, num: int) -> Pairs:
    keys, turn = np.divmod(keys, len(ORIENTATIONS))
    first, second = np.divmod(keys, max(num, 1))
    return Pairs(first, second, turn + 1)


def _nearest_among(codes: Codes) -> Nearest:
    """A search through all codes: faiss where it is installed, which is ten times as fast, else numpy."""
    return _by_faiss(codes) if find_spec("faiss") else _by_numpy(codes)


def _by_faiss(codes: Codes) -> Nearest:
    import faiss

    index = faiss.IndexBinaryFlat(codes.shape[1] * 8)
    index.add(np.ascontiguousarray(codes))

    def nearest(asked: Codes, number: int) -> Rows:
        found: Rows = index.search(np.ascontiguousarray(asked), number)[1]
        return found

    return nearest


def _by_numpy(codes: Codes) -> Nearest:
    words = np.ascontiguousarray(codes).view(np.uint64)

    def nearest(asked: Codes, number: int) -> Rows:
        theirs = np.ascontiguousarray(asked).view(np.uint64)
        distance = np.zeros((len(asked), len(words)), np.uint16)
        for place in range(words.shape[1]):
            distance += np.bitwise_count(theirs[:, place, None] ^ words[:, place])
        return np.argpartition(distance, number - 1, axis=1)[:, :number]

    return nearest


def _one_thread() -> None:
    """Each of our threads searches on one core, so that faiss and PyTorch never both share out work."""
    if find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
