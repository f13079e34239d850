"""Layers that look at a whole batch, or draw for it, where each process has only a part of its pictures."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from handlens.models.heads import Share
from handlens.models.network import Network
from handlens.training import distributed
from handlens.training.calls import called_otherwise

DRAWING = (_DropoutNd, StochasticDepth, DropPath)
"""Layers that multiply what comes in by what they draw."""


def as_one_process(network: Network) -> AbstractContextManager[None]:
    """Within it, a network trains in several processes as it would in one that had all pictures.

    Its batch norms take the statistics of the whole batch, and what is random is drawn for the whole batch,
    of which this process takes its part. The modules and their names stay what they are: only how they
    are called changes, until the block ends.
    """
    calls: dict[nn.Module, Callable[[Tensor], Tensor]] = {}

    def share() -> Share | None:
        return network.head.chance.share

    for module in network.modules():
        if isinstance(module, _BatchNorm):
            calls[module] = partial(_normalised, module, _of_whole_batch(module))
        elif isinstance(module, DRAWING) and _share_left_out(module):
            calls[module] = partial(_drawn_for_all, module, share)
    return called_otherwise(calls)


def _share_left_out(module: nn.Module) -> float:
    return float(getattr(module, "p", None) or getattr(module, "drop_prob", None) or 0.0)


def _drawn_for_all(module: nn.Module, share: Callable[[], Share | None], x: Tensor) -> Tensor:
    """What the module draws for the whole batch, of which this process's part is applied."""
    own = share()
    if not module.training or own is None:
        return type(module).forward(module, x)  # type: ignore[no-any-return]
    with torch.no_grad():
        # Laid out as the pictures are, since that is the order in which is drawn.
        ones = x.new_ones((own.of, *x.shape[1:]))
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            ones = ones.contiguous(memory_format=torch.channels_last)
        drawn = type(module).forward(module, ones)
    return x * own.part(drawn)


# Batch norms


def _normalised(module: _BatchNorm, whole: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A batch norm's output; in training by the statistics of the whole batch."""
    if not module.training:
        return type(module).forward(module, x)
    x = whole(x)
    # timm's batch norms have what comes behind them inside.
    for name in ("drop", "act"):
        behind = getattr(module, name, None)
        x = behind(x) if isinstance(behind, nn.Module) else x
    return x


def _of_whole_batch(module: _BatchNorm) -> Callable[[Tensor], Tensor]:
    """PyTorch's synchronised batch norm with this one's weights and statistics; on processors, our own."""
    sync = nn.SyncBatchNorm(module.num_features, module.eps, module.momentum, affine=False)
    sync._parameters, sync._buffers = module._parameters, module._buffers
    sync.affine, sync.track_running_stats = module.affine, module.track_running_stats

    def whole(x: Tensor) -> Tensor:
        return sync(x) if x.is_cuda else _on_processors(module, x)  # type: ignore[no-any-return]

    return whole


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _on_processors(module: _BatchNorm, x: Tensor) -> Tensor:
    y, mean, var, count = WholeBatchNorm.apply(x, module.weight, module.bias, module.eps)
    if module.track_running_stats:
        with torch.no_grad():
            seen = module.num_batches_tracked
            assert seen is not None and module.running_mean is not None and module.running_var is not None
            seen.add_(1)
            momentum = 1 / float(seen) if module.momentum is None else module.momentum
            module.running_mean.lerp_(mean, momentum)
            module.running_var.lerp_(var * (count / (count - 1)), momentum)
    return y  # type: ignore[no-any-return]


class WholeBatchNorm(torch.autograd.Function):
    """Batch normalisation (Ioffe and Szegedy 2015, algorithm 1) over the parts of all processes.

    The gradients of weight and bias are those of this process's part, to be added up like all others.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """The output, and the mean, the variance and the number of values a channel of the whole batch."""
        values = x.to(_at_least_float32(x))
        var, mean = torch.var_mean(values, _all_but_channels(x), correction=0)
        count = mean.new_full((1,), x.numel() / x.shape[1])
        parts = distributed.stacked(torch.cat([count, mean, var]))
        counts, means, variances = torch.split(parts, [1, len(mean), len(mean)], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        # Variances within the parts and between them: no small difference of large numbers.
        var = (counts * (variances + (means - mean) ** 2)).sum(0) / total
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps), total)
        ctx.mark_non_differentiable(mean, var)
        y = functional.batch_norm(values, mean, var, weight, bias, False, 0.0, eps)
        return y.to(x.dtype), mean, var, float(total)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """The chain rule through mean and variance, which all pictures of all processes have a part in."""
        x, weight, mean, scale, total = ctx.saved_tensors
        shape = [1, -1, *[1] * (x.ndim - 2)]
        dy = gradients[0].to(_at_least_float32(x))
        standard = (x.to(dy.dtype) - mean.view(shape)) * scale.view(shape)
        sums = torch.stack([dy.sum(_all_but_channels(x)), (dy * standard).sum(_all_but_channels(x))])
        dx = None
        if ctx.needs_input_grad[0]:
            mean_dy, mean_along = (distributed.summed(sums) / total).view(2, *shape).unbind()
            factor = scale if weight is None else scale * weight
            dx = (factor.view(shape) * (dy - mean_dy - standard * mean_along)).to(x.dtype)
        if weight is None:
            return dx, None, None, None
        return dx, sums[1], sums[0], None


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
