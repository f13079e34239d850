"""Optimisers and schedules by hand and against PyTorch's own."""

import itertools
import math

import pytest
import torch
from torch import nn

from handlens.base.errors import HandlensError, Problems
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


def test_step_by_hand():
    spec = ScheduleSpec(name="step", warm_up=0, step_every="2 epochs", step_factor=0.5)
    # Six epochs of five steps, at the middle of each step.
    rates = [rate_at(spec, (number + 0.5) / 30, 30, 5) for number in range(30)]
    assert rates == [1.0] * 10 + [0.5] * 10 + [0.25] * 10


def test_steps_count_from_the_end_of_the_warm_up():
    spec = ScheduleSpec(name="step", warm_up="5 steps", step_every="10 steps")
    rates = [rate_at(spec, number / 30, 30, 5) for number in range(30)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.6, 0.8] + [1.0] * 10 + [0.1] * 10 + [0.01] * 5)


@pytest.mark.parametrize("name", ["cosine", "constant", "step"])
@pytest.mark.parametrize("warm_up", ["10%", "2 epochs", "20 steps"])
def test_a_warm_up_may_be_written_in_several_ways(name, warm_up):
    spec, same = ScheduleSpec(name=name, warm_up=warm_up), ScheduleSpec(name=name, warm_up=0.1)
    for number in range(200):
        position = (number + 0.5) / 200
        assert rate_at(spec, position, 200, 10) == rate_at(same, position)


def test_the_rates_of_before_are_the_same_to_the_bit():
    # The formulas as they stood when the warm-up was a bare number.
    for warm_up in (0.0, 0.1, 0.07, 0.3):
        spec = ScheduleSpec(warm_up=warm_up)
        for number in range(997):
            position = (number + 0.5) / 997
            rest = (position - warm_up) / (1 - warm_up)
            expected = position / warm_up if position < warm_up else 0.5 * (1 + math.cos(math.pi * rest))
            assert rate_at(spec, position) == expected


