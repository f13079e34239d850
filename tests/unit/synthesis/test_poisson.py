"""Blending without a seam, against a sparse solver and hand-written expectations."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from handlens.synthesis.poisson import blended


def by_sparse_solver(receiver, donor, share):
    """The same picture from the linear equations, one for each pixel inside the border."""
    height, width, channels = receiver.shape
    place = -np.ones((height, width), int)
    place[1:-1, 1:-1] = np.arange((height - 2) * (width - 2)).reshape(height - 2, width - 2)
    count = (height - 2) * (width - 2)
    matrix, right = sparse.lil_matrix((count, count)), np.zeros((count, channels))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            row = place[y, x]
            matrix[row, row] = 4
            for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                weight = (share[y, x] + share[j, i]) / 2
                right[row] += weight * (donor[y, x] - donor[j, i])
                right[row] += (1 - weight) * (receiver[y, x] - receiver[j, i])
                if place[j, i] >= 0:
                    matrix[row, place[j, i]] = -1
                else:
                    right[row] += receiver[j, i]
    out = receiver.copy()
    out[1:-1, 1:-1] = spsolve(matrix.tocsc(), right).reshape(height - 2, width - 2, channels)
    return out


def test_it_solves_the_equations() -> None:
    rng = np.random.default_rng(0)
    receiver, donor = rng.uniform(0, 255, (2, 9, 13, 3))
    share = rng.uniform(0, 1, (9, 13))
    np.testing.assert_allclose(
        blended(receiver, donor, share), by_sparse_solver(receiver, donor, share), atol=1e-9
    )


def test_without_share_nothing_changes_and_a_brighter_donor_brings_no_light() -> None:
    rng = np.random.default_rng(1)
    receiver, donor = rng.uniform(0, 255, (2, 20, 16, 3))
    np.testing.assert_allclose(blended(receiver, donor, np.zeros((20, 16))), receiver, atol=1e-9)
    np.testing.assert_allclose(blended(receiver, receiver + 40, np.ones((20, 16))), receiver, atol=1e-9)


def test_a_spot_arrives_whole_and_the_border_stays() -> None:
    receiver, donor = np.full((40, 40, 1), 200.0), np.full((40, 40, 1), 60.0)
    donor[15:25, 15:25] -= 50
    share = np.zeros((40, 40))
    share[8:32, 8:32] = 1
    out = blended(receiver, donor, share)[..., 0]
    assert out[20, 20] == pytest.approx(150, abs=1e-6)
    assert out[10, 10] == pytest.approx(200, abs=1e-6)
    assert (out[[0, -1]] == 200).all()


@pytest.mark.parametrize("shape", [(1, 5), (2, 2), (5, 1), (3, 3)])
def test_tiny_pictures(shape) -> None:
    receiver = np.random.default_rng(2).uniform(0, 255, (*shape, 3))
    np.testing.assert_allclose(blended(receiver, receiver, np.ones(shape)), receiver, atol=1e-9)
