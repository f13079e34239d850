"""Fitting a network: saving changes nothing, and going on in the middle of an epoch neither."""

import numpy as np
import pytest
import torch
from small_networks import VIEW, changed, drawn_sides, state_of, trainer_of

from handlens.base.errors import HandlensError
from handlens.training import finetune, fit
from handlens.training.checkpoint import load_state, save_state
from handlens.training.fit import Progress

HEAD = {"kind": "layers", "hidden": 8, "input_dropout": 0.3, "members": 2}
FRESH = {"train": (VIEW,), "fresh": True}
KEPT = {"train": (VIEW,), "count": 2}
SETTINGS = {
    "fresh views, all that is random, thawing": (
        {"freeze": {"thaw_every": 1}, "head": HEAD},
        FRESH,
        {"mixup": 0.4, "cutmix": 1.0, "average": 0.9, "gather": 3, "epochs": 4, "batch_size": 4},
    ),
    "kept activations, nadam, clipped": (
        {"freeze": {"stages": 3}, "head": HEAD},
        KEPT,
        {"mixup": 0.4, "average": 0.5, "clip": 0.5, "optimiser": {"name": "nadam"}, "gather": 2},
    ),
    "the network's own dropout, sgd": (
        {"backbone": "torchvision/squeezenet1_1", "freeze": {"stages": 2}, "pool": "own"},
        {},
        {"balanced": True, "optimiser": {"name": "sgd", "learning_rate": 1e-3}, "epochs": 3},
    ),
    "stochastic depth and norms that stand still": (
        {"backbone": "timm/efficientnet_b0", "freeze": {"share": 0.9, "norms": "fixed"}},
        FRESH,
        {"optimiser": {"name": "adam", "depth_decay": 0.5}, "batch_size": 10},
    ),
}


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture
def saved_often(monkeypatch):
    monkeypatch.setattr(fit, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(fit, "SAVING_AT_MOST", float("inf"))


def trained(sides, settings, path=None, stop_after=None, spoil=False):
    """Train a network; with a path it goes on from what is saved there, and may be killed after a save."""
    model, views, train = SETTINGS[settings]
    trainer = trainer_of(sides, model, views, **train)
    network = trainer.network(None)
    state = load_state(path) if path else None
    if spoil:
        # What a process begins with must not matter where it goes on from what was saved.
        with torch.no_grad():
            for weight in network.head.parameters():
                weight.fill_(0.5)
    saves = []

    def save(progress):
        saves.append((progress.epoch, progress.batch))
        if path:
            save_state(path, progress.as_state())
        if len(saves) == stop_after:
            raise Killed

    places, val = sides.places("train"), sides.places("val")
    before = Progress.from_state(state) if state else None
    progress = trainer.fit(network, places, val if len(val) else None, before, save)
    return state_of(network), progress, saves


@pytest.mark.parametrize("settings", list(SETTINGS))
def test_killed_after_any_save_it_ends_with_the_same_bytes(settings, tmp_path, monkeypatch):
    sides = drawn_sides(tmp_path / "pictures", 24, num_val=4)
    monkeypatch.setattr(fit, "SAVE_EVERY_S", 1e9)
    weights, whole, seldom = trained(sides, settings)
    assert len(seldom) == 1
    monkeypatch.setattr(fit, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(fit, "SAVING_AT_MOST", float("inf"))
    path = tmp_path / "state.pt"
    saved_weights, saved, saves = trained(sides, settings, path)
    # Saving after every step changes nothing.
    assert not changed(weights, saved_weights)
    assert saved.history == whole.history
    assert any(batch for _, batch in saves)
    # Killed again and again, each time some saves further on.
    path.unlink()
    for stop_after in (1, 2, 1):
        with pytest.raises(Killed):
            trained(sides, settings, path, stop_after, spoil=path.exists())
    torch.manual_seed(99)
    resumed_weights, resumed, rest = trained(sides, settings, path, spoil=True)
    assert rest == saves[4:]
    assert not changed(weights, resumed_weights)
    assert not changed(whole.weights, resumed.weights)
    assert not changed(whole.best_weights, resumed.best_weights)
    assert resumed.history == whole.history
    assert (resumed.best_epoch, resumed.best_loss) == (whole.best_epoch, whole.best_loss)


def test_the_number_of_loader_threads_changes_nothing(tmp_path, monkeypatch):
    sides = drawn_sides(tmp_path / "pictures")
    settings = next(iter(SETTINGS))
    weights, one, _ = trained(sides, settings)
    for threads in (1, 7):
        monkeypatch.setattr(finetune, "num_threads", lambda: threads)  # noqa: B023
        again, other, _ = trained(sides, settings)
        assert not changed(weights, again)
        assert one.history == other.history


def test_no_save_lies_between_gathered_batches(tmp_path, saved_often):
    sides = drawn_sides(tmp_path / "pictures", 22)
    _, _, saves = trained(sides, next(iter(SETTINGS)))
    # Six batches an epoch, three to a step: one save within each epoch and one at its end.
    assert saves == [(0, 3), (1, 0), (1, 3), (2, 0), (2, 3), (3, 0), (3, 3), (4, 0)]


def test_a_batch_of_one_never_reaches_a_batch_norm(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 33)
    trainer = trainer_of(sides, batch_size=32, epochs=1)
    seen = []
    network = trainer.network(None)
    trainer.fit(network, sides.places("train"), None, None, lambda _: None, seen.append)
    assert sorted(seen) == [16, 17]


def test_the_best_epoch_is_kept_and_patience_ends_the_training(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 24, num_val=6)
    # Labels that say nothing, so that validation soon gets worse.
    sides.targets[:] = np.random.default_rng(5).integers(0, 2, 24)
    trainer = trainer_of(sides, epochs=30, patience=3, optimiser={"learning_rate": 5e-3})
    network = trainer.network(None)
    train, val = sides.places("train"), sides.places("val")
    progress = trainer.fit(network, train, val, None, lambda _: None)
    losses = [row["val_loss"] for row in progress.history]
    assert len(losses) == progress.best_epoch + 3 < 30
    assert progress.best_epoch == int(np.argmin(losses)) + 1
    judged = trainer.judge(network, val, average=False)[np.arange(6), sides.targets[val]]
    assert -np.log(judged).mean() == pytest.approx(min(losses), rel=1e-4)
    assert changed(progress.best_weights, progress.weights)


@pytest.mark.parametrize("num_saves", [0, 4], ids=["at once", "gone on"])
def test_a_training_that_diverges_tells_epoch_and_batch(num_saves, tmp_path, saved_often):
    sides = drawn_sides(tmp_path / "pictures", 24)
    trainer, path = trainer_of(sides, epochs=3), tmp_path / "state.pt"
    places = sides.places("train")

    def save(progress):
        save_state(path, progress.as_state())
        if progress.epoch * 3 + progress.batch == num_saves:
            raise Killed

    if num_saves:
        with pytest.raises(Killed):
            trainer.fit(trainer.network(None), places, None, None, save)
    seen = [num_saves]
    network = trainer.network(None)

    def spoiled(_module, _given, scores):
        seen[0] += 1
        # Three batches an epoch: the fifth of all is the second of the second.
        return scores * float("nan") if seen[0] == 5 else None

    network.head.layers.register_forward_hook(spoiled)
    state = load_state(path) if num_saves else None
    before = Progress.from_state(state) if state else None
    with pytest.raises(HandlensError, match=r"nan in batch 2 of epoch 2: training has diverged"):
        trainer.fit(network, places, None, before, lambda _: None)
