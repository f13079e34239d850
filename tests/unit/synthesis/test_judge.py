"""Copies are known again: turned, brighter, reduced; others are not."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from spotted import SPOTTED, draw

from handlens.data.image import open_picture
from handlens.synthesis.judge import Judge, alike


def pixel_features(shots):
    """Thumbnails as features, so that no network is needed."""
    return np.stack(
        [
            np.asarray(
                open_picture(shot.path).convert("L").resize((8, 8), Image.Resampling.BOX), np.float32
            ).ravel()
            - 120
            for shot in shots
        ]
    )


@pytest.fixture
def judge(material_of):
    material = material_of(num_spotted=10, size=48)
    return material, Judge(material, pixel_features, {row: material.paths[row] for row in material.learned})


def saved(picture, path):
    picture.save(path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
        lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
        lambda picture: picture.resize((24, 24)).resize((48, 48)),
    ],
)
def test_a_copy_is_known_again(change, judge, tmp_path) -> None:
    material, judging = judge
    for row in material.own[:4]:
        path = saved(change(material.open(row)), tmp_path / f"copy {row} {id(change)}.png")
        (found,) = judging.nearest([path])
        assert found.copy
        assert found.nearest == row
        assert found.like == row
        assert found.correlation > judging.most_alike


def test_new_pictures_are_no_copies(judge, tmp_path) -> None:
    _, judging = judge
    paths = [saved(draw(SPOTTED, 900 + number, 48), tmp_path / f"new {number}.png") for number in range(10)]
    assert sum(bool(found.copy) for found in judging.nearest(paths)) <= 1


def test_correlation_is_that_of_the_best_orientation() -> None:
    rng = np.random.default_rng(0)
    some, others = rng.integers(0, 255, (2, 3, 32, 32), dtype=np.uint8)
    others[1] = np.rot90(some[2]).T
    found = alike(some, others)
    turned = [turn for k in range(4) for turn in (np.rot90(some[0], k), np.rot90(some[0], k).T)]
    assert found[0, 2] == pytest.approx(
        max(np.corrcoef(each.ravel(), others[2].ravel())[0, 1] for each in turned), abs=1e-5
    )
    assert found[2, 1] == pytest.approx(1, abs=1e-5)
    plain = np.full((1, 32, 32), 9, np.uint8)
    assert alike(plain, others).max() == 0


def test_one_group_gives_no_measure_for_features_but_pixels_do(material_of, tmp_path) -> None:
    material = material_of()
    own = material.own
    judging = Judge(material, pixel_features, {row: material.paths[row] for row in own[:2]})
    path = saved(material.open(own[1]), tmp_path / "copy.png")
    (found,) = judging.nearest([path])
    assert found.distance == 1.0
    assert found.copy == "pixels are the same"
