"""Fractals, self-made patterns, outlines, streaks and defects: in range, repeatable, true to their names."""

import pytest
import torch
from torch import Tensor

from pretrain_nano.formula import Formula
from pretrain_nano.formulas.contours import CONTOURS, OUTLINE_SETTINGS, outline_mask
from pretrain_nano.formulas.flow import FLOW
from pretrain_nano.formulas.fractals import FRACTALS
from pretrain_nano.formulas.pits import PITS
from pretrain_nano.formulas.reaction import REACTION

FORMULAS = (FRACTALS, REACTION, CONTOURS, FLOW, PITS)
each_formula = pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.name)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(formula: Formula, num: int = 24, size: int = 96, **fixed: float) -> Tensor:
    """Surfaces whose settings are all in the middle, but for these."""
    settings = torch.full((num, len(formula.settings)), 0.5)
    for name, value in fixed.items():
        settings[:, formula.settings.index(name)] = value
    return formula.draw(settings, size, chance())


def steepness(field: Tensor) -> float:
    return float(field.diff(dim=-1).abs().mean() + field.diff(dim=-2).abs().mean())


def skew(field: Tensor) -> float:
    from_mean = field - field.mean((-2, -1), keepdim=True)
    return float((from_mean**3).mean() / (from_mean**2).mean() ** 1.5)


@each_formula
@pytest.mark.parametrize("size", [32, 97, 128, 160])
def test_surfaces_are_finite_and_in_range(formula: Formula, size: int) -> None:
    settings = torch.rand(24, len(formula.settings), generator=chance(1))
    # Half of them have every setting at one of its ends.
    settings[::2] = settings[::2].round()
    surfaces = formula.draw(settings, size, chance())
    assert surfaces.shape == (24, 2, size, size)
    assert surfaces.dtype == torch.float32
    assert surfaces.is_contiguous()
    assert surfaces.isfinite().all()
    assert surfaces.min() >= 0
    assert surfaces.max() <= 1
    assert (surfaces.amax((2, 3)) > surfaces.amin((2, 3))).all()


@each_formula
def test_the_same_chance_draws_the_same_picture_and_another_does_not(formula: Formula) -> None:
    settings = torch.rand(3, len(formula.settings), generator=chance(1))
    first = formula.draw(settings, 64, chance(5))
    assert torch.equal(first, formula.draw(settings, 64, chance(5)))
    assert not torch.equal(first, formula.draw(settings, 64, chance(6)))


def test_long_steps_stay_finite_for_any_settings() -> None:
    for seed in range(6):
        settings = torch.rand(48, len(REACTION.settings), generator=chance(seed)).round()
        assert REACTION.draw(settings, 32, chance(seed)).isfinite().all()


@each_formula
def test_every_setting_changes_the_picture(formula: Formula) -> None:
    for name in formula.settings:
        low, high = drawn(formula, num=4, **{name: 0.1}), drawn(formula, num=4, **{name: 0.9})
        assert (low - high).abs().mean() > 0.002, name


def test_fractals_of_flat_maps_are_thin_and_of_weak_contraction_full() -> None:
    def filled(**fixed: float) -> float:
        return float((drawn(FRACTALS, **fixed)[:, 0] > 0.05).float().mean())

    assert filled(flatness=0.05) > 1.5 * filled(flatness=0.95)
    assert filled(contraction=0.9) > 1.3 * filled(contraction=0.1)


def test_patterns_have_more_waves_and_go_from_holes_to_spots() -> None:
    assert steepness(drawn(REACTION, waves=0.9)) > 2 * steepness(drawn(REACTION, waves=0.1))
    assert skew(drawn(REACTION, spots=0.05, grain=0.0)[:, 0]) < -0.2
    assert skew(drawn(REACTION, spots=0.95, grain=0.0)[:, 0]) > 0.2
    assert drawn(REACTION, growth=0.9).std() > 1.3 * drawn(REACTION, growth=0.05).std()


def test_wide_streaks_are_less_steep_and_contrast_is_contrast() -> None:
    assert steepness(drawn(FLOW, width=0.1)) > 1.5 * steepness(drawn(FLOW, width=0.9))
    assert drawn(FLOW, contrast=0.9).std() > 1.5 * drawn(FLOW, contrast=0.1).std()


def test_defects_are_more_or_larger_and_sink_or_rise() -> None:
    def stained(**fixed: float) -> float:
        return float((drawn(PITS, **fixed)[:, 1] > 0.5).float().mean())

    assert stained(number=0.9) > 2 * stained(number=0.1)
    assert stained(width=0.9) > 2 * stained(width=0.1)
    assert skew(drawn(PITS, height=0.0)[:, 0]) < -1
    assert skew(drawn(PITS, height=1.0)[:, 0]) > 1


def test_domes_are_highest_and_rings_lowest_in_their_middle() -> None:
    surface = drawn(CONTOURS, num=64, number=0.0, depth=0.0, profile=0.0)[:, 0]
    hollow = drawn(CONTOURS, num=64, number=0.0, depth=0.0, profile=1.0)[:, 0]
    middle = slice(40, 56)
    assert surface[:, middle, middle].mean() > surface.mean() + 0.1
    assert hollow[:, middle, middle].mean() < surface[:, middle, middle].mean() - 0.2


def test_masks_cover_what_is_asked_and_are_rougher_by_name() -> None:
    settings = torch.rand(32, len(OUTLINE_SETTINGS), generator=chance(2))
    masks = outline_mask(settings, 96, chance())
    assert masks.shape == (32, 96, 96)
    assert masks.min() >= 0
    assert masks.max() <= 1
    asked = 0.15 + 0.65 * settings[:, OUTLINE_SETTINGS.index("coverage")]
    assert (masks.mean((1, 2)) - asked).abs().max() < 0.03

    def outline(roughness: float) -> float:
        settings = torch.full((16, len(OUTLINE_SETTINGS)), 0.3)
        settings[:, OUTLINE_SETTINGS.index("roughness")] = roughness
        return steepness(outline_mask(settings, 96, chance()))

    assert outline(0.9) > 1.2 * outline(0.1)
