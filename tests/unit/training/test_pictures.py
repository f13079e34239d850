"""Pictures for training: kept or not, the same pixels; fixed views those of always, fresh ones by seed."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder
from handlens.data.image import JudgingView, judge, normalise, open_picture
from handlens.data.sides import Shot
from handlens.data.views import TrainingView, size_of_sized, sized_picture, training_view
from handlens.training.pictures import fixed_pictures, fresh_pictures

JUDGE = JudgingView(size=32, normalise="half")
STRONG = TrainingView(name="strong", crop=0.5, turn=True, noise=0.05)
EVERYTHING = 2**40
# Small, wide, tall, and a JPEG large enough to be decoded at half its size.
SIZES = [(40, 36), (300, 50), (60, 200), (500, 410), (33, 33), (700, 800)]


@pytest.fixture
def shots(tmp_path):
    made = []
    for number, (width, height) in enumerate(SIZES):
        path = tmp_path / f"{number}.{'jpg' if number % 2 else 'png'}"
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(path)
        made.append(Shot(path, hashlib.md5(path.read_bytes()).hexdigest()))
    return made


LEARNED, JUDGED = np.array([0, 1, 3, 5]), np.array([2, 4])


def fixed(shots, limit=EVERYTHING, learned=LEARNED):
    return fixed_pictures(shots, learned, STRONG, 3, JUDGE, limit)


def fresh(shots, limit=EVERYTHING):
    return fresh_pictures(shots, LEARNED, JUDGED, STRONG, JUDGE, limit)


def as_input(pixels):
    return torch.from_numpy(normalise(pixels, "half"))


def kept_bytes():
    return sum(path.stat().st_size for path in (cache_folder() / "pixels").glob("*/[rp]*"))


@pytest.mark.parametrize("limit", [0, EVERYTHING])
def test_fixed_views_are_those_of_always(limit, shots):
    pictures, _ = fixed(shots, limit)
    assert (pictures.num_views, pictures.shape) == (3, (3, 32, 32))
    for place in LEARNED.tolist():
        shot = shots[place]
        assert torch.equal(pictures.learned(place, 0, "x"), as_input(judge(shot.path, JUDGE)))
        for number in (1, 2):
            expected = as_input(training_view(shot.path, shot.digest, number, STRONG, JUDGE))
            assert torch.equal(pictures.learned(place, number, "x"), expected)
    for place in JUDGED.tolist():
        assert torch.equal(pictures.judged(place), as_input(judge(shots[place].path, JUDGE)))


def test_fresh_views_are_the_same_kept_or_not(shots):
    decoding, _ = fresh(shots, 0)
    assert not (cache_folder() / "pixels").exists()
    keeping, _ = fresh(shots)
    for place in LEARNED.tolist():
        for words in ("7 0", "7 1", "8 0"):
            drawn = keeping.learned(place, 0, words)
            assert torch.equal(drawn, decoding.learned(place, 0, words))
            assert torch.equal(drawn, keeping.learned(place, 0, words))
    for place in JUDGED.tolist():
        expected = as_input(judge(shots[place].path, JUDGE))
        assert torch.equal(keeping.judged(place), expected)
        assert torch.equal(decoding.judged(place), expected)


def test_fresh_views_differ_between_epochs_and_pictures(shots):
    pictures, _ = fresh(shots)
    drawn = {
        pictures.learned(place, 0, words).numpy().tobytes()
        for place in LEARNED.tolist()
        for words in ("7 0", "7 1", "8 0")
    }
    assert len(drawn) == 3 * len(LEARNED)


def test_what_is_kept_needs_no_file_any_more(shots):
    pictures, _ = fresh(shots)
    views, _ = fixed(shots)
    expected = [pictures.learned(0, 0, "7 0"), pictures.judged(2), views.learned(1, 2, "")]
    for shot in shots:
        shot.path.unlink()
    pictures, _ = fresh(shots)
    views, _ = fixed(shots)
    got = [pictures.learned(0, 0, "7 0"), pictures.judged(2), views.learned(1, 2, "")]
    assert all(map(torch.equal, got, expected))


def test_a_picture_is_kept_as_large_as_its_views_need(shots):
    # 32 / sqrt(0.5) = 45.25; a picture smaller than that stays as it is.
    for shot, (width, height) in zip(shots, SIZES, strict=True):
        picture = sized_picture(shot.path, 46, JUDGE)
        assert min(picture.size) == min(46, width, height)
        assert sorted(size_of_sized(shot.path, 46, JUDGE)) == sorted(picture.size)
        assert max(picture.size) / min(picture.size) == pytest.approx(
            max(width, height) / min(width, height), abs=0.03
        )
    turned = Image.open(shots[1].path)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(shots[1].path, exif=exif)
    picture = sized_picture(shots[1].path, 46, JUDGE)
    assert picture.height > picture.width
    assert sorted(size_of_sized(shots[1].path, 46, JUDGE)) == sorted(picture.size)
    assert picture.size == tuple(
        round(side * 46 / min(open_picture(shots[1].path, 64).size))
        for side in open_picture(shots[1].path, 64).size
    )


@pytest.mark.parametrize("make", [fixed, fresh])
def test_the_size_is_known_before_and_limited_to_the_byte(make, shots):
    _, refused = make(shots, 0)
    assert "They are not kept" in refused
    assert not (cache_folder() / "pixels").exists()
    _, told = make(shots)
    size = kept_bytes()
    assert size > 0
    assert f"{size / 2**20:,.1f} MiB, kept in " in told
    # What is kept already counts as well: the answer is the same at every start.
    assert "They are not kept" in make(shots, size - 1)[1]
    assert "kept in" in make(shots, size)[1]
    assert kept_bytes() == size


def test_what_was_decoded_before_a_stop_is_kept(shots, monkeypatch):
    from handlens.training import pictures

    original = pictures.sized_picture

    def stops(path, *arguments):
        if path == shots[5].path:
            raise KeyboardInterrupt
        return original(path, *arguments)

    monkeypatch.setattr(pictures, "DECODED_AT_ONCE", 1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pictures, "sized_picture", stops)
        fresh(shots)
    decoded = []
    monkeypatch.setattr(
        pictures, "sized_picture", lambda path, *rest: decoded.append(path) or original(path, *rest)
    )
    fresh(shots)
    assert decoded == [shots[5].path]


def test_a_picture_that_has_gone_is_named(shots):
    pictures, _ = fresh(shots, 0)
    shots[3].path.write_bytes(b"no picture")
    with pytest.raises(HandlensError, match=r"3\.jpg could be read when the pictures were checked"):
        pictures.learned(3, 0, "7 0")
    with pytest.raises(HandlensError, match=r"3\.jpg could be read"):
        fresh(shots)


def test_without_training_views_there_is_the_judging_view_alone(shots):
    pictures, _ = fixed_pictures(shots, LEARNED, None, 1, JUDGE, EVERYTHING)
    assert pictures.num_views == 1
    assert kept_bytes() == len(shots) * 32 * 32 * 3
