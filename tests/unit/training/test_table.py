"""Feature tables against numpy."""

import numpy as np
import pytest
import torch

from handlens.evaluate.predict import judge_rows
from handlens.models.heads import Head, HeadSpec
from handlens.training import table as table_module
from handlens.training.table import LEAST_DEVIATION, blended, judging_batches, training_batches

GENERATOR = np.random.default_rng(0)
VIEWS = GENERATOR.normal(3, 2, (3, 20, 4)).astype(np.float32)
PLACES = np.array([7, 2, 19, 0, 11])


def test_rows_and_mixed_rows_against_numpy(table_of):
    table = table_of(*VIEWS)
    assert (table.num_pictures, table.num_views, table.width) == (20, 3, 4)
    np.testing.assert_array_equal(table.rows(PLACES, 1).numpy(), VIEWS[1][PLACES])
    views = np.array([0, 2, 2, 1, 0])
    np.testing.assert_array_equal(table.mixed_rows(PLACES, views).numpy(), VIEWS[views, PLACES])
    only = table_of(VIEWS[0])
    np.testing.assert_array_equal(only.mixed_rows(PLACES, np.zeros(5, int)).numpy(), VIEWS[0][PLACES])


def test_a_picture_that_stands_twice_has_one_row(tmp_path):
    from handlens.training.store import RowStore
    from handlens.training.table import FeatureTable

    store = RowStore(tmp_path / "store")
    with store.writing():
        store.append(["0a" * 16, "0b" * 16], VIEWS[0][:2])
    table = FeatureTable([store], ["0b" * 16, "0a" * 16, "0b" * 16])
    np.testing.assert_array_equal(table.rows(np.arange(3), 0).numpy(), VIEWS[0][[1, 0, 1]])


def test_mean_and_deviation_over_all_views_against_numpy(table_of, monkeypatch):
    monkeypatch.setattr(table_module, "JUDGED_AT_ONCE", 3)
    mean, deviation = table_of(*VIEWS).mean_and_deviation(PLACES)
    seen = VIEWS[:, PLACES].astype(np.float64).reshape(-1, 4)
    np.testing.assert_allclose(mean.numpy(), seen.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation.numpy(), seen.std(0), rtol=1e-6)


def test_features_that_hardly_change_are_not_blown_up(table_of):
    features = np.tile(np.float32([0, 1e4, -3.3, 0]), (50, 1))
    features[:, 3] = GENERATOR.normal(1e4, 1, 50)
    mean, deviation = table_of(features).mean_and_deviation(np.arange(50))
    assert deviation.tolist()[:3] == [1, 1, 1]
    assert deviation[3].item() == pytest.approx(features[:, 3].astype(np.float64).std(), rel=1e-4)
    np.testing.assert_allclose(mean.numpy(), features.astype(np.float64).mean(0), rtol=1e-6)


def test_a_feature_that_hardly_ever_changes_cannot_drown_the_others(table_of):
    features = GENERATOR.normal(0, 1, (200, 100)).astype(np.float32)
    features[:, 0] = 0.5 + GENERATOR.normal(0, 1e-4, 200)
    features[:, 1] = np.arange(200) == 7
    features[:, 2] = 0.25
    _, deviation = table_of(features).mean_and_deviation(np.arange(200))
    own = features.astype(np.float64).std(0)
    usual = np.median(own[own > 0])
    assert deviation[0].item() == pytest.approx(usual * LEAST_DEVIATION, rel=0.01)
    # What changes in one picture of two hundred, but then as others do, is left, and so are the rest.
    np.testing.assert_allclose(deviation[1:2].numpy(), own[1:2], rtol=1e-5)
    assert deviation[2].item() == 1
    np.testing.assert_allclose(deviation[3:].numpy(), own[3:], rtol=1e-5)


