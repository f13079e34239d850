"""Pictures laid over each other: where one is cut out of the other, and whether both show the same."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from test_fingerprints import texture

from handlens.data.overlay import (
    CLOSE,
    FURTHEST,
    THUMBNAIL,
    WHOLE,
    Planes,
    Scale,
    compare,
    correlation,
    fit,
    halved,
)

SCALES = pytest.mark.parametrize("scale", [THUMBNAIL, CLOSE], ids=["thumbnail", "close"])


def planes(scale: Scale, *pictures: Image.Image) -> Planes:
    size = (scale.side, scale.side)
    squashed = [each.convert("L").resize(size, Image.Resampling.HAMMING) for each in pictures]
    return np.stack([np.asarray(each, np.float32) for each in squashed])


def whole(number: int) -> np.ndarray:
    return np.tile(WHOLE, (number, 1))


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 1, 1),
        (0.05, 0.05, 0.95, 0.95),
        (0, 0.05, 0.95, 1),
        (0.08, 0, 1, 0.93),
        (0.02, 0.04, 0.97, 0.99),
    ],
)
def test_the_box_that_was_cut_out_is_found(box: tuple[float, ...]) -> None:
    picture = texture(0, 400, 400)
    cut = picture.crop(tuple(round(400 * edge) for edge in box))
    first, second = planes(THUMBNAIL, picture), planes(THUMBNAIL, cut.resize((250, 170)))
    coarse = fit(halved(first), halved(second), whole(1), 4)
    found = fit(first, second, coarse, 2)
    np.testing.assert_allclose(found[0], box, atol=0.006)
    closer = fit(planes(CLOSE, picture), planes(CLOSE, cut), found, CLOSE.steps)
    np.testing.assert_allclose(closer[0], box, atol=0.003)
    # The other way round, the second picture reaches beyond the first.
    back = fit(second, first, fit(halved(second), halved(first), whole(1), 4), 2)
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    expected = (-left / width, -top / height, (1 - left) / width, (1 - top) / height)
    np.testing.assert_allclose(back[0], expected, atol=0.01)


def test_boxes_stay_within_what_is_sought() -> None:
    first, second = planes(THUMBNAIL, texture(0)), planes(THUMBNAIL, texture(1))
    box = fit(first, second, whole(1), 30)
    assert np.abs(box - WHOLE).max() <= FURTHEST + 1e-6


def test_a_pair_does_not_depend_on_the_others() -> None:
    first = planes(THUMBNAIL, *(texture(n) for n in range(5)))
    second = planes(THUMBNAIL, *(texture(n).crop((5, 3, 199, 158)) for n in range(5)))
    together = fit(first, second, whole(5), 4)
    for row in range(5):
        alone = fit(first[row : row + 1], second[row : row + 1], whole(1), 4)
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_correlation_is_that_of_numpy() -> None:
    first, second = (
        planes(THUMBNAIL, texture(0)),
        planes(THUMBNAIL, texture(0).filter(ImageFilter.BoxBlur(6))),
    )
    expected = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert correlation(first, second, whole(1))[0] == pytest.approx(expected, abs=0.02)


@SCALES
def test_copies_are_similar_and_others_are_not(scale: Scale) -> None:
    pictures = [texture(n) for n in range(6)]
    brighter = [each.point(lambda level: level * 0.7 + 60) for each in pictures]
    alike = compare(planes(scale, *pictures), planes(scale, *brighter), whole(6), scale)
    assert alike.similarity.min() > 0.95
    others = compare(planes(scale, *pictures), planes(scale, *brighter[1:], brighter[0]), whole(6), scale)
    assert others.similarity.max() < 0
    assert alike.structure.min() > scale.fields**2 / 4


@SCALES
def test_plain_pictures_have_no_structure(scale: Scale) -> None:
    white = planes(scale, Image.new("L", (99, 99), 250))
    noise = white + np.random.default_rng(0).normal(0, 0.4, white.shape).astype(np.float32)
    assert compare(white, white, whole(1), scale).structure[0] == 0
    assert compare(white, noise, whole(1), scale).structure[0] < 1


def test_straight_edges_prove_nothing() -> None:
    def part(left: int, top: int) -> Image.Image:
        picture = Image.new("L", (400, 300), 10)
        ImageDraw.Draw(picture).rectangle((left, top, 400, 300), fill=230)
        return picture.filter(ImageFilter.GaussianBlur(1))

    small = [planes(THUMBNAIL, each) for each in (part(100, 60), part(112, 52))]
    first, second = (planes(CLOSE, each) for each in (part(100, 60), part(112, 52)))
    box = fit(first, second, fit(*small, fit(*map(halved, small), whole(1), 4), 2), 3)
    # The edges are laid over each other, which any two such parts allow.
    assert correlation(first, second, box)[0] > 0.99
    found = compare(first, second, box, CLOSE)
    assert found.structure[0] < 2


def test_the_same_outline_around_something_else_is_no_copy() -> None:
    def lid(seed: int) -> Image.Image:
        inside, table = texture(seed, 300, 300), Image.new("RGB", (300, 300), (225, 222, 218))
        mask = Image.new("L", (300, 300), 0)
        ImageDraw.Draw(mask).ellipse((70, 50, 230, 250), fill=255)
        return Image.composite(inside.point(lambda level: (level - 128) * 2 + 90), table, mask)

    first, second, again = (planes(CLOSE, lid(seed)) for seed in (0, 1, 0))
    assert compare(first, second, whole(1), CLOSE).similarity[0] < 0.3
    assert compare(first, again, whole(1), CLOSE).similarity[0] > 0.9


def test_a_part_that_shows_something_else_counts_against_the_rest() -> None:
    first = planes(CLOSE, texture(0))
    second = first.copy()
    second[:, :64, :64] = planes(CLOSE, texture(1))[:, :64, :64]
    quarter = compare(first, second, whole(1), CLOSE).similarity[0]
    # Three quarters agree in all; one quarter has a correlation around 0, and is taken off once more.
    assert quarter == pytest.approx(0.5, abs=0.06)
