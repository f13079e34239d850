"""The descriptor made by hand, which the network inside the package is measured against."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def descriptor(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delitem(sys.modules, "descriptor", raising=False)
    import descriptor

    return descriptor


def noise(side: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)


def test_every_picture_gives_a_finite_row_of_one_length(descriptor):
    black = np.zeros((40, 40, 3), np.uint8)
    rows = [descriptor.describe(pixels) for pixels in (noise(), noise(33), black, black + 255)]
    assert {len(row) for row in rows} == {739}
    assert all(np.isfinite(row).all() for row in rows)


def test_patterns_are_those_of_their_definition(descriptor):
    """Equation 9 at radius 1, whose corners lie between pixels: interpolated from four at once."""
    grey = noise(12)[..., 0].astype(np.float32)
    counts = np.zeros(descriptor.NUM_KINDS)
    for row in range(1, 11):
        for column in range(1, 11):
            code = 0
            for number in range(8):
                angle = number * np.pi / 4
                y, x = row - np.sin(angle), column + np.cos(angle)
                top, left = min(int(y + 1e-9), 10), min(int(x + 1e-9), 10)
                down, right = y - top, x - left
                four = grey[top : top + 2, left : left + 2]
                around = np.array([1 - down, down]) @ four @ np.array([1 - right, right])
                code |= int(around >= grey[row, column] - descriptor.LEVEL) << number
            counts[descriptor.KIND_OF_CODE[code]] += 1
    np.testing.assert_allclose(descriptor.patterns(grey, 1), counts / 100, atol=1e-6)


def test_there_are_59_kinds_of_patterns(descriptor):
    assert descriptor.NUM_KINDS == 59


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_patterns_ignore_brightness_and_contrast(descriptor, radius):
    grey = noise()[..., 0].astype(np.float32)
    np.testing.assert_allclose(
        descriptor.patterns(0.5 * grey + 20, radius), descriptor.patterns(grey, radius), atol=2e-3
    )


def test_edges_tell_which_way_stripes_run(descriptor):
    stripes = np.tile(np.sin(np.arange(48)) * 100 + 128, (48, 1)).astype(np.float32)
    upright, lying = (
        descriptor.edges(grey)[1 : 1 + descriptor.ORIENTATIONS] for grey in (stripes, stripes.T)
    )
    assert upright.argmax() == 0
    assert abs(int(lying.argmax()) - descriptor.ORIENTATIONS // 2) <= 1


def test_a_colour_falls_into_its_own_bins(descriptor):
    red, green = (np.full((8, 8, 3), colour, np.float32) for colour in ((200, 0, 0), (0, 200, 0)))
    for histogram in (descriptor.hsv_histogram, descriptor.lab_histograms):
        assert not np.array_equal(histogram(red), histogram(green))
    assert descriptor.hsv_histogram(red).max() == 1
