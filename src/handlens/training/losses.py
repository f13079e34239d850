"""Losses by name."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor
from torch.nn import functional

from handlens.base.choices import look_up, suggestion
from handlens.base.errors import HandlensError
from handlens.base.spec import Spec

_Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _weights_or(*words: str, number: bool = False) -> BeforeValidator:
    """One sentence about what may stand there, where pydantic would tell of each possibility by itself."""

    def check(value: Any) -> Any:
        if value is None or (isinstance(value, str) and value in words):
            return value
        numbers: Sequence[Any] = value if isinstance(value, list | tuple) else [value if number else "none"]
        if all(type(each) in (int, float) and 0 < each < math.inf for each in numbers):
            return value
        kinds = [*words, "a number above 0"] if number else [*words]
        near = suggestion(value, words) if isinstance(value, str) else ""
        raise ValueError(
            f"write {', '.join(kinds)} or a list of a number above 0 for each class{near and '.'}{near}"
        )

    return BeforeValidator(check)


class LossSpec(Spec):
    """What training makes small."""

    name: Literal["cross_entropy", "focal", "asymmetric"] = "cross_entropy"
    """`focal` heeds pictures less, the surer they are; `asymmetric` also other classes, the less likely."""
    smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each target that is spread over all classes; `asymmetric` needs some, 0.1 in its paper."""
    class_weights: Annotated[
        Literal["none", "balanced"] | tuple[_Weight, ...], _weights_or("none", "balanced")
    ] = "none"
    """`balanced` weighs each class by the inverse of its number of training pictures; or a list of them."""
    gamma: float = Field(2.0, ge=0, allow_inf_nan=False)
    """How much less sure pictures count (`focal` only); 0 for as much as the others."""
    alpha: Annotated[
        Literal["balanced"] | _Weight | tuple[_Weight, ...] | None, _weights_or("balanced", number=True)
    ] = None
    """Factor of every class, a list of them, or `balanced` (`focal` only); unlike weights not evened out."""
    gamma_positive: float = Field(0.0, ge=0, allow_inf_nan=False)
    """How much less sure pictures count for their own class (`asymmetric` only)."""
    gamma_negative: float = Field(4.0, ge=0, allow_inf_nan=False)
    """How much less unlikely classes count (`asymmetric` only)."""
    kinds_weight: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Where classes have kinds: how much the cross-entropy of the kinds counts besides the loss."""

    @model_validator(mode="after")
    def _every_word_counts(self) -> Self:
        owners = {
            "gamma": "focal",
            "alpha": "focal",
            "gamma_positive": "asymmetric",
            "gamma_negative": "asymmetric",
        }
        refuse_unused(self, owners)
        if self.name == "asymmetric" and not self.smoothing:
            raise ValueError(
                "asymmetric weighs what smoothing gives to the other classes: set smoothing above 0, say 0.1"
            )
        return self


def refuse_unused(spec: Any, owners: Mapping[str, str]) -> None:
    """Refuse a field that is set though only another `name` of the spec would use it.

    What a resolved recipe says by default is no setting.
    """
    for key, owner in owners.items():
        if spec.name != owner and getattr(spec, key) != type(spec).model_fields[key].default:
            raise ValueError(
                f"{key} is for {owner}, and the name is {spec.name}: take it out or name {owner}"
            )


class ClassLoss(ABC):
    """A mean over pictures, each weighing as much as its class; what all losses have in common."""

    def __init__(self, spec: LossSpec, class_counts: Tensor) -> None:
        self.smoothing = spec.smoothing
        self.weights = _of_classes(spec.class_weights, class_counts, "class_weights")

    def __call__(self, scores: Tensor, targets: Tensor, mass: Tensor | None = None) -> Tensor:
        """The mean loss, or the part of it that these pictures are of a batch that weighs `mass`."""
        value = self.mean(scores, targets)
        return value if mass is None else value * (self.mass(targets) / mass)

    def mass(self, targets: Tensor) -> Tensor:
        """What the mean divides by: the weights of whole targets, the number of blended ones."""
        if self.weights is None or targets.is_floating_point():
            return torch.tensor(float(len(targets)), device=targets.device)
        return self.weights[targets].sum()

    @abstractmethod
    def mean(self, scores: Tensor, targets: Tensor) -> Tensor:
        """The mean over the pictures, weighted by class where weights are given."""

    def shares(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Whole or blended targets as probabilities, not smoothed."""
        if targets.is_floating_point():
            return targets.to(scores.dtype)
        return functional.one_hot(targets, scores.shape[-1]).to(scores.dtype)

    def mean_of(self, each: Tensor, targets: Tensor) -> Tensor:
        """The mean of what every class adds to the loss of every picture, (n, classes)."""
        if self.weights is not None:
            each = each * self.weights.to(each.dtype)
        return each.sum() / self.mass(targets).to(each.dtype)


