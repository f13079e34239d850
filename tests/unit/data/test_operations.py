"""Operations against NumPy and SciPy: exact where they copy pixels, and never a black border."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from handlens.base.errors import HandlensError
from handlens.base.spec import Spec, read_yaml
from handlens.data.operations import (
    OPERATIONS,
    Operation,
    about_centre,
    chance_of,
    mirrored,
    noisy,
    size_within,
    warped,
)

CONTENT = "ab" * 16


class Listed(Spec):
    """A list of operations, as recipes have it."""

    operations: tuple[Operation, ...]
    """What is done."""


def listed(text):
    return Listed.parse({"operations": read_yaml(text, "test")}, "The test").operations


def random_pixels(height=37, width=53, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth_pixels(height=80, width=120, seed=0):
    rough = random_pixels(height, width, seed).astype(float)
    blurred = ndimage.gaussian_filter(rough, (3, 3, 0), mode="mirror")
    return np.clip((blurred - 127.5) * 5 + 127.5, 0, 255).astype(np.uint8)


def done(operation, pixels, number=1, seed=0):
    """The pixels that an operation makes, and what it drew."""
    spec = OPERATIONS[operation]() if isinstance(operation, str) else operation
    generator = chance_of(spec.operation, CONTENT, number, seed)
    drawn = spec.draw(generator)
    picture = spec.apply(Image.fromarray(pixels), drawn, generator)
    assert picture.mode == "RGB"
    return np.asarray(picture), drawn


# all of them


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_the_same_at_every_time_and_something_else_under_another_seed(name):
    pixels = random_pixels()
    first, drawn = done(name, pixels)
    np.random.default_rng(1).random(5)
    again, drawn_again = done(name, pixels)
    assert np.array_equal(first, again)
    assert drawn == drawn_again
    assert not np.array_equal(first, pixels)
    same = [
        np.array_equal(first, done(name, pixels, number=2)[0]),
        np.array_equal(first, done(name, pixels, seed=1)[0]),
    ]
    assert same == [OPERATIONS[name].fixed] * 2


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 300)])
def test_no_size_is_too_small_or_too_long(name, size):
    made, _ = done(name, np.full((*size, 3), 200, np.uint8))
    assert min(made.shape) >= 1
    assert made.min() > 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_drawn_is_plain_and_rounded(name):
    _, drawn = done(name, random_pixels())
    assert all(isinstance(value, float) and value == round(value, 4) for value in drawn.values())


# flips and quarter turns: the same pixels in other places


def test_flips_and_quarter_turns_are_numpys():
    pixels = random_pixels()
    assert np.array_equal(done("flip_vertical", pixels)[0], pixels[::-1])
    assert np.array_equal(done("flip_horizontal", pixels)[0], pixels[:, ::-1])
    assert np.array_equal(done("rotate90", pixels)[0], np.rot90(pixels))


# rotation


@pytest.mark.parametrize("border", ["reflect", "crop"])
@pytest.mark.parametrize("degrees", [[1, 5], [45, 45], [80, 95], [180, 180]])
def test_a_turned_white_picture_is_white(border, degrees):
    (rotate,) = listed(f"[{{operation: rotate, degrees: {degrees}, border: {border}}}]")
    for number in range(1, 6):
        made, drawn = done(rotate, np.full((31, 70, 3), 255, np.uint8), number)
        assert made.min() == 255
        assert degrees[0] <= abs(drawn["degrees"]) <= degrees[1]


@pytest.mark.parametrize("degrees", [7.0, -33.3, 90.0, 179.0])
def test_a_reflected_border_is_scipys_mirror(degrees):
    pixels = smooth_pixels()
    matrix = about_centre((120, 80), (120, 80), degrees=degrees)
    made = np.asarray(warped(Image.fromarray(pixels), matrix, (120, 80))).astype(float)
    turned = ndimage.rotate(pixels.astype(float), degrees, reshape=False, order=1, mode="mirror")
    # Pillow cuts the fraction off, where rounding would go up or down.
    assert np.abs(made - turned).max() <= 1.001


@pytest.mark.parametrize(
    "borders", [(3, 2, 4, 1), (30, 0, 0, 25), (0, 90, 77, 0), (10, 6, 10, 6), (0, 0, 0, 0)]
)
def test_mirroring_is_numpys_reflect_however_wide(borders):
    pixels = random_pixels(7, 11)
    left, top, right, bottom = borders
    made = np.asarray(mirrored(Image.fromarray(pixels), *borders))
    assert np.array_equal(made, np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="reflect"))


@pytest.mark.parametrize("degrees", [3.0, -20.0, 45.0, 90.0, 131.0])
def test_a_cut_border_leaves_the_middle_of_the_turned_picture_and_nothing_from_outside(degrees):
    # Where nothing is mirrored, another border makes no difference.
    pixels = smooth_pixels()
    width, height = size_within((120, 80), degrees)
    assert width / height == pytest.approx(1.5, rel=0.06)
    matrix = about_centre((120, 80), (width, height), degrees=degrees)
    corners = [(x, y) for x in (0, width) for y in (0, height)]
    a, b, c, d, e, f = matrix
    assert all(-0.001 <= a * x + b * y + c <= 120.001 for x, y in corners)
    assert all(-0.001 <= d * x + e * y + f <= 80.001 for x, y in corners)
    # And it is the largest: one corner touches an edge.
    sides = [min(a * x + b * y + c, 120 - (a * x + b * y + c)) for x, y in corners]
    sides += [min(d * x + e * y + f, 80 - (d * x + e * y + f)) for x, y in corners]
    assert min(sides) < 1
    assert np.asarray(warped(Image.fromarray(pixels), matrix, (width, height))).shape == (height, width, 3)


# affine


def test_an_affine_warp_is_scipys():
    pixels = smooth_pixels()
    degrees, shear, scale, shift_x, shift_y = 12.0, 8.0, 1.2, 0.05, -0.1
    matrix = about_centre(
        (120, 80), (120, 80), degrees=degrees, shear=shear, scale=scale, shift_x=shift_x, shift_y=shift_y
    )
    made = np.asarray(warped(Image.fromarray(pixels), matrix, (120, 80))).astype(float)
    # Built up from its parts, in rows and columns, with pixels at whole numbers as SciPy has them.
    turn = math.radians(degrees)
    turning = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    leaning = np.array([[1, 0], [math.tan(math.radians(shear)), 1]])
    back = leaning @ turning / scale
    centre = np.array([39.5, 59.5])
    offset = centre - back @ (centre + np.array([shift_y * 80, shift_x * 120]))
    expected = np.stack(
        [
            ndimage.affine_transform(pixels[..., channel].astype(float), back, offset, order=1, mode="mirror")
            for channel in range(3)
        ],
        axis=-1,
    )
    assert np.abs(made - expected).max() <= 1.001


def test_a_warp_that_changes_nothing_gives_the_picture():
    pixels = random_pixels()
    matrix = about_centre((53, 37), (53, 37))
    assert np.array_equal(np.asarray(warped(Image.fromarray(pixels), matrix, (53, 37))), pixels)


def test_an_affine_warp_keeps_the_size_and_has_no_black():
    (affine,) = listed(
        "[{operation: affine, degrees: [0, 90], shear: [0, 30], scale: [0.4, 1.5], shift: [0, 0.6]}]"
    )
    for number in range(1, 9):
        made, _ = done(affine, np.full((40, 60, 3), 255, np.uint8), number)
        assert made.shape == (40, 60, 3)
        assert made.min() == 255


# crop


def test_a_crop_is_a_part_of_the_asked_area_with_its_pixels_as_they_were():
    pixels = random_pixels(60, 90)
    (crop,) = listed("[{operation: crop, area: [0.5, 0.8]}]")
    places = set()
    for number in range(1, 30):
        made, drawn = done(crop, pixels, number)
        height, width = made.shape[:2]
        assert width / height == pytest.approx(1.5, rel=0.04)
        assert height * width / pixels[..., 0].size == pytest.approx(drawn["area"], abs=0.03)
        assert 0.5 <= drawn["area"] <= 0.8
        top, left = round(drawn["y"] * (60 - height)), round(drawn["x"] * (90 - width))
        assert np.array_equal(made, pixels[top : top + height, left : left + width])
        places.add((top, left))
    assert len(places) > 20


# brightness


def test_brightness_is_a_product():
    pixels = random_pixels()
    (brightness,) = listed("[{operation: brightness, change: [0.2, 0.5]}]")
    factors = set()
    for number in range(1, 20):
        made, drawn = done(brightness, pixels, number)
        expected = np.clip(np.rint(pixels.astype(np.float64) * drawn["factor"]), 0, 255).astype(np.uint8)
        assert np.array_equal(made, expected)
        factors.add(drawn["factor"])
    assert all(0.2 <= abs(factor - 1) <= 0.5 for factor in factors)
    assert min(factors) < 1 < max(factors)


# noise


def test_noise_is_gaussian_of_the_drawn_deviation_and_independent_everywhere():
    pixels = np.full((200, 300, 3), (128, 100, 90), np.uint8)
    (noise,) = listed("[{operation: noise, deviation: [0.02, 0.06]}]")
    made, drawn = done(noise, pixels)
    errors = made.astype(float) - pixels
    num = errors.size
    deviation = 255 * drawn["deviation"]
    assert 0.02 <= drawn["deviation"] <= 0.06
    # Five standard errors of a mean and of a variance; rounding adds a twelfth.
    assert abs(errors.mean()) < 5 * deviation / math.sqrt(num)
    variance = deviation**2 + 1 / 12
    assert abs(errors.var() - variance) < 5 * variance * math.sqrt(2 / num)
    assert abs(stats.kurtosis(errors, axis=None)) < 0.1
    for shifted in (
        errors[1:] * errors[:-1],
        errors[:, 1:] * errors[:, :-1],
        errors[..., 1:] * errors[..., :-1],
    ):
        assert abs(shifted.mean()) < 5 * variance / math.sqrt(shifted.size)


def test_noise_stays_within_the_range_and_does_not_wrap_around():
    black, white = np.zeros((50, 50, 3), np.uint8), np.full((50, 50, 3), 255, np.uint8)
    assert noisy(black, 10, np.random.default_rng(0)).max() < 80
    assert noisy(white, 10, np.random.default_rng(0)).min() > 175


def test_noise_in_strips_is_noise_in_one_piece(monkeypatch):
    pixels = random_pixels(90, 70)
    whole = noisy(pixels, 7.5, np.random.default_rng(4))
    monkeypatch.setattr("handlens.data.operations._STRIP_VALUES", 1000)
    assert np.array_equal(noisy(pixels, 7.5, np.random.default_rng(4)), whole)


# recipes


def test_a_name_alone_has_the_usual_ranges():
    rotate, crop = listed("[rotate, {operation: crop}]")
    assert rotate == OPERATIONS["rotate"]()
    assert crop == OPERATIONS["crop"]()
    assert Listed.parse({"operations": [rotate, crop]}, "again").operations == (rotate, crop)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[flip_vertica]", "operations.0: this is not an operation. Did you mean 'flip_vertical'"),
        ("[rotate, 3]", "operations.1: this is not an operation. Write a name"),
        ("[{degrees: [3, 9]}]", "operations.0: this is not an operation"),
        ("[{operation: rotate, degree: [3, 9]}]", "operations.0.degree: there is no such key"),
        ("[{operation: rotate, degrees: [9, 3]}]", "write the smaller number first"),
        ("[{operation: rotate, degrees: [0, 200]}]", "between 0 and 180"),
        ("[{operation: rotate, border: black}]", "'black' is not one of reflect, crop"),
        ("[{operation: affine, degrees: [-9, 9]}]", "both directions are drawn"),
        ("[{operation: affine, shear: [0, 80]}]", "between 0 and 60"),
        ("[{operation: affine, scale: [0, 1]}]", "between 0.1 and 10"),
        ("[{operation: affine, shift: [0, 2]}]", "between 0 and 1"),
        ("[{operation: crop, area: [0, 0.5]}]", "above 0 and up to 1"),
        ("[{operation: brightness, change: [0, 1]}]", "below 1"),
        ("[{operation: noise, deviation: [0, 0.1]}]", "above 0"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told(text, told):
    with pytest.raises(HandlensError, match="The test has 1 problem") as caught:
        listed(text)
    assert told in str(caught.value)


def test_noise_on_a_grey_picture_is_grey():
    grey = Image.fromarray(np.random.default_rng(0).integers(60, 190, (40, 50), np.uint8)).convert("RGB")
    (noise,) = listed("[noise]")
    generator = np.random.default_rng(3)
    made = np.asarray(noise.apply(grey, {"deviation": 0.05}, generator)).astype(int)
    assert (made == made[..., :1]).all()
    assert 10 < (made[..., 0] - np.asarray(grey)[..., 0]).std() < 16
