"""Finding defects, cut-and-blend, and strong augmentation."""

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

from handlens.base.errors import HandlensError, Problems
from handlens.data.operations import is_grey
from handlens.data.samples import Samples
from handlens.synthesis.augment import Augmenter
from handlens.synthesis.blend import Blender
from handlens.synthesis.material import Material
from handlens.synthesis.patches import found, of_mask, typical_of
from handlens.synthesis.spec import SynthesisSpec

SPEC = SynthesisSpec()


def surface(size=(120, 90), seed=0) -> Image.Image:
    values = np.random.default_rng(seed).normal(140, 5, (size[1], size[0], 1))
    return Image.fromarray(np.clip(values.repeat(3, 2), 0, 255).astype(np.uint8))


def with_disc(picture: Image.Image, x: int, y: int, radius: int, value: int) -> Image.Image:
    picture = picture.copy()
    box = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(picture).ellipse(box, fill=(value,) * 3)
    return picture


@pytest.mark.parametrize(("x", "y", "value"), [(30, 25, 40), (85, 60, 250), (4, 80, 20)])
def test_the_defect_is_where_it_was_drawn(x, y, value) -> None:
    patch = found(with_disc(surface(), x, y, 9, value), 3.5)
    left, top, right, bottom = np.array(patch.box) * (120, 90, 120, 90)
    assert left <= max(0, x - 8) and right >= min(120, x + 8)
    assert top <= max(0, y - 8) and bottom >= min(90, y + 8)
    assert right - left < 40 and bottom - top < 40
    down, across = np.mgrid[:90, :120]
    inside = (across - x) ** 2 + (down - y) ** 2 < 6**2
    assert patch.mask[inside].min() == 1


@pytest.mark.parametrize("picture", [surface(), Image.new("RGB", (80, 80), (90, 90, 90))])
def test_where_nothing_stands_out_there_is_no_patch(picture) -> None:
    assert found(picture, 3.5) is None


def test_a_mask_is_followed_whatever_the_picture_shows() -> None:
    mask = Image.new("L", (400, 200), 0)
    ImageDraw.Draw(mask).rectangle((100, 50, 139, 89), fill=255)
    ImageDraw.Draw(mask).rectangle((300, 150, 304, 154), fill=255)
    left, top, right, bottom = of_mask(mask).box
    assert left == pytest.approx(0.25, abs=0.05) and right == pytest.approx(0.35, abs=0.05)
    assert top == pytest.approx(0.25, abs=0.12) and bottom == pytest.approx(0.45, abs=0.12)
    assert of_mask(Image.new("L", (50, 50), 0)) is None


def test_pictures_of_one_thing_in_one_place_have_a_typical_one() -> None:
    part = with_disc(Image.new("RGB", (96, 96), (200, 200, 200)), 48, 48, 30, 60)
    several = [with_disc(part, 30 + 9 * number, 48, 3, 255) for number in range(5)]
    typical = typical_of(several)
    assert np.abs(typical - np.asarray(part, np.float32)).mean() < 1
    patch = found(several[0], 3.5, typical)
    assert abs((patch.box[0] + patch.box[2]) / 2 * 96 - 30) < 4
    assert typical_of([surface(seed=seed) for seed in range(5)]) is None
    assert typical_of([part, part]) is None


def test_a_blend_is_the_receiver_with_one_more_spot_of_its_class(material_of) -> None:
    material = material_of(num_spotted=8, size=64)
    blender = Blender(material, SPEC)
    for number in range(6):
        told, (picture,) = blender.told(number), blender.pictures([number])
        receiver = np.asarray(material.open(told.parent), int)
        changed = np.abs(np.asarray(picture, int) - receiver).max(axis=2) > 20
        assert picture.size == (64, 64)
        assert told.parent in material.own
        assert material.ids.index(told.parameters["donor"]) in set(material.own) - {told.parent}
        # A dark spot came, its grain with it, and most stayed to the bit.
        assert 0.005 < changed.mean() < 0.2
        assert (np.abs(np.asarray(picture, int) - receiver).max(axis=2) == 0).mean() > 0.5
        assert (np.asarray(picture)[changed][:, 0] < receiver[changed][:, 0]).mean() > 0.8


@pytest.mark.parametrize("maker", [Blender, Augmenter])
def test_the_same_again_whatever_the_order_and_another_seed_is_another(maker, material_of) -> None:
    material = material_of()
    one, same, other = (maker(material, SynthesisSpec(seed=seed)) for seed in (3, 3, 4))
    drawn = [np.asarray(next(iter(one.pictures([number])))) for number in range(4)]
    again = [np.asarray(next(iter(same.pictures([number])))) for number in reversed(range(4))]
    for first, second in zip(drawn, reversed(again), strict=True):
        np.testing.assert_array_equal(first, second)
    assert one.told(2) == same.told(2)
    assert one.told(2) != other.told(2)
    # Each training picture in turn.
    assert sorted(one.told(number).parent for number in range(8)) == sorted(material.own)


