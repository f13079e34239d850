"""Backbones by name: any torchvision classifier, any timm network, or our own small one.

A backbone turns pictures into one feature map. Its pretrained classification head is dropped, or kept
but for its last layer, where the recipe asks for the network's own way from map to row.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from handlens.base.choices import look_up, nearest
from handlens.base.errors import HandlensError
from handlens.models import nano, weights
from handlens.models.own_rows import CLASSIFIERS, last_layer, map_to_row
from handlens.models.weights import WeightsChoice, WeightsFile

AUXILIARY = ("aux1", "aux2", "AuxLogits")
"""Classifiers of GoogLeNet and Inception that helped in their first training; they are left out."""

OURS = ("handlens/nano",)
"""The backbones inside the package."""

AFTER_THE_MAP = ("avgpool", "flatten", "dropout", *CLASSIFIERS, *AUXILIARY)
"""What follows the last feature map in torchvision's classifiers."""


@dataclass(frozen=True)
class Backbone:
    """A network without its head, and where its weights came from."""

    name: str
    trunk: nn.Module
    """Pictures (n, 3, height, width) to one feature map (n, channels, height, width); to rows
    (n, features) where the network's own way to them was asked for."""
    source: str
    """Where the weights came from, in words."""
    digest: str
    """Hash of the weights."""
    pretrained: bool
    """Whether the weights were learned from other pictures."""


def create(name: str, choice: WeightsChoice | None, seed: int = 0, own_rows: bool = False) -> Backbone:
    """Make a backbone and give it its weights; without a choice others are to be put into it afterwards.

    With `own_rows` it keeps the layers between its map and its last layer, such as the fully connected
    ones of VGG.
    """
    library, _, short = name.partition("/")
    make = look_up(LIBRARIES, library, "library of backbones") if short else _no_library(name)
    return make(short, choice, seed, own_rows)


def locate(name: str, choice: WeightsChoice | None) -> WeightsFile | None:
    """The file of the weights, where one look tells it; building a network takes seconds."""
    if choice == "bundled" and name in OURS:
        return weights.bundled()
    return weights.in_folders(name) if choice == "pretrained" else None


def names() -> list[str]:
    """Every backbone there is, ours first."""
    import timm
    import torchvision

    theirs = [f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models)]
    return [*OURS, *theirs, *(f"timm/{name}" for name in timm.list_models())]


def matching(pattern: str) -> list[tuple[str, str]]:
    """The backbones whose name holds the pattern, with where their weights are, if they are at hand."""
    if not any(wild in pattern for wild in "*?["):
        pattern = f"*{pattern}*"
    found = []
    for name in names():
        if fnmatch(name.casefold(), pattern.casefold()):
            file = weights.in_folders(name)
            found.append((name, "in the package" if name in OURS else file.source if file else ""))
    if not found:
        raise HandlensError(f"No backbone matches {pattern!r}. 'handlens backbones' lists all of them.")
    return found


def _no_library(name: str) -> Any:
    near = nearest(name, (known.partition("/")[2] for known in names()), 1)
    matches = [known for known in names() if near and known.endswith(f"/{near[0]}")]
    hint = f" Did you mean {' or '.join(matches)}?" if matches else " 'handlens backbones' lists them."
    raise HandlensError(f"{name!r} is not the name of a backbone: names look like library/name.{hint}")


# torchvision


