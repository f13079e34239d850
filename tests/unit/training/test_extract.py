"""Features once: nothing is computed twice, and nothing kept under a wrong name."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from handlens.base.files import cache_folder
from handlens.data.image import JudgingView, judge
from handlens.data.sides import Shot
from handlens.data.views import TrainingView, ViewsSpec, training_view
from handlens.models.build import ModelSpec
from handlens.models.pool import average
from handlens.training.device import Device
from handlens.training.extract import Extractor
from handlens.training.frozen import FrozenPass

SIZE = 32
DEVICE = Device(torch.device("cpu"), torch.float32)
MODEL = ModelSpec(backbone="handlens/nano", weights="none")
PLAIN = ViewsSpec(judge=JudgingView(size=SIZE))


def views_of(**changes):
    kind = TrainingView(**({"name": "mild"} | changes))
    return ViewsSpec(judge=JudgingView(size=SIZE), train=(kind,), count=3)


@pytest.fixture
def shots(tmp_path):
    """Eleven different pictures; eleven is a whole batch and a short one."""
    made = []
    for number in range(11):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        made.append(Shot(path, hashlib.md5(path.read_bytes()).hexdigest()))
    return made


@pytest.fixture
def passed(monkeypatch):
    """How many pictures each pass through the network had."""
    counts = []
    original = FrozenPass.rows

    def rows(self, pixels, batch_size):
        counts.append(len(pixels))
        return original(self, pixels, batch_size)

    monkeypatch.setattr(FrozenPass, "rows", rows)
    return counts


def all_rows(table, view=0):
    return table.rows(np.arange(table.num_pictures), view).numpy()


def test_the_features_are_those_of_the_views(shots):
    views = views_of()
    extractor = Extractor(MODEL, views, DEVICE)
    table = extractor.table(shots, "mild")
    assert (table.num_pictures, table.num_views) == (11, 3)
    frozen = FrozenPass(extractor.backbone.trunk, average, "imagenet", DEVICE)
    kind = views.train[0]
    for number in range(3):
        for place, shot in enumerate(shots):
            pixels = (
                training_view(shot.path, shot.digest, number, kind, views.judge)
                if number
                else judge(shot.path, views.judge)
            )
            expected = frozen.rows(pixels[None], 8)[0]
            np.testing.assert_array_equal(all_rows(table, number)[place], expected)


def test_what_is_kept_is_not_computed_again(shots, passed):
    Extractor(MODEL, views_of(), DEVICE).table(shots, "mild")
    assert sum(passed) == 3 * 11
    passed.clear()
    Extractor(MODEL, views_of(), DEVICE).table(shots, "mild")
    # Whatever a kind is called, its views are the same.
    Extractor(MODEL, views_of(name="other"), DEVICE).table(shots, "other")
    # The judging view is shared by all kinds.
    Extractor(MODEL, PLAIN, DEVICE).table(shots, "")
    assert passed == []


def test_each_different_picture_is_computed_once(shots, passed):
    Extractor(MODEL, PLAIN, DEVICE).table(shots[:3], "")
    table = Extractor(MODEL, PLAIN, DEVICE).table([*shots[2:5], *shots[4:1:-1]], "")
    assert sum(passed) == 3 + 2
    np.testing.assert_array_equal(all_rows(table)[:3], all_rows(table)[:2:-1])


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"seed": 1}},
        {"model": {"pool": "average_and_maximum"}},
        {"judge": {"size": 64}},
        {"judge": {"fit": "crop"}},
        {"judge": {"normalise": "half"}},
        {"kind": {"rotate": 9}},
        {"kind": {"flip_vertical": True}},
        {"dtype": torch.bfloat16},
    ],
    ids=str,
)
def test_whatever_changes_the_features_has_a_store_of_its_own(change, shots, passed):
    Extractor(MODEL, views_of(), DEVICE).table(shots[:2], "mild")
    before = sum(passed)
    views = ViewsSpec(
        judge=JudgingView(**({"size": SIZE} | change.get("judge", {}))),
        train=(TrainingView(**({"name": "mild"} | change.get("kind", {}))),),
        count=3,
    )
    model = MODEL.model_copy(update=change.get("model", {}))
    device = Device(DEVICE.device, change.get("dtype", DEVICE.dtype))
    Extractor(model, views, device).table(shots[:2], "mild")
    # The judging view does not depend on the training views.
    assert sum(passed) - before == (4 if "kind" in change else 6)


def test_the_order_of_the_pictures_does_not_matter(shots, monkeypatch, tmp_path):
    table = Extractor(MODEL, PLAIN, DEVICE).table(shots, "")
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "another"))
    mixed = [shots[place] for place in np.random.default_rng(0).permutation(11)]
    Extractor(MODEL, PLAIN, DEVICE).fill(mixed)
    other = Extractor(MODEL, PLAIN, DEVICE).table(shots, "")
    assert all_rows(table).tobytes() == all_rows(other).tobytes()


def test_what_was_computed_before_a_stop_is_kept(shots, passed, monkeypatch):
    from handlens.training import extract

    original = extract.judge

    def stops(path, view, pixel_limit):
        if path == shots[9].path:
            raise KeyboardInterrupt
        return original(path, view, pixel_limit)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(extract, "judge", stops)
        Extractor(MODEL, PLAIN, DEVICE).fill(shots)
    passed.clear()
    table = Extractor(MODEL, PLAIN, DEVICE).table(shots, "")
    assert sum(passed) == 3
    assert len(np.unique(all_rows(table), axis=0)) == 11


def test_a_table_of_the_judging_view_alone_computes_no_training_view(shots, passed):
    table = Extractor(MODEL, views_of(), DEVICE).table(shots[:2], "mild", all_views=False)
    assert table.num_views == 1
    assert sum(passed) == 2


def test_the_features_lie_in_the_cache(shots):
    Extractor(MODEL, PLAIN, DEVICE).fill(shots)
    (store,) = (cache_folder() / "features").iterdir()
    assert (store / "rows.f32").stat().st_size == 11 * 640 * 4
