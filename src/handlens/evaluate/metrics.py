"""Every figure as a pure function of targets, probabilities and the weights of the pictures.

A metric takes the pictures under many weightings at once, because an interval needs two thousand of them,
and gives one value a weighting. What does not hang on the weights (who is called what, who ranks before
whom) is worked out once, in `Judged`.

Macro figures are means over the classes that occur in the targets with some weight: a class without
pictures does not count, whether or not something was called by its name. A share of nothing is 0 in a mean
over classes, and NaN where a figure is asked for without any picture that has a weight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
"""One value a weighting; for figures by class, one row a class."""
Floats = NDArray[np.floating[Any]]
"""Numbers of either precision."""
Weights = Floats
"""One weight a picture, or one row a picture and one column a weighting."""

LEAST = float(np.finfo(np.float32).eps)
"""Log loss reads a smaller probability as this one, as scikit-learn does for float32."""
NUM_BINS = 15
"""Bins of equal width that confidence is sorted into."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Pictures of known class and what was said about them, without any weights."""

    targets: NDArray[np.int64]
    """The true classes as indices."""
    probabilities: Floats
    """One row a picture, one column a class."""

    def weighed(self, weights: Weights | None = None) -> "Weighed":
        """The pictures with weights of shape (pictures,) or (pictures, weightings); all 1 by default."""
        if weights is None:
            weights = np.ones(len(self.targets))
        return Weighed(self, weights[:, None] if weights.ndim == 1 else weights)

    @property
    def num_classes(self) -> int:
        """Classes that there are probabilities for."""
        return int(self.probabilities.shape[1])

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class that each picture is called."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def cells(self) -> "Shelves":
        """The cell of the confusion matrix that each picture falls into."""
        return Shelves.of(self.targets * self.num_classes + self.predicted)

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """How many classes come before the true one; of level classes the first in order comes first."""
        own = self.probabilities[np.arange(len(self.targets)), self.targets][:, None]
        earlier = np.arange(self.num_classes) < self.targets[:, None]
        before = (self.probabilities > own) | ((self.probabilities == own) & earlier)
        return np.asarray(before.sum(axis=1), dtype=np.int64)

    @cached_property
    def surprises(self) -> NDArray[np.float64]:
        """The log loss of each picture."""
        own = self.probabilities[np.arange(len(self.targets)), self.targets].astype(np.float64)
        return np.asarray(-np.log(np.clip(own, LEAST, 1 - LEAST)))

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """The squared distance of each picture's probabilities from the truth, mean over classes."""
        truth = np.eye(self.num_classes)[self.targets]
        return np.asarray(((self.probabilities - truth) ** 2).mean(axis=1))

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of the class that each picture is called."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)

    @cached_property
    def excess(self) -> NDArray[np.float64]:
        """Confidence less correctness: what calibration asks to be 0 on average."""
        return np.asarray(self.confidence - (self.predicted == self.targets))

    @cached_property
    def bins(self) -> "Shelves":
        """The bin of confidence of each picture; the upper edge belongs to the bin."""
        numbers = np.ceil(self.confidence * NUM_BINS).astype(np.int64) - 1
        return Shelves.of(np.clip(numbers, 0, NUM_BINS - 1))

    @cached_property
    def rankings(self) -> tuple["Ranking", ...]:
        """One class against the rest, for each class that some but not all pictures are of."""
        # With two classes the first would only tell the second's figure again.
        asked = (1,) if self.num_classes == 2 else range(self.num_classes)
        own = (self.targets == index for index in asked)
        return tuple(
            Ranking.of(self.probabilities[:, index], positive)
            for index, positive in zip(asked, own, strict=True)
            if positive.any() and not positive.all()
        )


@dataclass(frozen=True, eq=False)
class Weighed:
    """Judged pictures under one or many weightings: what a metric is computed from."""

    judged: Judged
    weights: Weights
    """One row a picture, one column a weighting."""

    @cached_property
    def totals(self) -> Values:
        """The weight of all pictures together."""
        return np.asarray(self.weights.sum(axis=0, dtype=np.float64))

    @cached_property
    def confusion(self) -> NDArray[np.float64]:
        """The weight by true class, predicted class and weighting."""
        count = self.judged.num_classes
        full = np.zeros((count * count, self.weights.shape[1]))
        full[self.judged.cells.names] = self.judged.cells.sums(self.weights)
        return full.reshape(count, count, -1)

    def mean(self, of_each: NDArray[np.float64]) -> Values:
        """The weighted mean of something that each picture has."""
        # In the precision of the weights: a bootstrap's counts come as float32 for speed.
        sums: Floats = of_each.astype(self.weights.dtype) @ self.weights
        return _ratio(sums, self.totals, nothing=np.nan)


