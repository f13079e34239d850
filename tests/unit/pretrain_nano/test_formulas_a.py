"""The formulas for noise, tilings, particles, cracks and fibres."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from pretrain_nano.formula import Formula
from pretrain_nano.formulas.cracks import CRACKS
from pretrain_nano.formulas.fibres import FIBRES
from pretrain_nano.formulas.grids import coordinates, soft_noise, spectral_noise
from pretrain_nano.formulas.noise import NOISE, WAVES
from pretrain_nano.formulas.particles import PARTICLES
from pretrain_nano.formulas.tilings import CELLS, TILES

FORMULAS = [NOISE, WAVES, CELLS, TILES, PARTICLES, CRACKS, FIBRES]
every_formula = pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.name)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(
    formula: Formula, settings: Mapping[str, float] = {}, seed: int = 0, n: int = 8, size: int = 64
) -> Tensor:
    """Pictures with these settings, and the middle of all others."""
    numbers = torch.full((n, len(formula.settings)), 0.5)
    for name, number in settings.items():
        numbers[:, formula.settings.index(name)] = number
    return formula.draw(numbers, size, chance(seed))


@every_formula
@pytest.mark.parametrize("size", [48, 65])
def test_surfaces_are_finite_and_in_range(formula: Formula, size: int) -> None:
    num_settings = len(formula.settings)
    anything = torch.rand(12, num_settings, generator=chance())
    ends = torch.stack([torch.zeros(num_settings), torch.ones(num_settings)])
    surfaces = formula.draw(torch.cat([anything, ends]), size, chance(1))
    assert surfaces.shape == (14, 2, size, size)
    assert surfaces.dtype == torch.float32
    assert surfaces.is_contiguous()
    assert surfaces.isfinite().all()
    assert surfaces.min() >= 0
    assert surfaces.max() <= 1


@every_formula
def test_the_same_chance_draws_the_same(formula: Formula) -> None:
    assert torch.equal(draw(formula, seed=3), draw(formula, seed=3))


@every_formula
def test_another_chance_draws_another_piece(formula: Formula) -> None:
    assert (draw(formula, seed=3) - draw(formula, seed=4)).abs().mean() > 0.005


@every_formula
def test_the_pictures_of_a_batch_differ(formula: Formula) -> None:
    first, second = draw(formula, n=2)
    assert (first - second).abs().mean() > 0.005


@every_formula
def test_every_setting_changes_the_picture(formula: Formula) -> None:
    for name in formula.settings:
        low, high = (draw(formula, {name: number}, seed=5) for number in (0.1, 0.9))
        assert (low - high).abs().mean() > 0.002, name


def roughness(surfaces: Tensor) -> float:
    """How steep the relief is, whatever its height."""
    relief = surfaces[:, 0]
    return float((relief.diff(dim=-1).square().mean((-2, -1)) / relief.var((-2, -1))).mean())


def one_sidedness(surfaces: Tensor) -> float:
    """How much steeper the relief is in one direction than across it."""
    relief = surfaces[:, 0]
    across, down = relief.diff(dim=-1)[:, 1:], relief.diff(dim=-2)[:, :, 1:]
    both = (across * down).mean((-2, -1))
    x, y = across.square().mean((-2, -1)), down.square().mean((-2, -1))
    return float((((x - y) ** 2 + 4 * both**2).sqrt() / (x + y)).mean())


def mean_relief(surfaces: Tensor) -> float:
    return float(surfaces[:, 0].mean())


def bright_share(surfaces: Tensor) -> float:
    return float((surfaces[:, 1] > 0.5).float().mean())


def share_in_grooves(surfaces: Tensor) -> float:
    return float((surfaces[:, 0] < 0.55).float().mean())


def contrast_of_tint(surfaces: Tensor) -> float:
    return float(surfaces[:, 1].std((-2, -1)).mean())


@pytest.mark.parametrize(
    ("formula", "setting", "figure", "grows"),
    [
        (NOISE, "slope", roughness, False),
        (NOISE, "wavelength", roughness, True),
        (NOISE, "stretch", one_sidedness, True),
        (WAVES, "period", roughness, True),
        (WAVES, "bend", one_sidedness, False),
        (WAVES, "narrowness", mean_relief, False),
        (CELLS, "number", roughness, True),
        (CELLS, "border", mean_relief, False),
        (CELLS, "stretch", one_sidedness, True),
        (TILES, "number", roughness, True),
        (TILES, "joint", mean_relief, False),
        (PARTICLES, "fineness", roughness, True),
        (PARTICLES, "density", bright_share, True),
        (PARTICLES, "rise", mean_relief, True),
        (CRACKS, "number", share_in_grooves, True),
        (CRACKS, "length", share_in_grooves, True),
        (CRACKS, "width", share_in_grooves, True),
        (CRACKS, "depth", contrast_of_tint, True),
        (FIBRES, "density", bright_share, True),
        (FIBRES, "thickness", roughness, False),
        (FIBRES, "spread", one_sidedness, False),
    ],
    ids=lambda part: getattr(part, "name", getattr(part, "__name__", str(part))),
)
def test_settings_do_what_their_names_say(
    formula: Formula, setting: str, figure: Callable[[Tensor], float], grows: bool
) -> None:
    low, high = (figure(draw(formula, {setting: number}, n=24, size=96)) for number in (0.1, 0.9))
    assert (high > 1.05 * low) if grows else (low > 1.05 * high)


def test_coordinates_are_the_middles_of_the_pixels() -> None:
    y, x = coordinates(4, torch.device("cpu"))
    assert y[:, 0].tolist() == x[0].tolist() == [0.125, 0.375, 0.625, 0.875]


def test_noise_is_standard_and_has_its_spectrum() -> None:
    slopes = torch.tensor([0.0, 2.0, 4.0]).repeat_interleave(20)
    noise = spectral_noise(slopes, 64, chance())
    torch.testing.assert_close(noise.mean((-2, -1)), torch.zeros(60), atol=1e-5, rtol=0)
    torch.testing.assert_close(noise.std((-2, -1), correction=0), torch.ones(60))
    power = torch.fft.rfft2(noise).abs().square().view(3, 20, 64, 33).mean(1)
    # Over two octaves along a row of the spectrum, averaged against chance.
    fall = torch.log2(power[:, 0, 3:6].mean(1) / power[:, 0, 12:24].mean(1)) / 2
    torch.testing.assert_close(fall, torch.tensor([0.0, 2.0, 4.0]), atol=0.5, rtol=0)


def test_soft_noise_has_about_so_many_waves_and_no_direction() -> None:
    few, many = (soft_noise(torch.full((40,), waves), 64, chance()) for waves in (2.0, 6.0))
    for noise in (few, many):
        torch.testing.assert_close(noise.std((-2, -1), correction=0), torch.ones(40))
    steep = [noise.diff(dim=-1).square().mean().sqrt() for noise in (few, many)]
    assert 2 < steep[1] / steep[0] < 4
    across, down = (many.diff(dim=dim).square().mean() for dim in (-1, -2))
    assert 0.8 < across / down < 1.25
