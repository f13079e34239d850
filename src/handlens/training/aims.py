"""What is to be learned: one task or several, and the kinds that classes fall under."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handlens.training.losses import Loss, LossSpec, TaskLosses, make_loss


@dataclass(frozen=True)
class Aims:
    """The tasks of a run; the first is the one that the run is judged by."""

    widths: tuple[int, ...]
    """The number of classes of each task."""
    weights: tuple[float, ...] = (1.0,)
    """What the loss of each task counts."""
    kind_of: tuple[int, ...] | None = None
    """The kind of each class of the first task, where its classes fall under kinds."""


def make_aims_loss(spec: LossSpec, aims: Aims, targets: Tensor) -> Loss:
    """The loss of a spec for what is to be learned; the training targets tell how frequent each class is.

    It works on the device of the targets.
    """
    columns = targets.view(len(targets), -1).unbind(1)
    losses = []
    for at, (column, width) in enumerate(zip(columns, aims.widths, strict=True)):
        # Kinds, and lists with a number a class, are about the classes of the first task.
        fitting = spec if not at else for_further_tasks(spec)
        kind_of = (
            torch.tensor(aims.kind_of, device=targets.device) if aims.kind_of is not None and not at else None
        )
        losses.append(make_loss(fitting, torch.bincount(column[column >= 0], minlength=width), kind_of))
    return losses[0] if len(losses) == 1 else TaskLosses(losses, aims.widths, aims.weights)


def for_further_tasks(spec: LossSpec) -> LossSpec:
    """A loss without what is said of the first task's classes one by one."""
    lists = {
        key: LossSpec.model_fields[key].default
        for key in ("alpha", "class_weights")
        if isinstance(getattr(spec, key), Sequence) and not isinstance(getattr(spec, key), str)
    }
    return spec.model_copy(update={"kinds_weight": 0.0, **lists})
