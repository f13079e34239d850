"""Learning from a few pictures a class: the recipe's head beside three ways that need hardly any.

Prototypes and ridge are solved, not trained, so they have no settings that a few pictures could not tell.
Both look at rows from which the mean of the pictures to learn from is taken and which are then brought to
length one ("CL2N", Wang et al. 2019, "SimpleShot", section 3.2): how bright or busy a picture is matters
less.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from handlens.data.sides import Rows
from handlens.evaluate.predict import judge_rows
from handlens.models.heads import CosineMembers, Head, HeadSpec
from handlens.training.spec import FitSpec
from handlens.training.table import FeatureTable
from handlens.training.train_head import fit_head

Floats = NDArray[np.float64]

STRENGTH = 0.1
"""How strongly ridge holds its weights down, for rows of length one."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned from, and what is asked."""

    table: FeatureTable
    classes: NDArray[np.int64]
    """The class of each picture of the table; those of the pictures asked are never looked at."""
    num_classes: int
    learned: Rows
    asked: Rows
    head: HeadSpec
    fit: FitSpec
    average: bool
    """Whether the head judges by the mean over the views."""
    seed: int


def by_head(lesson: Lesson) -> NDArray[np.int64]:
    """The recipe's own head, trained as the recipe says."""
    return _trained(lesson, lesson.head)


def by_cosine(lesson: Lesson) -> NDArray[np.int64]:
    """A head that compares directions, trained as the recipe says (Gidaris and Komodakis 2018).

    It begins at the mean direction of each class (Qi et al. 2018, "Low-shot learning with imprinted weights",
    section 3.2): from a start at random, steps that suit a layer of plain products hardly turn it.
    """
    kept = lesson.head
    spec = HeadSpec(
        kind="cosine",
        standardise=kept.standardise,
        input_dropout=kept.input_dropout,
        members=kept.members,
    )
    return _trained(lesson, spec, imprinted)


def imprinted(head: Head, lesson: Lesson) -> None:
    """Turn each class's direction to the mean of its rows, as long as it was."""
    last = head.layers[-1]
    assert isinstance(last, CosineMembers)
    rows = lesson.table.rows(lesson.learned, 0)
    if head.standardises:
        mean, deviation = lesson.table.mean_and_deviation(lesson.learned)
        rows = (rows - mean) / deviation
    directions = functional.normalize(rows, dim=-1).double().numpy()
    means = torch.from_numpy(prototypes(directions, lesson.classes[lesson.learned], lesson.num_classes))
    with torch.no_grad():
        last.weight.copy_(functional.normalize(means.T, dim=0) * lesson.table.width**0.5)


def by_prototypes(lesson: Lesson) -> NDArray[np.int64]:
    """The class whose mean is nearest (Snell et al. 2017, equations 1 and 2)."""
    learned, asked = prepared(lesson)
    means = prototypes(learned, lesson.classes[lesson.learned], lesson.num_classes)
    # The square of each asked row is the same for all classes.
    return nearest(2 * asked @ means.T - (means**2).sum(axis=1))


def by_ridge(lesson: Lesson) -> NDArray[np.int64]:
    """Ridge regression on the classes (Bertinetto et al. 2019, equation 4)."""
    learned, asked = prepared(lesson)
    classes = lesson.classes[lesson.learned]
    weights, offsets = ridge(learned, classes, lesson.num_classes, STRENGTH)
    return nearest(asked @ weights + offsets)


def prototypes(rows: Floats, classes: NDArray[np.int64], num_classes: int) -> Floats:
    """The mean row of each class."""
    return np.stack([rows[classes == each].mean(axis=0) for each in range(num_classes)])


def ridge(
    rows: Floats, classes: NDArray[np.int64], num_classes: int, strength: float
) -> tuple[Floats, Floats]:
    """Weights (features, classes) and offsets that bring the rows of a class to 1 and the others to -1.

    It is solved among pictures where these are fewer than features (Woodbury), which a few always are.
    """
    wanted = 2.0 * (classes[:, None] == np.arange(num_classes)) - 1
    middle, aim = rows.mean(axis=0), wanted.mean(axis=0)
    x, y = rows - middle, wanted - aim
    if len(x) <= x.shape[1]:
        weights = x.T @ np.linalg.solve(x @ x.T + strength * np.eye(len(x)), y)
    else:
        weights = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)
    return weights, aim - middle @ weights


def prepared(lesson: Lesson) -> tuple[Floats, Floats]:
    """The judging view of the pictures learned from and of those asked, centred and of length one."""
    learned = lesson.table.rows(lesson.learned, 0).numpy().astype(np.float64)
    asked = lesson.table.rows(lesson.asked, 0).numpy().astype(np.float64)
    middle = learned.mean(axis=0)
    return _of_length_one(learned - middle), _of_length_one(asked - middle)


def nearest(scores: Floats) -> NDArray[np.int64]:
    """The class with the highest score."""
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


def _of_length_one(rows: Floats) -> Floats:
    directions: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return directions


def _trained(
    lesson: Lesson, spec: HeadSpec, begin: Callable[[Head, Lesson], None] = lambda *_: None
) -> NDArray[np.int64]:
    head = Head(spec, lesson.table.width, lesson.num_classes, lesson.seed)
    begin(head, lesson)
    fit_head(head, lesson.table, lesson.classes, lesson.learned, None, lesson.fit, seed=lesson.seed)
    judged = judge_rows(head, lesson.table, lesson.asked, lesson.average)
    return np.asarray(judged.argmax(axis=1), dtype=np.int64)


METHODS: dict[str, Callable[[Lesson], NDArray[np.int64]]] = {
    "head": by_head,
    "prototypes": by_prototypes,
    "cosine": by_cosine,
    "ridge": by_ridge,
}

SOLVED = ("prototypes", "ridge")
"""The methods in which nothing is random: the same pictures give the same answers."""

WORDS = {
    "head": "the recipe's head",
    "prototypes": "prototypes",
    "cosine": "cosine head",
    "ridge": "ridge",
}
