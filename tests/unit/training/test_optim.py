"""Optimisers and schedules by hand and against PyTorch's own."""

import itertools
import math

import pytest
import torch
from torch import nn

from handlens.models.heads import Head, HeadSpec
from handlens.training.optim import OptimiserSpec, ScheduleSpec, make_optimiser, rate_at


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (0.0, 0.0),
        (0.05, 0.5),
        (0.1, 1.0),
        (0.325, 0.5 + math.sqrt(0.5) / 2),
        (0.55, 0.5),
        (0.7, 0.25),
        (1.0, 0.0),
    ],
)
def test_cosine_by_hand(position, expected):
    assert rate_at(ScheduleSpec(name="cosine", warm_up=0.1), position) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("position", "expected"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.6, 1.0), (1.0, 1.0)]
)
def test_constant_by_hand(position, expected):
    assert rate_at(ScheduleSpec(name="constant", warm_up=0.2), position) == pytest.approx(expected)


def test_cosine_against_pytorch():
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=50)
    for step in range(50):
        ours = rate_at(ScheduleSpec(name="cosine", warm_up=0), step / 50)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        theirs.step()


def test_the_rate_never_jumps():
    for name in ("cosine", "constant"):
        spec = ScheduleSpec(name=name, warm_up=0.1)
        rates = [rate_at(spec, step / 1000) for step in range(1001)]
        assert all(0 <= rate <= 1 for rate in rates)
        assert max(abs(a - b) for a, b in itertools.pairwise(rates)) <= 0.0101


@pytest.mark.parametrize("head", [HeadSpec(), HeadSpec(kind="layers", hidden=5, members=2)])
def test_biases_are_not_pulled_towards_zero_and_nothing_is_forgotten(head):
    network = Head(head, 4, 3)
    optimiser = make_optimiser(OptimiserSpec(weight_decay=0.3), network)
    decay_of = {
        id(weight): group["weight_decay"] for group in optimiser.param_groups for weight in group["params"]
    }
    assert len(decay_of) == sum(len(group["params"]) for group in optimiser.param_groups)
    expected = {id(w): 0.0 if name.endswith("bias") else 0.3 for name, w in network.named_parameters()}
    assert decay_of == expected


def test_norms_are_not_pulled_and_frozen_weights_left_out():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    decayed, kept = make_optimiser(OptimiserSpec(), network).param_groups
    assert [id(weight) for weight in decayed["params"]] == [id(network[2].weight)]
    assert {id(weight) for weight in kept["params"]} == {
        id(network[1].weight),
        id(network[1].bias),
        id(network[2].bias),
    }


def test_the_first_step_of_adamw_by_hand():
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[2.0, -4.0]]))
        network.bias.copy_(torch.tensor([8.0]))
    optimiser = make_optimiser(OptimiserSpec(learning_rate=0.1, weight_decay=0.5), network)
    network(torch.tensor([[3.0, -0.2]])).sum().backward()
    optimiser.step()
    # Loshchilov and Hutter 2019, algorithm 2: the corrected moments of a first step are g and g squared,
    # so a weight moves by rate * sign(g), after it has shrunk by rate * decay.
    expected = [[2.0 * 0.95 - 0.1, -4.0 * 0.95 + 0.1]]
    torch.testing.assert_close(network.weight.detach(), torch.tensor(expected))
    torch.testing.assert_close(network.bias.detach(), torch.tensor([8.0 - 0.1]))
