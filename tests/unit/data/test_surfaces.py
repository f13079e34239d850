"""The drawn pictures: repeatable, grouped, alike in colour and different in structure."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from handlens.base.errors import HandlensError
from handlens.data.relief import cloud
from handlens.data.surfaces import MATERIALS, draw_picture, draw_samples, draw_specimen

NUM_SPECIMENS, NUM_SHOTS = 10, 3
Pixels = NDArray[np.uint8]


def pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture)


def test_the_materials_are_the_five_promised() -> None:
    assert set(MATERIALS) == {"foliated", "granular", "crystalline", "dendritic", "fibrous"}


@pytest.mark.parametrize("material", MATERIALS)
def test_every_number_counts_and_the_same_numbers_give_the_same_picture(material: str) -> None:
    picture = pixels(draw_picture(material, specimen=1, shot=2, size=64, seed=5))
    assert picture.shape == (64, 64, 3)
    assert np.array_equal(picture, pixels(draw_picture(material, 1, 2, 64, 5)))
    others = [draw_picture(material, *numbers) for numbers in ((2, 2, 64, 5), (1, 3, 64, 5), (1, 2, 64, 6))]
    assert not any(np.array_equal(picture, pixels(other)) for other in others)


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("size", [32, 81, 300])
def test_pictures_of_any_size_show_something(material: str, size: int) -> None:
    picture = draw_picture(material, specimen=0, shot=0, size=size)
    assert picture.size == (size, size)
    assert picture.mode == "RGB"
    assert pixels(picture).std() > 3


@pytest.mark.parametrize("material", MATERIALS)
def test_maps_stay_within_their_meaning(material: str) -> None:
    for number in range(4):
        relief = draw_specimen(material, number, size=64).relief
        for field in (relief.height, relief.tint, relief.shade, relief.gloss):
            assert field.shape == (144, 144)
            assert field.dtype == np.float32
            assert np.isfinite(field).all()
        assert relief.tint.min() >= -1e-4
        assert relief.tint.max() <= 1 + 1e-4
        assert relief.gloss.min() >= 0
        assert relief.gloss.max() <= 1


def test_pictures_of_a_specimen_are_more_alike_in_colour_than_those_of_others() -> None:
    specimens = [draw_specimen("granular", number, size=48) for number in range(8)]
    chroma = np.array([[hue(pixels(specimen.picture(shot))) for shot in range(4)] for specimen in specimens])
    within = chroma.std(axis=1).mean()
    between = chroma.mean(axis=1).std(axis=0).mean()
    assert between > within


def test_clouds_have_about_unit_spread() -> None:
    spreads = [cloud(np.random.default_rng(seed), 200, 9.0).std() for seed in range(5)]
    assert np.mean(spreads) == pytest.approx(1, abs=0.2)


def test_an_unknown_material_is_told_with_the_nearest() -> None:
    with pytest.raises(HandlensError, match="'granular'"):
        draw_picture("granulor", 0, 0)


def test_samples_lie_in_folders_by_material_and_specimen(tmp_path: Path) -> None:
    draw_samples(tmp_path, num_specimens=2, shots=3, size=48, seed=1)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        f"{material}/specimen-{specimen:02d}/shot-{shot}.jpg"
        for material in MATERIALS
        for specimen in range(2)
        for shot in range(3)
    }
    with Image.open(tmp_path / "fibrous" / "specimen-01" / "shot-2.jpg") as stored:
        assert stored.format == "JPEG"
        # JPEG at quality 90 changes the pixels a little.
        drawn = pixels(draw_picture("fibrous", 1, 2, 48, 1)).astype(float)
        assert np.abs(pixels(stored.convert("RGB")) - drawn).mean() < 8


def test_drawing_again_gives_the_same_files(tmp_path: Path) -> None:
    for folder in ("once", "twice"):
        draw_samples(tmp_path / folder, num_specimens=1, shots=1, size=32)
    for path in (tmp_path / "once").rglob("*.jpg"):
        again = tmp_path / "twice" / path.relative_to(tmp_path / "once")
        assert path.read_bytes() == again.read_bytes()


@pytest.fixture(scope="module")
def drawn() -> tuple[list[Pixels], list[str], list[str]]:
    """Pictures with their classes and groups."""
    pictures, classes, groups = [], [], []
    for material in MATERIALS:
        for number in range(NUM_SPECIMENS):
            specimen = draw_specimen(material, number, size=128)
            for shot in range(NUM_SHOTS):
                pictures.append(pixels(specimen.picture(shot)))
                classes.append(material)
                groups.append(f"{material} {number}")
    return pictures, classes, groups


def test_colour_does_not_tell_the_classes_apart(drawn: tuple[list[Pixels], list[str], list[str]]) -> None:
    pictures, classes, groups = drawn
    colours = np.array([picture.mean(axis=(0, 1)) for picture in pictures])
    assert accuracy(colours, classes, groups) < 0.4


def test_structure_does_but_not_perfectly(drawn: tuple[list[Pixels], list[str], list[str]]) -> None:
    pictures, classes, groups = drawn
    textures = np.array([texture(picture) for picture in pictures])
    assert 0.7 < accuracy(textures, classes, groups) < 0.99


def accuracy(features: NDArray[np.float64], classes: list[str], groups: list[str]) -> float:
    """How often a linear classifier is right about specimens that it has not seen."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return float(cross_val_score(classifier, features, classes, groups=groups, cv=GroupKFold(5)).mean())


def hue(picture: Pixels) -> NDArray[np.float64]:
    """Mean colour without its brightness."""
    colour = picture.mean(axis=(0, 1))
    return np.asarray(colour / colour.sum())


def texture(picture: Pixels) -> NDArray[np.float64]:
    """Slopes, their alignment and local binary patterns at four sizes, blind to colour and brightness."""
    grey = picture.mean(axis=2)
    grey = (grey - grey.mean()) / grey.std()
    neighbours = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    features: list[float] = []
    for scale in (1, 2, 4, 8):
        cells = len(grey) // scale
        coarse = grey.reshape(cells, scale, cells, scale).mean(axis=(1, 3))
        down, across = np.gradient(coarse)
        slope = np.hypot(down, across)
        tensor = np.cov(np.stack([down.ravel(), across.ravel()]))
        small, large = np.linalg.eigvalsh(tensor)
        brighter = np.stack([np.roll(coarse, shift, axis=(0, 1)) > coarse for shift in neighbours])
        changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0)
        pattern = np.where(changes <= 2, brighter.sum(axis=0), 9)
        counts = np.bincount(pattern.ravel(), minlength=10) / pattern.size
        features += [slope.mean(), slope.std(), slope.max(), (large - small) / (large + small), *counts]
    return np.array(features)