@pytest.mark.parametrize("num_batches", [1, 4, 15])
def test_an_epoch_shows_every_view_of_every_picture_once(num_batches, table_of):
    table = table_of(*VIEWS)
    targets = torch.from_numpy(PLACES * 10)
    seen = list(training_batches(table, PLACES, targets, num_batches, torch.Generator().manual_seed(0)))
    assert len(seen) == num_batches
    sizes = [len(rows) for rows, _ in seen]
    assert max(sizes) - min(sizes) <= 1
    rows = torch.cat([rows for rows, _ in seen]).numpy()
    labels = torch.cat([labels for _, labels in seen]).numpy()
    expected = {(tuple(VIEWS[view, place]), place * 10) for view in range(3) for place in PLACES}
    assert {(tuple(row), label) for row, label in zip(rows, labels, strict=True)} == expected
    assert len(rows) == len(expected)


def test_the_order_follows_the_generator(table_of):
    table, targets = table_of(*VIEWS), torch.arange(20)

    def order(seed):
        batches = training_batches(table, np.arange(20), targets, 2, torch.Generator().manual_seed(seed))
        return torch.cat([labels for _, labels in batches]).tolist()

    assert order(1) == order(1) != order(2)
    assert order(1) != sorted(order(1))


def test_judging_batches_keep_the_order(table_of, monkeypatch):
    monkeypatch.setattr(table_module, "JUDGED_AT_ONCE", 2)
    table = table_of(*VIEWS)
    seen = list(judging_batches(table, PLACES, torch.from_numpy(PLACES), view=2))
    assert [len(rows) for rows, _ in seen] == [2, 2, 1]
    np.testing.assert_array_equal(torch.cat([rows for rows, _ in seen]).numpy(), VIEWS[2][PLACES])
    np.testing.assert_array_equal(torch.cat([labels for _, labels in seen]).numpy(), PLACES)


def test_blended_rows_are_shares_of_two_rows_and_their_targets_likewise():
    rows, targets = torch.eye(4), torch.tensor([0, 1, 2, 3])
    ((mixed, truth),) = blended(iter([(rows, targets)]), 1.0, [4], torch.Generator().manual_seed(0))
    # With these rows a blended row reads like its own target.
    torch.testing.assert_close(mixed, truth)
    torch.testing.assert_close(truth.sum(1), torch.ones(4))
    assert (truth >= 0).all()
    assert ((truth > 0).sum(1) <= 2).all()
    assert not torch.equal(truth, rows)


def test_blending_follows_its_generator_and_its_strength():
    rows, targets = torch.randn(500, 3), torch.arange(500) % 2

    def shares(alpha, seed):
        batches = blended(iter([(rows, targets)]), alpha, [2], torch.Generator().manual_seed(seed))
        return next(batches)[1]

    assert torch.equal(shares(0.4, 1), shares(0.4, 1))
    assert not torch.equal(shares(0.4, 1), shares(0.4, 2))
    # Beta(a, a) has the variance 1 / (8 a + 4): a weak blend leaves most rows nearly whole.
    whole = [(shares(alpha, 0).amax(1) > 0.9).float().mean().item() for alpha in (0.1, 1.0, 10.0)]
    assert whole[0] > whole[1] > whole[2]


@pytest.mark.parametrize("average", [False, True])
def test_judging_against_numpy(average, table_of, monkeypatch):
    from handlens.evaluate import predict

    monkeypatch.setattr(predict, "JUDGED_AT_ONCE", 2)
    head = Head(HeadSpec(kind="layers", hidden=5, dropout=0.5), 4, 3, seed=0)
    got = judge_rows(head, table_of(*VIEWS), PLACES, average)
    with torch.no_grad():
        views = [head(torch.from_numpy(VIEWS[view][PLACES])).softmax(-1).numpy() for view in range(3)]
    np.testing.assert_allclose(got, np.mean(views, axis=0) if average else views[0], atol=1e-6)
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-6)
    assert got.dtype == np.float32
