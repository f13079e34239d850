"""The look of a drawn surface: what is the material's stays recognisable, what is chance's varies."""

import math

import pytest
import torch
from torch import Tensor

from pretrain_nano import camera
from pretrain_nano.camera import photograph
from pretrain_nano.formula import to_unit
from pretrain_nano.light import light, slopes
from pretrain_nano.paint import GREY_SHARE, PAINT, paint


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(num: int, size: int) -> Tensor:
    """Fields that rise from 0 to 1 from left to right."""
    return ((torch.arange(size) + 0.5) / size).expand(num, size, size).contiguous()


def bumps(num: int, size: int, seed: int = 0) -> Tensor:
    coarse = torch.rand(num, 1, 12, 12, generator=chance(seed))
    return to_unit(torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")[:, 0])


def paints(num: int, **fixed: float) -> Tensor:
    settings = torch.rand(num, len(PAINT), generator=chance(1))
    for name, value in fixed.items():
        settings[:, PAINT.index(name)] = value
    return settings


def lit(num: int, size: int, seed: int = 0, **fixed: float) -> Tensor:
    settings = paints(num, **fixed)
    gloss, depth = settings[:, PAINT.index("gloss")], settings[:, PAINT.index("depth")]
    return light(bumps(num, size), paint(bumps(num, size, 1), settings), gloss, depth, chance(seed))


def test_albedo_is_a_share_of_the_light() -> None:
    albedo = paint(bumps(200, 16), paints(200))
    assert albedo.shape == (200, 3, 16, 16)
    assert albedo.is_contiguous()
    assert albedo.min() >= 0 and albedo.max() <= 1


def test_a_fifth_of_the_materials_have_no_colour() -> None:
    settings = paints(400)
    albedo = paint(ramps(400, 16), settings)
    colour = (albedo.amax(1) - albedo.amin(1)).amax((1, 2))
    saturation = settings[:, PAINT.index("saturation")]
    assert colour[saturation < GREY_SHARE].max() < 1e-5
    assert colour[saturation > GREY_SHARE + 0.1].min() > 1e-3


@pytest.mark.parametrize("name", [name for name in PAINT if name not in {"gloss", "depth"}])
def test_every_setting_of_colour_is_seen(name: str) -> None:
    others = dict.fromkeys(PAINT, 0.7)
    low = paint(ramps(1, 32), paints(1, **{**others, name: 0.3}))
    high = paint(ramps(1, 32), paints(1, **{**others, name: 0.9}))
    assert (low - high).abs().mean() > 0.005


@pytest.mark.parametrize(("turns", "num_turns"), [(0.0, 0), (0.5, 1), (1.0, 2)])
def test_lightness_turns_back_as_often_as_it_is_set_to(turns: float, num_turns: int) -> None:
    settings = paints(1, turns=turns, saturation=0.0, contrast=1.0, distinctness=0.2)
    steps = paint(ramps(1, 64), settings)[0, 0, 0].diff().sign()
    steps = steps[steps != 0]
    assert (steps[1:] != steps[:-1]).sum() == num_turns


def test_the_slope_of_a_ramp_is_its_depth() -> None:
    down, right = slopes(ramps(2, 32), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(right, torch.tensor([0.02, 0.25]).view(2, 1, 1).expand(2, 32, 32))
    assert not down.any()


def test_a_surface_is_as_steep_at_any_size() -> None:
    depth = torch.full((4,), 0.5)
    steepness = [slopes(bumps(4, size), depth)[1].square().mean().item() for size in (128, 256)]
    assert steepness[0] == pytest.approx(steepness[1], rel=0.03)


def test_depth_and_gloss_are_seen_in_the_light() -> None:
    plain = {"saturation": 0.0, "contrast": 0.5, "lightness": 0.5}
    shallow, deep = (lit(64, 48, **plain, gloss=0.0, depth=depth).log().std((2, 3)) for depth in (0.1, 0.9))
    assert (deep > shallow).float().mean() > 0.95
    matt, glossy = (lit(64, 48, **plain, gloss=gloss, depth=0.5).amax((1, 2, 3)) for gloss in (0.0, 1.0))
    assert (glossy > 1.3 * matt).float().mean() > 0.7


def test_exposures_are_mostly_right() -> None:
    level = lit(400, 16).mean((1, 2, 3))
    assert level.isfinite().all()
    assert ((level > 0.05) & (level < 0.5)).float().mean() > 0.85
    assert level.max() > 0.5, "none is overexposed"


def test_light_does_not_hide_the_colour_of_the_material() -> None:
    grey = lit(200, 16, saturation=0.0).mean((2, 3))
    assert (grey.amax(1) / grey.amin(1)).max() < math.exp(0.2)
    assert grey.std(0).min() > 0.03


def test_a_photograph_is_bytes_of_the_size_asked() -> None:
    photographs = photograph(lit(20, 60), 48, chance())
    assert photographs.shape == (20, 3, 48, 48)
    assert photographs.dtype == torch.uint8
    assert photographs.is_contiguous()


def test_the_same_chance_takes_the_same_photograph_and_another_does_not() -> None:
    pictures = lit(8, 60)
    assert torch.equal(photograph(pictures, 48, chance(3)), photograph(pictures, 48, chance(3)))
    assert not torch.equal(photograph(pictures, 48, chance(3)), photograph(pictures, 48, chance(4)))


def test_a_single_picture_can_be_taken_by_any_chance() -> None:
    for seed in range(20):
        assert photograph(lit(1, 40), 32, chance(seed)).shape == (1, 3, 32, 32)


def test_a_cut_is_turned_and_scaled_but_not_bent() -> None:
    right = ramps(300, 80)
    pieces = camera.cut_out(torch.stack([right, right.mT, right], dim=1), 64, chance())
    across, below = pieces.diff(dim=3)[:, :2, 20, 20], pieces.diff(dim=2)[:, :2, 20, 20]
    scale = across.norm(dim=1) * 64
    torch.testing.assert_close(below.norm(dim=1) * 64, scale, rtol=1e-3, atol=0)
    torch.testing.assert_close((across * below).sum(1), torch.zeros(300), rtol=0, atol=1e-6)
    assert scale.min() > 0.599 and scale.max() < 1.001
    mirrored = across[:, 0] * below[:, 1] - across[:, 1] * below[:, 0] < 0
    assert 0.4 < mirrored.float().mean() < 0.6
    # No pixel lies outside the picture, where the ramps would stop rising.
    assert pieces.diff(dim=3)[:, :2].std((2, 3)).max() < 1e-3


def test_half_of_the_pictures_are_blurred_and_none_gets_darker() -> None:
    pictures = torch.rand(200, 3, 96, 96, generator=chance(5))
    blurred = camera.blurred(pictures, chance())
    changed = (blurred != pictures).flatten(1).any(1)
    assert 0.4 < changed.float().mean() < 0.6
    assert (blurred[changed].std((1, 2, 3)) < pictures[changed].std((1, 2, 3))).all()
    assert (blurred.mean((1, 2, 3)) - pictures.mean((1, 2, 3))).abs().max() < 0.02
    flat = torch.full((50, 3, 32, 32), 0.3)
    torch.testing.assert_close(camera.blurred(flat, chance()), flat)


def test_noise_grows_with_the_light() -> None:
    dark, bright = torch.full((40, 3, 32, 32), 0.01), torch.full((40, 3, 32, 32), 0.9)
    quiet, loud = (camera.noisy(level, chance()).std((1, 2, 3)) for level in (dark, bright))
    has_noise = loud > 0
    assert 0.4 < has_noise.float().mean() < 0.8
    expected = math.sqrt((0.9 + 0.001) / (0.01 + 0.001))
    assert (loud[has_noise] / quiet[has_noise]).mean() == pytest.approx(expected, rel=0.02)


def test_developing_keeps_the_order_of_tones() -> None:
    tones = camera.developed(ramps(100, 64).unsqueeze(1) * 1.2, chance()).int()
    assert (tones.diff(dim=3) >= 0).all()
    assert (tones[..., -1] == 255).all()
    assert tones[..., 0].max() < 60
    middle = tones[:, 0, 0, 11].float()  # 0.216 in linear light is 128 on the sRGB curve.
    assert middle.mean() == pytest.approx(128, abs=6)


def test_half_of_the_photographs_are_compressed_and_stay_near() -> None:
    photographs = (bumps(100, 64) * 255).to(torch.uint8).unsqueeze(1).repeat(1, 3, 1, 1)
    error = (camera.compressed(photographs, chance()).float() - photographs.float()).abs().mean((1, 2, 3))
    assert 0.35 < (error > 0).float().mean() < 0.65
    assert error.max() < 8


def test_a_tenth_of_the_photographs_are_grey() -> None:
    photographs = torch.randint(0, 256, (1000, 3, 8, 8), generator=chance(), dtype=torch.uint8)
    greyed = camera.greyed(photographs, chance())
    grey = (greyed.amax(1) == greyed.amin(1)).all((1, 2))
    assert 0.07 < grey.float().mean() < 0.13
    assert torch.equal(greyed[~grey], photographs[~grey])
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    assert (greyed[grey][:, 0] - (photographs[grey] * weights).sum(1)).abs().max() <= 0.51


def test_white_balance_is_never_far_off() -> None:
    factors = camera.white_balance(500, chance())
    assert (factors.amax(1) / factors.amin(1)).max() < 1.15
    assert factors.std(0).min() > 0.01
