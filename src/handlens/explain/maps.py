"""Maps of what spoke for a class: one visible dict of methods at the foot.

Each gives a heat of 0 or more for every pixel of the judging view. What speaks against the class is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from handlens.base.choices import look_up
from handlens.explain.network import Explained
from handlens.explain.spec import ExplainSpec

Heat = NDArray[np.float32]
AT_ONCE = 8
"""Pictures that go through the network together."""


def heat_of(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> Heat:
    """The heat (n, side, side) of pictures for a class each."""
    method = look_up(METHODS, spec.method, "method of explanation")
    made = [
        method.run(network, some, wanted, spec)
        for some, wanted in zip(torch.split(x, AT_ONCE), torch.split(targets, AT_ONCE), strict=True)
    ]
    heat: Heat = torch.cat(made).detach().clamp(min=0).cpu().numpy()
    return heat


def gradcam(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> Tensor:
    """Channels of the last map, weighted by their mean slope (Selvaraju et al. 2017, equations 1 and 2)."""
    at_map = LayerGradCam(network, network.passage())
    made = at_map.attribute(x, targets, relu_attributions=True)
    return _as_large(made, network.side)


def gradcam_plus_plus(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> Tensor:
    """Grad-CAM that counts each place of the evidence (Chattopadhyay et al. 2018, equations 10, 11, 19).

    With scores that pass through an exponential, the higher derivatives are powers of the first.
    """
    values, slopes = map_and_gradient(network, x, targets)
    below = 2 * slopes**2 + values.sum((2, 3), keepdim=True) * slopes**3
    shares = torch.where(slopes != 0, slopes**2 / torch.where(below != 0, below, 1), 0)
    weights = (shares * slopes.clamp(min=0)).sum((2, 3), keepdim=True)
    return _as_large((weights * values).sum(1, keepdim=True).clamp(min=0), network.side)


def integrated_gradients(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> Tensor:
    """Slopes summed from plain grey to the picture (Sundararajan et al. 2017, equation 3)."""
    ig = IntegratedGradients(network, multiply_by_inputs=True)
    # Zero is the mean colour that the network's normalisation takes away.
    made = ig.attribute(x, target=targets, n_steps=spec.steps, internal_batch_size=max(AT_ONCE, len(x)))
    return made.sum(1)  # type: ignore[no-any-return]


def occlusion(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> Tensor:
    """How far the score falls where a grey square covers a place (Zeiler and Fergus 2014, section 4.2)."""
    window = max(1, round(spec.window * network.side))
    step = max(1, window // 2)
    with torch.no_grad():
        made = Occlusion(network).attribute(
            x,
            sliding_window_shapes=(x.shape[1], window, window),
            strides=(x.shape[1], step, step),
            target=targets,
            perturbations_per_eval=max(1, AT_ONCE // len(x)),
        )
    return made.mean(1)  # type: ignore[no-any-return]


def map_and_gradient(network: Explained, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The last map and the slope of each picture's score in it, (n, channels, height, width) each."""
    kept: list[Tensor] = []

    def begin_here(_: object, __: object, out: Tensor) -> Tensor:
        # Below the map nothing has a gradient, where the network is frozen; above it all need one.
        kept.append(out.detach().requires_grad_())
        return kept[-1].clone()

    hook = network.passage().register_forward_hook(begin_here)
    try:
        with torch.enable_grad():
            scores = network(x).gather(1, targets[:, None]).sum()
            (slopes,) = torch.autograd.grad(scores, kept[0])
    finally:
        hook.remove()
    return kept[0].detach(), slopes


def _as_large(made: Tensor, side: int) -> Tensor:
    """A small map (n, 1, height, width) as large as the picture, (n, side, side)."""
    return functional.interpolate(made.detach(), (side, side), mode="bilinear")[:, 0]


@dataclass(frozen=True)
class Method:
    """A way to make maps."""

    run: Callable[[Explained, Tensor, Tensor, ExplainSpec], Tensor]
    words: str
    at_map: bool
    """Whether it is taken at the last feature map."""
    slow: bool
    """Whether a map takes dozens of passes, so that checks have to be thrifty."""


METHODS: dict[str, Method] = {
    "gradcam": Method(gradcam, "Grad-CAM", at_map=True, slow=False),
    "gradcam++": Method(gradcam_plus_plus, "Grad-CAM++", at_map=True, slow=False),
    "integrated_gradients": Method(integrated_gradients, "Integrated gradients", at_map=False, slow=True),
    "occlusion": Method(occlusion, "Occlusion", at_map=False, slow=True),
}
