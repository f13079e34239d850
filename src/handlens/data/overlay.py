"""Two pictures laid over each other: how one is cut out of the other, and whether both show the same then.

All functions work on a stack of pairs at once: grey levels (n, side, side), and boxes (n, 4) that say where
the second picture's left, top, right and bottom edge lie in the first; 0, 0, 1, 1 is all of it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
Boxes = NDArray[np.float32]

WHOLE = np.array([0, 0, 1, 1], np.float32)

FURTHEST = 0.12
"""How far, as a share of the side, an edge of the one may lie from that of the other."""

# Beyond this a step is a guess: it is more than the waves that smoothing leaves allow to foresee.
_LONGEST_STEP = 0.03
_DAMPING = (0.0, 0.0, 5e-2, 5e-2, 5e-2, 5e-2)

# Below this correlation a field shows something else in the one than in the other. Few fields of copies fall
# below it, even of those saved as poor JPEGs; nearly all do of pictures that merely have the same outline.
_SAME = 0.4


@dataclass(frozen=True)
class Scale:
    """How closely two pictures are compared."""

    side: int
    """Pixels a side of the planes."""
    steps: int
    """How often the fit is mended."""
    fields: int
    """So many fields across and down are compared one by one."""
    reach: int
    """Structure is what differs from its surroundings of so many pixels across."""
    weak: float
    """In levels: weaker structure may be gone in a JPEG, and counts for little if only the one has it."""
    noise: float
    """In levels: weaker structure counts for little even if both have as much of it."""


THUMBNAIL = Scale(side=32, steps=2, fields=4, reach=5, weak=1.0, noise=0.5)
CLOSE = Scale(side=128, steps=2, fields=8, reach=9, weak=3.0, noise=0.5)


class Likeness(NamedTuple):
    """What pairs have in common, each (n,)."""

    similarity: NDArray[np.float32]
    """1 of pictures that agree in all, around 0 or below of different ones."""
    structure: NDArray[np.float32]
    """How many fields have structure: too few prove nothing."""


def fit(first: Planes, second: Planes, boxes: Boxes, steps: int) -> Boxes:
    """Move the boxes until the second pictures look like what the boxes cut out of the first ones.

    Each step is that of Lucas and Kanade (1981): linear least squares in the four edges, and in brightness
    and contrast, which may differ.
    """
    for _ in range(steps):
        boxes = _step(first, second, boxes)
    return boxes


def correlation(first: Planes, second: Planes, boxes: Boxes) -> NDArray[np.float32]:
    """The plain correlation (n,) of the levels, where the pictures overlap."""
    cut, inside = _cut(first, boxes)
    seen = inside.sum((1, 2), keepdims=True)
    one, other = (
        (each - (each * inside).sum((1, 2), keepdims=True) / seen) * inside for each in (cut, second)
    )
    # A level's spread that is only rounding is no picture.
    lengths = np.sqrt(
        (np.square(one).sum((1, 2)) + seen.ravel()) * (np.square(other).sum((1, 2)) + seen.ravel())
    )
    return np.asarray((one * other).sum((1, 2)) / lengths, np.float32)


def compare(first: Planes, second: Planes, boxes: Boxes, scale: Scale) -> Likeness:
    """Whether the same fine structure is in both: its mean correlation over the fields, each on its own.

    A strong edge must not outshine all else, so every field counts by whether it has structure, hardly by
    how much. Within a field the means of rows and columns are taken off: a straight edge can be laid over any
    other straight edge, and proves nothing. A field that shows something else counts against all others:
    different things of one outline, two lids on a table, agree wherever only the outline is seen.
    """
    cut, inside = _cut(first, boxes)
    one = _fine(cut, inside, scale)
    other = _fine(second, inside, scale)
    seen = _in_fields(inside, scale.fields).mean((2, 4)) >= 0.5
    across = (one * other).mean((2, 4))
    ones, others = np.square(one).mean((2, 4)), np.square(other).mean((2, 4))
    # Contrast may differ as a whole; structure that the one has and the other lacks must still count.
    contrast = (np.where(seen, others, 0).sum((1, 2)) + 1e-3) / (np.where(seen, ones, 0).sum((1, 2)) + 1e-3)
    contrast = contrast[:, None, None]
    both = np.stack([ones * np.minimum(contrast, 1), others * np.minimum(1 / contrast, 1)])
    least, most = both.min(0), both.max(0)
    # Two exposures of one scene differ in weak structure alone, of which each has as much as the other.
    balance = (least / np.maximum(most, 1e-6)) ** 2
    weight = np.maximum(most / (most + scale.weak**2), balance * least / (least + scale.noise**2))
    weight = np.where(seen, weight, 0)
    alike = across / (np.sqrt(ones * others) + 0.1)
    structure = weight.sum((1, 2))
    votes = np.where(alike < _SAME, alike - 1, alike)
    return Likeness((weight * votes).sum((1, 2)) / np.maximum(structure, 1e-3), structure)


def _step(first: Planes, second: Planes, boxes: Boxes) -> Boxes:
    num, side, _ = first.shape
    # Without their means sums of squares stay small enough for single precision.
    first = first - first.mean((1, 2), keepdims=True)
    second = second - second.mean((1, 2), keepdims=True)
    cut, inside = _cut(first, boxes)
    across, down = _slopes(first)
    place = _centres(side)
    columns = np.empty((num, 6, side, side), np.float32)
    columns[:, 0] = cut
    columns[:, 1] = 1
    columns[:, 4] = side * _cut(across, boxes)[0]
    columns[:, 5] = side * _cut(down, boxes)[0]
    np.multiply(columns[:, 4], 1 - place, out=columns[:, 2])
    np.multiply(columns[:, 5], (1 - place)[:, None], out=columns[:, 3])
    columns[:, 4] *= place
    columns[:, 5] *= place[:, None]
    if not inside.all():
        columns *= inside[:, None]
        second = second * inside
    rows = columns.reshape(num, 6, side * side)
    squares = (rows @ rows.swapaxes(1, 2)).astype(np.float64)
    target = (rows @ second.reshape(num, side * side, 1)).astype(np.float64)
    # What an edge of the box hardly changes, it must not be moved for: a picture may be plain in a direction.
    diagonal = np.einsum("nii->ni", squares)
    squares += np.eye(6) * (np.array(_DAMPING) * diagonal + 1e-3)[:, None, :]
    found = np.linalg.solve(squares, target)[..., 0]
    contrast = found[:, :1]
    known = np.abs(contrast) > 0.05
    moves = np.where(known, found[:, 2:] / np.where(known, contrast, 1), 0)
    # Shortened as a whole, so that it keeps its direction.
    moves /= np.maximum(np.abs(moves).max(1, keepdims=True) / _LONGEST_STEP, 1)
    boxes = boxes + moves
    return np.clip(boxes, WHOLE - FURTHEST, WHOLE + FURTHEST).astype(np.float32)


def _cut(planes: Planes, boxes: Boxes) -> tuple[Planes, NDArray[np.bool_]]:
    """What the boxes cut out, brought to the full side, and which of its pixels lie in the planes at all."""
    side = planes.shape[-1]
    columns, in_columns = _weights(boxes[:, 0], boxes[:, 2], side)
    rows, in_rows = _weights(boxes[:, 1], boxes[:, 3], side)
    cut = np.asarray(rows @ planes @ columns.swapaxes(1, 2), np.float32)
    return cut, in_rows[:, :, None] & in_columns[:, None, :]


def _weights(low: Planes, high: Planes, side: int) -> tuple[Planes, NDArray[np.bool_]]:
    """Linear interpolation (n, side, side) from a line of pixels to its part from `low` to `high`."""
    place = (low[:, None] + (high - low)[:, None] * _centres(side)) * side - 0.5
    inside = (place >= -0.5) & (place <= side - 0.5)
    place = np.clip(place, 0, side - 1)
    near = 1 - np.abs(place[:, :, None] - np.arange(side, dtype=np.float32))
    return np.maximum(near, 0).astype(np.float32, copy=False), inside


def _centres(side: int) -> Planes:
    return np.asarray((np.arange(side) + 0.5) / side, np.float32)


def _slopes(planes: Planes) -> tuple[Planes, Planes]:
    """How the levels rise to the right and downwards, a pixel."""
    across, down = np.zeros_like(planes), np.zeros_like(planes)
    across[:, :, 1:-1] = (planes[:, :, 2:] - planes[:, :, :-2]) / 2
    down[:, 1:-1] = (planes[:, 2:] - planes[:, :-2]) / 2
    return across, down


def halved(planes: Planes) -> Planes:
    """Planes of half the side."""
    rows = planes[:, ::2] + planes[:, 1::2]
    return np.asarray((rows[:, :, ::2] + rows[:, :, 1::2]) / 4, np.float32)


def _fine(planes: Planes, inside: NDArray[np.bool_], scale: Scale) -> Planes:
    """Fine structure in fields (n, fields, pixels, fields, pixels), without the means of rows and columns."""
    from scipy.ndimage import uniform_filter1d

    surroundings = planes
    for axis in (1, 2):
        surroundings = uniform_filter1d(surroundings, scale.reach, axis, mode="nearest")
    fine = _in_fields((planes - surroundings) * inside, scale.fields)
    fine = fine - fine.mean(2, keepdims=True)
    return np.asarray(fine - fine.mean(4, keepdims=True), np.float32)


def _in_fields(planes: NDArray[Any], fields: int) -> NDArray[Any]:
    pixels = planes.shape[-1] // fields
    return planes.reshape(-1, fields, pixels, fields, pixels)