class CrossEntropy(ClassLoss):
    """Cross-entropy with label smoothing (Szegedy et al. 2016, section 7) and class weights."""

    def mean(self, scores: Tensor, targets: Tensor) -> Tensor:
        """PyTorch's own."""
        return functional.cross_entropy(scores, targets, weight=self.weights, label_smoothing=self.smoothing)


class Focal(CrossEntropy):
    """The focal loss -alpha (1 - p)^gamma log(p) (Lin et al. 2017, equation 5) over softmax probabilities.

    Of smoothed and blended targets every class adds its part: with the target's share t of each class, the
    sum of -t alpha (1 - p)^gamma log(p).
    """

    def __init__(self, spec: LossSpec, class_counts: Tensor) -> None:
        super().__init__(spec, class_counts)
        self.gamma = spec.gamma
        self.alpha = _of_classes(spec.alpha, class_counts, "alpha")

    def mean(self, scores: Tensor, targets: Tensor) -> Tensor:
        """With gamma 0 and no alpha it is the cross-entropy, and computed as that."""
        if self.gamma == 0 and self.alpha is None:
            return super().mean(scores, targets)
        sure, unsure = log_probabilities(scores)
        shares = self.shares(scores, targets) * (1 - self.smoothing) + self.smoothing / scores.shape[-1]
        each = -shares * torch.exp(self.gamma * unsure) * sure
        return self.mean_of(each if self.alpha is None else each * self.alpha.to(each.dtype), targets)


class Asymmetric(ClassLoss):
    """The asymmetric loss (Ridnik et al. 2021, equation 3) for one label, as its authors' ASLSingleLabel.

    The logarithm of each class's probability p has the factor (1 - p)^gamma_positive for the true class and
    p^gamma_negative for the others, and the share of the smoothed target. Blended targets give the blend of
    the losses of the classes in them.
    """

    def __init__(self, spec: LossSpec, class_counts: Tensor) -> None:
        super().__init__(spec, class_counts)
        self.gamma_positive = spec.gamma_positive
        self.gamma_negative = spec.gamma_negative

    def mean(self, scores: Tensor, targets: Tensor) -> Tensor:
        """What the true class adds, and what the others do."""
        sure, unsure = log_probabilities(scores)
        shares = self.shares(scores, targets)
        spread = self.smoothing / scores.shape[-1]
        true = shares * (1 - self.smoothing + spread) * torch.exp(self.gamma_positive * unsure)
        others = (1 - shares) * spread * torch.exp(self.gamma_negative * sure)
        return self.mean_of(-(true + others) * sure, targets)


