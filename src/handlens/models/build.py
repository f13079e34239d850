"""From a model spec to a network: backbone, weights, pool, head, in this order."""

from typing import Literal

from pydantic import Field

from handlens.base.spec import Spec
from handlens.models.heads import HeadSpec
from handlens.models.weights import WeightsChoice


class ModelSpec(Spec):
    """The network: a frozen backbone and a head that is trained."""

    backbone: str = "torchvision/mobilenet_v2"
    """`torchvision/<name>`, `timm/<name>` or `handlens/nano`; 'handlens backbones' lists them."""
    weights: WeightsChoice = "pretrained"
    """`pretrained` from your folders, a cache or the network; `bundled` (nano only); `none`: random."""
    seed: int = Field(0, ge=0)
    """Start of random weights, where `weights` is `none`."""
    pool: Literal["average", "average_and_maximum"] = "average"
    """How the feature map becomes one row of numbers."""
    head: HeadSpec = HeadSpec()
    """What stands on the backbone."""
