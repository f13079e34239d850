"""Losses by name."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from handlens.base.choices import look_up
from handlens.base.spec import Spec

Loss = Callable[[Tensor, Tensor], Tensor]
"""Scores (n, classes) and targets, (n,) or blended (n, classes), to the mean loss."""


class LossSpec(Spec):
    """What training makes small."""

    name: Literal["cross_entropy"] = "cross_entropy"
    """The loss."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each target that is spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each class by the inverse of its number of training pictures."""


class CrossEntropy:
    """Cross-entropy with label smoothing (Szegedy et al. 2016, section 7) and class weights."""

    def __init__(self, spec: LossSpec, weights: Tensor | None) -> None:
        self.smoothing = spec.smoothing
        self.weights = weights

    def __call__(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The mean over the pictures, weighted by class where weights are given."""
        return functional.cross_entropy(scores, targets, weight=self.weights, label_smoothing=self.smoothing)


def make_loss(spec: LossSpec, class_counts: Tensor) -> Loss:
    """The loss of a spec; the counts of the training pictures set balanced weights."""
    weights = None
    if spec.class_weights == "balanced":
        # A class without training pictures gets no weight at all instead of an infinite one.
        present = class_counts > 0
        weights = torch.where(present, class_counts.sum() / (present.sum() * class_counts.clamp(min=1)), 0.0)
    return look_up(LOSSES, spec.name, "loss")(spec, weights)


LOSSES: dict[str, Callable[[LossSpec, Tensor | None], Loss]] = {"cross_entropy": CrossEntropy}
