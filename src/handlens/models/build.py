"""From a model spec to a network: backbone, weights, edits, pool, head, freeze, in this order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from handlens.base.spec import Spec
from handlens.models.edits import Edit, apply_edits
from handlens.models.freeze import Freeze, FreezeSpec, apply_freeze
from handlens.models.heads import Head, HeadSpec
from handlens.models.pool import POOLS
from handlens.models.weights import WeightsChoice

if TYPE_CHECKING:
    from torch import nn

    from handlens.models.network import Network


class ModelSpec(Spec):
    """The network: a backbone, frozen or not, and a head that is trained."""

    backbone: str = "torchvision/mobilenet_v2"
    """`torchvision/<name>`, `timm/<name>` or `handlens/nano`; 'handlens backbones' lists them."""
    weights: WeightsChoice = "pretrained"
    """`pretrained` from your folders, a cache or the network; `bundled` (nano only); `none`: random."""
    seed: int = Field(0, ge=0)
    """Start of random weights, where `weights` is `none` and in what edits bring in."""
    edits: tuple[Edit, ...] = ()
    """Surgery: `{insert: eca, after: blocks}`, `{replace: conv3x3, with: gsconv, in: blocks}`."""
    pool: Literal["average", "average_and_maximum", "own"] = "average"
    """How the feature map becomes one row of numbers; `own` is the network's own way, with its pretrained
    layers (the fully connected ones of VGG and AlexNet) but the last."""
    head: HeadSpec = HeadSpec()
    """What stands on the backbone."""
    freeze: Freeze = FreezeSpec()
    """What does not train: `all`, `none`, {stages: 3}, {share: 0.6} or {names: [...]}."""

    @property
    def only_head_trains(self) -> bool:
        """Whether the backbone never changes, so that its features can be kept."""
        return self.freeze.always_everything and not self.edits

    @property
    def own_rows(self) -> bool:
        """Whether the backbone keeps its own layers between map and row."""
        return self.pool == "own"


def assemble(spec: ModelSpec, trunk: "nn.Module", head: Head) -> "Network":
    """A network around a trunk that has its weights and a head: edited and frozen as the spec says."""
    apply_edits(trunk, spec.edits, spec.seed)
    return with_head(spec, trunk, head)


def with_head(spec: ModelSpec, edited: "nn.Module", head: Head) -> "Network":
    """A network around a trunk that has its edits already, frozen as the spec says."""
    from handlens.models.network import Network

    apply_freeze(edited, spec.freeze)
    return Network(edited, POOLS[spec.pool], head, spec.freeze.norms)


def build(spec: ModelSpec, widths: Sequence[int], seed: int = 0) -> "Network":
    """A network from nothing but its spec, with a head for each of these numbers of classes."""
    from handlens.models import backbones

    backbone = backbones.create(spec.backbone, spec.weights, spec.seed, spec.own_rows)
    head = Head(spec.head, num_features(backbone.trunk, spec.pool), widths, seed)
    return assemble(spec, backbone.trunk, head)


def num_features(trunk: "nn.Module", pool: str) -> int:
    """The numbers a picture that a head on this trunk takes."""
    import torch

    from handlens.models.probe import judging, usual_side

    side = usual_side(trunk)
    with judging(trunk), torch.inference_mode():
        return int(POOLS[pool](trunk(torch.zeros(1, 3, side, side))).shape[1])
