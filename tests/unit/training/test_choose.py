"""What validation decides, and what it must not look at."""

import re
from collections import Counter

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss

from handlens.models.heads import HeadSpec
from handlens.training.choose import choose, validation_folds
from handlens.training.losses import LossSpec
from handlens.training.optim import OptimiserSpec
from handlens.training.spec import FitSpec

WIDTH = 8
TRAIN = FitSpec(epochs=15, optimiser=OptimiserSpec(learning_rate=1e-2))


def pictures(count, seed=0):
    """Classes, and the judging view of pictures in which they can just be told apart."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, 2, count)
    features = generator.normal(size=(count, WIDTH)).astype(np.float32)
    features[:, 0] += 3 * targets
    return targets, features


def misleading(targets, features):
    """A view in which each class looks like the other."""
    view = features.copy()
    view[:, 0] += 3 * (1 - 2 * targets)
    return view


def best_log_loss(truth, probabilities):
    """The log loss at the best temperature (Guo et al. 2017, section 4.2)."""
    scores = np.log(np.clip(probabilities.astype(np.float64), 1e-12, 1))

    def loss(log_temperature):
        return log_loss(truth, softmax(scores / np.exp(log_temperature), axis=1))

    return minimize_scalar(loss, bounds=(-3, 3), method="bounded").fun


# folds


def test_a_validation_side_is_the_one_fold(sides_of):
    sides = sides_of([0, 1] * 5, ["train"] * 4 + ["val"] * 3 + ["test"] * 3)
    folds, told = validation_folds(sides, folds=5, seed=0)
    ((learned, judged),) = folds
    assert learned.tolist() == [0, 1, 2, 3]
    assert judged.tolist() == [4, 5, 6]
    assert told == "the validation side"


@pytest.mark.parametrize("folds", [0, 1])
def test_without_a_validation_side_and_folds_there_is_none(folds, sides_of):
    assert validation_folds(sides_of([0, 1] * 4, ["train"] * 8), folds, seed=0) == ([], "nothing")


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_keep_groups_whole_and_judge_every_picture_once(folds, sides_of):
    generator = np.random.default_rng(0)
    groups = [f"g{number}" for number in generator.integers(0, 25, 120)]
    targets = [int(group[1:]) % 2 for group in groups]
    learning = sides_of(targets, ["train"] * 120, groups)
    pairs, told = validation_folds(learning, folds, seed=3)
    assert len(pairs) == folds
    assert str(folds) in told
    for learned, judged in pairs:
        assert sorted([*learned, *judged]) == list(range(120))
        assert not {groups[place] for place in learned} & {groups[place] for place in judged}
        assert {targets[place] for place in judged} == {0, 1}
    assert Counter(place for _, judged in pairs for place in judged) == dict.fromkeys(range(120), 1)


def test_folds_follow_their_seed(sides_of):
    learning = sides_of([0, 1] * 30, ["train"] * 60)

    def judged(seed):
        return [pair[1].tolist() for pair in validation_folds(learning, 3, seed)[0]]

    assert judged(0) == judged(0) != judged(1)


def test_the_test_side_is_in_no_fold(sides_of):
    sides = sides_of([0, 1] * 30, (["train"] * 2 + ["test"]) * 20)
    learning = sides.only("train", "val")
    pairs, _ = validation_folds(learning, 4, seed=0)
    seen = {learning.ids[place] for pair in pairs for places in pair for place in places}
    assert seen == {name for name, side in zip(sides.ids, sides.names, strict=True) if side == "train"}


# choosing


@pytest.mark.parametrize("with_val", [True, False], ids=["validation side", "cross-validation"])
@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_the_views_that_help_are_taken(order, with_val, table_of, sides_of):
    targets, features = pictures(90)
    views = {
        "good": (features, features + 0.1, features - 0.1),
        "bad": (features, misleading(targets, features), misleading(targets, features)),
    }
    tables = {kind: table_of(*views[kind]) for kind in order}
    learning = sides_of(targets, (["train"] * 2 + ["val" if with_val else "train"]) * 30)
    folds, _ = validation_folds(learning, 3, seed=0)
    choice = choose(tables, learning, folds, HeadSpec(), TRAIN, (False,))
    assert choice.kind == "good"
    assert choice.average is False
    assert sorted(choice.held_out) == (list(range(2, 90, 3)) if with_val else list(range(90)))
    assert choice.probabilities.shape == (len(choice.held_out), 2)
    np.testing.assert_allclose(choice.probabilities.sum(1), 1, atol=1e-6)
    right = choice.probabilities.argmax(1) == targets[choice.held_out]
    assert right.mean() > 0.8
    assert len(choice.sentences) == 2
    (taken,) = [sentence for sentence in choice.sentences if sentence.endswith("(taken)")]
    assert taken.startswith("good")
    told = float(re.search(r"log loss ([0-9.]+)", taken).group(1))
    assert told == pytest.approx(best_log_loss(targets[choice.held_out], choice.probabilities), abs=2e-3)
    assert f"accuracy {right.mean():.3f}" in taken


@pytest.mark.parametrize("help_each_other", [True, False])
def test_the_mean_over_views_is_taken_where_it_helps(help_each_other, table_of, sides_of):
    generator = np.random.default_rng(5)
    targets, _ = pictures(150)
    # Each view has errors of its own, or the first has none and the others much.
    errors = (2.0, 2.0, 2.0, 2.0) if help_each_other else (0.3, 6.0, 6.0, 6.0)
    views = []
    for error in errors:
        view = generator.normal(size=(150, WIDTH)) * error
        view[:, 0] += 3 * targets
        views.append(view)
    learning = sides_of(targets, ["train"] * 150)
    folds, _ = validation_folds(learning, 3, seed=0)
    choice = choose({"mild": table_of(*views)}, learning, folds, HeadSpec(), TRAIN, (False, True))
    assert choice.average is help_each_other
    assert len(choice.sentences) == 2


def test_views_that_judge_all_right_are_taken_before_views_with_an_error(table_of, sides_of):
    generator = np.random.default_rng(0)
    targets = np.arange(100) % 2
    features = generator.normal(size=(100, WIDTH)) * 0.1
    features[:, 0] += 3 * (2 * targets - 1)
    slip = features.copy()
    slip[7, 0] *= -0.3
    learning = sides_of(targets, ["train"] * 100)
    folds, _ = validation_folds(learning, 5, seed=0)
    # Smoothing, like blending, makes judgments modest.
    train = TRAIN.model_copy(update={"epochs": 60, "loss": LossSpec(smoothing=0.1)})
    tables = {"slip": table_of(slip), "perfect": table_of(features)}
    choice = choose(tables, learning, folds, HeadSpec(), train, (False,))
    accuracies = {sentence.split()[0]: "accuracy 1.000" in sentence for sentence in choice.sentences}
    assert accuracies == {"slip": False, "perfect": True}
    assert choice.kind == "perfect"


def test_without_validation_the_first_is_taken_and_nothing_claimed(table_of, sides_of):
    targets, features = pictures(30)
    tables = {"first": table_of(features), "second": table_of(features)}
    choice = choose(tables, sides_of(targets, ["train"] * 30), [], HeadSpec(), TRAIN, (True,))
    assert (choice.kind, choice.average) == ("first", True)
    assert choice.held_out.shape == (0,)
    assert choice.probabilities.shape == (0, 2)
    assert choice.sentences == ()


def test_one_way_leaves_nothing_to_tell(table_of, sides_of):
    targets, features = pictures(30)
    learning = sides_of(targets, ["train"] * 30)
    folds, _ = validation_folds(learning, 2, seed=0)
    choice = choose({"": table_of(features)}, learning, folds, HeadSpec(), TRAIN, (False,))
    assert choice.sentences == ()
    assert len(choice.held_out) == 30


# what it must not look at


def test_the_features_of_the_test_side_are_never_touched(table_of, sides_of):
    targets, features = pictures(60)
    names = ["train", "val", "test"] * 20
    features[np.array(names) == "test"] = np.nan
    sides = sides_of(targets, names)
    folds, _ = validation_folds(sides, 5, seed=0)
    choice = choose(
        {"a": table_of(features), "b": table_of(features)}, sides, folds, HeadSpec(), TRAIN, (False,)
    )
    assert np.isfinite(choice.probabilities).all()
    assert {names[place] for place in choice.held_out} == {"val"}


def test_a_fold_does_not_steer_what_judges_it(table_of, sides_of):
    targets, features = pictures(60)
    learning = sides_of(targets, ["train"] * 60)
    folds, _ = validation_folds(learning, 3, seed=0)
    train = TRAIN.model_copy(update={"patience": 1})
    before = choose({"": table_of(features)}, learning, folds, HeadSpec(), train, (False,))
    judged = folds[1][1]
    # Whatever is said of the pictures of a fold, the judgments of these very pictures stay.
    changed = targets.copy()
    changed[judged] = 1 - changed[judged]
    after = choose(
        {"": table_of(features)}, sides_of(changed, ["train"] * 60), folds, HeadSpec(), train, (False,)
    )
    of_fold = np.isin(before.held_out, judged)
    assert np.array_equal(before.probabilities[of_fold], after.probabilities[of_fold])
    assert not np.array_equal(before.probabilities[~of_fold], after.probabilities[~of_fold])


def test_choosing_twice_is_choosing_the_same(table_of, sides_of):
    targets, features = pictures(60)
    learning = sides_of(targets, ["train"] * 60)
    folds, _ = validation_folds(learning, 5, seed=0)
    # The heads train in several threads at once, and each draws dropout.
    head = HeadSpec(kind="layers", hidden=16, input_dropout=0.3, members=2)
    first, again = (
        choose({"a": table_of(features), "b": table_of(features + 1)}, learning, folds, head, TRAIN, (False,))
        for _ in range(2)
    )
    assert first.kind == again.kind
    assert np.array_equal(first.probabilities, again.probabilities)
