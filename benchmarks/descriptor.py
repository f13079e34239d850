"""A row of numbers made by hand from a picture: its colours, its texture and its edges.

What one would try before any network, done with care: histograms, each under a square root, which makes
linear classifiers of them compare as Hellinger's distance does (Arandjelović and Zisserman 2012, section 2).
"""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Row = NDArray[np.float32]
Plane = NDArray[np.float32]

RADII = (1, 2, 3)
NEIGHBOURS = 8
LEVEL = 1e-3
"""Differences, in levels of 255, that are only the rounding of the interpolation."""
HUES, SATURATIONS, VALUES = 12, 4, 4
LIGHTNESSES, TINTS = 16, 12
ORIENTATIONS = 9
GRIDS = (1, 2, 4)
LARGEST = 0.2
"""Where one edge would outshine the rest of its cell."""


def describe(pixels: Pixels) -> Row:
    """The descriptor of (height, width, 3) pixels."""
    colours = pixels.astype(np.float32)
    # Luma as in JPEG: what the eye takes for brightness.
    grey = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    parts = [hsv_histogram(colours), lab_histograms(colours), *(patterns(grey, radius) for radius in RADII)]
    return np.concatenate([*(np.sqrt(part) for part in parts), edges(grey)]).astype(np.float32)


def shares(bins: NDArray[np.int64], count: int) -> Row:
    """How the pixels are shared out among bins."""
    return (np.bincount(bins.ravel(), minlength=count) / bins.size).astype(np.float32)


def binned(values: Plane, low: float, high: float, count: int) -> NDArray[np.int64]:
    """The bin of each value, of bins of equal width; what lies outside falls into the outermost."""
    scaled = (values - low) * (count / (high - low))
    bins: NDArray[np.int64] = np.clip(scaled, 0, count - 1).astype(np.int64)
    return bins


def hsv_histogram(colours: Plane) -> Row:
    """Hue, saturation and value together (Smith 1978)."""
    red, green, blue = np.moveaxis(colours / 255, -1, 0)
    value, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    chroma = value - least
    spread = np.where(chroma > 0, chroma, 1)
    hue = np.select(
        [value == red, value == green],
        [(green - blue) / spread, (blue - red) / spread + 2],
        (red - green) / spread + 4,
    )
    saturation = chroma / np.where(value > 0, value, 1)
    hues = binned(hue % 6, 0, 6, HUES)
    places = (hues * SATURATIONS + binned(saturation, 0, 1, SATURATIONS)) * VALUES + binned(
        value, 0, 1, VALUES
    )
    return shares(places, HUES * SATURATIONS * VALUES)


def lab_histograms(colours: Plane) -> Row:
    """Lightness by itself, and the two tints together, in CIE 1976 L*a*b* under D65."""
    linear = np.where(colours > 10.31475, ((colours / 255 + 0.055) / 1.055) ** 2.4, colours / (255 * 12.92))
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
    )
    relative = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    bent = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    x, y, z = np.moveaxis(bent, -1, 0)
    tints = binned(500 * (x - y), -60, 60, TINTS) * TINTS + binned(200 * (y - z), -60, 60, TINTS)
    return np.concatenate(
        [shares(binned(116 * y - 16, 0, 100, LIGHTNESSES), LIGHTNESSES), shares(tints, TINTS**2)]
    )


def patterns(grey: Plane, radius: int) -> Row:
    """Uniform local binary patterns (Ojala et al. 2002, equations 9 and 10), orientation kept: 59 kinds."""
    height, width = grey.shape
    inner = grey[radius : height - radius, radius : width - radius]
    codes = np.zeros(inner.shape, np.int64)
    for number in range(NEIGHBOURS):
        angle = 2 * np.pi * number / NEIGHBOURS
        around = shifted(grey, radius, -radius * np.sin(angle), radius * np.cos(angle))
        codes |= (around >= inner - LEVEL).astype(np.int64) << number
    return shares(KIND_OF_CODE[codes], NUM_KINDS)


def shifted(grey: Plane, margin: int, down: float, right: float) -> Plane:
    """The picture without its margin, seen from a place so far off; between pixels interpolated."""
    # Sines and cosines of right angles miss whole numbers by a hair.
    down, right = round(down, 6), round(right, 6)
    top, left = int(np.floor(down)), int(np.floor(right))
    out = np.zeros_like(within(grey, margin, 0, 0))
    for row, part_down in ((top, 1 - (down - top)), (top + 1, down - top)):
        for column, part_right in ((left, 1 - (right - left)), (left + 1, right - left)):
            share = np.float32(part_down * part_right)
            if share:
                out += share * within(grey, margin, row, column)
    return out


def within(grey: Plane, margin: int, down: int, right: int) -> Plane:
    """The picture without its margin, moved by whole pixels."""
    height, width = grey.shape
    return grey[margin + down : height - margin + down, margin + right : width - margin + right]


def kinds_of_codes() -> NDArray[np.int64]:
    """The kind of each pattern: one for each that changes at most twice around, one for all others."""
    around = (np.arange(2**NEIGHBOURS)[:, None] >> np.arange(NEIGHBOURS)) & 1
    uniform = (around != np.roll(around, 1, axis=1)).sum(axis=1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum())


KIND_OF_CODE = kinds_of_codes()
NUM_KINDS = int(KIND_OF_CODE.max()) + 1


def edges(grey: Plane) -> Row:
    """Histograms of oriented gradients over grids (Dalal and Triggs 2005, clipped as in section 6.4)."""
    down, right = np.gradient(np.sqrt(grey))
    strength = np.hypot(down, right)
    # Unsigned: from dark to light is the same edge as from light to dark.
    place = (np.arctan2(down, right) / np.pi % 1) * ORIENTATIONS
    first = np.floor(place)
    share = place - first
    of_cells = []
    for grid in GRIDS:
        rows, columns = (np.arange(side) * grid // side for side in grey.shape)
        cells = (rows[:, None] * grid + columns) * ORIENTATIONS
        histogram = np.zeros(grid * grid * ORIENTATIONS)
        for step, part in ((0, 1 - share), (1, share)):
            bins = cells + (first.astype(np.int64) + step) % ORIENTATIONS
            histogram += np.bincount(bins.ravel(), (strength * part).ravel(), len(histogram))
        per_cell = histogram.reshape(-1, ORIENTATIONS) / (strength.size / grid**2)
        # How strong the edges are says as much as which way they run.
        of_cells += [np.sqrt(per_cell.sum(axis=1)), clipped(per_cell).ravel()]
    return np.concatenate(of_cells)


def clipped(cells: NDArray[np.floating]) -> NDArray[np.floating]:
    """Cells brought to length 1, their peaks cut, brought to length 1 again."""
    for most in (LARGEST, 1.0):
        cells = np.minimum(cells / (np.linalg.norm(cells, axis=1, keepdims=True) + 1e-6), most)
    return cells
