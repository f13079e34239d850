"""The shape of metrics.json: what is known about a run, with how sure we are of it."""

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from handlens.base.spec import Spec


class Figure(Spec):
    """One number with its 95 % interval and what it rests on."""

    value: float
    """The figure itself."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    method: str
    """How the interval was made."""
    n: int
    """Pictures that the figure rests on."""
    n_groups: int
    """Groups (specimens, videos) that these pictures come from."""


class ClassResult(Spec):
    """How one class fares."""

    n: int
    """Pictures that truly are of this class."""
    n_groups: int
    """Groups that these pictures come from."""
    precision: Figure
    """Of the pictures called this class, the share that is."""
    recall: Figure
    """Of the pictures of this class, the share that is found."""
    f1: Figure
    """Harmonic mean of precision and recall."""


class ReliabilityBin(Spec):
    """Pictures judged with about the same confidence."""

    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that was judged right."""
    n: int
    """How many they are."""


class SideResult(Spec):
    """Everything computed from the predictions of one side of the split."""

    n: int
    """Pictures judged."""
    n_groups: int
    """Groups that they come from."""
    figures: dict[str, Figure]
    """The headline figures by name: accuracy, balanced_accuracy, f1_macro, ..."""
    per_class: dict[str, ClassResult]
    """The same for each class that occurs."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts, true classes down and predicted classes across, in the order of `classes`."""
    reliability: tuple[ReliabilityBin, ...]
    """Confidence against accuracy as the model says it."""
    reliability_calibrated: tuple[ReliabilityBin, ...] | None = None
    """The same after temperature scaling; none without a side to fit the temperature on."""

    def share_of(self, label: str) -> float:
        """The share of the pictures that is of one class: how often it would be right always to say it."""
        return self.per_class[label].n / self.n if label in self.per_class else 0.0


class TaskResult(Spec):
    """How one task fares: one column of labels."""

    classes: tuple[str, ...]
    """The classes in the order of the confusion matrix."""
    sides: dict[str, SideResult] = Field(min_length=1)
    """The judged sides of the split: test, and val where there is one."""
    temperature: float | None = None
    """What logits are divided by to be calibrated; none where it could not be fitted."""
    temperature_from: str | None = None
    """The predictions that the temperature was fitted on, in words."""


class KindsResult(Spec):
    """The same judgments seen coarsely: a kind is as probable as its classes together."""

    members: dict[str, tuple[str, ...]]
    """The classes of each kind; the kinds are in the order of the confusion matrix."""
    sides: dict[str, SideResult] = Field(min_length=1)
    """The judged sides of the split."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The kinds, which take the place of the classes."""
        return tuple(self.members)


class Metrics(TaskResult):
    """All figures of one run, as metrics.json holds them: those of the main task, and what is beside it."""

    label: str | None = None
    """What the main task is called, where there are others."""
    tasks: dict[str, TaskResult] = Field(default={})
    """The further tasks by name."""
    kinds: KindsResult | None = None
    """The main task's figures for kinds of classes."""

    @model_serializer(mode="wrap")
    def _only_what_is_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Most runs have one task and no kinds, and say nothing about them."""
        values: dict[str, Any] = handler(self)
        empty = [name for name in ("label", "tasks", "kinds") if not values.get(name)]
        return {name: value for name, value in values.items() if name not in empty}


def judged_side(metrics: TaskResult | KindsResult) -> str:
    """The side that the verdict rests on: test, or validation where nothing else was judged."""
    return "test" if "test" in metrics.sides else next(iter(metrics.sides))
