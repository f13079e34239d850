"""Colours of heat: those of the published scale, which colour-blind people can order too."""

import numpy as np
from matplotlib import colormaps

from handlens.explain.overlay import coloured, laid_over, scaled

RAMP = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(4, axis=0)


def lightness(pixels: np.ndarray) -> np.ndarray:
    """CIE lightness of sRGB pixels."""
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_the_colours_are_the_published_ones() -> None:
    wanted = colormaps["cividis"](scaled(RAMP))[..., :3] * 255
    assert np.abs(coloured(RAMP) - wanted).max() <= 6


def test_hotter_is_lighter_for_every_eye() -> None:
    pixels = coloured(RAMP)[0] / 255
    # Machado et al. 2009, complete deuteranopia and protanopia.
    green_blind = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    red_blind = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    for eye in (np.eye(3), np.array(green_blind), np.array(red_blind)):
        seen = lightness(np.clip(pixels @ eye.T, 0, 1))
        steps = seen[::16]
        assert (np.diff(steps) > 0).all()
        assert steps[-1] - steps[0] > 60


def test_an_empty_map_is_cold_everywhere_and_hides_nothing() -> None:
    empty = np.zeros((8, 8), np.float32)
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert (coloured(empty) == [0, 34, 78]).all()
    grey = np.rint(picture @ np.array([0.299, 0.587, 0.114]))
    shown = laid_over(picture, empty)
    assert np.abs(shown - grey[..., None]).max() <= 1


def test_one_hot_pixel_does_not_dim_the_others() -> None:
    heat = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    heat[0, 0] = 1000
    assert scaled(heat)[50, 50] > 0.4
