"""Fitting a head: it learns, it stops at its best, and going on is the same as never having stopped."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from handlens.base.errors import HandlensError
from handlens.evaluate.predict import judge_rows
from handlens.models.heads import Head, HeadSpec
from handlens.training import fit
from handlens.training.checkpoint import load_state, save_state
from handlens.training.fit import Progress
from handlens.training.losses import LossSpec
from handlens.training.optim import OptimiserSpec, ScheduleSpec
from handlens.training.spec import FitSpec
from handlens.training.train_head import fit_head, num_steps

WIDTH, CLASSES = 8, 3


def made(count, seed=0, apart=4.0, num_views=1):
    """Features around a centre for each class, under several views, and the classes."""
    generator = np.random.default_rng(seed)
    classes = np.arange(count) % CLASSES
    centres = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    views = [apart * centres[classes] + generator.normal(size=(count, WIDTH)) for _ in range(num_views)]
    # Features of very different sizes, as those of networks are.
    return [(view * np.logspace(-2, 2, WIDTH) + 5).astype(np.float32) for view in views], classes


def new_head(spec=None, seed=0):
    return Head(spec or HeadSpec(), WIDTH, CLASSES, seed)


def accuracy(head, table, places, classes):
    return (judge_rows(head, table, places, average=False).argmax(1) == classes[places]).mean()


def same_weights(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items()) and one.keys() == other.keys()


@pytest.mark.parametrize(
    "head",
    [HeadSpec(), HeadSpec(kind="layers", hidden=32), HeadSpec(input_dropout=0.3, members=4)],
    ids=["linear", "layers", "members"],
)
@pytest.mark.parametrize("num_views", [1, 3])
def test_a_head_learns_what_can_be_learned(head, num_views, table_of):
    views, classes = made(240, num_views=num_views)
    table = table_of(*views)
    learned, unseen = np.arange(160), np.arange(160, 240)
    model = new_head(head)
    spec = FitSpec(epochs=30, optimiser=OptimiserSpec(learning_rate=3e-3))
    progress = fit_head(model, table, classes, learned, None, spec)
    assert not model.training
    assert accuracy(model, table, unseen, classes) > 0.95
    assert len(progress.history) == 30
    assert progress.history[-1]["train_loss"] < progress.history[0]["train_loss"] / 2


def test_blending_still_learns(table_of):
    views, classes = made(240)
    model = new_head()
    spec = FitSpec(epochs=30, mixup=0.4, optimiser=OptimiserSpec(learning_rate=3e-3))
    fit_head(model, table_of(*views), classes, np.arange(160), None, spec)
    assert accuracy(model, table_of(*views), np.arange(160, 240), classes) > 0.95


def test_balanced_weights_help_the_rare_class(table_of):
    generator = np.random.default_rng(0)
    classes = (np.arange(400) % 20 == 0).astype(np.int64)
    features = generator.normal(size=(400, WIDTH)).astype(np.float32)
    features[:, 0] += 2 * classes
    table, places = table_of(features), np.arange(400)
    found = []
    for class_weights in ("none", "balanced"):
        model = new_head()
        fit_head(model, table, classes, places, None, FitSpec(loss=LossSpec(class_weights=class_weights)))
        judged = judge_rows(model, table, places, average=False).argmax(1)
        found.append((judged[classes == 1] == 1).mean())
    assert found[1] > found[0] + 0.2


def test_only_the_learned_places_are_looked_at(table_of):
    views, classes = made(60)
    learned, judged = np.arange(30), np.arange(30, 45)
    clean = new_head()
    fit_head(clean, table_of(*views), classes, learned, judged, FitSpec(epochs=3))
    # What is neither learned from nor judged may be anything at all, a test side above all.
    views[0][45:] = np.nan
    other = new_head()
    fit_head(other, table_of(*views), classes, learned, judged, FitSpec(epochs=3))
    assert same_weights(clean.state_dict(), other.state_dict())
    seen = views[0][learned].astype(np.float64)
    np.testing.assert_allclose(clean.standardise.mean.numpy(), seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(clean.standardise.deviation.numpy(), seen.std(0), rtol=1e-5)


def test_the_order_of_places_says_which_class_is_whose(table_of):
    views, classes = made(90)
    places = np.random.default_rng(0).permutation(90)
    model = new_head()
    spec = FitSpec(epochs=30, optimiser=OptimiserSpec(learning_rate=3e-3))
    fit_head(model, table_of(*views), classes, places, None, spec)
    assert accuracy(model, table_of(*views), np.arange(90), classes) > 0.95


# the same again


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(table_of):
    views, classes = made(60, num_views=2)
    spec = HeadSpec(kind="layers", hidden=8, members=2)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(results))
        model = new_head(spec, seed)
        progress = fit_head(
            model, table_of(*views), classes, np.arange(60), None, FitSpec(epochs=3), seed=seed
        )
        results.append((model.state_dict(), progress.history))
    assert same_weights(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not same_weights(results[0][0], results[2][0])


def test_global_randomness_is_neither_used_nor_changed(table_of):
    views, classes = made(60)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit_head(
        new_head(HeadSpec(input_dropout=0.5)), table_of(*views), classes, np.arange(60), None,
        FitSpec(epochs=2, mixup=0.4),
    )  # fmt: skip
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_going_on_after_any_epoch_is_the_same_as_never_having_stopped(mixup, tmp_path, table_of, monkeypatch):
    monkeypatch.setattr(fit, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(fit, "SAVING_AT_MOST", float("inf"))
    views, classes = made(90, apart=0.3, num_views=2)
    table, learned, judged = table_of(*views), np.arange(60), np.arange(60, 90)
    head = HeadSpec(kind="layers", hidden=8, members=2, input_dropout=0.2)
    spec = FitSpec(epochs=6, mixup=mixup, patience=3, optimiser=OptimiserSpec(learning_rate=1e-2))
    path = tmp_path / "state.pt"

    def run(seed, stop_after=None):
        def save(progress):
            save_state(path, progress.as_state())
            if progress.epoch == stop_after:
                raise Killed

        state = load_state(path)
        model = new_head(head, seed)
        before = Progress.from_state(state) if state else None
        progress = fit_head(model, table, classes, learned, judged, spec, before, save, seed=4)
        return {name: value.clone() for name, value in model.state_dict().items()}, progress

    weights, whole = run(seed=4)
    assert len(whole.history) >= 4
    for stop_after in range(1, len(whole.history)):
        path.unlink()
        with pytest.raises(Killed):
            run(seed=4, stop_after=stop_after)
        # The first weights of the second process must not matter.
        resumed_weights, resumed = run(seed=5)
        assert same_weights(resumed_weights, weights), stop_after
        assert resumed.history == whole.history
        assert (resumed.best_epoch, resumed.best_loss) == (whole.best_epoch, whole.best_loss)
        assert same_weights(resumed.best_weights, whole.best_weights)


def test_going_on_after_the_end_changes_nothing(tmp_path, table_of):
    views, classes = made(60)
    table, places = table_of(*views), np.arange(60)
    path = tmp_path / "state.pt"
    first = new_head()
    done = fit_head(
        first,
        table,
        classes,
        places,
        None,
        FitSpec(epochs=3),
        save=lambda p: save_state(path, p.as_state()),
    )
    again = new_head(seed=1)
    state = load_state(path)
    assert state is not None
    progress = fit_head(again, table, classes, places, None, FitSpec(epochs=3), Progress.from_state(state))
    assert progress.history == done.history
    assert same_weights(first.state_dict(), again.state_dict())


# when it stops


def overfitting(table_of):
    """Noise to learn by heart, so that validation soon gets worse."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, WIDTH)).astype(np.float32)
    return table_of(features), generator.integers(0, CLASSES, 60), np.arange(40), np.arange(40, 60)


