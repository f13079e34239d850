"""What each module of a trunk gives out: learned by running one small picture through it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from handlens.models.backbones import TimmMap

Layout = Literal["map", "channels_last", "tokens", "other"]

# Two sizes that are not square: what changes between them is height and width, and they are told apart.
SIZES = ((64, 96), (96, 128))
# Two pictures: where a module sees windows of pictures, its first number is not that of the pictures.
NUM_PICTURES = 2
USUAL_SIDE = 224
# How a timm network is called inside of a trunk that gives a map.
TIMM = "features.network."


@dataclass(frozen=True)
class Output:
    """What one module gave out for the larger picture."""

    layout: Layout
    """`map` (n, channels, height, width), `channels_last` (n, height, width, channels), `tokens` (n, places,
    channels), or something else."""
    shape: tuple[int, ...]
    calls: int
    """How often the module is called in one pass."""
    alone: bool
    """Whether it is called with one tensor or list and nothing else."""

    @property
    def channels(self) -> int:
        """How many numbers describe a place."""
        return self.shape[1 if self.layout == "map" else -1]

    @property
    def height(self) -> int | None:
        """Height of the map, where it is one."""
        return {"map": self.shape[-2:], "channels_last": self.shape[1:3]}.get(self.layout, (None,))[0]


def probe(trunk: nn.Module) -> dict[str, Output]:
    """The output of every module that gives a tensor, in the order of the first calls."""
    try:
        smaller, larger = (_calls(trunk, size) for size in SIZES)
    except Exception:
        # Foreign code that insists on one size says so by any exception. If that size is not the
        # reason, the next line raises it again.
        smaller = larger = _calls(trunk, (usual_side(trunk),) * 2)
    modules = dict(trunk.named_modules())
    return {
        path: Output(
            _layout(smaller[path][0].shape, calls[0].shape, modules[path]),
            calls[0].shape,
            len(calls),
            all(call.alone for call in calls),
        )
        for path, calls in larger.items()
        if path in smaller
    }


def usual_side(trunk: nn.Module) -> int:
    """The side of the pictures that the network was made for."""
    theirs = timm_network(trunk)
    return USUAL_SIDE if theirs is None else int(theirs[1].pretrained_cfg["input_size"][-1])


def timm_network(trunk: nn.Module) -> tuple[str, Any] | None:
    """timm's own network inside a trunk, with what its modules' names begin with there."""
    if isinstance(trunk, TimmMap):
        return TIMM, trunk.features.network
    return ("", trunk) if hasattr(trunk, "pretrained_cfg") else None


@dataclass(frozen=True)
class _Call:
    shape: tuple[int, ...]
    alone: bool


def _calls(trunk: nn.Module, size: tuple[int, int]) -> dict[str, list[_Call]]:
    """What each module gives out, call by call."""
    seen: dict[str, list[_Call]] = {}

    def note(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
            if isinstance(out, Tensor):
                call = _Call(tuple(out.shape), len(given) == 1 and not named)
                seen.setdefault(path, []).append(call)

        return hook

    hooks = [
        module.register_forward_hook(note(path), with_kwargs=True) for path, module in trunk.named_modules()
    ]
    like = next(trunk.parameters())
    try:
        with judging(trunk), torch.no_grad():
            trunk(torch.zeros(NUM_PICTURES, 3, *size, dtype=like.dtype, device=like.device))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """The network as it judges; afterwards every part is in training or not as it was."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def _layout(smaller: tuple[int, ...], larger: tuple[int, ...], module: nn.Module) -> Layout:
    """Which of the numbers are height, width and channels."""
    if larger[0] != NUM_PICTURES or len(smaller) != len(larger):
        return "other"
    if len(larger) == 3:
        return "tokens" if smaller[2] == larger[2] else "other"
    if len(larger) != 4:
        return "other"
    grown = {place for place in (1, 2, 3) if smaller[place] != larger[place]}
    if grown:
        return "map" if grown <= {2, 3} else "channels_last" if grown <= {1, 2} else "other"
    # One size only, a square, or a map of one place.
    _, first, second, third = larger
    if (first == second) == (second == third):
        return "channels_last" if isinstance(module, (nn.LayerNorm, nn.Linear)) else "map"
    return "map" if second == third else "channels_last"
