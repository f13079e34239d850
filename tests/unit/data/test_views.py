"""Training views: the same at every drawing, never with black borders, and the picture itself at zero."""

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from handlens.data.image import JudgingView
from handlens.data.views import TrainingView, ViewsSpec, draw_view, side_for, training_view

JUDGE = JudgingView(size=32)
NOTHING = {
    "flip_horizontal": False,
    "flip_vertical": False,
    "turn": False,
    "rotate": 0,
    "crop": 1,
    "stretch": 1,
    "scale": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "noise": 0,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def only(**settings):
    """A kind of view that does this and nothing else."""
    return TrainingView(**(NOTHING | settings))


def scene(width=60, height=40):
    """A smooth picture without any symmetry."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([x, y**2, (x + 2 * y) / 3], axis=-1)
    return Image.fromarray((20 + 200 * pixels).astype(np.uint8))


def draw(picture, view, seed=0, size=32):
    return draw_view(picture, np.random.default_rng(seed), view, size)


def resized(picture, size=32):
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)).astype(int)


def difference(one, other):
    return np.abs(one.astype(int) - np.asarray(other).astype(int))


@pytest.fixture
def path(tmp_path):
    scene().save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


# drawn from the content and the number


def test_a_view_is_the_same_at_every_drawing(path):
    view = TrainingView(noise=0.1, turn=True)
    first = training_view(path, "ab" * 16, 3, view, JUDGE)
    np.random.default_rng(1).random(5)
    torch.manual_seed(7)
    assert np.array_equal(first, training_view(path, "ab" * 16, 3, view, JUDGE))
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8


def test_another_number_or_content_is_another_view(path):
    view = TrainingView()
    drawn = [
        training_view(path, content, number, view, JUDGE).tobytes()
        for content in ("ab" * 16, "cd" * 16)
        for number in (1, 2, 3)
    ]
    assert len(set(drawn)) == 6


def test_global_randomness_is_neither_used_nor_changed(path):
    before = torch.get_rng_state()
    training_view(path, "ab" * 16, 1, TrainingView(noise=0.1), JUDGE)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_kind_is_called_does_not_matter(path):
    one, other = (training_view(path, "ab" * 16, 1, TrainingView(name=name), JUDGE) for name in "ab")
    assert np.array_equal(one, other)


def test_the_file_format_does_not_matter(path, tmp_path):
    scene().save(tmp_path / "scene.bmp")
    one, other = (
        training_view(p, "ab" * 16, 1, TrainingView(), JUDGE) for p in (path, tmp_path / "scene.bmp")
    )
    assert np.array_equal(one, other)


# no black borders


@pytest.mark.parametrize("size", [(40, 40), (30, 70), (70, 30), (2, 2), (3, 50), (50, 2), (5, 120)])
@pytest.mark.parametrize(
    "settings",
    [
        {"rotate": 45, "scale": 0.5},
        {"rotate": 180, "scale": 0.9},
        {"rotate": 10},
        {"scale": 0.5},
        {"rotate": 30, "scale": 0.3, "crop": 0.3, "stretch": 3, "turn": True, "flip_vertical": True},
    ],
    ids=str,
)
def test_a_white_picture_stays_white(size, settings):
    picture = Image.new("RGB", size, "white")
    for seed in range(4):
        assert draw(picture, only(**settings), seed, size=16).min() == 255


def test_a_white_picture_stays_as_bright_as_the_brightness_allows():
    picture = Image.new("RGB", (30, 50), "white")
    view = TrainingView(rotate=45, scale=0.5, brightness=0.3, contrast=0.3, saturation=0.3)
    for seed in range(10):
        assert draw(picture, view, seed).min() >= 0.7 * 255 - 1


@pytest.mark.timeout(3)
def test_a_picture_one_pixel_wide_is_drawn():
    for size in ((1, 20), (20, 1), (1, 1)):
        assert draw(Image.new("RGB", size, "white"), only(rotate=8)).min() == 255


def test_the_border_of_a_long_picture_takes_no_more_room_than_the_picture(monkeypatch):
    from torchvision.transforms.v2 import functional

    seen = []
    original = functional.affine

    def affine(pixels, *arguments, **settings):
        seen.append(pixels[0].numel())
        return original(pixels, *arguments, **settings)

    monkeypatch.setattr(functional, "affine", affine)
    draw(Image.new("RGB", (40, 1000), "white"), only(rotate=8))
    # Turned by 8 degrees it needs 179 by 996: a sixth of what the square around its diagonal has.
    assert seen[0] < 10 * 40 * 1000


# what each setting does


@pytest.mark.parametrize("size", [(60, 40), (32, 32), (20, 30), (33, 64)])
def test_with_all_settings_at_zero_it_is_the_resized_picture(size):
    picture = scene(*size)
    assert difference(draw(picture, only()), resized(picture)).max() <= 2


def test_with_all_settings_at_zero_a_file_is_the_resized_picture(tmp_path):
    picture = scene(640, 480)
    picture.save(tmp_path / "large.png")
    drawn = training_view(tmp_path / "large.png", "ab" * 16, 1, only(), JUDGE)
    assert difference(drawn, resized(picture)).max() <= 3


def flips(view, seeds=range(40)):
    """Which of the eight ways to lay down a square picture were drawn, and how often."""
    picture = scene(32, 32)
    plain = draw(picture, only()).astype(int)
    ways = {
        (turns, mirrored): np.rot90(plain[:, ::-1] if mirrored else plain, turns)
        for turns in range(4)
        for mirrored in (False, True)
    }
    counts = {}
    for seed in seeds:
        drawn = draw(picture, view, seed)
        (way,) = [way for way, expected in ways.items() if difference(drawn, expected).max() <= 1]
        counts[way] = counts.get(way, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {(0, False)}),
        ({"flip_horizontal": True}, {(0, False), (0, True)}),
        ({"flip_vertical": True}, {(0, False), (2, True)}),
        ({"turn": True}, {(0, False), (1, False), (2, False), (3, False)}),
        (
            {"turn": True, "flip_horizontal": True},
            {(turns, way) for turns in range(4) for way in (False, True)},
        ),
    ],
    ids=str,
)
def test_flips_and_turns(settings, expected):
    counts = flips(only(**settings))
    assert set(counts) == expected
    # No way is rare: with chances alike, fewer than one in forty has a chance below 1 in 100 each.
    assert min(counts.values()) >= 1


def test_a_crop_shows_at_least_its_share():
    # A ramp tells where the crop lies: its first and last value, and so its width.
    ramp = np.repeat(np.linspace(0, 255, 200)[None, :], 200, axis=0)
    picture = Image.fromarray(np.stack([ramp, ramp.T, ramp], axis=-1).astype(np.uint8))
    shares = []
    for seed in range(60):
        drawn = draw(picture, only(crop=0.25), seed, size=64).astype(float)
        wide = (drawn[:, -1, 0] - drawn[:, 0, 0]).mean() / 255
        tall = (drawn[-1, :, 1] - drawn[0, :, 1]).mean() / 255
        shares.append(wide * tall)
        assert wide == pytest.approx(tall, abs=0.03)
    assert min(shares) > 0.21
    assert min(shares) < 0.4
    assert max(shares) > 0.85


def test_a_rotation_turns_about_the_middle():
    # A white half and a black half: the edge between them tells the angle.
    pixels = np.zeros((101, 101, 3), np.uint8)
    pixels[:50] = 255
    angles = []
    for seed in range(20):
        drawn = draw(Image.fromarray(pixels), only(rotate=20), seed, size=101).astype(float)
        height = drawn[..., 0].sum(0) / 255
        angles.append(np.degrees(np.arctan((height[80] - height[20]) / 60)))
        assert height[50] == pytest.approx(50, abs=1.5)
    assert max(np.abs(angles)) <= 21
    assert max(angles) > 8
    assert min(angles) < -8


def test_a_smaller_thing_is_mirrored_at_the_border():
    # A dark dot in the middle of white, at half its size: it covers a quarter of the pixels, or more.
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[22:42, 22:42] = 0
    dark = [
        (draw(Image.fromarray(pixels), only(scale=0.5), seed, size=64) < 128).mean() / (20 / 64) ** 2
        for seed in range(20)
    ]
    assert min(dark) > 0.2
    assert min(dark) < 0.5
    assert max(dark) < 1.1


@pytest.mark.parametrize("setting", ["brightness", "contrast", "saturation"])
def test_colours_change_within_their_limits(setting):
    picture = scene(32, 32)
    plain = draw(picture, only()).astype(float)
    grey = plain @ np.array([0.299, 0.587, 0.114])

    def strength(pixels):
        if setting == "brightness":
            return pixels.mean()
        if setting == "contrast":
            return pixels.std()
        return (pixels.max(-1) - pixels.min(-1)).mean()

    ratios = [strength(draw(picture, only(**{setting: 0.2}), seed)) / strength(plain) for seed in range(30)]
    assert 0.77 <= min(ratios) < 0.92
    assert 1.08 < max(ratios) <= 1.23
    if setting == "saturation":
        drawn = draw(picture, only(saturation=0.2), 0).astype(float) @ np.array([0.299, 0.587, 0.114])
        assert np.abs(drawn - grey).max() < 4


def test_noise_is_as_strong_as_asked_and_fair():
    picture = Image.new("RGB", (64, 64), (128, 128, 128))
    deviations = []
    for seed in range(30):
        drawn = draw(picture, only(noise=0.1), seed, size=64).astype(float) - 128
        assert abs(drawn.mean()) < 5 * 25.5 / 64 / 3**0.5
        deviations.append(drawn.std())
    assert max(deviations) <= 25.5 * 1.05
    assert max(deviations) > 15
    assert min(deviations) < 8


def test_noise_on_white_and_black_does_not_wrap_around():
    for colour in (0, 255):
        drawn = draw(Image.new("RGB", (16, 16), (colour,) * 3), only(noise=0.05), size=16)
        assert np.abs(drawn.astype(int) - colour).max() < 100


def test_a_grey_picture_is_drawn_in_three_channels(tmp_path):
    scene().convert("L").save(tmp_path / "grey.png")
    drawn = training_view(tmp_path / "grey.png", "ab" * 16, 1, TrainingView(), JUDGE)
    assert drawn.shape == (32, 32, 3)
    assert difference(drawn[..., 0], drawn[..., 2]).max() <= 1


# the spec


def test_with_one_view_there_is_only_the_picture():
    assert ViewsSpec(train=(TrainingView(),)).kinds == {"": None}
    assert ViewsSpec(train=(TrainingView(),), average="auto").averages == (False,)


def test_kinds_go_by_their_names():
    spec = ViewsSpec(train=(TrainingView(), TrainingView(name="strong", rotate=30)), count=4)
    assert list(spec.kinds) == ["mild", "strong"]


def test_fresh_views_have_kinds_even_where_one_view_is_kept():
    spec = ViewsSpec(train=(TrainingView(), TrainingView(name="strong")), fresh=True)
    assert list(spec.kinds) == ["mild", "strong"]
    assert spec.averages == (False,)


@pytest.mark.parametrize(
    ("size", "crop", "expected"), [(224, 0.5, 317), (224, 1, 224), (224, 0.1, 448), (100, 0.25, 200)]
)
def test_the_side_that_a_view_needs(size, crop, expected):
    assert side_for(only(crop=crop), JudgingView(size=size)) == expected


def test_a_view_is_drawn_from_pixels_as_from_a_picture():
    view = TrainingView(noise=0.1, turn=True)
    assert np.array_equal(draw(scene(), view), draw(np.array(scene()), view))


@pytest.mark.parametrize(
    ("average", "expected"), [("never", (False,)), ("always", (True,)), ("auto", (False, True))]
)
def test_the_ways_of_judging(average, expected):
    assert ViewsSpec(train=(TrainingView(),), count=2, average=average).averages == expected


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"count": 3}, "names no kind"),
        ({"fresh": True}, "names no kind"),
        ({"count": 2, "train": [{}, {}]}, "same name"),
        ({"count": 0}, "count"),
        ({"train": [{"rotate": 200}]}, "rotate"),
        ({"train": [{"crop": 0}]}, "crop"),
        ({"train": [{"stretch": 0.5}]}, "stretch"),
        ({"train": [{"scale": 1}]}, "scale"),
        ({"train": [{"brightness": 1}]}, "brightness"),
        ({"train": [{"flip": True}]}, "flip"),
    ],
)
def test_views_that_cannot_be_are_refused(values, told):
    with pytest.raises(ValidationError, match=told):
        ViewsSpec(**values)