def _torchvision(name: str, choice: WeightsChoice | None, seed: int, own_rows: bool) -> Backbone:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    look_up(dict.fromkeys(known), name, "torchvision backbone")
    _refuse_bundled(f"torchvision/{name}", choice)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # GoogLeNet and Inception warn otherwise, and draw first weights only to be replaced.
        slow_start = {"init_weights": choice == "none"} if name in ("googlenet", "inception_v3") else {}
        network = torchvision.models.get_model(name, weights=None, **slow_start)
    source, pretrained = f"random (seed {seed})", False
    file_digest = None
    if choice == "pretrained":
        found = weights.in_folders(f"torchvision/{name}") or weights.in_torchvision(name)
        state = weights.read_state(found.path)
        if name.startswith("densenet"):
            state = {_densenet_key(key): value for key, value in state.items()}
        unused = (*AUXILIARY, last_layer(network)) if own_rows else AFTER_THE_MAP
        weights.load_into(network, state, found.path, unused)
        source, pretrained, file_digest = found.source, True, found.digest()
    trunk = _torchvision_trunk(network)
    if own_rows:
        parts = dict(trunk.named_children()) if isinstance(trunk, nn.Sequential) else {"tokens": trunk}
        trunk = nn.Sequential(OrderedDict([*parts.items(), ("own_rows", map_to_row(network))]))
    return Backbone(
        f"torchvision/{name}", trunk.eval(), source, file_digest or weights.digest_of(trunk), pretrained
    )


def _densenet_key(key: str) -> str:
    """torchvision's DenseNet files are older than its module names."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2.", key)


def _torchvision_trunk(network: nn.Module) -> nn.Module:
    """The part of a torchvision classifier up to its last feature map."""
    kind = type(network).__name__
    if kind == "VisionTransformer":
        return TorchvisionTokens(network)
    parts = {name: part for name, part in network.named_children() if name not in AFTER_THE_MAP}
    if kind == "DenseNet":
        parts["relu"] = nn.ReLU()
    if kind in ("GoogLeNet", "Inception3"):
        # Their published weights expect pictures normalised with mean and deviation 0.5.
        parts = {"from_imagenet": ImagenetToHalf(), **parts}
    if kind == "MaxVit":
        parts = {
            "stem": parts["stem"],
            **{f"block{i}": part for i, part in enumerate(parts["blocks"].children())},
        }
    trunk = nn.Sequential()
    for name, part in parts.items():
        trunk.add_module(name, part)
    return trunk


class ImagenetToHalf(nn.Module):
    """Turns ImageNet normalisation into mean 0.5 and deviation 0.5 (torchvision's `transform_input`)."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        self.register_buffer("scale", deviation / 0.5, persistent=False)
        self.register_buffer("shift", (mean - 0.5) / 0.5, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The same picture in the other normalisation."""
        return x * self.scale + self.shift


def tokens_to_map(tokens: Tensor, num_prefix: int, height: int, width: int) -> Tensor:
    """Patch tokens as a map; the class token, where there is one, is laid beside every patch.

    Average pooling of this map gives the class token and the mean patch, concatenated, which is what
    linear evaluation of vision transformers commonly uses (Oquab et al. 2023, section 7).
    """
    patches = tokens[:, num_prefix:].transpose(1, 2)
    if num_prefix:
        patches = torch.cat([tokens[:, :1].transpose(1, 2).expand_as(patches), patches], dim=1)
    return patches.reshape(len(tokens), -1, height, width)


class TorchvisionTokens(nn.Module):
    """A torchvision vision transformer that gives its tokens as a map."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.conv_proj = network.conv_proj
        self.encoder = network.encoder
        self.class_token = network.class_token

    def forward(self, x: Tensor) -> Tensor:
        """Patches, class token in front, encoder, map."""
        grid = self.conv_proj(x)
        height, width = grid.shape[2:]
        tokens = grid.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], dim=1)
        return tokens_to_map(self.encoder(tokens), 1, height, width)


# timm


def _timm(name: str, choice: WeightsChoice | None, seed: int, own_rows: bool) -> Backbone:
    import timm

    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise HandlensError(
            f"There is no timm backbone called {name!r}.{hint} 'handlens backbones' lists them."
        )
    _refuse_bundled(f"timm/{name}", choice)
    found = weights.in_folders(f"timm/{name}") if choice == "pretrained" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _create_timm(name, choice == "pretrained" and found is None, own_rows)
    source, pretrained, file_digest = f"random (seed {seed})", choice == "pretrained", None
    if found:
        state = weights.read_state(found.path)
        # Left out in any case, since timm builds the network without its last layer.
        heads = tuple(str(head) for head in _as_tuple(network.pretrained_cfg.get("classifier") or ()))
        weights.load_into(network, state, found.path, heads)
        source, file_digest = found.source, found.digest()
    elif choice == "pretrained":
        source = "timm's own weights"
    trunk: nn.Module = network if own_rows else TimmMap(name, network)
    return Backbone(f"timm/{name}", trunk.eval(), source, file_digest or weights.digest_of(trunk), pretrained)


