"""The frozen pass: pictures through a network that does not change, to rows of features."""

from collections.abc import Callable
from copy import deepcopy
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handlens.data.image import normalise
from handlens.training.device import Device


class FrozenPass:
    """A trunk made ready for speed: batch norms folded in, channels last, the device's precision."""

    def __init__(
        self, trunk: nn.Module, pool: Callable[[Tensor], Tensor], normalisation: str, device: Device
    ) -> None:
        ready = fold_batch_norms(trunk.eval()).to(device.device, device.dtype)
        self.trunk = ready.to(memory_format=torch.channels_last)
        self.pool = pool
        self.normalisation = normalisation
        self.device = device
        self._gpu_in_use = Lock()

    def rows(self, pixels: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
        """The features of (n, height, width, 3) pixels; may be called from many threads.

        A short batch is filled up: a network may round differently in batches of another size, and
        features must not depend on which pictures happened to be computed together.
        """
        count = len(pixels)
        if count < batch_size:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], batch_size - count, axis=0)])
        batch = torch.from_numpy(normalise(pixels, self.normalisation))
        with torch.inference_mode():
            if self.device.device.type == "cpu":
                return self._pooled(batch)[:count]
            # Several threads would only queue up in the GPU's memory.
            with self._gpu_in_use:
                return self._pooled(batch)[:count]

    def _pooled(self, batch: Tensor) -> NDArray[np.float32]:
        batch = batch.to(self.device.device, self.device.dtype)
        pooled = self.pool(self.trunk(batch.contiguous(memory_format=torch.channels_last)).float())
        rows: NDArray[np.float32] = pooled.cpu().numpy()
        return rows


def fold_batch_norms(trunk: nn.Module) -> nn.Module:
    """A copy that does the same, with each batch norm folded into the convolution before it."""
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(trunk)
    except Exception:
        # Tracing runs foreign code on placeholders, which may raise anything. What cannot be traced as a
        # whole is left as it is, and its parts are tried.
        folded = deepcopy(trunk)
        for name, part in folded.named_children():
            if any(isinstance(module, nn.BatchNorm2d) for module in part.modules()):
                setattr(folded, name, fold_batch_norms(part))
        return folded