@dataclass(frozen=True, eq=False)
class Shelves:
    """Things sorted by name, so that weights can be summed by name without a loop over things."""

    names: NDArray[np.int64]
    """The names that occur, in rising order."""
    order: NDArray[np.int64]
    """The things, sorted by name."""
    starts: NDArray[np.int64]
    """Where each name begins in that order."""

    @classmethod
    def of(cls, names: NDArray[np.int64]) -> "Shelves":
        """Sort things by name."""
        order = np.argsort(names, kind="stable")
        occurring, starts = np.unique(names[order], return_index=True)
        return cls(occurring, order, starts.astype(np.int64))

    def sums(self, weights: Weights) -> Weights:
        """The weight by name and weighting."""
        return np.add.reduceat(weights[self.order], self.starts, axis=0)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The order of one class's probabilities, prepared for the area under its ROC curve."""

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    own: Shelves
    """The positives, sorted by score."""
    others: Shelves
    """The negatives, sorted by where they fall between the positives' scores."""
    below: NDArray[np.int64]
    """For each score of a positive, how many shelves of negatives lie below it."""
    up_to: NDArray[np.int64]
    """The same with the shelf of those level with it."""

    @classmethod
    def of(cls, scores: Floats, positive: NDArray[np.bool_]) -> "Ranking":
        """Prepare for scores and which pictures are of the class."""
        positives, negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
        levels, own = np.unique(scores[positives], return_inverse=True)
        # A negative between two levels gets an even place, one level with a positive an odd one.
        places = np.searchsorted(levels, scores[negatives], "left")
        places += np.searchsorted(levels, scores[negatives], "right")
        others = Shelves.of(places.astype(np.int64))
        level_places = 2 * np.arange(len(levels)) + 1
        return cls(
            positives,
            negatives,
            Shelves.of(own.astype(np.int64)),
            others,
            np.searchsorted(others.names, level_places, "left").astype(np.int64),
            np.searchsorted(others.names, level_places, "right").astype(np.int64),
        )

    def area(self, weights: Weights) -> Values:
        """The share of pairs (positive, negative) in the right order, half for level ones."""
        own = self.own.sums(weights[self.positives])
        others = self.others.sums(weights[self.negatives])
        heap = np.concatenate([np.zeros_like(others[:1]), np.cumsum(others, axis=0)])
        beaten = (heap[self.below] + heap[self.up_to]) / 2
        right = np.einsum("ij,ij->j", own, beaten, dtype=np.float64)
        pairs = own.sum(axis=0, dtype=np.float64) * heap[-1]
        return _ratio(right, pairs, nothing=np.nan)


def _ratio(part: Floats, whole: Floats, nothing: float) -> Values:
    """A share, and `nothing` where there is nothing to have a share of."""
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, nothing), where=np.asarray(whole > 0)))


def recall_by_class(weighed: Weighed) -> Values:
    """Of the pictures of each class, the share that is found; NaN for a class without pictures."""
    confusion = weighed.confusion
    return _ratio(np.einsum("iij->ij", confusion), confusion.sum(axis=1), nothing=np.nan)


def precision_by_class(weighed: Weighed) -> Values:
    """Of the pictures called each class, the share that is; NaN where nothing is called so."""
    confusion = weighed.confusion
    return _ratio(np.einsum("iij->ij", confusion), confusion.sum(axis=0), nothing=np.nan)


def f1_by_class(weighed: Weighed) -> Values:
    """The harmonic mean of precision and recall; NaN for a class neither seen nor said."""
    confusion = weighed.confusion
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return _ratio(2 * np.einsum("iij->ij", confusion), both, nothing=np.nan)


ByClass = Callable[[Weighed], Values]


def macro(weighed: Weighed, by_class: ByClass) -> Values:
    """The plain mean over the classes that occur in the targets."""
    occurs = weighed.confusion.sum(axis=1) > 0
    found = (np.nan_to_num(by_class(weighed)) * occurs).sum(axis=0)
    return _ratio(found, occurs.sum(axis=0), nothing=np.nan)