def _create_timm(name: str, from_hub: bool, own_rows: bool) -> Any:
    import timm

    try:
        if own_rows:
            return timm.create_model(name, pretrained=from_hub, num_classes=0)
        try:
            return timm.create_model(name, pretrained=from_hub, num_classes=0, global_pool="")
        except (TypeError, AssertionError):
            # Some networks have no switch for their pooling, or insist on one.
            return timm.create_model(name, pretrained=from_hub, num_classes=0)
    except (OSError, RuntimeError) as error:
        if not from_hub:
            raise
        why = "downloads are switched off" if not weights.downloads_allowed() else "the download failed"
        raise weights.not_found(f"timm/{name}", f"{why} ({type(error).__name__})") from None


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


class TimmFeatures(nn.Module):
    """A timm network without what follows its features; by itself, so that it can be traced."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """The features in the network's own layout."""
        return self.network.forward_features(x)  # type: ignore[no-any-return]


class TimmMap(nn.Module):
    """A timm network that gives one feature map, whatever its own layout is."""

    def __init__(self, name: str, network: Any) -> None:
        super().__init__()
        self.name = name
        self.features = TimmFeatures(network)
        self.channels_last_map = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self.num_prefix = int(getattr(network, "num_prefix_tokens", 0))
        self.has_class_token = getattr(network, "cls_token", None) is not None

    def forward(self, x: Tensor) -> Tensor:
        """The map as (n, channels, height, width)."""
        out = self.features(x)
        if isinstance(out, Tensor) and out.ndim == 4:
            return out.permute(0, 3, 1, 2) if self.channels_last_map else out
        if isinstance(out, Tensor) and out.ndim == 3:
            num_patches = out.shape[1] - self.num_prefix
            side = math.isqrt(num_patches)
            if side * side == num_patches:
                # Registers are prefixes too, but say nothing about the picture.
                kept = out if self.has_class_token else out[:, self.num_prefix :]
                return tokens_to_map(kept, self.num_prefix if self.has_class_token else 0, side, side)
        raise HandlensError(
            f"timm/{self.name} gives no single feature map, so that Handlens cannot use it as a backbone. "
            "'handlens backbones' lists others."
        )


# ours


def _handlens(name: str, choice: WeightsChoice | None, seed: int, own_rows: bool) -> Backbone:
    look_up({"nano": None}, name, "backbone of Handlens")
    if choice == "pretrained":
        raise HandlensError(
            "handlens/nano carries its weights in the package: set model.weights to 'bundled', or to 'none' "
            "for random ones."
        )
    with torch.random.fork_rng(devices=[]):
        trunk = nano.nano()
    if choice == "bundled":
        found = weights.bundled()
        # Kept as float16; putting them into the network makes them float32.
        weights.load_into(trunk, weights.read_state(found.path), found.path, ())
        source, pretrained, file_digest = found.source, True, found.digest()
    else:
        nano.draw_weights(trunk, seed)
        source, pretrained, file_digest = f"random (seed {seed})", False, None
    if own_rows:
        trunk.add_module("own_rows", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1)))
    return Backbone(
        "handlens/nano", trunk.eval(), source, file_digest or weights.digest_of(trunk), pretrained
    )


def _refuse_bundled(name: str, choice: WeightsChoice | None) -> None:
    if choice == "bundled":
        raise HandlensError(
            f"Only handlens/nano has weights inside the package. For {name} set model.weights to "
            "'pretrained', or to 'none' for random ones."
        )


LIBRARIES: dict[str, Callable[[str, WeightsChoice | None, int, bool], Backbone]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "handlens": _handlens,
}