def test_the_best_epoch_is_kept(table_of):
    table, classes, learned, judged = overfitting(table_of)
    model = new_head()
    spec = FitSpec(epochs=25, patience=None, optimiser=OptimiserSpec(learning_rate=3e-2))
    progress = fit_head(model, table, classes, learned, judged, spec)
    losses = [row["val_loss"] for row in progress.history]
    assert len(losses) == 25
    assert progress.best_epoch == int(np.argmin(losses)) + 1 < 25
    assert progress.best_loss == min(losses)
    truth = judge_rows(model, table, judged, average=False)[np.arange(20), classes[judged]]
    assert -np.log(truth.astype(np.float64)).mean() == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize("patience", [1, 4])
def test_patience_ends_the_training(patience, table_of):
    table, classes, learned, judged = overfitting(table_of)
    spec = FitSpec(epochs=60, patience=patience, optimiser=OptimiserSpec(learning_rate=3e-2))
    saved = []
    progress = fit_head(
        new_head(), table, classes, learned, judged, spec, save=lambda progress: saved.append(progress.epoch)
    )
    losses = [row["val_loss"] for row in progress.history]
    assert len(losses) == progress.best_epoch + patience < 60
    assert progress.best_loss == min(losses)
    # The last save is of the end.
    assert saved[-1] == len(losses)


def test_without_a_validation_side_the_last_epoch_is_kept_whatever_the_patience(table_of):
    views, classes = made(60)
    model = new_head()
    progress = fit_head(model, table_of(*views), classes, np.arange(60), None, FitSpec(epochs=5, patience=1))
    assert progress.best_epoch == len(progress.history) == 5
    assert same_weights(model.state_dict(), progress.weights)
    assert "val_loss" not in progress.history[-1]


def test_a_training_that_diverges_says_so(table_of):
    views, classes = made(60)
    spec = FitSpec(optimiser=OptimiserSpec(learning_rate=1e38), schedule=ScheduleSpec(warm_up=0))
    with pytest.raises(HandlensError, match=r"diverged.*learning_rate"):
        fit_head(new_head(HeadSpec(kind="layers")), table_of(*views), classes, np.arange(60), None, spec)


# steps and rates


@pytest.mark.parametrize(
    ("rows", "batch_size", "expected"),
    [(1, 256, 1), (7, 256, 7), (100, 256, 10), (2560, 256, 10), (25600, 256, 100), (300, 2, 150)],
)
def test_the_number_of_steps(rows, batch_size, expected):
    assert num_steps(rows, batch_size) == expected


def test_the_history_tells_the_rates_of_the_schedule(table_of):
    views, classes = made(60)
    spec = FitSpec(epochs=4, optimiser=OptimiserSpec(learning_rate=0.01), schedule=ScheduleSpec(warm_up=0))
    progress = fit_head(new_head(), table_of(*views), classes, np.arange(60), None, spec)
    # Ten steps an epoch; each has the rate of its middle.
    last_steps = np.array([9.5, 19.5, 29.5, 39.5]) / 40
    expected = 0.01 * 0.5 * (1 + np.cos(np.pi * last_steps))
    assert [row["learning_rate"] for row in progress.history] == pytest.approx(list(expected))
    assert [row["epoch"] for row in progress.history] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "values", [{"epochs": 0}, {"batch_size": 1}, {"patience": 0}, {"mixup": -1}, {"epoch": 3}, {"seed": -1}]
)
def test_a_training_that_cannot_be_is_refused(values):
    with pytest.raises(ValidationError):
        FitSpec(**values)
