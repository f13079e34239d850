"""What a network is made of, in figures: weights, size, arithmetic, and the shapes along the way."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from handlens.models import backbones
from handlens.models.build import ModelSpec, assemble, num_features
from handlens.models.edits import Insert, Replace, Touched, plan_edits
from handlens.models.heads import Head
from handlens.models.network import Network
from handlens.models.probe import Output, judging, probe
from handlens.models.roles import ROLES, short, stages

MIB = 2**20
BYTES_OF_A_WEIGHT = 4


@dataclass(frozen=True)
class StageShape:
    """What a stage gives out."""

    end: str
    """The module that ends it."""
    shape: tuple[int, ...]
    """Channels, height and width; places and channels of tokens; features of a row."""


@dataclass(frozen=True)
class NetworkFigures:
    """A network in figures."""

    num_parameters: int
    num_trainable: int
    """Of these, how many train in the first epoch."""
    size_mib: float
    """Of the weights as float32; the statistics of batch norms are not weights."""
    multiply_adds: int
    """Of convolutions and matrix products, those of attention among them, for one picture."""
    stages: tuple[StageShape, ...]


@dataclass(frozen=True)
class ModuleRow:
    """One module of a trunk."""

    path: str
    kind: str
    num_parameters: int
    output: str
    """What it gives out, in words; nothing where that is no map and no tokens."""
    roles: tuple[str, ...]
    edits: tuple[str, ...]
    """The edits that touch it."""


def num_parameters(network: nn.Module) -> int:
    """How many numbers are learned, or were."""
    return sum(weight.numel() for weight in network.parameters())


def size_mib(network: nn.Module) -> float:
    """The size of the weights as float32."""
    return num_parameters(network) * BYTES_OF_A_WEIGHT / MIB


def network_figures(network: Network, height: int, width: int) -> NetworkFigures:
    """The figures of a network, of which those of the arithmetic and the shapes are for one picture."""
    operations, shapes = _measured(network, height, width)
    return NetworkFigures(
        num_parameters(network),
        sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
        size_mib(network),
        operations // 2,
        shapes,
    )


def figures_of(spec: ModelSpec, widths: Sequence[int], side: int) -> tuple[NetworkFigures, list[Touched]]:
    """The figures of what a spec describes, with random weights, and what its edits touch."""
    backbone = backbones.create(spec.backbone, "none", spec.seed, spec.own_rows)
    touched = plan_edits(backbone.trunk, spec.edits)
    head = Head(spec.head, num_features(backbone.trunk, spec.pool), widths)
    return network_figures(assemble(spec, backbone.trunk, head), side, side), touched


def _measured(network: Network, height: int, width: int) -> tuple[int, tuple[StageShape, ...]]:
    """Additions and multiplications of one picture, and what each stage gives out."""
    logging.getLogger("torch.utils.flop_counter").addFilter(_is_not_about_triton)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    outputs = probe(network.trunk)
    shapes: list[StageShape] = []
    like = next(network.parameters())
    picture = torch.zeros(1, 3, height, width, dtype=like.dtype, device=like.device)

    def note(end: str) -> torch.utils.hooks.RemovableHandle:
        layout = outputs[end].layout if end in outputs else "other"
        name = short(end) or type(network.trunk).__name__

        def hook(_: nn.Module, __: object, out: Tensor) -> None:
            seen = out.permute(0, 3, 1, 2) if layout == "channels_last" else out
            shapes.append(StageShape(name, tuple(seen.shape[1:])))

        return network.trunk.get_submodule(end).register_forward_hook(hook)

    hooks = [note(end) for end in stages(network.trunk, outputs).ends or [""]]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # The counter knows plain products, not the fused attentions that processors run.
        torch.backends.mha.set_fastpath_enabled(False)
        with (
            judging(network),
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            network(picture)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    return counter.get_total_flops(), tuple(shapes)


def _is_not_about_triton(record: logging.LogRecord) -> bool:
    """The counter warns that it cannot count triton's kernels; no network here has any."""
    return "triton not found" not in record.getMessage()


def modules_of(spec: ModelSpec) -> list[ModuleRow]:
    """Every module of the backbone of a spec, with random weights, and which of its edits would touch it."""
    return module_rows(backbones.create(spec.backbone, "none", spec.seed).trunk, spec.edits)


def module_rows(trunk: nn.Module, edits: Sequence[Insert | Replace] = ()) -> list[ModuleRow]:
    """Every module of a trunk with its roles, and which of the edits would touch it."""
    outputs = probe(trunk)
    ends = {role: {part.end for part in parts(trunk, outputs)} for role, parts in ROLES.items()}
    planned = plan_edits(trunk, edits)
    return [
        ModuleRow(
            short(path),
            type(module).__name__,
            num_parameters(module),
            output_words(outputs.get(path)),
            tuple(role for role, paths in ends.items() if path in paths),
            tuple(str(touched.edit) for touched in planned if path in touched.paths),
        )
        for path, module in trunk.named_modules()
        if path
    ]


def output_words(output: Output | None) -> str:
    """What a module gives out, in few words."""
    if output is None or output.layout == "other":
        return ""
    words = {"map": "map", "channels_last": "map, channels last", "tokens": "tokens"}[output.layout]
    return f"{output.channels} ({words})"
