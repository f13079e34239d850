"""The sweep of learning rates, against hand arithmetic and curves whose answer is known."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from handlens.base.errors import HandlensError
from handlens.models.heads import Head, HeadSpec
from handlens.training.finder import (
    HIGHEST,
    LOWEST,
    NUM_STEPS,
    SMOOTHING,
    Sweep,
    rate_of,
    smooth,
    suggest,
    sweep,
)
from handlens.training.lesson import Lesson
from handlens.training.spec import FitSpec
from handlens.training.supply import Batch
from handlens.training.table import FeatureTable
from handlens.training.train_head import head_lesson

MakeTable = Callable[..., FeatureTable]
NUM = 60
RATES = [rate_of(step) for step in range(NUM_STEPS)]


def lesson_of(table_of: MakeTable, spec: FitSpec, noise: float = 1.0) -> Lesson:
    generator = np.random.default_rng(1)
    classes = np.arange(NUM) % 2
    rows = (classes[:, None] * 2 - 1 + noise * generator.normal(size=(NUM, 8))).astype(np.float32)
    head = Head(HeadSpec(), 8, (2,), 0)
    return head_lesson(head, table_of(rows), classes, np.arange(NUM), None, spec)


def swept(losses: list[float]) -> Sweep:
    return Sweep(RATES[: len(losses)], losses, losses)


def test_the_rates_rise_by_the_same_factor() -> None:
    assert math.isclose(RATES[0], LOWEST)
    assert math.isclose(RATES[-1], HIGHEST)
    assert np.allclose(np.diff(np.log(RATES)), math.log(HIGHEST / LOWEST) / (NUM_STEPS - 1))


def test_the_moving_mean_is_a_weighted_mean() -> None:
    losses = [3.0, 1.0, 4.0, 1.0, 5.0]
    for number, mean in enumerate(smooth(losses), start=1):
        weights = SMOOTHING ** np.arange(number - 1, -1, -1)
        assert mean == pytest.approx(np.average(losses[:number], weights=weights))


def test_each_step_has_its_rate_and_the_loss_before_it(table_of: MakeTable) -> None:
    spec = FitSpec.parse({"optimiser": {"name": "sgd", "momentum": 0, "weight_decay": 0}}, "test")
    found = sweep(lesson_of(table_of, spec), spec, seed=3)
    assert found.rates == RATES[: len(found.rates)]

    # The same by hand, with the batches that the supply gives; a supply of six rows a step has ten an epoch.
    again = lesson_of(table_of, spec)
    weights = {name: value.clone() for name, value in again.learner.state_dict().items()}
    linear = torch.nn.Linear(8, 2)
    # One member, its weights (1, in, out) and (1, 1, out).
    (weight,) = (value for name, value in weights.items() if name.endswith("weight"))
    (bias,) = (value for name, value in weights.items() if name.endswith("bias"))
    linear.load_state_dict({"weight": weight[0].T, "bias": bias.flatten()})
    mean, deviation = weights["standardise.mean"], weights["standardise.deviation"]
    batches: list[Batch] = []
    for epoch in range(3):
        seed = int(np.random.SeedSequence([3, 0, epoch]).generate_state(1)[0])
        batches += list(again.supply.epoch(seed))
    for number, (rows, targets) in enumerate(batches):
        loss = torch.nn.functional.cross_entropy(linear((rows - mean) / deviation), targets)
        assert found.losses[number] == pytest.approx(loss.item(), rel=1e-4)
        linear.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in linear.parameters():
                assert parameter.grad is not None
                parameter.sub_(RATES[number] * parameter.grad)


def test_several_batches_are_one_step(table_of: MakeTable) -> None:
    plain, gathering = FitSpec(batch_size=6), FitSpec(batch_size=6, gather=2)
    one = sweep(lesson_of(table_of, plain), plain, seed=0)
    two = sweep(lesson_of(table_of, gathering), gathering, seed=0)
    assert two.rates[:40] == one.rates[:40]
    # At the lowest rates the weights hardly move, so that the losses are those of the same batches.
    assert two.losses[0] == pytest.approx(np.mean(one.losses[:2]), rel=1e-4)


def test_it_ends_where_the_loss_is_far_above_its_best(table_of: MakeTable) -> None:
    spec = FitSpec.parse({"optimiser": {"name": "sgd"}}, "test")
    found = sweep(lesson_of(table_of, spec, noise=3.0), spec, seed=0)
    assert found.ended in ("too_high", "diverged", "highest")
    if found.ended == "too_high":
        assert found.smoothed[-1] > 4 * min(found.smoothed)
        assert all(
            loss <= 4 * min(found.smoothed[: number + 1]) for number, loss in enumerate(found.smoothed[:-1])
        )


def test_a_loss_that_is_no_number_ends_it(table_of: MakeTable) -> None:
    spec = FitSpec()
    lesson = lesson_of(table_of, spec)
    plain, calls = lesson.loss, iter(range(10**6))

    class Breaks(type(plain)):  # type: ignore[misc]
        def __call__(self, *given: torch.Tensor) -> torch.Tensor:
            return plain(*given) * (math.nan if next(calls) >= 30 else 1)

    lesson.loss = Breaks.__new__(Breaks)
    found = sweep(lesson, spec, seed=0)
    assert found.ended == "diverged"
    assert len(found.rates) == 30


def test_the_same_seed_gives_the_same_sweep_wherever_it_is_made(table_of: MakeTable) -> None:
    spec = FitSpec(mixup=0.4)
    torch.manual_seed(1)
    first = sweep(lesson_of(table_of, spec), spec, seed=5)
    torch.manual_seed(2)
    assert sweep(lesson_of(table_of, spec), spec, seed=5) == first
    assert sweep(lesson_of(table_of, spec), spec, seed=6).losses != first.losses


def test_a_curve_that_falls_and_rises() -> None:
    # Falls around 1e-3 along a logistic curve, and rises with the rate beyond: least where both balance.
    powers = np.log10(RATES)
    curve = 1 - 0.9 / (1 + np.exp(-4 * (powers + 3))) + 0.05 * np.maximum(0, powers + 1) ** 4
    found = suggest(swept(curve.tolist()))
    lowest = RATES[int(curve.argmin())]
    assert found.lowest == lowest
    assert found.steepest is not None
    assert abs(math.log10(found.steepest) + 3) < 0.1
    assert found.rate == pytest.approx(lowest / 10, rel=0.05)
    assert found.point == "tenth"
    assert found.setting == f"train.optimiser.learning_rate={found.rate:g}"


def test_a_loss_that_only_rises_has_an_edge() -> None:
    powers = np.log10(RATES)
    curve = 0.2 + np.maximum(0, powers + 2)
    found = suggest(swept(curve.tolist()))
    assert found.point == "edge"
    assert found.steepest is None
    assert math.log10(found.rate) == pytest.approx(-3, abs=0.1)


def test_no_rate_without_a_curve() -> None:
    with pytest.raises(HandlensError, match="no rate can be found"):
        suggest(swept([1.0] * 5))
