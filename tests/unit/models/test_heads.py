"""Heads: standardising, members side by side, and where their randomness comes from."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from handlens.models.heads import Head, HeadSpec, Standardise

FEATURES, CLASSES = 6, 3


def rows(count=5, seed=0):
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed))


def standardised(x, head):
    return (x - head.standardise.mean.numpy()) / head.standardise.deviation.numpy()


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def weights_of(head):
    """The weight and bias of every layer of members, first to last, in double precision."""
    values = [value.detach().double().numpy() for value in head.parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


def test_standardise_against_numpy():
    x = rows(200) * torch.tensor([1.0, 10, 100, 0.1, 5, 3]) + 7
    standardise = Standardise(FEATURES)
    assert torch.equal(standardise(x), x)
    standardise.set_to(x.mean(0), x.std(0, correction=0))
    got = standardise(x).numpy()
    expected = (x.double().numpy() - x.double().numpy().mean(0)) / x.double().numpy().std(0)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert not list(standardise.parameters())
    assert set(standardise.state_dict()) == {"mean", "deviation"}


@pytest.mark.parametrize("members", [1, 4])
def test_a_linear_head_is_the_mean_probability_of_its_members(members):
    head = Head(HeadSpec(members=members), FEATURES, CLASSES, seed=1).eval()
    head.standardise.set_to(torch.arange(6.0), torch.arange(1.0, 7.0))
    with torch.no_grad():
        head.get_parameter("layers.1.bias").normal_(generator=torch.Generator().manual_seed(0))
        got = head(rows())
    x = standardised(rows().double().numpy(), head)
    ((weight, bias),) = weights_of(head)
    judged = [softmax(x @ weight[m] + bias[m]) for m in range(members)]
    np.testing.assert_allclose(got.numpy(), np.log(np.mean(judged, axis=0)), atol=1e-5)


def test_a_head_of_layers_by_hand():
    head = Head(HeadSpec(kind="layers", hidden=7, members=3), FEATURES, CLASSES, seed=1).eval()
    (first, first_bias), (second, second_bias) = weights_of(head)
    x = rows().double().numpy()
    judged = []
    for m in range(3):
        inner = torch.from_numpy(x @ first[m] + first_bias[m])
        # GELU: x times the normal distribution function of x (Hendrycks and Gimpel 2016).
        active = (inner * 0.5 * (1 + torch.erf(inner / 2**0.5))).numpy()
        judged.append(softmax(active @ second[m] + second_bias[m]))
    with torch.no_grad():
        np.testing.assert_allclose(head(rows()).numpy(), np.log(np.mean(judged, axis=0)), atol=1e-5)


@pytest.mark.parametrize("members", [1, 3])
def test_scores_are_logarithms_of_probabilities_however_extreme(members):
    head = Head(HeadSpec(members=members), FEATURES, CLASSES).eval()
    with torch.no_grad():
        scores = head(rows() * 1e4)
    assert scores.shape == (5, CLASSES)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(5))
    assert head.member_scores(rows()).shape == (members, 5, CLASSES)


def test_members_start_differently():
    head = Head(HeadSpec(members=3), FEATURES, CLASSES)
    scores = head.member_scores(rows())
    assert not torch.allclose(scores[0], scores[1])
    assert not torch.allclose(scores[1], scores[2])


def test_a_head_follows_its_seed_alone():
    spec = HeadSpec(kind="layers", hidden=4, members=2)
    before = torch.get_rng_state()
    first, again, other = (Head(spec, FEATURES, CLASSES, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in first.named_parameters():
        assert torch.equal(value, again.get_parameter(name))
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_a_head_survives_the_way_through_its_state():
    spec = HeadSpec(kind="layers", hidden=4, members=2)
    one, other = Head(spec, FEATURES, CLASSES, 0).eval(), Head(spec, FEATURES, CLASSES, 1).eval()
    one.standardise.set_to(torch.arange(6.0), torch.arange(1.0, 7.0))
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        assert torch.equal(one(rows()), other(rows()))


# dropout


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_dropout_leaves_out_its_share_and_keeps_the_mean(share):
    spec = HeadSpec(input_dropout=share)
    head = Head(spec, 2000, CLASSES, seed=0).train()
    seen = []
    hook = head.layers[-1].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    head.member_scores(torch.ones(50, 2000))
    hook.remove()
    dropped = (seen[0] == 0).float().mean().item()
    # Five standard deviations of 100,000 draws, and half a byte's step.
    deviation = (share * (1 - share) / 1e5) ** 0.5
    assert dropped == pytest.approx(share, abs=5 * deviation + 1 / 512)
    (scale,) = set(seen[0][seen[0] != 0].tolist())
    assert scale == pytest.approx(1 / (1 - share), rel=0.01)
    assert seen[0].mean().item() == pytest.approx(1, abs=5 * deviation * scale)


def test_the_largest_share_that_a_recipe_may_ask_for_works():
    head = Head(HeadSpec(input_dropout=0.999), FEATURES, CLASSES).train()
    assert head(rows()).isfinite().all()


def test_members_drop_different_features():
    head = Head(HeadSpec(input_dropout=0.5, members=2), 200, CLASSES).train()
    seen = []
    hook = head.layers[-1].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    head.member_scores(torch.ones(3, 200))
    hook.remove()
    assert not torch.equal(seen[0][0], seen[0][1])


def test_nothing_is_dropped_in_judging_and_nothing_drawn_from_global_randomness():
    head = Head(HeadSpec(kind="layers", hidden=8, dropout=0.5, input_dropout=0.5), FEATURES, CLASSES)
    before = torch.get_rng_state()
    head.train()
    assert not torch.equal(head(rows()), head(rows()))
    head.eval()
    assert torch.equal(head(rows()), head(rows()))
    assert torch.equal(torch.get_rng_state(), before)


def test_gradients_reach_every_parameter():
    head = Head(HeadSpec(kind="layers", hidden=8, members=2), FEATURES, CLASSES).train()
    nn.functional.cross_entropy(
        head.member_scores(rows()).flatten(0, 1), torch.tensor([0, 1, 2, 0, 1] * 2)
    ).backward()
    for name, value in head.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    "values",
    [{"dropout": 1.0}, {"input_dropout": -0.1}, {"members": 0}, {"hidden": 0}, {"kind": "conv"}, {"deep": 3}],
)
def test_a_head_that_cannot_be_is_refused(values):
    with pytest.raises(ValidationError):
        HeadSpec(**values)
