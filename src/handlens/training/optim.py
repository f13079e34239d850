"""Optimisers and learning-rate schedules by name."""

import inspect
import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from handlens.base.choices import look_up
from handlens.base.spec import Spec


class OptimiserSpec(Spec):
    """How the weights follow the loss."""

    name: Literal["adamw"] = "adamw"
    """The optimiser."""
    learning_rate: float = Field(1e-3, gt=0)
    """The largest learning rate of the run."""
    weight_decay: float = Field(1e-2, ge=0)
    """Pull of the weights towards zero; biases and norms are left out."""


class ScheduleSpec(Spec):
    """How the learning rate changes over the run."""

    name: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to zero along half a cosine; `constant` stays."""
    warm_up: float = Field(0.1, ge=0, lt=1)
    """Share of the run over which the learning rate rises from zero."""


def leave_the_compiler_out() -> None:
    """Keep PyTorch from importing its compiler for optimisers that are never compiled.

    The optimisers' methods import it only to switch it off for themselves: 900 modules and a second or
    more, a good part of a run on kept features. Each method looks first for a switched-off version of
    itself under this name. Where another version of PyTorch does not, the name is without effect.
    """
    for method in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        inner = getattr(getattr(torch.optim.Optimizer, method), "__wrapped__", None)
        if inner is not None:
            setattr(inner, "__dynamo_disable", inner)


def plain_step(optimiser: torch.optim.Optimizer) -> Callable[[], None]:
    """The optimiser's step without its wrappers, which import the compiler too.

    What they do besides, profiling and switching gradients off, is not wanted here and done here.
    """
    step = inspect.unwrap(type(optimiser).step)

    def take() -> None:
        with torch.no_grad():
            step(optimiser)

    return take


def make_optimiser(spec: OptimiserSpec, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a spec over everything in the network that trains."""
    leave_the_compiler_out()
    trained = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    # A bias says where zero is; pulling it towards zero is no simpler model, only a wrong one.
    kept = [weight for name, weight in trained if weight.ndim < 2 or name.endswith("bias")]
    decayed = [weight for name, weight in trained if not (weight.ndim < 2 or name.endswith("bias"))]
    return look_up(OPTIMISERS, spec.name, "optimiser")(
        [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": kept, "weight_decay": 0.0}],
        lr=spec.learning_rate,
        fused=True,
    )


def rate_at(spec: ScheduleSpec, position: float) -> float:
    """The learning rate at a position from 0 to 1 of the run, as a share of the largest."""
    if position < spec.warm_up:
        return position / spec.warm_up
    return look_up(SCHEDULES, spec.name, "schedule")((position - spec.warm_up) / (1 - spec.warm_up))


def cosine(position: float) -> float:
    """Loshchilov and Hutter 2017, equation 5, without restarts and down to zero."""
    return 0.5 * (1 + math.cos(math.pi * position))


def constant(position: float) -> float:
    """Always the largest."""
    return 1.0


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW}
SCHEDULES: dict[str, Callable[[float], float]] = {"cosine": cosine, "constant": constant}
