"""Blending without a seam: one picture's slopes in another one's light (Pérez, Gangnet and Blake 2003)."""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dstn, idstn

Field = NDArray[np.floating]


def blended(receiver: Field, donor: Field, share: Field) -> NDArray[np.float64]:
    """Two pictures (height, width, channels): slopes are the donor's where `share` is 1, else the receiver's.

    Slopes of two pictures belong to none; the picture that comes nearest to them, with the receiver's values
    along its border, solves Poisson's equation (their equation 3). On a rectangle the sine transform solves
    it exactly, in a moment. What is solved for is the change of the receiver, which is 0 along the border.
    """
    difference = donor.astype(np.float64) - receiver
    # A slope stands between two pixels, and so does its share.
    across = np.diff(difference, axis=1) * _between(share, 1)[..., None]
    down = np.diff(difference, axis=0) * _between(share, 0)[..., None]
    bend = np.diff(across, axis=1)[1:-1] + np.diff(down, axis=0)[:, 1:-1]
    out = receiver.astype(np.float64)
    if bend.size:
        out[1:-1, 1:-1] += _solved(bend)
    return out


def _between(share: Field, axis: int) -> Field:
    """The mean of each two neighbours."""
    first, second = (slice(None, -1), slice(1, None))
    return (share[first] + share[second]) / 2 if axis == 0 else (share[:, first] + share[:, second]) / 2


def _solved(bend: Field) -> Field:
    """The field, 0 all around, whose five-point Laplacian is `bend` (height, width, channels)."""
    height, width = bend.shape[:2]
    waves = dstn(bend, type=1, axes=(0, 1))
    # What the Laplacian makes of a sine wave is the wave itself, times this.
    rows = 2 * np.cos(np.pi * np.arange(1, height + 1) / (height + 1)) - 2
    columns = 2 * np.cos(np.pi * np.arange(1, width + 1) / (width + 1)) - 2
    waves /= (rows[:, None] + columns[None, :])[..., None]
    solved: Field = idstn(waves, type=1, axes=(0, 1))
    return solved
