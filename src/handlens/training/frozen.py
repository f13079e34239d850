"""The frozen pass: pictures through a network that does not change, to rows of features."""

from collections.abc import Callable
from copy import deepcopy
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handlens.data.image import normalise
from handlens.training.device import Device


class FrozenPass:
    """A trunk made ready for speed: batch norms folded in, channels last, the device's precision."""

    def __init__(
        self,
        trunk: nn.Module,
        pool: Callable[[Tensor], Tensor] | None,
        normalisation: str,
        device: Device,
    ) -> None:
        ready = fold_batch_norms(trunk.eval()).to(device.device, device.dtype)
        self.trunk = ready.to(memory_format=torch.channels_last)
        self.pool = pool
        self.normalisation = normalisation
        self.device = device
        self._gpu_in_use = Lock()

    def rows(self, pixels: NDArray[np.uint8], batch_size: int) -> NDArray[Any]:
        """What comes out for (n, height, width, 3) pixels, a row a picture; from many threads at once.

        With a pool these are features, float32. Without one they are the activations as `words_of` keeps
        them. A short batch is filled up: a network may round differently in batches of another size, and
        features must not depend on which pictures happened to be computed together.
        """
        count = len(pixels)
        if count < batch_size:
            pixels = np.concatenate([pixels, np.repeat(pixels[-1:], batch_size - count, axis=0)])
        batch = torch.from_numpy(normalise(pixels, self.normalisation))
        with torch.inference_mode():
            if self.device.device.type == "cpu":
                return self._passed(batch)[:count]
            # Several threads would only queue up in the GPU's memory.
            with self._gpu_in_use:
                return self._passed(batch)[:count]

    def _passed(self, batch: Tensor) -> NDArray[Any]:
        batch = batch.to(self.device.device, self.device.dtype)
        out = self.trunk(batch.contiguous(memory_format=torch.channels_last))
        if self.pool is None:
            return words_of(out)
        pooled = self.pool(out.float())
        rows: NDArray[np.float32] = pooled.cpu().numpy()
        return rows


def words_of(activations: Tensor) -> NDArray[Any]:
    """Activations as they are kept: maps with the channels last, bfloat16 as 16-bit words, else float32."""
    laid = activations.permute(0, 2, 3, 1) if activations.ndim == 4 else activations
    laid = laid.contiguous().cpu()
    words: NDArray[Any] = (laid.view(torch.int16) if laid.dtype == torch.bfloat16 else laid.float()).numpy()
    return words


def activations_from(words: NDArray[Any]) -> Tensor:
    """The activations of one picture as float32 again: what `words_of` was given, to the bit."""
    laid = torch.from_numpy(words)
    if laid.dtype == torch.int16:
        laid = laid.view(torch.bfloat16)
    return (laid.permute(2, 0, 1) if laid.ndim == 3 else laid).float()


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
