"""The eight ways to lay a picture on a table, numbered as EXIF numbers them."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)

ORIENTATIONS = (1, 2, 3, 4, 5, 6, 7, 8)

WORDS = {
    1: "as it is",
    2: "mirrored left to right",
    3: "turned by 180°",
    4: "mirrored top to bottom",
    5: "mirrored along the diagonal",
    6: "turned by 90° clockwise",
    7: "mirrored along the other diagonal",
    8: "turned by 90° anticlockwise",
}


def turn(planes: NDArray[Number], orientation: int) -> NDArray[Number]:
    """Square planes (..., side, side), all turned alike; a view, not a copy.

    As `image.turned` does it with a whole picture of this orientation.
    """
    if orientation >= 5:
        planes = planes.swapaxes(-1, -2)
    rows, columns = _REVERSED[orientation]
    return planes[..., ::rows, ::columns]


def turn_frequencies(coefficients: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """The cosine transform (..., side, side) of turned planes, from that of the planes as they were.

    A mirrored wave is the same wave if its number of half periods is even, and its negative if it is odd.
    """
    if orientation >= 5:
        coefficients = coefficients.swapaxes(-1, -2)
    alternating = np.where(np.arange(coefficients.shape[-1]) % 2, -1, 1).astype(np.float32)
    rows, columns = _REVERSED[orientation]
    if rows < 0:
        coefficients = coefficients * alternating[:, None]
    if columns < 0:
        coefficients = coefficients * alternating
    return coefficients


def after(first: int, then: int) -> int:
    """The one orientation that does what two do, one after the other."""
    return _BY_CORNERS[_corners(turn(turn(_SQUARE, first), then))]


def inverse(orientation: int) -> int:
    """The orientation that undoes another."""
    return next(each for each in ORIENTATIONS if after(orientation, each) == 1)


# After the rows were made columns, if they were: in which direction each of the two runs.
_REVERSED = {
    1: (1, 1),
    2: (1, -1),
    3: (-1, -1),
    4: (-1, 1),
    5: (1, 1),
    6: (1, -1),
    7: (-1, -1),
    8: (-1, 1),
}

_SQUARE = np.arange(4).reshape(2, 2)


def _corners(square: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(square.ravel().tolist())


# Where the corners of a square come to lie tells all eight apart.
_BY_CORNERS = {_corners(turn(_SQUARE, orientation)): orientation for orientation in ORIENTATIONS}
