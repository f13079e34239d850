"""Fingerprints: a thumbnail of every picture, and the hash of what it shows.

The thumbnail is taken from one reduced decoding and remembered between runs. The hash is computed from it,
for all eight orientations at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handlens.data.by_content import Keeping, as_scanned, find_by_content
from handlens.data.image import PIXEL_LIMIT, UnreadablePicture, orientation, reduce, rgb, turned
from handlens.data.scan import FileFacts

Levels = NDArray[np.uint8]
Coefficients = NDArray[np.float32]
Codes = NDArray[np.uint8]

SIDE = 32
"""Pixels a side of a thumbnail: the whole picture, squashed, grey and upright."""

FREQUENCIES = 11
"""Waves of so many lengths across and down are hashed. Finer ones change their signs when 5 % are cropped."""

HASH_BITS = 256
"""Two a wave, filled up with zeros to what processors count at once."""

# A reduced JPEG keeps twice the pixels that are needed, as for the views.
_MARGIN = 2

# Of waves whose amplitudes come to fewer levels a pixel than this, nothing is left but rounding.
_PLAINEST = 0.3


@dataclass(frozen=True)
class Thumbnails:
    """The thumbnails of some pictures."""

    levels: Levels
    """(n, SIDE, SIDE); zeros where there is none."""
    seen: NDArray[np.bool_]
    """(n,), whether there is one: not of files that cannot be read, or changed since they were scanned."""


def thumbnails(
    facts: Sequence[FileFacts], pixel_limit: int = PIXEL_LIMIT, cache: Path | None = None
) -> Thumbnails:
    """The thumbnails of files that were scanned, in their order; known ones are not decoded again."""
    levels = np.zeros((len(facts), SIDE, SIDE), np.uint8)
    seen = np.zeros(len(facts), bool)
    places: dict[str, list[int]] = {}
    for place, found in enumerate(facts):
        if found.problem is None:
            places.setdefault(found.digest, []).append(place)

    def put(content: str, thumbnail: Levels) -> None:
        levels[places[content]] = thumbnail
        seen[places[content]] = True

    find_by_content(
        lambda found: grey(found, SIDE, pixel_limit),
        {content: facts[where[0]] for content, where in places.items()},
        _KEEPING,
        "Fingerprints",
        put,
        cache,
    )
    return Thumbnails(levels, seen)


def grey(found: FileFacts, side: int, pixel_limit: int = PIXEL_LIMIT) -> Levels | None:
    """A picture squashed to (side, side) grey levels, upright; None if it is no longer what was scanned."""
    try:
        with as_scanned(found, pixel_limit) as picture:
            covered = reduce(picture, side * _MARGIN)
            picture.load()
            turn = orientation(picture)
            shades = picture if picture.mode == "L" else rgb(picture).convert("L")
            # Neither the ringing of sharper filters nor the jagged weights of plain averages.
            squashed = shades.resize((side, side), Image.Resampling.HAMMING, (0.0, 0.0, *covered))
    except UnreadablePicture:
        return None
    return np.array(turned(squashed, turn))


def coefficients(levels: Levels) -> Coefficients:
    """The lowest waves of thumbnails (n, FREQUENCIES, FREQUENCIES), without mean, all of length 1.

    Brightness and contrast are gone from them; of pictures too plain to tell anything all are 0.
    """
    waves = _COSINES @ levels.astype(np.float32) @ _COSINES.T
    waves[:, 0, 0] = 0
    length = np.sqrt(np.square(waves).sum((1, 2), keepdims=True))
    telling = length > _PLAINEST * SIDE
    return np.where(telling, waves / np.where(telling, length, 1), 0).astype(np.float32)


def hashes(waves: Coefficients, shared: Coefficients) -> Codes:
    """Packed bits (n, HASH_BITS / 8), two a wave: whether it is positive, and whether greater than is usual.

    `shared` is the mean over the pictures among which copies are sought. Where all show one scene, as before
    a camera that does not move, the first bits are the same for all, and the second tell them apart. Where
    many are the same picture, the second bits are chance, and the first bring those together.
    """
    bits = np.zeros((len(waves), HASH_BITS), bool)
    bits[:, : 2 * FREQUENCIES**2] = np.stack([waves > 0, waves > shared], axis=-1).reshape(len(waves), -1)
    return np.packbits(bits, axis=1)


_KEEPING = Keeping(
    folder="fingerprints",
    table="thumbnails",
    column="levels",
    version=1,
    write=np.ndarray.tobytes,
    read=lambda kept: np.frombuffer(kept, np.uint8).reshape(SIDE, SIDE),
)


def _cosines() -> Coefficients:
    """The first rows of the orthonormal cosine transform, type II (Ahmed, Natarajan and Rao 1974)."""
    frequency, place = np.mgrid[:FREQUENCIES, :SIDE]
    rows = np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE)) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


_COSINES = _cosines()
