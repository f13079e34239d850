"""Figures of further tasks and of kinds, held to scikit-learn on labels made coarse by hand."""

import json
import re

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as reference

from handlens.base.errors import HandlensError
from handlens.data.kinds import Kinds
from handlens.data.sides import Shot, Sides
from handlens.data.tasks import TaskLabels
from handlens.evaluate.calibration import apply_temperature, fit_temperature
from handlens.evaluate.predict import predictions_of
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Metrics
from handlens.evaluate.summary import summarise
from handlens.run import RunFolder, file_word

CLASSES = ("apple", "bottle", "can", "peel", "tin")
# In an order that is neither that of the classes nor of the alphabet.
MEMBERS = {"metal": ("can", "tin"), "food": ("apple", "peel"), "glass": ("bottle",)}
KIND = np.array([1, 2, 0, 1, 0])


def said(prefix, classes=CLASSES, n=180, seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(len(classes), size=n)
    logits = rng.normal(size=(n, len(classes)))
    logits[np.arange(n), targets] += 1.2
    powers = np.exp(1.7 * logits)
    targets[rng.random(n) < missing] = -1
    return Predictions(
        tuple(f"{prefix}{row}" for row in range(n)),
        tuple(f"{prefix}-{row // 6}" for row in range(n)),
        targets,
        classes,
        (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32),
    )


@pytest.fixture(scope="module")
def sides():
    return {"val": said("v", seed=1), "test": said("t", seed=2)}


@pytest.fixture(scope="module")
def wear():
    classes = ("new", "old", "worn")
    return {"val": said("v", classes, seed=3, missing=0.4), "test": said("t", classes, seed=4, missing=0.4)}


@pytest.fixture(scope="module")
def metrics(sides, wear):
    kinds = Kinds.of(CLASSES, MEMBERS, "by hand")
    return summarise(sides, sides["val"], "the val side", label="sort", tasks={"wear": wear}, kinds=kinds)


def test_the_main_task_does_not_hear_of_the_others(metrics, sides):
    alone = summarise(sides, sides["val"], "the val side")
    assert metrics.sides == alone.sides
    assert metrics.temperature == alone.temperature
    assert list(alone.model_dump()) == ["classes", "sides", "temperature", "temperature_from"]
    assert list(json.loads(alone.model_dump_json())) == list(alone.model_dump())


def test_all_of_it_is_written_and_read_back(metrics):
    values = metrics.model_dump(mode="json")
    assert list(values["kinds"]["members"]) == list(MEMBERS)
    assert Metrics.parse(json.loads(json.dumps(values)), "metrics.json") == metrics


def test_kinds_are_judged_by_the_sums_over_their_classes(metrics, sides):
    test = sides["test"]
    coarse = np.zeros((len(test.ids), 3))
    for column, kind in enumerate(KIND):
        coarse[:, kind] += test.probabilities[:, column]
    coarse /= coarse.sum(axis=1, keepdims=True)
    truth, named = KIND[test.targets], coarse.argmax(axis=1)
    assert (named != KIND[test.predicted]).any(), "the sum must matter in this test"
    side = metrics.kinds.sides["test"]
    values = {name: figure.value for name, figure in side.figures.items()}
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(truth, named))
    assert values["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, named))
    assert values["f1_macro"] == pytest.approx(reference.f1_score(truth, named, average="macro"))
    assert values["log_loss"] == pytest.approx(reference.log_loss(truth, coarse), rel=1e-5)
    assert values["roc_auc"] == pytest.approx(
        reference.roc_auc_score(truth, coarse, multi_class="ovr"), abs=1e-6
    )
    assert side.confusion == tuple(map(tuple, reference.confusion_matrix(truth, named).tolist()))
    recalls = reference.recall_score(truth, named, average=None)
    assert [side.per_class[kind].recall.value for kind in MEMBERS] == pytest.approx(recalls.tolist())
    for figure in side.figures.values():
        assert figure.low <= figure.value <= figure.high
        assert figure.n_groups == 30


def test_kinds_are_calibrated_by_the_classes_temperature(metrics, sides):
    fine = apply_temperature(sides["test"].probabilities, metrics.temperature)
    coarse = np.stack([fine[:, kind == KIND].sum(axis=1) for kind in range(3)], axis=1)
    confidence, right = coarse.max(axis=1), coarse.argmax(axis=1) == KIND[sides["test"].targets]
    bins = np.ceil(confidence * 15).astype(int)
    gaps = [abs((confidence - right)[bins == each].sum()) for each in np.unique(bins)]
    assert metrics.kinds.sides["test"].figures["ece_calibrated"].value == pytest.approx(
        sum(gaps) / len(right), abs=1e-6
    )
    assert "ece_calibrated" not in metrics.kinds.sides["val"].figures


def test_unknown_classes_have_no_kind_and_other_classes_none_at_all():
    kinds = Kinds.of(CLASSES, MEMBERS, "by hand")
    some = said("t", n=40, missing=0.5)
    coarse = some.in_kinds(kinds)
    assert (coarse.known == some.known).all()
    assert coarse.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    with pytest.raises(HandlensError, match="predictions are over a, b"):
        said("t", ("a", "b")).in_kinds(kinds)


def test_a_further_task_has_figures_and_a_temperature_of_its_own(metrics, wear):
    found = metrics.tasks["wear"]
    test = wear["test"].labelled()
    assert found.classes == ("new", "old", "worn")
    assert found.temperature == fit_temperature(wear["val"]) != metrics.temperature
    side = found.sides["test"]
    assert (side.n, side.n_groups) == (len(test.ids), len(set(test.groups)))
    assert 0 < side.n < 180
    assert side.figures["f1_macro"].value == pytest.approx(
        reference.f1_score(test.targets, test.predicted, average="macro")
    )
    assert metrics.label == "sort"


def test_sides_without_a_label_are_left_out_and_so_is_a_task_without_any(sides, wear):
    none = said("t", ("new", "old", "worn"), missing=1.1)
    found = summarise(sides, None, None, label="sort", tasks={"wear": {**wear, "test": none}})
    assert list(found.tasks["wear"].sides) == ["val"]
    alone = summarise(sides, None, None, label="sort", tasks={"wear": {"test": none}})
    assert alone == summarise(sides, None, None)


def test_predictions_of_a_task_hold_the_pictures_that_have_its_label():
    sides = Sides(
        ("a", "b"),
        ("p", "q", "r", "s"),
        ("g", "g", "h", "h"),
        (Shot(None, ""),) * 4,  # type: ignore[arg-type]
        np.array([0, -1, 1, 1]),
        ("test",) * 4,
        further=(TaskLabels("wear", ("new", "old"), np.array([-1, 1, 0, -1])),),
    )
    places = np.array([3, 2, 1])
    rows = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], np.float32)
    main, further = (predictions_of(sides, places, rows, task) for task in (0, 1))
    assert (main.ids, main.targets.tolist()) == (("r", "s"), [1, 1])
    assert main.probabilities[:, 0].tolist() == pytest.approx([0.2, 0.1])
    assert (further.ids, further.targets.tolist(), further.groups) == (("q", "r"), [1, 0], ("g", "h"))
    assert further.classes == ("new", "old")
    assert further.probabilities[:, 0].tolist() == pytest.approx([0.3, 0.2])


def test_any_name_of_a_task_makes_a_file(tmp_path, wear):
    run = RunFolder(tmp_path)
    names = [
        "wear",
        "Abnutzung (neu/alt)",
        "磨损",
        "حالة",
        "a.b",
        "a b",
        "a/b",
        "..",
        "é",
        "e\u0301",
        "x" * 300,
        "*?:",
    ]
    words = [file_word(name) for name in names]
    assert words[0] == "wear"
    assert len({word.casefold() for word in words}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,60}", word) for word in words)
    for name in names:
        path = run.predictions_path("test", name)
        wear["test"].write(path)
        assert Predictions.read(path).to_table().equals(wear["test"].to_table())
    assert run.predictions_path("test") == tmp_path / "predictions" / "test.parquet"
    assert pl.read_parquet(tmp_path / "predictions" / "test.wear.parquet").height == 180