def by_support(weighed: Weighed, by_class: ByClass) -> Values:
    """The mean over classes, each weighted with the pictures that are of it."""
    support = weighed.confusion.sum(axis=1)
    found = (np.nan_to_num(by_class(weighed)) * support).sum(axis=0)
    return _ratio(found, weighed.totals, nothing=np.nan)


def accuracy(weighed: Weighed) -> Values:
    """The share of pictures that are called what they are."""
    return _ratio(np.einsum("iij->j", weighed.confusion), weighed.totals, nothing=np.nan)


def balanced_accuracy(weighed: Weighed) -> Values:
    """The mean recall of the classes that occur, which is macro recall by its other name."""
    return macro(weighed, recall_by_class)


def f1_of_means(weighed: Weighed) -> Values:
    """The harmonic mean of mean precision and mean recall, which the battery-burr paper prints as F1.

    It differs from macro F1, the mean of the harmonic means, wherever classes differ.
    """
    precision, recall = macro(weighed, precision_by_class), macro(weighed, recall_by_class)
    return _ratio(2 * precision * recall, precision + recall, nothing=0.0)


def top_k(weighed: Weighed, k: int) -> Values:
    """The share of pictures whose class is among the k most probable ones."""
    return weighed.mean((weighed.judged.ranks < k).astype(np.float64))


def log_loss(weighed: Weighed) -> Values:
    """The mean of -ln(probability of the true class), with probabilities no nearer to 0 or 1 than `LEAST`."""
    return weighed.mean(weighed.judged.surprises)


def mse(weighed: Weighed) -> Values:
    """The mean, over pictures and classes, of (probability - truth)², truth being 1 for the class and else 0.

    The graphite paper calls it loss. The multi-class Brier score is this times the number of classes.
    """
    return weighed.mean(weighed.judged.squares)


def roc_auc(weighed: Weighed) -> Values:
    """The area under the ROC curve: of the second of two classes, else each against the rest, plain mean.

    A class that no picture or every picture is of has no curve and is skipped; NaN where none has one.
    """
    rankings = weighed.judged.rankings
    areas = np.array([ranking.area(weighed.weights) for ranking in rankings])
    areas = areas.reshape(len(rankings), weighed.weights.shape[1])
    return _ratio(np.nansum(areas, axis=0), (~np.isnan(areas)).sum(axis=0), nothing=np.nan)


def ece(weighed: Weighed) -> Values:
    """Expected calibration error: mean |confidence - accuracy| over 15 bins, weighted with their pictures.

    Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    excess: Floats = weighed.judged.excess.astype(weighed.weights.dtype)
    by_bin = weighed.judged.bins.sums(weighed.weights * excess[:, None])
    return _ratio(np.abs(by_bin).sum(axis=0, dtype=np.float64), weighed.totals, nothing=np.nan)


@dataclass(frozen=True)
class Metric:
    """A headline figure and what has to be known to put an interval around it."""

    compute: Callable[[Weighed], Values]
    """The figure under each weighting."""
    counted: bool = True
    """Whether it comes from counting right and wrong pictures, so that one picture tells one bit."""
    macro: bool = False
    """Whether every class weighs the same, however few its pictures are."""
    highest: Callable[[int], float] = lambda num_classes: 1.0
    """The largest value it can have; the smallest is always 0."""
    lifted: bool = False
    """Whether chance alone pushes it up."""
    more_than: int = 0
    """It says something only with more classes than this."""


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy),
    "balanced_accuracy": Metric(balanced_accuracy, macro=True),
    "precision_macro": Metric(partial(macro, by_class=precision_by_class), macro=True),
    "recall_macro": Metric(partial(macro, by_class=recall_by_class), macro=True),
    "f1_macro": Metric(partial(macro, by_class=f1_by_class), macro=True),
    "precision_weighted": Metric(partial(by_support, by_class=precision_by_class)),
    "recall_weighted": Metric(partial(by_support, by_class=recall_by_class)),
    "f1_weighted": Metric(partial(by_support, by_class=f1_by_class)),
    "f1_of_means": Metric(f1_of_means, macro=True),
    "top_3": Metric(partial(top_k, k=3), more_than=3),
    "top_5": Metric(partial(top_k, k=5), more_than=5),
    "log_loss": Metric(log_loss, counted=False, highest=lambda num_classes: -float(np.log(LEAST))),
    "mse": Metric(mse, counted=False, highest=lambda num_classes: 2 / num_classes),
    "roc_auc": Metric(roc_auc, counted=False, macro=True),
    "ece": Metric(ece, counted=False, lifted=True),
}
