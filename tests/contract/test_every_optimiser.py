"""What every optimiser and schedule owes."""

import subprocess
import sys
from typing import get_args

import pytest
import torch

from handlens.models.heads import Head, HeadSpec
from handlens.training.optim import (
    OPTIMISERS,
    SCHEDULES,
    OptimiserSpec,
    ScheduleSpec,
    make_optimiser,
    plain_step,
    rate_at,
)


def test_the_specs_name_every_choice_and_no_other():
    assert set(get_args(OptimiserSpec.model_fields["name"].annotation)) == set(OPTIMISERS)
    assert set(get_args(ScheduleSpec.model_fields["name"].annotation)) == set(SCHEDULES)


def descend(name, seed, steps=60, state=None):
    """The values on the way down a bowl."""
    head = Head(HeadSpec(members=2), 3, 2, seed)
    rate = 0.05
    optimiser = make_optimiser(OptimiserSpec(name=name, learning_rate=rate, weight_decay=0), head)
    if state:
        head.load_state_dict(state[0])
        optimiser.load_state_dict(state[1])
    take = plain_step(optimiser)
    values = []
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        value = sum((weight - 1).square().sum() for weight in head.parameters())
        value.backward()
        take()
        values.append(value.item())
    return values, (
        {key: value.clone() for key, value in head.state_dict().items()},
        optimiser.state_dict(),
    )


@pytest.mark.parametrize("name", OPTIMISERS)
class TestEveryOptimiser:
    def test_it_goes_down(self, name):
        values, _ = descend(name, seed=0)
        assert values[-1] < values[0] / 10

    def test_it_does_the_same_again(self, name):
        assert descend(name, seed=0)[0] == descend(name, seed=0)[0]

    def test_it_goes_on_from_its_state(self, name, tmp_path):
        whole, _ = descend(name, seed=0)
        first, state = descend(name, seed=0, steps=20)
        torch.save(state, tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        assert first + descend(name, seed=1, steps=40, state=state)[0] == whole

    def test_its_step_without_wrappers_is_its_step(self, name):
        ends = []
        for plain in (True, False):
            network = torch.nn.Linear(3, 2)
            torch.nn.init.constant_(network.weight, 0.5)
            torch.nn.init.constant_(network.bias, 0.5)
            optimiser = make_optimiser(OptimiserSpec(name=name, learning_rate=0.1, weight_decay=0.3), network)
            take = plain_step(optimiser) if plain else optimiser.step
            for _ in range(3):
                optimiser.zero_grad()
                network(torch.tensor([[1.0, -2.0, 3.0]])).square().sum().backward()
                take()
            ends.append(network.state_dict())
        torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)

    def test_stages_far_from_the_head_move_less(self, name):
        network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        spec = OptimiserSpec(name=name, learning_rate=0.1, weight_decay=0, depth_decay=0.5)
        optimiser = make_optimiser(spec, network, lambda weight: 1 - int(weight.partition(".")[0]))
        before = [layer.weight.detach().clone() for layer in network]
        for weight in network.parameters():
            weight.grad = torch.ones_like(weight)
        plain_step(optimiser)()
        lower, upper = (layer.weight.detach() - was for layer, was in zip(network, before, strict=True))
        torch.testing.assert_close(lower, upper / 2, rtol=1e-3, atol=0)

    def test_the_compiler_is_left_out(self, name):
        script = f"""
import sys
import torch
from handlens.training.optim import OptimiserSpec, make_optimiser, plain_step
network = torch.nn.Linear(3, 2)
optimiser = make_optimiser(OptimiserSpec(name={name!r}), network)
network(torch.ones(1, 3)).sum().backward()
plain_step(optimiser)()
optimiser.load_state_dict(optimiser.state_dict())
optimiser.zero_grad()
assert "torch._dynamo" not in sys.modules
"""
        done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def spec_and_top(name, warm_up):
    """A spec and where its rise ends; one_cycle has one of its own."""
    if name == "one_cycle":
        return ScheduleSpec(name=name), 0.3
    return ScheduleSpec(name=name, warm_up=warm_up), warm_up


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", SCHEDULES)
class TestEverySchedule:
    def test_it_is_a_share_of_the_largest_rate_and_reaches_it(self, name, warm_up):
        spec, warm_up = spec_and_top(name, warm_up)
        rates = [rate_at(spec, at / 1000) for at in range(1001)]
        assert min(rates) >= 0
        assert max(rates) == 1

    def test_it_rises_while_warming_up_and_never_after(self, name, warm_up):
        spec, warm_up = spec_and_top(name, warm_up)
        rates = [rate_at(spec, at / 1000) for at in range(1001)]
        top = round(1000 * warm_up)
        assert rates[:top] == sorted(rates[:top])
        assert rates[top:] == sorted(rates[top:], reverse=True)
