"""Where the parts of a trunk are: its blocks, the ends of their residual branches, its stages.

A *stage* is the part of a network that works at one resolution; the stem is stage 0.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from handlens.base.choices import nearest
from handlens.base.errors import HandlensError
from handlens.models.probe import TIMM, Output, probe, timm_network

# Blocks by the name of their class, in torchvision, timm and ours, each with the last module of its
# residual branch before the addition: the first of these that the block has; -1 is the last child.
# Nothing where a block adds nothing, or where that addition lies deeper.
BLOCKS: dict[str, tuple[str, ...]] = {
    "BasicBlock": ("se", "bn2"),
    "Bottleneck": ("se", "bn3"),
    "Residual": ("bn2",),
    "ResBottleneckBlock": ("f.-1.-1",),
    "InvertedResidual": ("bn3", "conv.-1", "block.-1.-1"),
    "_InvertedResidual": ("layers.-1",),
    "MBConv": ("block.-1.-1",),
    "FusedMBConv": ("block.-1.-1",),
    "ConvBnAct": ("bn1",),
    "DepthwiseSeparableConv": ("bn2",),
    "EdgeResidual": ("bn2",),
    "UniversalInvertedResidual": ("layer_scale",),
    "CNBlock": ("block",),
    "ConvNeXtBlock": ("mlp",),
    "SwinTransformerBlock": ("mlp",),
    "SwinTransformerBlockV2": ("norm2",),
    "SwinTransformerV2Block": ("norm2",),
    "EncoderBlock": ("mlp",),
    "Block": ("mlp",),
    "MaxVitLayer": (),
    "MaxxVitBlock": (),
    "MbConvBlock": (),
    "TransformerBlock2d": (),
    "Inception": (),
    "InceptionA": (),
    "InceptionB": (),
    "InceptionC": (),
    "InceptionD": (),
    "InceptionE": (),
    "MetaNeXtBlock": ("mlp",),
    "MixerBlock": ("mlp_channels",),
    "NormFreeBlock": (),
    "GatedConvBlock": (),
    "DarkBlock": (),
    "EdgeBlock": (),
    "BottleneckBlock": (),
    "RepVggBlock": (),
    "MobileOneBlock": (),
    "SelfAttnBlock": (),
    "_DenseLayer": (),
    "DenseLayer": (),
    "Fire": (),
}
# The layers between the map and the row, where a trunk has them: with weights, a stage of their own.
OWN_ROWS = "own_rows"
# What says of a block whether it adds its input at all.
ADDS = ("use_res_connect", "has_skip", "apply_residual")
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


@dataclass(frozen=True)
class Part:
    """A part of a trunk that has a role."""

    end: str
    """The module whose output is the part's output: what is inserted stands behind it."""
    members: tuple[str, ...]
    """The modules that it is made of; mostly the same single one."""


def find(trunk: nn.Module, role_or_glob: str, outputs: Mapping[str, Output] | None = None) -> list[Part]:
    """The parts that a role or a glob means; a glob may leave out how a timm network is called inside."""
    if role_or_glob in ROLES:
        return ROLES[role_or_glob](trunk, probe(trunk) if outputs is None else outputs)
    return [Part(path, (path,)) for path, _ in trunk.named_modules() if path and matches(role_or_glob, path)]


def nothing_found(trunk: nn.Module, role_or_glob: str, outputs: Mapping[str, Output]) -> HandlensError:
    """The error for a role or a glob that means nothing in this network."""
    there = [name for name, parts in ROLES.items() if parts(trunk, outputs)]
    roles = f" Roles that it has: {', '.join(there)}." if there else " None of the roles is known in it."
    if role_or_glob in ROLES:
        return HandlensError(f"This network has no part with the role {role_or_glob!r}.{roles}")
    return HandlensError(
        f"No module of this network matches {role_or_glob!r}."
        f"{_nearest_paths(role_or_glob, [*there, *_paths(trunk)])}{roles} "
        "'handlens modules BACKBONE' lists its modules."
    )


def no_such_path(pattern: str, trunk: nn.Module) -> HandlensError:
    """The error for a glob of modules and weights that matches nothing."""
    return HandlensError(
        f"No module or weight of this network matches {pattern!r}."
        f"{_nearest_paths(pattern, _paths(trunk))} "
        "'handlens modules BACKBONE' lists its modules."
    )