def test_augmentation_changes_every_picture_and_says_how(material_of) -> None:
    material = material_of()
    augmenter = Augmenter(material, SPEC)
    for number in range(8):
        told, (picture,) = augmenter.told(number), augmenter.pictures([number])
        original = material.open(told.parent)
        assert picture.size != original.size or (np.asarray(picture) != np.asarray(original)).mean() > 0.5
        names = [each["operation"] for each in told.parameters["operations"]]
        assert names[-4:] == ["affine", "crop", "brightness", "noise"]
        assert set(names[:-4]) <= {"flip_horizontal"}


def test_grey_pictures_stay_grey(material_of) -> None:
    drawn = material_of(size=64)
    for path in drawn.paths:
        Image.open(path).getchannel(0).convert("RGB").save(path)
    material = Material.of(drawn.samples, drawn.contents, drawn.label)
    for maker in (Augmenter(material, SPEC), Blender(material, SPEC)):
        for number in range(4):
            (picture,) = maker.pictures([number])
            assert is_grey(np.asarray(picture))
    assert not is_grey(np.asarray(next(iter(Augmenter(material_of(), SPEC).pictures([0])))))


def test_only_the_training_side_is_used(material_of) -> None:
    material = material_of()
    sides = material.samples.table["split"].to_list()
    for maker in (Blender(material, SPEC), Augmenter(material, SPEC)):
        assert {sides[maker.told(number).parent] for number in range(30)} == {"train"}
        assert {sides[row] for row in maker.seen()} == {"train"}


def test_masks_of_the_table_are_taken(material_of) -> None:
    material = material_of(size=64)
    mask = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(mask).rectangle((2, 2, 9, 9), fill=255)
    mask.save(material.samples.root / "a mask.png")
    table = material.samples.table.with_columns(mask=pl.lit("a mask.png"))
    samples = Samples(table, material.samples.root)
    masked = Material.of(samples, material.contents, material.label)
    blender = Blender(masked, SPEC)
    assert "its mask" in blender.sentences[0]
    (picture,) = blender.pictures([0])
    assert picture.size == (64, 64)
    broken = Samples(table.with_columns(mask=pl.lit("not there.png")), material.samples.root)
    with pytest.raises(HandlensError, match=r"not there\.png cannot be read: there is no such file"):
        Blender(Material.of(broken, material.contents, material.label), SPEC)


def test_the_masks_in_a_folder_are_one(material_of) -> None:
    material = material_of(size=64)
    root, samples = material.samples.root, material.samples
    parts = root / "masks" / "点"
    parts.mkdir(parents=True)
    whole = Image.new("L", (64, 64))
    for number, box in enumerate([(8, 8, 20, 20), (18, 12, 40, 16), (50, 50, 52, 52)]):
        part = Image.new("L", (64, 64))
        for drawn in (part, whole):
            ImageDraw.Draw(drawn).rectangle(box, fill=200 + number)
        part.save(parts / f"{number:03}.png")
    whole.save(root / "whole.png")
    (parts / "Thumbs.db").touch()

    def pictures(mask) -> list[np.ndarray]:
        masked = samples.with_table(samples.table.with_columns(mask=pl.lit(mask)))
        blender = Blender(Material.of(masked, material.contents, material.label), SPEC)
        return [np.asarray(next(iter(blender.pictures([number])))) for number in range(4)]

    assert np.array_equal(pictures("masks/点"), pictures("whole.png"))
    assert not np.array_equal(pictures("masks/点"), pictures("masks/点/000.png"))
    Image.new("L", (32, 32)).save(parts / "small.png")
    with pytest.raises(HandlensError, match=r"masks/点 holds pictures of several sizes\. Mend it, or empty"):
        pictures("masks/点")
    (root / "none").mkdir()
    with pytest.raises(HandlensError, match="none holds no picture"):
        pictures("none")


def test_without_any_defect_blending_says_what_to_do(material_of) -> None:
    material = material_of()
    plain = Material.of(material.samples, material.contents, "plain")
    with pytest.raises(HandlensError, match="In none of the 10 training pictures of 'plain'"):
        Blender(plain, SPEC)


@pytest.mark.parametrize(("label", "words"), [("spot", "There is no class 'spot'"), ("plane", "plain")])
def test_a_class_that_is_not_there(label, words, material_of) -> None:
    material = material_of()
    with pytest.raises(HandlensError, match=words):
        Material.of(material.samples, material.contents, label)


def test_a_class_of_one_picture_is_refused(material_of) -> None:
    with pytest.raises(HandlensError, match="has 1 training pictures, and at least 2"):
        material_of(num_spotted=1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"way": "gan"}, "diffusion, blend, augment"),
        ({"diffusion": {"size": 30}}, "multiple of 8"),
        ({"blend": {"scale": [2, 1]}}, "smaller number first"),
        ({"augment": {"operations": ["flup"]}}, "not an operation"),
    ],
)
def test_wrong_settings(values, words) -> None:
    with pytest.raises(Problems, match=words):
        SynthesisSpec.parse(values, "The synthesis")


def test_the_chosen_way_comes_first_and_none_twice() -> None:
    assert SynthesisSpec().ways == ("diffusion", "blend", "augment")
    assert SynthesisSpec(way="blend").ways == ("blend", "augment")
    assert SynthesisSpec(way="augment", beside=()).ways == ("augment",)
