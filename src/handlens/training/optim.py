"""Optimisers and learning-rate schedules by name."""

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.training.durations import Duration
from handlens.training.losses import refuse_unused


class OptimiserSpec(Spec):
    """How the weights follow the loss."""

    name: Literal["adamw", "adam", "nadam", "sgd"] = "adamw"
    """The optimiser."""
    learning_rate: float = Field(1e-3, gt=0)
    """The largest learning rate of the run."""
    weight_decay: float = Field(1e-2, ge=0)
    """Pull of the weights towards zero, all but `adamw` by the gradient; biases and norms are left out."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Share of the last step that goes on in the next (`sgd` only)."""
    nesterov: bool = True
    """Whether the gradient is taken as if momentum had already moved the weights (`sgd` only)."""
    depth_decay: float = Field(1.0, gt=0, le=1)
    """Factor of the learning rate for each stage further from the head."""

    @model_validator(mode="after")
    def _every_word_counts(self) -> Self:
        refuse_unused(self, {"momentum": "sgd", "nesterov": "sgd"})
        return self


class ScheduleSpec(Spec):
    """How the learning rate changes over the run."""

    name: Literal["cosine", "constant", "step", "one_cycle"] = "cosine"
    """`cosine` falls to zero along half a cosine; `constant` stays; `step` drops; `one_cycle` swells."""
    warm_up: Duration = Field(Duration(0.1), json_schema_extra={"default": 0.1})
    """How long the learning rate rises from zero (`one_cycle` has a rise of its own)."""
    step_every: Duration = Field(Duration(0.3), json_schema_extra={"default": 0.3})
    """Time between two drops, from the end of the warm-up on (`step` only)."""
    step_factor: float = Field(0.1, gt=0, lt=1)
    """What is left of the learning rate after a drop (`step` only)."""

    @model_validator(mode="after")
    def _every_word_counts(self) -> Self:
        refuse_unused(self, {"step_every": "step", "step_factor": "step"})
        if self.name == "one_cycle" and self.warm_up != type(self).model_fields["warm_up"].default:
            raise ValueError("one_cycle has a rise of its own: take warm_up out")
        if self.warm_up == Duration(1.0):
            raise ValueError("warm_up takes the whole run: make it shorter")
        if not self.step_every.amount:
            raise ValueError("step_every is nothing: drop the learning rate less often")
        return self


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


def make_optimiser(
    spec: OptimiserSpec, network: nn.Module, depth_of: Callable[[str], int] | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a spec over everything in the network that trains.

    `depth_of` tells from a weight's name how many stages it is away from the head. Each group of weights
    says in "scale" by how much its learning rate differs from that of the run.
    """
    leave_the_compiler_out()
    trained: dict[int, list[tuple[str, nn.Parameter]]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            trained.setdefault(depth_of(name) if depth_of else 0, []).append((name, weight))
    groups = []
    for depth, weights in sorted(trained.items()):
        # A bias says where zero is; pulling it towards zero is no simpler model, only a wrong one.
        kept = [weight for name, weight in weights if weight.ndim < 2 or name.endswith("bias")]
        decayed = [weight for name, weight in weights if not (weight.ndim < 2 or name.endswith("bias"))]
        scale = spec.depth_decay**depth
        groups.append({"params": decayed, "weight_decay": spec.weight_decay, "scale": scale})
        groups.append({"params": kept, "weight_decay": 0.0, "scale": scale})
    optimiser = look_up(OPTIMISERS, spec.name, "optimiser")(spec, groups)
    for group in optimiser.param_groups:
        group["lr"] = spec.learning_rate * group["scale"]
    return optimiser


Groups = list[dict[str, Any]]


def adamw(spec: OptimiserSpec, groups: Groups) -> torch.optim.Optimizer:
    """Loshchilov and Hutter 2019, algorithm 2: the decay is apart from the gradient."""
    return torch.optim.AdamW(groups, lr=spec.learning_rate, fused=True)


def adam(spec: OptimiserSpec, groups: Groups) -> torch.optim.Optimizer:
    """Kingma and Ba 2015, algorithm 1."""
    return torch.optim.Adam(groups, lr=spec.learning_rate, fused=True)


def nadam(spec: OptimiserSpec, groups: Groups) -> torch.optim.Optimizer:
    """Dozat 2016: Adam with Nesterov's momentum."""
    return torch.optim.NAdam(groups, lr=spec.learning_rate, foreach=True)


def sgd(spec: OptimiserSpec, groups: Groups) -> torch.optim.Optimizer:
    """Sutskever et al. 2013, equations 1 to 4, as PyTorch writes them: the rate is outside the momentum."""
    nesterov = spec.nesterov and spec.momentum > 0
    return torch.optim.SGD(
        groups, lr=spec.learning_rate, momentum=spec.momentum, nesterov=nesterov, fused=True
    )


def rate_at(
    spec: ScheduleSpec, position: float, total_steps: int | None = None, steps_per_epoch: int | None = None
) -> float:
    """The learning rate at a position from 0 to 1 of the run, as a share of the largest.

    The steps of the run and of an epoch are needed where the schedule has durations in epochs or steps.
    """

    def share(duration: Duration) -> float:
        if duration.unit == "share":
            return duration.amount
        if total_steps is None or steps_per_epoch is None:
            raise ValueError(
                f"how long {duration} are is known only with the steps of the run and of an epoch"
            )
        return duration.as_share(total_steps, steps_per_epoch)

    warm_up = 0.0 if spec.name == "one_cycle" else share(spec.warm_up)
    if warm_up >= 1:
        raise HandlensError(
            f"The warm-up of the learning rate ({spec.warm_up}) takes the whole run. Make schedule.warm_up "
            "shorter, or train for longer."
        )
    if position < warm_up:
        return position / warm_up
    rest = 1 - warm_up
    return look_up(SCHEDULES, spec.name, "schedule")(
        (position - warm_up) / rest, share(spec.step_every) / rest, spec.step_factor
    )


def cosine(position: float, _every: float = 1.0, _factor: float = 1.0) -> float:
    """Loshchilov and Hutter 2017, equation 5, without restarts and down to zero."""
    return 0.5 * (1 + math.cos(math.pi * position))


def constant(_position: float, _every: float, _factor: float) -> float:
    """Always the largest."""
    return 1.0


def step(position: float, every: float, factor: float) -> float:
    """Multiplied by the factor again and again, as He et al. 2016 train, section 3.4."""
    # A drop is due when it is reached, even where the division rounds to just below.
    return factor ** math.floor(position / every + 1e-9)


def one_cycle(position: float, _every: float, _factor: float) -> float:
    """Smith and Topin 2018: up from 1/25 for 30 % of the run, then down to 1/10,000, along half cosines."""
    top = 0.3
    if position < top:
        return 1 - (1 - 1 / 25) * cosine(position / top)
    return 1e-4 + (1 - 1e-4) * cosine((position - top) / (1 - top))


OPTIMISERS: dict[str, Callable[[OptimiserSpec, Groups], torch.optim.Optimizer]] = {
    "adamw": adamw,
    "adam": adam,
    "nadam": nadam,
    "sgd": sgd,
}
SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "cosine": cosine,
    "constant": constant,
    "step": step,
    "one_cycle": one_cycle,
}
"""From the position after the warm-up, the time between drops and their factor to the rate."""
