"""Pools against numpy."""

import numpy as np
import torch

from handlens.models.pool import average, average_and_maximum

MAP = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))


def test_average_against_numpy():
    np.testing.assert_allclose(average(MAP).numpy(), MAP.numpy().mean((2, 3)), atol=1e-6)


def test_average_and_maximum_against_numpy():
    expected = np.concatenate([MAP.numpy().mean((2, 3)), MAP.numpy().max((2, 3))], axis=1)
    np.testing.assert_allclose(average_and_maximum(MAP).numpy(), expected, atol=1e-6)


def test_a_small_defect_is_heard_by_the_maximum():
    plain = torch.zeros(1, 2, 50, 50)
    spotted = plain.clone()
    spotted[0, 1, 20, 30] = 1.0
    assert average(spotted)[0, 1] < 1e-3
    assert average_and_maximum(spotted)[0].tolist()[2:] == [0.0, 1.0]
