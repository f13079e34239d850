"""The generative network, its noise, and the way back from noise to a picture in few steps.

The network is a U-Net (Ho et al. 2020) that is told the noise level and the class. It learns the velocity
(Salimans and Ho 2022, section 4) under cosine noise (Nichol and Dhariwal 2021, equation 17), with every tenth
class held back, so that what the class adds can be enlarged (Ho and Salimans 2022, equation 6). The sampler
is DPM-Solver++ (Lu et al. 2022), of second order.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from handlens.base.errors import HandlensError
from handlens.synthesis.spec import DiffusionSpec

LEVELS = 1000
"""Levels of noise."""
NORM_GROUPS = 8
HEAD_CHANNELS = 16
ATTENDED_SIDE = 16
"""Places attend to each other on maps of this side and smaller."""
MOST_LOUD = 5.0
"""Levels with little noise are weighed no more than this signal-to-noise ratio (Hang et al. 2023)."""
LEAST_LAMBDA = -5.1
"""Half the logarithm of the ratio at which the sampler begins: its authors' bound for cosine noise."""

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From noisy pictures, levels and classes to velocities."""


def new_network(spec: DiffusionSpec, num_classes: int, seed: int) -> nn.Module:
    """A network with random weights; one class more than there are stands for any class."""
    diffusers = library()
    widths = spec.widths
    attended = [spec.size >> depth <= ATTENDED_SIDE for depth in range(len(widths))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = diffusers.UNet2DModel(
            sample_size=spec.size,
            block_out_channels=widths,
            down_block_types=tuple("AttnDownBlock2D" if each else "DownBlock2D" for each in attended),
            up_block_types=tuple("AttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attended)),
            layers_per_block=1,
            norm_num_groups=NORM_GROUPS,
            attn_norm_num_groups=NORM_GROUPS,
            attention_head_dim=HEAD_CHANNELS,
            resnet_time_scale_shift="scale_shift",
            num_class_embeds=num_classes + 1,
        )
    # Convolutions are quicker in this order, and round otherwise than in the usual one: all networks have it.
    return network.to(memory_format=torch.channels_last)


def sampler() -> Any:
    """The noise levels, and the few steps back from them."""
    return library().DPMSolverMultistepScheduler(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
        lambda_min_clipped=LEAST_LAMBDA,
        # Where guidance drives values out of their range all are scaled back, instead of cut off.
        thresholding=True,
    )


def velocity_loss(
    network: Network, pictures: Tensor, noise: Tensor, levels: Tensor, classes: Tensor, signal: Tensor
) -> Tensor:
    """How far the network is from the velocity of each picture, mean over pictures.

    `signal` holds the share of signal, alpha-bar, of each level.
    """
    kept = signal[levels].view(-1, 1, 1, 1)
    noisy = kept.sqrt() * pictures + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * pictures
    error = (network(noisy, levels, classes).float() - velocity).square().mean((1, 2, 3))
    ratio = (kept / (1 - kept)).flatten()
    # min(ratio, 5) of the picture's own error is this much of the velocity's.
    return (error * ratio.clamp(max=MOST_LOUD) / (ratio + 1)).mean()


@torch.no_grad()
def drawn(
    network: Network, noise: Tensor, classes: Tensor, any_class: int, steps: int, guidance: float
) -> Tensor:
    """Pictures (n, 3, side, side), from -1 to 1, that the network sees in the noise."""
    back = sampler()
    back.set_timesteps(steps, device=noise.device)
    unknown = torch.full_like(classes, any_class)
    x = noise
    for level in back.timesteps:
        levels = level.expand(len(x))
        velocity = network(x, levels, classes).float()
        if guidance != 1:
            plain = network(x, levels, unknown).float()
            velocity = plain + guidance * (velocity - plain)
        x = back.step(velocity, level, x, return_dict=False)[0]
    return x.clamp(-1, 1)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Arithmetic that gives the same bytes again on the same machine."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True))
            # The faster ways of attending add up in whatever order threads arrive.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


def callable_network(model: nn.Module, autocast: torch.dtype | None, device: torch.device) -> Network:
    """The network as a function of tensors, in a precision that pays."""

    def velocity(x: Tensor, levels: Tensor, classes: Tensor) -> Tensor:
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            found: Tensor = model(x, levels, classes, return_dict=False)[0]
        return found

    return velocity


def library() -> Any:
    """Diffusers, which comes with an extra."""
    try:
        import diffusers
    except ImportError:
        raise HandlensError(
            "A generative model needs the package diffusers. Install it with: pip install 'handlens[synth]'. "
            "Or take a cheaper way: --way blend or --way augment."
        ) from None
    return diffusers
