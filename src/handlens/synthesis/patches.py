"""Finding the defect in a picture: what differs from the picture's own surroundings, or from its class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE = 192
"""Defects are sought in pictures reduced to this long side."""

FINE = 1 / 96
"""Spots smaller than this share of the long side are grain."""

COARSE_SIDE = 48
"""The surroundings of a place are sought in pictures reduced to this long side."""

WINDOW = 0.35
"""What fills half of a window, of this share of the long side, is no defect but the surface."""

LEAST_AREA, LARGEST_AREA = 0.001, 0.35
"""Shares of the picture: what is smaller is grain, what is larger is no defect but the surface itself."""

LEAST_PIXELS = 9
"""Of the reduced picture; grain has now and then a spot of fewer."""

LEAST_LEVELS = 2.0
"""What differs by less cannot be seen."""

LARGEST_SIDE = 0.75
"""Of a patch, as a share of the picture's: it must find room in another picture."""

AROUND = 0.03
"""How much of its surroundings a patch takes with it, as a share of the picture's long side."""

ALIKE = 0.8
"""From this correlation with their median on, pictures show one thing in one place."""

_MEDIAN_TO_DEVIATION = 1.4826


@dataclass(frozen=True, eq=False)
class Patch:
    """The defect of one picture."""

    mask: Values
    """(height, width) of the reduced picture: 1 in the defect, falling to 0 around it."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of where it is not 0, as shares of the picture."""


def found(picture: Image.Image, stands_out: float, typical: Values | None = None) -> Patch | None:
    """The patch that differs most, in robust deviations; none where nothing stands out by so many.

    With the `typical` picture of the class it is what differs from that, else what differs from its
    surroundings.
    """
    small = reduced(picture)
    if typical is not None and typical.shape == small.shape:
        difference = np.abs(_blurred(small - typical)).max(axis=2)
    else:
        difference = np.abs(_blurred(small) - _surroundings(small)).max(axis=2)
    deviation = _MEDIAN_TO_DEVIATION * float(np.median(difference))
    # Of a plain surface one level may be many deviations, and is still nothing.
    out = difference > max(stands_out * deviation, LEAST_LEVELS)
    out = ndimage.binary_closing(out, iterations=max(1, round(FINE * max(out.shape))))
    return _largest(out, difference)


def of_mask(mask: Image.Image) -> Patch | None:
    """The largest spot of a mask that was drawn by hand; it may be of any size that finds room."""
    levels = np.asarray(mask.convert("L").resize(_reduced_size(mask.size), Image.Resampling.BOX))
    spots = levels > 0
    return _largest(spots, np.ones(spots.shape, np.float32), given=True)


def typical_of(pictures: Sequence[Image.Image]) -> Values | None:
    """What pictures show that all show one thing in one place; none where they do not."""
    small = [reduced(picture) for picture in pictures]
    if len(small) < 3 or len({each.shape for each in small}) > 1:
        return None
    middle: Values = np.median(np.stack(small), axis=0).astype(np.float32)
    return middle if np.mean([_correlation(each, middle) for each in small]) >= ALIKE else None


def reduced(picture: Image.Image, side: int = SIDE) -> Values:
    """A picture with a long side of at most `side`, (height, width, 3)."""
    return np.asarray(picture.resize(_reduced_size(picture.size, side), Image.Resampling.BOX), np.float32)


def _reduced_size(size: tuple[int, int], side: int = SIDE) -> tuple[int, int]:
    shrink = min(1.0, side / max(size))
    return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))


def _blurred(pixels: Values) -> Values:
    deviation = max(1.0, FINE * max(pixels.shape[:2]))
    blurred: Values = ndimage.gaussian_filter(pixels, (deviation, deviation, 0), mode="reflect")
    return blurred


def _surroundings(pixels: Values) -> Values:
    """What is usual around each place: the median, which a defect does not pull along as it would a mean."""
    height, width = pixels.shape[:2]
    picture = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    coarse = reduced(picture, COARSE_SIDE)
    window = max(3, round(WINDOW * max(coarse.shape)))
    usual = ndimage.median_filter(coarse, (window, window, 1), mode="reflect")
    channels = [
        Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR)
        for channel in usual.transpose(2, 0, 1)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)


def _largest(out: Mask, difference: Values, given: bool = False) -> Patch | None:
    """The connected spot that differs most as a whole, if it can be a defect."""
    spots, count = ndimage.label(out)
    if not count:
        return None
    weights = ndimage.sum_labels(difference, spots, np.arange(1, count + 1))
    spot = spots == 1 + int(np.argmax(weights))
    if spot.mean() > LARGEST_AREA or (spot.sum() < max(LEAST_PIXELS, LEAST_AREA * spot.size) and not given):
        return None
    margin = max(1.0, AROUND * max(out.shape))
    # Whole within the defect and half its margin, and gently down to nothing.
    away = ndimage.distance_transform_edt(~spot)
    mask = np.clip(1.5 - away / margin, 0, 1).astype(np.float32)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    height, width = out.shape
    box = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
    if max(box[2] - box[0], box[3] - box[1]) > LARGEST_SIDE:
        return None
    return Patch(mask, box)


def _correlation(one: Values, other: Values) -> float:
    a, b = one - one.mean(), other - other.mean()
    length = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / length if length else 0.0
