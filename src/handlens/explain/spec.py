"""What can be chosen about explanations."""

from typing import Literal

from pydantic import Field

from handlens.base.spec import Spec

MethodName = Literal["gradcam", "gradcam++", "integrated_gradients", "occlusion"]


class ExplainSpec(Spec):
    """How maps are made, and how their belief is checked."""

    method: MethodName = "gradcam"
    """`gradcam` and `gradcam++` at the last feature map; `integrated_gradients` and `occlusion` on pixels."""
    steps: int = Field(32, ge=8, le=512)
    """Pictures between plain grey and the picture (`integrated_gradients` only)."""
    window: float = Field(0.2, gt=0, le=0.5)
    """Side of what is covered, as a share of the picture's; it moves by half of that (`occlusion` only)."""
    checked: int = Field(12, ge=0)
    """On how many of the pictures belief is checked; 0 for none. Slow methods check fewer."""
    cuts: int = Field(10, ge=4, le=50)
    """In how many steps a picture is deleted and inserted."""
    random_maps: int = Field(4, ge=1, le=50)
    """With how many random maps each map is compared."""
    random_networks: int = Field(3, ge=1, le=20)
    """How often the weights are drawn anew; slow methods do so once."""
    seed: int = Field(0, ge=0)
    """Another seed draws other random maps and networks."""