def _paths(trunk: nn.Module) -> list[str]:
    return [path for path, _ in trunk.named_modules() if path]


def _nearest_paths(pattern: str, paths: Iterable[str]) -> str:
    near = nearest(re.sub(r"[*?]", "", pattern).strip("."), map(short, paths))
    return f" The nearest: {', '.join(near)}." if near else ""


def short(path: str) -> str:
    """A path as people write it: without how a timm network is called inside of its trunk."""
    return path.removeprefix(TIMM)


def matches(pattern: str, path: str) -> bool:
    """Whether a path fits: * stands for one part of it or a piece of one, ** for any number of parts."""
    words = {"**.": r"(?:.+\.)?", ".**": r"(?:\..+)?", "**": ".*", "*": r"[^.]*", "?": r"[^.]"}
    pieces = re.split(r"(\*\*\.|\.\*\*$|\*\*|\*|\?)", pattern)
    regex = "".join(words.get(piece, re.escape(piece)) for piece in pieces)
    return bool(re.fullmatch(regex, path) or re.fullmatch(regex, short(path)))


# Blocks and residual branches


def block_parts(trunk: nn.Module, outputs: Mapping[str, Output] | None = None) -> list[Part]:
    """Every repeated block; where there are none (AlexNet, VGG), each convolution with its activation."""
    found = [Part(path, (path,)) for path, _ in _blocks(trunk)]
    return found or list(_plain_blocks(trunk))


def residual_parts(trunk: nn.Module, outputs: Mapping[str, Output] | None = None) -> list[Part]:
    """The last module of every residual branch, before the addition."""
    ends = [
        f"{path}.{inner}"
        for path, block in _blocks(trunk)
        if all(getattr(block, flag, True) for flag in ADDS)
        and (type(block).__name__ != "InvertedResidual" or any(hasattr(block, flag) for flag in ADDS))
        for inner in _first_there(block, BLOCKS[type(block).__name__])
    ]
    return [Part(end, (end,)) for end in ends]


