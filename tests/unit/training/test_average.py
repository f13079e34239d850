"""Averages of weights by hand, batch-norm statistics included."""

import numpy as np
import pytest
import torch
from torch import nn

from handlens.training.average import WeightAverage


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def move(trained, seed):
    """Something that changes weights, statistics and counts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in trained.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator))
    trained.train()(torch.randn(4, 1, 4, 4, generator=generator))


def copy_of(state):
    return {name: value.clone() for name, value in state.items()}


def test_the_average_by_hand():
    trained = network()
    average = WeightAverage(trained, decay=0.5)
    expected = {name: value.double().numpy().copy() for name, value in trained.state_dict().items()}
    # (1 + t) / (10 + t) reaches one half at step 8.
    decays = [1 / 10, 2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 0.5, 0.5, 0.5]
    for step, decay in enumerate(decays):
        move(trained, step)
        average.update(step)
        for name, value in trained.state_dict().items():
            now = value.double().numpy()
            expected[name] = (
                now.copy() if "num_batches" in name else decay * expected[name] + (1 - decay) * now
            )
    state = average.state()
    assert state["1.num_batches_tracked"] == len(decays)
    assert state["1.num_batches_tracked"].dtype == torch.int64
    for name, value in expected.items():
        np.testing.assert_allclose(state[name].numpy(), value, rtol=1e-5, atol=1e-6)


def test_the_average_is_in_the_network_only_within():
    trained = network()
    average = WeightAverage(trained, 0.9)
    move(trained, 0)
    average.update(0)
    own, averaged = copy_of(trained.state_dict()), average.state()
    assert not same(own, averaged)
    with average.swapped_in():
        assert same(trained.state_dict(), averaged)
    assert same(trained.state_dict(), own)
    with pytest.raises(KeyError), average.swapped_in():
        raise KeyError
    assert same(trained.state_dict(), own)
    assert same(average.state(), averaged)
    assert all(weight.requires_grad and weight.grad is None for weight in trained.parameters())


def test_what_is_given_out_does_not_change_later():
    trained = network()
    average = WeightAverage(trained, 0.9)
    state = average.state()
    before = copy_of(state)
    move(trained, 0)
    average.update(0)
    assert same(state, before)


def test_it_goes_on_from_a_saved_state_exactly(tmp_path):
    whole, part = network(), network()
    part.load_state_dict(whole.state_dict())
    average, begun = WeightAverage(whole, 0.99), WeightAverage(part, 0.99)
    for step in range(6):
        move(whole, step)
        average.update(step)
    for step in range(3):
        move(part, step)
        begun.update(step)
    torch.save({"network": part.state_dict(), "average": begun.state()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    other = network()
    gone_on = WeightAverage(other, 0.99)
    other.load_state_dict(saved["network"])
    gone_on.load(saved["average"])
    for step in range(3, 6):
        move(other, step)
        gone_on.update(step)
    assert same(gone_on.state(), average.state())


def test_frozen_weights_stay_to_the_bit():
    trained = network().requires_grad_(False)
    average = WeightAverage(trained, 0.9)
    average.update(0)
    assert same(average.state(), trained.state_dict())


def test_states_of_different_networks_are_refused():
    with pytest.raises(ValueError, match=r"0\.bias"):
        WeightAverage(nn.Sequential(nn.Linear(2, 2)), 0.9).load({"0.weight": torch.zeros(2, 2)})
