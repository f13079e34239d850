"""Activations at the boundary: what the lower part gives, to the bit, and none where there is no room."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from handlens.base.files import cache_folder, digest
from handlens.data.image import JudgingView, judge
from handlens.data.sides import Shot
from handlens.data.views import TrainingView, ViewsSpec, training_view
from handlens.models import backbones
from handlens.models.build import ModelSpec
from handlens.models.pool import average
from handlens.models.roles import units
from handlens.training.activations import LowerPart
from handlens.training.device import Device
from handlens.training.extract import Extractor
from handlens.training.frozen import FrozenPass, activations_from, words_of

CPU = torch.device("cpu")
SIZE = 32
EVERYTHING = 2**40
VIEWS = ViewsSpec(judge=JudgingView(size=SIZE), train=(TrainingView(name="mild"),), count=3)
LEARNED = np.array([0, 2, 3, 5, 8, 9])


@pytest.fixture
def shots(tmp_path):
    made = []
    for number in range(10):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        made.append(Shot(path, hashlib.md5(path.read_bytes()).hexdigest()))
    return made


def extractor(dtype=torch.float32, views=VIEWS, **model):
    return Extractor(ModelSpec(backbone="handlens/nano", weights="none", **model), views, Device(CPU, dtype))


def lower(num_units=4, seed=0, made_of="nano"):
    return LowerPart.of(backbones.create("handlens/nano", "none", seed).trunk, num_units, made_of)


def stores():
    return sorted((cache_folder() / "activations").iterdir())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 5, 3), (4, 7)], ids=str)
def test_words_and_back_are_the_same_numbers(dtype, shape):
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    words = words_of(given.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else given)
    assert words.itemsize == given.element_size()
    for row, expected in zip(words, given, strict=True):
        got = activations_from(row)
        assert got.dtype == torch.float32
        assert torch.equal(got, expected.float())


def test_bfloat16_words_are_the_upper_halves_of_single_precision():
    words = words_of(torch.tensor([[1.0, -2.0, 3.140625]], dtype=torch.bfloat16))
    assert [hex(word & 0xFFFF) for word in words[0].tolist()] == ["0x3f80", "0xc000", "0x4049"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_they_are_what_the_lower_part_gives(dtype, shots):
    part = lower()
    kept, _ = extractor(dtype).activations(part, shots, LEARNED, "mild", EVERYTHING)
    assert kept.num_views == 3
    frozen = FrozenPass(part.network, None, "imagenet", Device(CPU, dtype))
    for place, shot in enumerate(shots):
        for number in range(3 if place in LEARNED else 1):
            pixels = (
                training_view(shot.path, shot.digest, number, VIEWS.train[0], VIEWS.judge)
                if number
                else judge(shot.path, VIEWS.judge)
            )
            expected = activations_from(frozen.rows(pixels[None], 8)[0])
            assert torch.equal(kept.learned(place, number, "x"), expected)
            assert tuple(expected.shape) == kept.shape
        assert torch.equal(kept.judged(place), kept.learned(place, 0, "x"))


def test_the_rest_of_the_network_goes_on_from_them_to_the_features(shots):
    trunk = backbones.create("handlens/nano", "none").trunk.eval()
    table = extractor().table(shots, "mild")
    for num_units in (1, 3, 4, 5):
        kept, _ = extractor().activations(lower(num_units), shots, LEARNED, "mild", EVERYTHING)
        x = torch.stack([kept.judged(place) for place in range(10)])
        with torch.inference_mode():
            for _, unit in units(trunk)[num_units:]:
                x = unit(x)
        torch.testing.assert_close(average(x), table.rows(np.arange(10), 0), rtol=1e-4, atol=1e-5)


def test_their_size_is_told_and_limited_before_anything_is_written(shots):
    # Ten pictures under the judging view, six of them under two more; an eighth of their side.
    part = lower(4)
    shape = (64, 4, 4)
    expected = (10 + 2 * 6) * int(np.prod(shape)) * 4
    none, told = extractor().activations(part, shots, LEARNED, "mild", expected - 1)
    assert none is None
    assert "They are not kept" in told
    assert not (cache_folder() / "activations").exists()
    kept, told = extractor().activations(part, shots, LEARNED, "mild", expected)
    assert kept.shape == shape
    assert f"of 10 pictures under 3 views: {expected / 2**20:,.1f} MiB, kept in" in told
    assert sum((store / "rows.f32").stat().st_size for store in stores()) == expected


def test_what_is_kept_is_not_computed_again(shots, monkeypatch):
    extractor().activations(lower(), shots, LEARNED, "mild", EVERYTHING)
    monkeypatch.setattr("handlens.training.extract.judge", None)
    monkeypatch.setattr("handlens.training.extract.training_view", None)
    kept, _ = extractor().activations(lower(), shots, LEARNED, "mild", EVERYTHING)
    kept.learned(5, 2, "")


@pytest.mark.parametrize(
    "change",
    [
        {"part": {"num_units": 3}},
        {"part": {"seed": 1}},
        {"part": {"made_of": "nano with an attention"}},
        {"dtype": torch.bfloat16},
        {"views": ViewsSpec(judge=JudgingView(size=SIZE, normalise="half"))},
    ],
    ids=str,
)
def test_whatever_changes_them_has_a_store_of_its_own(change, shots):
    plain = ViewsSpec(judge=JudgingView(size=SIZE))
    extractor(views=plain).activations(lower(), shots, LEARNED, "", EVERYTHING)
    assert len(stores()) == 1
    other = extractor(change.get("dtype", torch.float32), change.get("views", plain))
    other.activations(lower(**change.get("part", {})), shots, LEARNED, "", EVERYTHING)
    assert len(stores()) == 2


def test_features_keep_their_names(shots):
    """A store of features of before is found: its name depends on the same words as ever."""
    one = extractor(views=ViewsSpec(judge=JudgingView(size=SIZE)))
    one.fill(shots[:1])
    (folder,) = (cache_folder() / "features").iterdir()
    view = '{"size":32,"fit":"whole","normalise":"imagenet"}'
    words = ("1", "handlens/nano", one.weights_digest, "average", view, "judging view", "0", "cpu, float32")
    assert folder.name == digest(*words)
