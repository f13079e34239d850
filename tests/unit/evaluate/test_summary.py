"""From predictions to the figures of metrics.json."""

import subprocess
import sys

import numpy as np
import pytest

from handlens.base.errors import HandlensError
from handlens.evaluate.metrics import METRICS
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure, Metrics
from handlens.evaluate.summary import summarise


def pictures(
    prefix: str, num_classes: int = 6, n: int = 240, pull: float = 2.5, seed: int = 0
) -> Predictions:
    rng = np.random.default_rng(seed)
    targets = rng.integers(num_classes, size=n)
    logits = rng.normal(size=(n, num_classes))
    logits[np.arange(n), targets] += pull
    powers = np.exp(3 * logits)
    return Predictions(
        tuple(f"{prefix}{row}" for row in range(n)),
        tuple(f"{prefix}-{row // 8}" for row in range(n)),
        targets,
        tuple("abcdefgh"[:num_classes]),
        (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    sides = {"test": pictures("t"), "val": pictures("v", seed=1)}
    return summarise(sides, sides["val"], "220 pictures of val")


def every_figure(metrics: Metrics) -> list[Figure]:
    return [
        figure
        for side in metrics.sides.values()
        for figure in [
            *side.figures.values(),
            *(
                each
                for result in side.per_class.values()
                for each in (result.precision, result.recall, result.f1)
            ),
        ]
    ]


def test_all_figures_are_there(metrics: Metrics) -> None:
    assert set(metrics.sides["test"].figures) == {*METRICS, "ece_calibrated"}
    assert list(metrics.sides["test"].per_class) == list("abcdef")
    for figure in every_figure(metrics):
        assert 0 <= figure.low <= figure.value <= figure.high
    accuracy = metrics.sides["test"].figures["accuracy"]
    assert (accuracy.n, accuracy.n_groups) == (240, 30)
    assert accuracy.method == "bootstrap over 30 groups, 2000 resamples"
    assert np.trace(metrics.sides["test"].confusion) == round(accuracy.value * 240)
    assert sum(bin_.n for bin_ in metrics.sides["test"].reliability) == 240


def test_calibrated_figures_only_where_the_temperature_was_not_fitted(metrics: Metrics) -> None:
    assert metrics.temperature == pytest.approx(1.3, abs=0.3)
    assert metrics.temperature_from == "220 pictures of val"
    assert metrics.sides["test"].reliability_calibrated is not None
    assert metrics.sides["val"].reliability_calibrated is None
    assert "ece_calibrated" not in metrics.sides["val"].figures


def test_the_same_every_time_and_whatever_else_is_judged(metrics: Metrics) -> None:
    test, val = pictures("t"), pictures("v", seed=1)
    assert summarise({"test": test}, val, "").sides["test"] == metrics.sides["test"]
    assert summarise({"test": test}, val, "", seed=1).sides["test"] != metrics.sides["test"]
    # Another order of the pictures is the same experiment.
    turned = summarise({"test": test.only(np.arange(240)[::-1])}, val, "").sides["test"]
    for name, figure in metrics.sides["test"].figures.items():
        other = turned.figures[name]
        assert (other.low, other.value, other.high) == pytest.approx(
            (figure.low, figure.value, figure.high), rel=1e-4
        )


def test_it_is_json_and_back(metrics: Metrics) -> None:
    assert Metrics.model_validate_json(metrics.model_dump_json()) == metrics
    assert "NaN" not in metrics.model_dump_json()


def test_without_a_side_to_calibrate_on() -> None:
    metrics = summarise({"test": pictures("t", num_classes=3)}, None, None)
    assert metrics.temperature is None
    assert set(metrics.sides["test"].figures) == {*METRICS} - {"top_3", "top_5"}


def test_no_error_is_not_certainty() -> None:
    figures = summarise({"test": pictures("t", pull=50)}, None, None).sides["test"].figures
    assert (figures["accuracy"].value, figures["accuracy"].high) == (1, 1)
    assert figures["accuracy"].low == pytest.approx(0.025 ** (1 / 30))
    assert figures["f1_macro"].method == "exact bound for 30 groups without exception"


def test_a_class_of_one_group_makes_macro_figures_less_sure() -> None:
    base = pictures("t", num_classes=2, pull=50)
    targets = (np.arange(240) < 8).astype(np.int64)
    one = Predictions(base.ids, base.groups, targets, base.classes, np.eye(2, dtype=np.float32)[targets])
    side = summarise({"test": one}, None, None).sides["test"]
    assert side.per_class["b"].recall.method == "one group: unknown"
    assert (side.per_class["b"].recall.low, side.per_class["b"].recall.high) == (0, 1)
    # 2² / (1/29 + 1/1) groups' worth.
    assert side.figures["recall_macro"].method == "exact bound for 3 groups without exception"
    assert side.figures["accuracy"].method == "exact bound for 30 groups without exception"


def test_a_class_that_nothing_is_called() -> None:
    base = pictures("t", num_classes=2)
    always_a = np.tile(np.array([[0.7, 0.3]], dtype=np.float32), (240, 1))
    blind = Predictions(base.ids, base.groups, base.targets, base.classes, always_a)
    result = summarise({"test": blind}, None, None).sides["test"].per_class["b"]
    assert (result.precision.value, result.precision.high, result.precision.n) == (0, 1, 0)
    assert result.precision.method == "no pictures: unknown"
    assert result.recall.value == 0 < result.recall.high < 0.2


def test_one_group_and_one_class() -> None:
    base = pictures("t", num_classes=2, n=8)
    same = Predictions(base.ids, base.groups, np.ones(8, dtype=int), base.classes, base.probabilities)
    side = summarise({"test": same}, None, None).sides["test"]
    assert "roc_auc" not in side.figures
    assert {figure.method for figure in side.figures.values()} == {"one group: unknown"}
    assert list(side.per_class) == ["b"]


def test_pictures_without_a_class_are_left_out() -> None:
    base = pictures("t")
    half = Predictions(
        base.ids,
        base.groups,
        np.where(np.arange(240) < 120, base.targets, -1),
        base.classes,
        base.probabilities,
    )
    assert summarise({"test": half}, None, None) == summarise({"test": base.only(np.arange(120))}, None, None)
    none = Predictions(base.ids, base.groups, None, base.classes, base.probabilities)
    with pytest.raises(HandlensError, match="predictions of test hold no picture with a known class"):
        summarise({"test": none}, None, None)


def test_other_classes_are_refused() -> None:
    with pytest.raises(HandlensError, match="predictions of val are over the classes a, b"):
        summarise({"test": pictures("t"), "val": pictures("v", num_classes=2)}, None, None)


def test_judging_needs_no_torch_and_starts_quickly() -> None:
    heavy = "{'torch', 'sklearn', 'scipy'}"
    check = f"import sys, handlens.evaluate.summary; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
