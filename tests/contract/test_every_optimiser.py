"""What every optimiser and schedule owes."""

from typing import get_args

import pytest
import torch

from handlens.models.heads import Head, HeadSpec
from handlens.training.loop import stepper
from handlens.training.optim import (
    OPTIMISERS,
    SCHEDULES,
    OptimiserSpec,
    ScheduleSpec,
    make_optimiser,
    rate_at,
)


def test_the_specs_name_every_choice_and_no_other():
    assert set(get_args(OptimiserSpec.model_fields["name"].annotation)) == set(OPTIMISERS)
    assert set(get_args(ScheduleSpec.model_fields["name"].annotation)) == set(SCHEDULES)


def descend(name, seed, steps=60, state=None):
    """The values on the way down a bowl."""
    head = Head(HeadSpec(members=2), 3, 2, seed)
    optimiser = make_optimiser(OptimiserSpec(name=name, learning_rate=0.05, weight_decay=0), head)
    if state:
        head.load_state_dict(state[0])
        optimiser.load_state_dict(state[1])
    step = stepper(optimiser, lambda _: 0.05, 0, head.members)
    values = []
    for _ in range(steps):
        value = sum((weight - 1).square().sum() for weight in head.parameters())
        step(value)
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


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", SCHEDULES)
class TestEverySchedule:
    def test_it_is_a_share_of_the_largest_rate_and_reaches_it(self, name, warm_up):
        spec = ScheduleSpec(name=name, warm_up=warm_up)
        rates = [rate_at(spec, at / 1000) for at in range(1001)]
        assert min(rates) >= 0
        assert max(rates) == 1

    def test_it_rises_while_warming_up_and_never_after(self, name, warm_up):
        spec = ScheduleSpec(name=name, warm_up=warm_up)
        rates = [rate_at(spec, at / 1000) for at in range(1001)]
        top = round(1000 * warm_up)
        assert rates[:top] == sorted(rates[:top])
        assert rates[top:] == sorted(rates[top:], reverse=True)
