"""The frozen pass: pictures through a network that does not change, to rows of features."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handlens.data.image import normalise
from handlens.train.device import Device

Pixels = NDArray[np.uint8]


class FrozenPass:
    """A trunk made ready for speed: batch norms folded in, channels last, the device's precision."""

    def __init__(
        self, trunk: nn.Module, pool: Callable[[Tensor], Tensor], normalisation: str, device: Device
    ) -> None:
        ready = fold_batch_norms(trunk.eval())
        self.trunk = ready.to(device.device, device.dtype).to(memory_format=torch.channels_last)
        self.pool = pool
        self.normalisation = normalisation
        self.device = device

    def rows(self, pixels: Pixels, batch_size: int) -> NDArray[np.float32]:
        """The features of (n, height, width, 3) pixels.

        A short batch is filled up: a network may round differently in batches of another size, and
        features must not depend on which pictures happened to be computed together.
        """
        count = len(pixels)
        if count < batch_size:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], batch_size - count, axis=0)])
        with torch.inference_mode():
            batch = torch.from_numpy(normalise(pixels, self.normalisation))
            batch = batch.to(self.device.device, self.device.dtype, memory_format=torch.channels_last)
            pooled = self.pool(self.trunk(batch).float())
        return pooled[:count].cpu().numpy()


def fold_batch_norms(trunk: nn.Module) -> nn.Module:
    """The same function with each batch norm folded into the convolution before it (a copy)."""
    from torch.fx.experimental.optimization import fuse
    from torch.fx.proxy import TraceError

    try:
        return fuse(trunk)
    except (TraceError, TypeError, ValueError, RuntimeError, AttributeError):
        # Networks whose Python branches on their input cannot be traced; they run as they are.
        return trunk
