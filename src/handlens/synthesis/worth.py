"""The figure that matters: what a recipe comes to on real test pictures with synthetic ones, and without."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from handlens.data.groups import GroupSpec
from handlens.data.kinds import FOLDER_COLUMN
from handlens.data.samples import Samples
from handlens.evaluate.beside import figure_difference
from handlens.evaluate.metrics import METRICS, Judged, Values, Weighed, f1_by_class
from handlens.evaluate.predictions import Predictions
from handlens.pipeline import run_recipe
from handlens.recipe import Recipe
from handlens.synthesis.results import Worth

MACRO_F1 = METRICS["f1_macro"].compute


def trained(recipe: Recipe, samples: Samples, folder: Path, repeats: int) -> list[Predictions]:
    """What the recipe, trained from so many seeds, says of the test side; what is complete is kept."""
    return [
        Predictions.read(
            run_recipe(
                for_samples(recipe, repeat),
                samples,
                folder.with_name(f"{folder.name}-{repeat + 1}"),
            ).predictions_path("test")
        )
        for repeat in range(repeats)
    ]


def for_samples(recipe: Recipe, repeat: int) -> Recipe:
    """The recipe for pictures whose groups, sides and kinds stand in their table, with a seed of its own."""
    data = recipe.data.model_copy(
        update={
            "group": GroupSpec(),
            "kind_folders": False,
            "kind_column": FOLDER_COLUMN if recipe.data.kind_folders else recipe.data.kind_column,
        }
    )
    split = recipe.split.model_copy(update={"keep_given": True, "folds": None, "fold": 0})
    train = recipe.train.model_copy(update={"seed": recipe.train.seed + repeat, "track": ()})
    return recipe.model_copy(update={"data": data, "split": split, "train": train})


def worth_of(own: Sequence[Predictions], others: Sequence[Predictions], label: str) -> Worth:
    """What training with synthetic pictures of a class comes to, less training without."""
    index = own[0].classes.index(label)

    def class_f1(weighed: Weighed) -> Values:
        # Neither seen nor said in a resample: nothing was found.
        return np.asarray(np.nan_to_num(f1_by_class(weighed)[index]))

    return Worth(
        macro_f1=_mean(MACRO_F1, own),
        macro_f1_without=_mean(MACRO_F1, others),
        difference=figure_difference(MACRO_F1, own, others, _worth_of_macro(own[0])),
        class_f1=_mean(class_f1, own),
        class_f1_without=_mean(class_f1, others),
        class_difference=figure_difference(class_f1, own, others, _groups_of(own[0], index)),
        trainings=len(own),
    )


def _mean(compute: Callable[[Weighed], Values], several: Sequence[Predictions]) -> float:
    return float(np.mean([compute(_judged(each).weighed())[0] for each in several]))


def _judged(predictions: Predictions) -> Judged:
    labelled = predictions.labelled()
    assert labelled.targets is not None
    return Judged(labelled.targets, labelled.probabilities)


def _groups_of(predictions: Predictions, index: int) -> int:
    """How many groups have a picture of a class."""
    labelled = predictions.labelled()
    assert labelled.targets is not None
    rows = np.flatnonzero(labelled.targets == index)
    return max(1, len({labelled.groups[row] for row in rows}))


def _worth_of_macro(predictions: Predictions) -> int:
    """The groups, shared out evenly over the classes, that would tell a mean over classes as well."""
    targets = predictions.labelled().targets
    assert targets is not None
    counts = [_groups_of(predictions, int(index)) for index in np.unique(targets)]
    return max(1, int(len(counts) ** 2 / sum(1 / count for count in counts)))