def _blocks(trunk: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The outermost blocks."""
    inside: tuple[str, ...] = ()
    for path, module in trunk.named_modules():
        if type(module).__name__ in BLOCKS and not path.startswith(inside or "\0"):
            inside = (*inside, f"{path}.")
            yield path, module


def _first_there(block: nn.Module, places: Iterable[str]) -> Iterator[str]:
    """The first of the places that the block has, with -1 turned into the name of the last child."""
    for place in places:
        module: nn.Module | None = block
        names = []
        for name in place.split("."):
            children = dict(module.named_children()) if module is not None else {}
            names.append(list(children)[-1] if name == "-1" and children else name)
            module = children.get(names[-1])
        if module is not None:
            yield ".".join(names)
            return


def _plain_blocks(trunk: nn.Module) -> Iterator[Part]:
    """Convolution, perhaps a norm, activation, one behind the other in one chain."""
    for path, chain in trunk.named_modules():
        if type(chain) is not nn.Sequential or path.rpartition(".")[2] != "features":
            continue
        children = [(f"{path}.{name}".lstrip("."), child) for name, child in chain.named_children()]
        group: list[str] = []
        for child_path, child in children:
            if isinstance(child, nn.Conv2d):
                group = [child_path]
            elif group and isinstance(child, NORMS):
                group.append(child_path)
            elif group and isinstance(child, ACTIVATIONS):
                yield Part(child_path, (*group, child_path))
                group = []
            else:
                group = []


# The chain, and stages


def units(trunk: nn.Module) -> list[tuple[str, nn.Module]]:
    """The trunk as a chain: calling these one after the other is calling the trunk."""
    return list(_flattened("", trunk))


def _flattened(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    # Only what is exactly a Sequential: what is derived from it may do more when called.
    if type(module) is nn.Sequential:
        for name, child in module.named_children():
            yield from _flattened(f"{path}.{name}".lstrip("."), child)
    else:
        yield path, module


class Stages:
    """Which stage of a trunk a module or a weight belongs to."""

    def __init__(self, ends: list[str], numbers: Mapping[str, int]) -> None:
        self.ends = ends
        """The module that ends each stage, as far as it is known."""
        self._numbers = numbers
        self.num = max(numbers.values(), default=0) + 1

    def of(self, path: str) -> int:
        """The stage of a module or a weight, from 0; of what spans several, that of its beginning."""
        known = path
        while known and known not in self._numbers:
            known = known.rpartition(".")[0]
        if known:
            return self._numbers[known]
        return min((n for inner, n in self._numbers.items() if inner.startswith(f"{path}.")), default=0)

    def depth_from_head(self, path: str) -> int:
        """How many stages lie between a module or a weight and the head: 0 for the last stage."""
        return self.num - 1 - self.of(path)


def stages(trunk: nn.Module, outputs: Mapping[str, Output] | None = None) -> Stages:
    """The stages of a trunk: measured where it is a chain, as timm tells where it is timm's, else one."""
    if timm_network(trunk):
        return _timm_stages(trunk)
    chain = units(trunk)
    if len(chain) == 1:
        return Stages([], {})
    return _measured_stages(chain, probe(trunk) if outputs is None else outputs)


def _measured_stages(chain: list[tuple[str, nn.Module]], outputs: Mapping[str, Output]) -> Stages:
    groups: list[list[str]] = []
    lowest: int | None = None
    last = chain[0]
    for path, unit in chain:
        height = outputs[path].height if path in outputs else None
        if _after_the_map(path):
            height = 0
        if not groups or (height is not None and lowest is not None and height < lowest):
            # A norm beside what lowers the resolution prepares it, as in ConvNeXt.
            prepares = bool(groups) and _is_norm_beside(last, (path, unit))
            groups.append([groups[-1].pop()] if prepares else [])
        groups[-1].append(path)
        last = (path, unit)
        lowest = min((each for each in (lowest, height) if each is not None), default=None)
    # A resolution at which nothing is learned (a change of colours, a last pooling) is no stage.
    learns = {path for path, unit in chain if next(unit.parameters(), None) is not None}
    merged: list[list[str]] = []
    for group in groups:
        if merged and not (learns & set(merged[-1]) and learns & set(group)):
            merged[-1] += group
        else:
            merged.append(list(group))
    numbers = {path: number for number, group in enumerate(merged) for path in group}
    ends = [[path for path in group if not _after_the_map(path)] or group for group in merged]
    return Stages([group[-1] for group in ends], numbers)


def _after_the_map(path: str) -> bool:
    return path.partition(".")[0] == OWN_ROWS


def _is_norm_beside(first: tuple[str, nn.Module], second: tuple[str, nn.Module]) -> bool:
    """Whether a norm stands directly before a convolution in one small chain of their own."""
    beside = first[0].rpartition(".")[0] == second[0].rpartition(".")[0]
    return beside and isinstance(first[1], nn.LayerNorm) and isinstance(second[1], nn.Conv2d)


def _timm_stages(trunk: nn.Module) -> Stages:
    prefix, network = timm_network(trunk) or ("", trunk)
    info = getattr(network, "feature_info", None) or []
    # The last module of each resolution.
    by_reduction = {each["reduction"]: f"{prefix}{each['module']}" for each in info}
    order = [path for path, _ in trunk.named_modules()]
    ends = [
        (max(n for n, path in enumerate(order) if f"{path}.".startswith(f"{end}.")), end)
        for end in by_reduction.values()
        if end in order
    ]
    ends.sort()
    last = max(len(ends) - 1, 0)
    numbers = {path: min(sum(position > end for end, _ in ends), last) for position, path in enumerate(order)}
    return Stages([end for _, end in ends], numbers)


def stage_parts(trunk: nn.Module, outputs: Mapping[str, Output] | None = None) -> list[Part]:
    """The modules whose output ends a stage, with what the stage is made of."""
    known = stages(trunk, outputs)
    if timm_network(trunk):
        return [Part(end, (end,)) for end in known.ends]
    chain = [path for path, _ in units(trunk)]
    return [
        Part(end, tuple(path for path in chain if known.of(path) == number))
        for number, end in enumerate(known.ends)
        if not _after_the_map(end)
    ]


ROLES: dict[str, Callable[[nn.Module, Mapping[str, Output] | None], list[Part]]] = {
    "blocks": block_parts,
    "residual": residual_parts,
    "stages": stage_parts,
}
