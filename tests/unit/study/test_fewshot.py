"""Learning from a few pictures, against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestCentroid

from handlens.models.heads import CosineMembers, Head, HeadSpec
from handlens.study.adapt import HeldTable
from handlens.study.fewshot import METHODS, SOLVED, STRENGTH, Lesson, imprinted, prepared, ridge
from handlens.training.optim import OptimiserSpec
from handlens.training.spec import FitSpec

CLASSES = 4


def lesson(shots: int, width: int = 24, seed: int = 0, far: float = 1.5) -> Lesson:
    """Clouds around a point a class: some pictures to learn from, and thirty of each class to judge."""
    rng = np.random.default_rng(seed)
    classes = np.tile(np.arange(CLASSES), shots + 30)
    rows = rng.normal(size=(CLASSES, width))[classes] * far + rng.normal(size=(len(classes), width)) + 3
    places = np.arange(len(classes))
    return Lesson(
        table=HeldTable(rows[None].astype(np.float32)),
        classes=classes,
        num_classes=CLASSES,
        learned=places[: shots * CLASSES],
        asked=places[shots * CLASSES :],
        head=HeadSpec(),
        fit=FitSpec(epochs=5, optimiser=OptimiserSpec(learning_rate=5e-3)),
        average=False,
        seed=seed,
    )


def truth(some: Lesson) -> NDArray[np.int64]:
    return some.classes[some.asked]


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("shots", [1, 2, 7])
def test_prototypes_are_those_of_scikit_learn(shots: int) -> None:
    some = lesson(shots, far=0.6)
    learned, asked = prepared(some)
    wanted = NearestCentroid().fit(learned, some.classes[some.learned]).predict(asked)
    np.testing.assert_array_equal(METHODS["prototypes"](some), wanted)


@pytest.mark.parametrize(("shots", "width"), [(1, 24), (2, 24), (3, 24), (12, 24)])
def test_ridge_is_that_of_scikit_learn_with_fewer_and_with_more_pictures_than_features(
    shots: int, width: int
) -> None:
    some = lesson(shots, width, far=0.6)
    learned, asked = prepared(some)
    classes = some.classes[some.learned]
    theirs = RidgeClassifier(alpha=STRENGTH).fit(learned, classes)
    weights, offsets = ridge(learned, classes, CLASSES, STRENGTH)
    np.testing.assert_allclose(asked @ weights + offsets, theirs.decision_function(asked), atol=1e-8)
    np.testing.assert_array_equal(METHODS["ridge"](some), theirs.predict(asked))


def test_rows_are_centred_on_what_is_learned_from_and_of_length_one() -> None:
    some = lesson(2)
    learned, asked = prepared(some)
    np.testing.assert_allclose(np.linalg.norm(learned, axis=1), 1)
    rows = some.table.rows(np.arange(len(some.classes)), 0).numpy().astype(np.float64)
    apart = rows[some.asked[0]] - rows[some.learned].mean(axis=0)
    np.testing.assert_allclose(asked[0], apart / np.sqrt((apart**2).sum()))


def test_the_cosine_head_begins_at_the_mean_direction_of_each_class() -> None:
    some = lesson(3)
    head = Head(HeadSpec(kind="cosine", standardise=False), 24, CLASSES)
    imprinted(head, some)
    last = head.layers[-1]
    assert isinstance(last, CosineMembers)
    rows = some.table.rows(some.learned, 0).numpy()
    of_first = rows[some.classes[some.learned] == 0]
    wanted = (of_first / np.linalg.norm(of_first, axis=1, keepdims=True)).mean(axis=0)
    found = last.weight[0, :, 0].detach().numpy()
    np.testing.assert_allclose(found / np.linalg.norm(found), wanted / np.linalg.norm(wanted), atol=1e-5)
    assert np.linalg.norm(found) == pytest.approx(24**0.5, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_gives_the_same_again(method: str) -> None:
    some = lesson(5)
    said = METHODS[method](some)
    assert (said == truth(some)).mean() > 0.9
    np.testing.assert_array_equal(METHODS[method](some), said)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_looks_at_the_classes_of_those_asked(method: str) -> None:
    some = lesson(2, far=0.5)
    said = METHODS[method](some)
    some.classes[some.asked] = (some.classes[some.asked] + 1) % CLASSES
    np.testing.assert_array_equal(METHODS[method](some), said)


def test_what_is_solved_does_not_depend_on_the_seed() -> None:
    some = lesson(3, far=0.5)
    for method in SOLVED:
        np.testing.assert_array_equal(METHODS[method](some), METHODS[method](replace(some, seed=9)))
