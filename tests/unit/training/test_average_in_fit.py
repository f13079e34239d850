"""The average of the weights within a training, against the same average by hand."""

import numpy as np
import pytest
import torch
from small_networks import changed, drawn_sides, state_of, trainer_of

from handlens.training.loop import Stepper


@pytest.mark.parametrize("gather", [1, 2])
def test_the_average_is_taken_after_each_move_and_judged_by(gather, tmp_path, monkeypatch):
    sides = drawn_sides(tmp_path / "pictures", 24, num_val=4)
    trainer = trainer_of(sides, average=0.9, gather=gather, epochs=3, patience=None, batch_size=4)
    network = trainer.network(None)
    averages = [{name: value.double() for name, value in state_of(network).items()}]
    plain = Stepper.move
    moves = [0]

    def move(self):
        had = self.gathered
        plain(self)
        if had:
            memory = min(0.9, (1 + moves[0]) / (10 + moves[0]))
            now = state_of(network)
            averages.append({n: memory * v + (1 - memory) * now[n] for n, v in averages[-1].items()})
            moves[0] += 1

    monkeypatch.setattr(Stepper, "move", move)
    train, val = sides.places("train"), sides.places("val")
    progress = trainer.fit(network, train, val, None, lambda _: None)
    # Five batches an epoch; what is gathered at its end counts as a step.
    per_epoch = {1: 5, 2: 3}[gather]
    assert moves[0] == 3 * per_epoch
    best = averages[per_epoch * progress.best_epoch]
    floats = [name for name, value in progress.best_weights.items() if value.is_floating_point()]
    for name in floats:
        torch.testing.assert_close(progress.best_weights[name].double(), best[name], rtol=1e-4, atol=1e-6)
    # The best weights are left in the network; the training itself went on from its own.
    after = state_of(network)
    assert not changed(progress.best_weights, {name: after[name] for name in progress.best_weights})
    assert changed(progress.best_weights, progress.weights)
    judged = trainer.judge(network, val, average=False)[np.arange(4), sides.targets[val]]
    assert -np.log(judged).mean() == pytest.approx(progress.best_loss, rel=1e-4)


def test_the_average_does_not_steer_the_training(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 16)
    states = []
    for average in (None, 0.9):
        trainer = trainer_of(sides, average=average)
        progress = trainer.fit(trainer.network(None), np.arange(16), None, None, lambda _: None)
        states.append(progress.weights)
    assert not changed(*states)


def test_what_is_frozen_stays_to_the_bit_in_the_average_too(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 16)
    trainer = trainer_of(sides, {"freeze": {"stages": 3}}, average=0.5)
    network = trainer.network(None)
    before = state_of(network)
    trainer.fit(network, np.arange(16), None, None, lambda _: None)
    moved = changed(before, state_of(network))
    assert {name.split(".")[1] for name in moved if name.startswith("trunk.")} == {"stage3", "stage4", "last"}
