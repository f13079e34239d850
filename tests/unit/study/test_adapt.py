"""Bringing sites together: against hand arithmetic, and blind to labels."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from handlens.study import adapt
from handlens.study.adapt import Look, Moments, adapt_batch_norms, aligned, alignment, batch_norms


def look_of(mean: list[float], covariance: list[list[float]]) -> Look:
    variances, directions = np.linalg.eigh(np.array(covariance))
    return Look(np.array(mean), directions, variances)


def test_alignment_by_hand_stretches_each_direction() -> None:
    own, wanted = look_of([1, 2], [[4, 0], [0, 9]]), look_of([10, 20], [[16, 0], [0, 1]])
    # Deviations of 2 and 3 become deviations of 4 and 1.
    np.testing.assert_allclose(alignment(own, wanted), [[2, 0], [0, 1 / 3]], atol=1e-12)
    found = aligned(np.array([[1, 2], [3, 5]], np.float32), own, wanted)
    np.testing.assert_allclose(found, [[10, 20], [14, 21]], rtol=1e-6)


def test_aligned_rows_have_the_other_sites_mean_and_covariance() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 6, 6))
    own_rows = (rng.normal(size=(500, 6)) @ mixing[0]).astype(np.float32)
    other = (rng.normal(size=(400, 6)) @ mixing[1] + 5).astype(np.float32)
    own = look_of(own_rows.mean(0).tolist(), np.cov(own_rows.T, bias=True).tolist())
    wanted = look_of(other.mean(0).tolist(), np.cov(other.T, bias=True).tolist())
    found = aligned(own_rows, own, wanted)
    np.testing.assert_allclose(found.mean(0), other.mean(0), atol=1e-3)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.cov(other.T, bias=True), rtol=1e-3, atol=1e-3)


def test_the_look_is_the_shrunk_covariance_of_scikit_learn() -> None:
    from sklearn.covariance import ledoit_wolf

    rows = np.random.default_rng(1).normal(size=(12, 30)) * np.linspace(0.5, 3, 30)
    wanted, amount = ledoit_wolf(rows)
    assert 0.1 < amount < 1
    np.testing.assert_allclose(Look.of(rows).power(1.0), wanted, atol=1e-10)


def test_a_site_of_one_picture_has_a_look() -> None:
    look = Look.of(np.ones((1, 4), np.float32))
    assert np.isfinite(aligned(np.ones((2, 4), np.float32), look, look)).all()


def test_batch_norm_by_hand() -> None:
    norm = nn.BatchNorm2d(1)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.fill_(10.0)
    norm.running_var.fill_(4.0)
    # Two batches of two pictures: means 1 and 5, variances (of a sample) 2 and 8.
    batches = [torch.tensor([0.0, 2.0]).view(2, 1, 1, 1), torch.tensor([3.0, 7.0]).view(2, 1, 1, 1)]
    adapt_batch_norms(norm, batches, [Moments.learned(norm)], share=4 / (4 + 12))
    # Four pictures beside twelve: a quarter of the new. What was learned is the usual look.
    assert norm.running_mean.item() == pytest.approx(0.25 * 3 + 0.75 * 10)
    assert norm.running_var.item() == pytest.approx(0.25 * 5 + 0.75 * 4)
    assert not norm.training and norm.momentum == 0.1


def test_without_a_prior_a_changed_camera_is_undone() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()).eval()
    pictures = torch.rand(16, 3, 12, 12)
    adapt_batch_norms(trunk, [pictures], [Moments.learned(norm) for norm in batch_norms(trunk)], share=1.0)
    before = trunk(pictures)
    other = 0.5 * pictures + 2.0
    assert not torch.allclose(trunk(other), before, atol=0.05)
    adapt_batch_norms(trunk, [other], [Moments.learned(norm) for norm in batch_norms(trunk)], share=1.0)
    assert torch.allclose(trunk(other), before, atol=5e-3)


def deep_trunk() -> nn.Sequential:
    """Batch norms that learned another look than any picture here has, and what they do to each other."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)]
    norms = [nn.BatchNorm2d(6), nn.BatchNorm2d(6)]
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.2, 2)
    return nn.Sequential(convolutions[0], norms[0], nn.ReLU(), convolutions[1], norms[1], nn.ReLU()).eval()


def moments_at(trunk: nn.Sequential, pictures: torch.Tensor) -> list[Moments]:
    """What reaches the batch norms, by taking the network apart."""
    norms = [place for place, part in enumerate(trunk) if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        return [Moments.of(trunk[:place](pictures)) for place in norms]


def test_pictures_of_the_usual_look_are_seen_as_before() -> None:
    trunk, pictures = deep_trunk(), torch.rand(16, 3, 12, 12)
    before = trunk(pictures)
    for share in (0.3, 1.0):
        adapt_batch_norms(trunk, [pictures], moments_at(trunk, pictures), share)
        torch.testing.assert_close(trunk(pictures), before, rtol=1e-4, atol=1e-5)


def test_another_camera_is_brought_to_the_usual_look_and_not_to_what_was_learned() -> None:
    trunk, pictures = deep_trunk(), torch.rand(16, 3, 12, 12)
    usual, before = moments_at(trunk, pictures), trunk(pictures)
    paler = 0.2 * pictures + 0.9
    assert (trunk(paler) - before).abs().max() > 0.2
    adapt_batch_norms(trunk, [paler], usual, share=1.0)
    # The same pictures through another camera are the same again, in every layer.
    torch.testing.assert_close(trunk(paler), before, rtol=1e-3, atol=1e-3)


def test_a_site_of_one_picture_can_be_told() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    usual = moments_at(trunk, torch.rand(16, 3, 12, 12))
    one = torch.rand(1, 3, 3, 3)
    adapt_batch_norms(trunk, [one], usual, share=1 / 9)
    assert trunk(one).isfinite().all()


def test_only_statistics_change_and_dropout_stays_off() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.9), nn.Conv2d(4, 2, 1))
    weights = {name: value.clone() for name, value in trunk.named_parameters()}
    seen: list[bool] = []
    trunk[2].register_forward_hook(lambda module, *_: seen.append(module.training))
    usual = [Moments.learned(norm) for norm in batch_norms(trunk)]
    adapt_batch_norms(trunk, [torch.rand(4, 3, 8, 8)], usual, share=0.8)
    assert seen == [False]
    assert all(torch.equal(value, weights[name]) for name, value in trunk.named_parameters())


def test_networks_without_statistics_have_nothing_to_adapt() -> None:
    assert batch_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))) == []
    assert batch_norms(nn.BatchNorm2d(3, track_running_stats=False)) == []


def test_nothing_that_adapts_can_be_given_a_label() -> None:
    functions = (
        adapt.usual_moments,
        adapt.adapted_extractor,
        adapt.adapt_batch_norms,
        adapt.adapted_rows,
        Look.of,
        adapt.aligned,
    )
    given = {name for each in functions for name in inspect.signature(each).parameters}
    looks = {"sites", "usual", "share"}
    assert given == looks | {
        "extractor",
        "shots",
        "prior",
        "trunk",
        "batches",
        "what",
        "rows",
        "own",
        "wanted",
    }
