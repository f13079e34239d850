"""The last feature map of a network, whatever its family: where class-activation maps are taken.

Most trunks give it out themselves, as channels, height and width. It lies further inside where a trunk keeps
its own way from map to row, where the last map has no places left to tell apart, and where a class token has
the last word: what patches say to that, they say before the last block.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt
from operator import attrgetter

import torch
from torch import Tensor, nn

from handlens.base.errors import HandlensError
from handlens.models.backbones import TorchvisionTokens
from handlens.models.probe import Layout, Output, judging, probe, timm_network
from handlens.models.roles import block_parts, short, stage_parts
from handlens.models.twin import Twin

LEAST_SIDE = 3
"""A map of fewer places a side hardly tells one place from another."""


class NoMap(HandlensError):
    """A network in which class-activation maps cannot be taken."""


@dataclass(frozen=True)
class MapPlace:
    """Where in a trunk a map is, and how it is laid out there."""

    path: str
    """The module that gives it; empty for the trunk itself."""
    layout: Layout
    num_prefix: int
    """Tokens in front of those of the patches."""
    side: int
    """Places a side."""

    @property
    def words(self) -> str:
        """For people: 'features.12, 14 x 14 places'."""
        name = short(self.path) or "the last feature map"
        return f"{name}, {self.side} × {self.side} places"

    def to_map(self, out: Tensor) -> Tensor:
        """What the module gives as (n, channels, height, width)."""
        if self.layout == "channels_last":
            return out.permute(0, 3, 1, 2)
        if self.layout == "tokens":
            patches = out[:, self.num_prefix :].transpose(1, 2)
            return patches.reshape(len(out), -1, self.side, self.side)
        return out

    def from_map(self, feature_map: Tensor, out: Tensor) -> Tensor:
        """The map back in the layout of `out`, which it came from."""
        if self.layout == "channels_last":
            return feature_map.permute(0, 2, 3, 1)
        if self.layout == "tokens":
            return torch.cat([out[:, : self.num_prefix], feature_map.flatten(2).transpose(1, 2)], dim=1)
        return feature_map


def last_map(trunk: nn.Module, side: int) -> MapPlace:
    """The last map of a trunk that is shown pictures of this side."""
    outputs = probe(trunk)
    paths = list(dict.fromkeys(_candidates(trunk, outputs)))
    shapes = _shapes(trunk, paths, side)
    found = [
        place
        for path in paths
        if path in shapes and path in outputs
        if (place := _place(path, outputs[path].layout, shapes[path], _num_prefix(trunk)))
    ]
    if not found:
        raise NoMap(
            "No feature map was found in this network at which class-activation maps could be taken. "
            "Choose --method integrated_gradients or occlusion, which need none."
        )
    # Where no map has enough places, the one that has most.
    return next((place for place in found if place.side >= LEAST_SIDE), max(found, key=attrgetter("side")))


def _candidates(trunk: nn.Module, outputs: dict[str, Output]) -> Iterator[str]:
    """Modules through which all passes, the last first."""
    if _has_class_token(trunk):
        if not any(isinstance(module, Twin) for module in trunk.modules()):
            yield from reversed(_chain_of_blocks(trunk)[:-1])
        return
    yield ""
    for parts in (stage_parts(trunk, outputs), block_parts(trunk, outputs)):
        yield from (part.end for part in reversed(parts))


def _chain_of_blocks(trunk: nn.Module) -> list[str]:
    """The longest row of modules of one kind: the blocks of a transformer."""
    rows = [
        [f"{path}.{name}".lstrip(".") for name, _ in module.named_children()]
        for path, module in trunk.named_modules()
        if isinstance(module, (nn.Sequential, nn.ModuleList))
        if len({type(child) for child in module.children()}) == 1
    ]
    return max(rows, key=len, default=[])


def _place(path: str, layout: Layout, shape: tuple[int, ...], num_prefix: int) -> MapPlace | None:
    """The place of a map; none where what comes out is no map of a square picture."""
    if layout == "tokens" and len(shape) == 3:
        # Some networks bring their class token in behind the patches' own blocks.
        for prefix in (num_prefix, 0):
            side = isqrt(max(shape[1] - prefix, 0))
            if side and side * side == shape[1] - prefix:
                return MapPlace(path, layout, prefix, side)
        return None
    if layout in ("map", "channels_last") and len(shape) == 4:
        height, width = shape[2:] if layout == "map" else shape[1:3]
        return MapPlace(path, layout, 0, height) if height == width else None
    return None


def _shapes(trunk: nn.Module, paths: list[str], side: int) -> dict[str, tuple[int, ...]]:
    """What these modules give out for a picture of this side."""
    seen: dict[str, tuple[int, ...]] = {}

    def note(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, out: object) -> None:
            if isinstance(out, Tensor):
                seen[path] = tuple(out.shape)

        return hook

    modules = dict(trunk.named_modules())
    hooks = [modules[path].register_forward_hook(note(path)) for path in paths if path in modules]
    like = next(trunk.parameters())
    try:
        with judging(trunk), torch.no_grad():
            trunk(torch.zeros(1, 3, side, side, dtype=like.dtype, device=like.device))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _has_class_token(trunk: nn.Module) -> bool:
    networks = [found[1] for module in trunk.modules() if (found := timm_network(module))]
    return any(isinstance(module, TorchvisionTokens) for module in trunk.modules()) or any(
        getattr(network, "cls_token", None) is not None for network in networks
    )


def _num_prefix(trunk: nn.Module) -> int:
    """Tokens that are no patches, in front of them."""
    for module in trunk.modules():
        if isinstance(module, TorchvisionTokens):
            return 1
        if found := timm_network(module):
            return int(getattr(found[1], "num_prefix_tokens", 0))
    return 0