class WithKinds(ClassLoss):
    """A loss of the classes and, with a weight, the cross-entropy of the kinds they belong to.

    A kind's probability is the sum of its classes' (Redmon and Farhadi 2017, section 4). On top of the
    cross-entropy this is the hierarchical cross-entropy of Bertinetto et al. 2020, section 3.1, with the
    weights 1 for a class within its kind and 1 + weight for the kind.
    """

    def __init__(self, loss: ClassLoss, kind_of: Tensor, weight: float) -> None:
        self.loss = loss
        self.smoothing = loss.smoothing
        self.weights = loss.weights
        self.kind_of = kind_of
        self.weight = weight

    def mean(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Each picture weighs as much for its kind as for its class; the kinds are not smoothed."""
        sure = torch.log_softmax(scores, -1)
        outside = [self.kind_of != kind for kind in range(int(self.kind_of.max()) + 1)]
        kinds = torch.stack([sure.masked_fill(each, -torch.inf).logsumexp(-1) for each in outside], -1)
        each = -self.shares(scores, targets) * kinds[:, self.kind_of]
        return self.loss.mean(scores, targets) + self.weight * self.mean_of(each, targets)


class TaskLosses:
    """The weighted sum of the losses of several tasks whose scores stand side by side.

    Targets are whole, (n, tasks) with -1 where a label is missing, or blended, (n, sum of the classes) with
    zeros where it is. Each task has the mean over the pictures that have its label; without any it adds 0.
    """

    def __init__(self, losses: Sequence[ClassLoss], widths: Sequence[int], weights: Sequence[float]) -> None:
        self.losses = tuple(losses)
        self.widths = list(widths)
        self.task_weights = tuple(weights)

    def __call__(self, scores: Tensor, targets: Tensor, mass: Tensor | None = None) -> Tensor:
        """The sum, or the part of it that these pictures are of a batch whose tasks weigh `mass` (tasks,)."""
        # An empty sum is 0 with a gradient of 0, whatever the scores are.
        total = scores[:0].sum()
        parts = zip(self.losses, self.task_weights, torch.split(scores, self.widths, -1), strict=True)
        masses = mass.unbind() if mass is not None else [None] * len(self.losses)
        for (loss, weight, task), truth, whole in zip(parts, self._tasks(targets), masses, strict=True):
            known = _known(truth)
            if known.any():
                total = total + weight * loss(task[known], truth[known], whole)
        return total

    def mass(self, targets: Tensor) -> Tensor:
        """What the mean of each task divides by, (tasks,)."""
        masses = [
            loss.mass(truth[_known(truth)])
            for loss, truth in zip(self.losses, self._tasks(targets), strict=True)
        ]
        return torch.stack(masses)

    def _tasks(self, targets: Tensor) -> Sequence[Tensor]:
        return torch.split(targets, self.widths, -1) if targets.is_floating_point() else targets.unbind(-1)


Loss = ClassLoss | TaskLosses
"""Scores (n, classes) and targets, whole or blended, to the mean loss."""


def log_probabilities(scores: Tensor) -> tuple[Tensor, Tensor]:
    """log(p) and log(1 - p) of the softmax probabilities, both with gradients that stay finite.

    Where p rounds to 1, 1 - p taken from it would be 0, and (1 - p)^gamma has no finite slope there for
    gamma below 1. So for the likeliest class 1 - p is summed up from the others. All others have a p of at
    most a half.
    """
    sure = torch.log_softmax(scores, -1)
    top = functional.one_hot(sure.argmax(-1), scores.shape[-1]).bool()
    others = sure.masked_fill(top, -torch.inf).logsumexp(-1, keepdim=True)
    return sure, torch.where(top, others, torch.log1p(-sure.masked_fill(top, -torch.inf).exp()))


def make_loss(spec: LossSpec, class_counts: Tensor, kind_of: Tensor | None = None) -> ClassLoss:
    """The loss of a spec, on the device of the counts of the training pictures, which set balanced weights.

    `kind_of` is the kind of each class, counted from 0.
    """
    loss = look_up(LOSSES, spec.name, "loss")(spec, class_counts)
    if not spec.kinds_weight:
        return loss
    if kind_of is None:
        raise HandlensError(
            f"kinds_weight is {spec.kinds_weight:g}, but these classes have no kinds. Say which classes "
            "belong together, or set kinds_weight to 0."
        )
    return WithKinds(loss, kind_of.to(class_counts.device), spec.kinds_weight)


def _known(targets: Tensor) -> Tensor:
    """Which pictures have a label of one task."""
    return targets.sum(-1) > 0 if targets.is_floating_point() else targets >= 0


def _of_classes(
    choice: str | float | Sequence[float] | None, class_counts: Tensor, key: str
) -> Tensor | None:
    """A number for each class, or nothing where none is wanted."""
    if choice is None or choice == "none":
        return None
    if choice == "balanced":
        # A class without training pictures gets no weight at all instead of an infinite one.
        present = class_counts > 0
        return torch.where(present, class_counts.sum() / (present.sum() * class_counts.clamp(min=1)), 0.0)
    assert not isinstance(choice, str)
    numbers = [choice] * len(class_counts) if isinstance(choice, int | float) else choice
    if len(numbers) != len(class_counts):
        raise HandlensError(
            f"{key} has {len(numbers)} numbers, and there are {len(class_counts)} classes. Give each one, "
            "in the order of the classes, or write balanced."
        )
    return torch.tensor(numbers, dtype=torch.float32, device=class_counts.device)


LOSSES: dict[str, Callable[[LossSpec, Tensor], ClassLoss]] = {
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "asymmetric": Asymmetric,
}