def test_one_cycle_against_pytorch():
    total, top = 100, 29
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    # It divides its first rate, a 25th, once more: 25 * 400 = 10,000.
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1.0, total, pct_start=0.3, div_factor=25, final_div_factor=400, cycle_momentum=False
    )
    for number in range(total):
        # Its rise ends at step 29 and its fall at step 99.
        rising = number <= top
        position = 0.3 * number / top if rising else 0.3 + 0.7 * (number - top) / (total - 1 - top)
        ours = rate_at(ScheduleSpec(name="one_cycle"), position)
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        if number < total - 1:
            theirs.step()


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(HandlensError, match=r"\(5 epochs\) takes the whole run"):
        rate_at(ScheduleSpec(warm_up="5 epochs"), 0.1, total_steps=50, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("spec", "values", "part"),
    [
        (OptimiserSpec, {"momentum": 0.5}, "momentum is for sgd, and the name is adamw"),
        (OptimiserSpec, {"name": "nadam", "nesterov": False}, "nesterov is for sgd"),
        (ScheduleSpec, {"step_every": "3 epochs"}, "step_every is for step"),
        (ScheduleSpec, {"name": "constant", "step_factor": 0.5}, "step_factor is for step"),
        (ScheduleSpec, {"name": "one_cycle", "warm_up": 0.2}, "take warm_up out"),
        (ScheduleSpec, {"warm_up": "100%"}, "whole run"),
        (ScheduleSpec, {"name": "step", "step_every": "0 epochs"}, "step_every is nothing"),
        (ScheduleSpec, {"warm_up": 5}, "2 epochs"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(spec, values, part):
    with pytest.raises(Problems) as caught:
        spec.parse(values, "The recipe")
    (told,) = caught.value.problems
    assert part in told


@pytest.mark.parametrize("name", ["cosine", "constant", "step", "one_cycle"])
def test_a_resolved_schedule_reads_back(name):
    spec = ScheduleSpec(name=name)
    assert spec.model_dump(mode="json")["warm_up"] == 0.1
    assert ScheduleSpec.parse(spec.model_dump(mode="json"), "The recipe") == spec


def moved(spec, gradients, start=2.0):
    """Where a single weight is after steps along given gradients."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, start)
    optimiser = make_optimiser(spec, network)
    for gradient in gradients:
        network.weight.grad = torch.full((1, 1), gradient)
        optimiser.step()
    return network.weight.item()


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_by_hand(nesterov):
    spec = OptimiserSpec(name="sgd", learning_rate=0.1, weight_decay=0.5, momentum=0.8, nesterov=nesterov)
    weight, speed = 2.0, 0.0
    for gradient in (3.0, -1.0, 0.5):
        pulled = gradient + 0.5 * weight
        speed = 0.8 * speed + pulled
        weight -= 0.1 * (pulled + 0.8 * speed if nesterov else speed)
    assert moved(spec, (3.0, -1.0, 0.5)) == pytest.approx(weight, rel=1e-6)


def test_sgd_without_momentum_is_plain():
    spec = OptimiserSpec(name="sgd", learning_rate=0.1, weight_decay=0, momentum=0)
    assert moved(spec, (3.0, -1.0)) == pytest.approx(2.0 - 0.3 + 0.1)


def test_adam_by_hand():
    spec = OptimiserSpec(name="adam", learning_rate=0.1, weight_decay=0.5)
    weight, first, second = 2.0, 0.0, 0.0
    for number, gradient in enumerate((3.0, -1.0, 0.5), 1):
        # Kingma and Ba 2015, algorithm 1, the decay in the gradient.
        pulled = gradient + 0.5 * weight
        first, second = 0.9 * first + 0.1 * pulled, 0.999 * second + 0.001 * pulled**2
        weight -= 0.1 * (first / (1 - 0.9**number)) / (math.sqrt(second / (1 - 0.999**number)) + 1e-8)
    assert moved(spec, (3.0, -1.0, 0.5)) == pytest.approx(weight, rel=1e-5)


def test_nadam_by_hand():
    spec = OptimiserSpec(name="nadam", learning_rate=0.1, weight_decay=0.5)
    weight, first, second, product = 2.0, 0.0, 0.0, 1.0
    for number, gradient in enumerate((3.0, -1.0, 0.5), 1):
        # Dozat 2016, algorithm 8, with the momentum's schedule of its section 3.
        pulled = gradient + 0.5 * weight
        now, after = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * each)) for each in (number, number + 1))
        product *= now
        first, second = 0.9 * first + 0.1 * pulled, 0.999 * second + 0.001 * pulled**2
        ahead = after * first / (1 - product * after) + (1 - now) * pulled / (1 - product)
        weight -= 0.1 * ahead / (math.sqrt(second / (1 - 0.999**number)) + 1e-8)
    assert moved(spec, (3.0, -1.0, 0.5)) == pytest.approx(weight, rel=1e-5)


def test_groups_by_depth():
    network = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("stem", "middle", "head")})
    network["stem"].bias.requires_grad_(False)
    depths = {"stem": 2, "middle": 1, "head": 0}
    spec = OptimiserSpec(learning_rate=0.1, weight_decay=0.3, depth_decay=0.5)
    optimiser = make_optimiser(spec, network, lambda name: depths[name.partition(".")[0]])
    told = {
        id(weight): (group["scale"], group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for weight in group["params"]
    }
    assert told == {
        id(weight): (0.5**depth, 0.1 * 0.5**depth, 0.3 if name == "weight" else 0.0)
        for stage, depth in depths.items()
        for name, weight in network[stage].named_parameters()
        if weight.requires_grad
    }


def test_without_depths_there_is_one_rate():
    groups = make_optimiser(OptimiserSpec(depth_decay=0.5), nn.Linear(2, 2)).param_groups
    assert [group["scale"] for group in groups] == [1.0, 1.0]
