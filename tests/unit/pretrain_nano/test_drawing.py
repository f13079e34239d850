"""Batches: what they hold, and what they depend on."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pretrain_nano import patches
from pretrain_nano.drawing import MOST_SETTINGS, Batch, draw_batch
from pretrain_nano.formulas import FORMULAS
from pretrain_nano.plan import Plan
from pretrain_nano.teach import Batches


def drawn(seed: int, materials: int = 24) -> Batch:
    return draw_batch(materials, 2, 64, torch.Generator().manual_seed(seed))


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(value, getattr(other, name)) for name, value in vars(one).items())


@pytest.fixture(scope="module")
def batch() -> Batch:
    return drawn(0)


def test_every_formula_is_drawn_and_labelled(batch: Batch) -> None:
    assert batch.pictures.shape == (48, 3, 64, 64)
    assert batch.pictures.dtype == torch.uint8
    assert set(batch.formula.tolist()) == set(range(len(FORMULAS)))
    assert batch.used.sum(1).tolist() == [len(FORMULAS[number].settings) for number in batch.formula]
    assert batch.settings.shape == (48, MOST_SETTINGS)


def test_pictures_of_one_material_share_its_numbers_and_nothing_else(batch: Batch) -> None:
    for name in ("formula", "settings", "used", "paint", "outline", "is_object"):
        value = getattr(batch, name)
        assert torch.equal(value[::2], value[1::2]), name
    differ = (batch.pictures[::2] != batch.pictures[1::2]).float().mean((1, 2, 3))
    assert (differ > 0.5).all()


def test_pictures_are_neither_black_nor_white_nor_all_alike(batch: Batch) -> None:
    means = batch.pictures.float().mean((1, 2, 3))
    assert ((means > 5) & (means < 250)).float().mean() > 0.95
    assert means.std() > 15
    assert batch.is_object.any()
    assert not batch.is_object.all()


def test_the_seed_decides_all() -> None:
    assert same(drawn(3), drawn(3))
    assert not torch.equal(drawn(3).pictures, drawn(4).pictures)


def test_the_number_of_workers_and_a_later_start_change_nothing() -> None:
    plan = Plan(steps=4, materials=12, size=32)
    alone = list(DataLoader(Batches(plan, 0, None), None))
    several = list(DataLoader(Batches(plan, 0, None), None, num_workers=2))
    later = list(DataLoader(Batches(plan, 2, None), None))
    assert len(alone) == len(several) == 4
    assert all(same(one, other) for one, other in zip(alone, several, strict=True))
    assert all(same(one, other) for one, other in zip(alone[2:], later, strict=True))


def test_counts_are_those_of_a_slow_look() -> None:
    """Patterns and colours counted pixel by pixel, in numpy."""
    pictures = drawn(1, 12).pictures[:2]
    found = patches.counts(pictures)
    for histogram in found[:-1]:
        assert torch.allclose(histogram.square().sum(1), torch.ones(2, 2, 2), atol=1e-5)
    red = pictures[0, 0, :32:2, 32::2].numpy().astype(int) * patches.LEVELS // 256
    expected = np.bincount(red.ravel(), minlength=patches.LEVELS) / 16**2
    assert np.allclose(found[1][0, :, 0, 1].square().numpy(), expected, atol=1e-6)

    grey = (pictures[0].float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0).numpy()
    kinds: dict[int, int] = {}
    for row in range(2, 32, 2):
        for column in range(2, 32, 2):
            steps = ((0, 2), (-2, 2), (-2, 0), (-2, -2), (0, -2), (2, -2), (2, 0), (2, 2))
            bits = [grey[row + down, column + right] >= grey[row, column] for down, right in steps]
            changes = sum(bits[i] != bits[i - 1] for i in range(8))
            kinds[changes <= 2] = kinds.get(changes <= 2, 0) + 1
    others = found[5][0, -1, 0, 0].square().item() * 16**2
    # The first row and column see their own reflection.
    assert kinds[False] <= round(others) <= kinds[False] + 16**2 - 15**2
