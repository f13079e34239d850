"""Screening: figures that agree with plain arithmetic, and decisions that a person would make too."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from handlens.data.screening import Look, Screened, ScreeningSpec, likeness, look_at, reduced, screen


def scene(number: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Something with edges and surfaces, another one for each number."""
    drawn = np.random.default_rng(number).normal(size=(size[1] // 8, size[0] // 8))
    smooth = ndimage.zoom(ndimage.gaussian_filter(drawn, 1.5), 8, order=1)
    edged = np.where(smooth > 0, 170, 80) + 150 * smooth
    return Image.fromarray(edged.clip(0, 255).astype(np.uint8)).convert("RGB")


def looks(*pictures: Image.Image) -> list[Look]:
    return [look_at(reduced(picture)) for picture in pictures]


def reasons(*pictures: Image.Image, spec: ScreeningSpec | None = ScreeningSpec()) -> list[str | None]:  # noqa: B008
    return [one.reason for one in screen(looks(*pictures), [False] * len(pictures), spec)]


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    picture = scene(0)
    grey = np.asarray(picture.convert("L"), dtype=float)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    laplacian = ndimage.convolve(grey, kernel)[1:-1, 1:-1]
    assert look_at(picture).sharpness == pytest.approx(laplacian.var(), rel=1e-9)


def test_shares_are_shares_of_the_pixels() -> None:
    pixels = np.full((100, 100), 128, np.uint8)
    pixels[:10] = 39
    pixels[10:20] = 40
    pixels[20:25] = 250
    pixels[25:30] = 249
    look = look_at(Image.fromarray(pixels).convert("RGB"))
    assert (look.dark, look.bright) == (pytest.approx(0.10), pytest.approx(0.05))


def test_large_pictures_are_looked_at_reduced() -> None:
    assert reduced(Image.new("RGB", (1920, 1080))).size == (640, 360)
    assert reduced(Image.new("RGB", (2160, 3840))).size == (360, 640)
    assert reduced(Image.new("RGB", (1279, 720))).size == (1279, 720)
    assert reduced(Image.new("RGB", (2, 1))).size == (2, 1)
    assert look_at(Image.new("RGB", (2, 1))).sharpness == 0


def test_the_blurred_are_left_out() -> None:
    pictures = [scene(number) for number in range(9)]
    moved = np.asarray(pictures[5], dtype=float)
    moved = ndimage.uniform_filter1d(moved, 15, axis=1)
    pictures[5] = Image.fromarray(moved.astype(np.uint8))
    pictures[2] = pictures[2].filter(ImageFilter.GaussianBlur(2))
    found = reasons(*pictures)
    assert [place for place, reason in enumerate(found) if reason == "blurred"] == [2, 5]
    assert found.count(None) == 7


def test_a_smooth_scene_is_not_a_blurred_one() -> None:
    """What counts is what is usual in the same video."""
    assert reasons(*(scene(number).filter(ImageFilter.GaussianBlur(4)) for number in range(5))) == [None] * 5


def test_the_badly_exposed_are_left_out() -> None:
    pictures = [scene(number) for number in range(6)]
    pictures[1] = ImageEnhance.Brightness(pictures[1]).enhance(0.1)
    pictures[4] = ImageEnhance.Brightness(pictures[4]).enhance(3.5)
    assert reasons(*pictures) == [None, "under-exposed", None, None, "over-exposed", None]


def test_a_white_or_black_background_is_the_scene() -> None:
    for value in (255, 10):
        pictures = []
        for number in range(6):
            picture = Image.new("RGB", (640, 480), (value,) * 3)
            picture.paste(scene(number).crop((0, 0, 160, 160)), (100 * number, 100))
            pictures.append(picture)
        pictures.append(Image.new("RGB", (640, 480), (value,) * 3))
        found = reasons(*pictures)
        assert found[:6] == [None] * 6
        assert found[6] == ("over-exposed" if value == 255 else "under-exposed")


def test_the_same_again_is_left_out() -> None:
    rng = np.random.default_rng(0)

    def noisy(picture: Image.Image, light: int = 0) -> Image.Image:
        pixels = np.asarray(picture, dtype=float)
        pixels = pixels * 0.9 + rng.normal(0, 4, pixels.shape) + light
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    one, other = scene(1), scene(2)
    moved = one.copy()
    moved.paste(other.crop((0, 0, 150, 150)), (300, 200))
    # Noise and a lamp that flickers make no other picture; a part that moves does.
    found = reasons(
        noisy(one), noisy(one), noisy(one, 12), noisy(moved), noisy(moved), noisy(other), noisy(one)
    )
    assert found == [None, "near-identical", "near-identical", None, "near-identical", None, None]


def test_likeness_compares_with_the_last_kept_frame() -> None:
    """Many small steps add up to another picture."""
    one, other = (np.asarray(scene(number), dtype=float) for number in (1, 2))
    steps = [Image.fromarray((one + (other - one) * part / 100).astype(np.uint8)) for part in range(101)]
    # Blended pictures are softer, which is not the question here.
    spec = ScreeningSpec(least_sharp=0)
    found = reasons(*steps, spec=spec)
    assert found[1] == "near-identical"
    assert 3 <= found.count(None) <= 50
    judged = screen(looks(*steps), [False] * 101, spec)
    assert judged[0].likeness is None
    assert judged[1].likeness is not None


def test_likeness_is_a_share_of_fields() -> None:
    plain = bytes([100]) * 1024
    changed = bytes([200]) * 256 + plain[256:]
    assert likeness(plain, plain) == 1
    assert likeness(plain, changed) == 0.75
    assert likeness(plain, bytes([140]) * 1024) == 1


def test_the_damaged_are_left_out_and_nobody_is_measured_by_them() -> None:
    pictures = [scene(1), scene(2).filter(ImageFilter.GaussianBlur(3)), scene(3), scene(3)]
    judged = screen(looks(*pictures), [False, True, True, False], ScreeningSpec())
    assert [one.reason for one in judged] == [None, "damaged", "damaged", None]


def test_every_limit_can_be_lifted() -> None:
    pictures = [scene(number) for number in range(4)]
    pictures += [
        scene(5).filter(ImageFilter.GaussianBlur(3)),
        Image.new("RGB", (640, 480), "white"),
        Image.new("RGB", (640, 480)),
        Image.new("RGB", (640, 480)),
    ]
    spec = ScreeningSpec(least_sharp=0, most_dark=1, most_bright=1, most_alike=1)
    assert reasons(*pictures, spec=spec) == [None] * 8
    assert reasons(*pictures, spec=None) == [None] * 8
    told = screen(looks(*pictures), [False] * 8, None)
    assert told[4].relative_sharpness < 0.2
    assert told[7].likeness == 1


def test_no_frame_and_a_single_one() -> None:
    assert screen([], [], ScreeningSpec()) == ()
    assert screen(looks(scene(1)), [False], ScreeningSpec()) == (Screened(1.0, None, None),)
