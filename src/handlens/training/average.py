"""The average of a network's weights along the way of its training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The moving average of a network's weights over its steps, batch-norm statistics included.

    Its memory is short at first, min(decay, (1 + t) / (10 + t)) at step t, so that the random start is soon
    forgotten. Whole numbers, such as the batches that a norm has seen, are taken as they are.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._network = network
        self._state = _copy(network.state_dict())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's weights after a step; steps count from 0."""
        now = self._network.state_dict()
        floats = [name for name, value in now.items() if value.is_floating_point()]
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([self._state[name] for name in floats], [now[name] for name in floats], weight)
        for name in now.keys() - set(floats):
            self._state[name].copy_(now[name])

    def state(self) -> dict[str, Tensor]:
        """The averaged weights by the network's names, a copy: to be loaded into it, or to be saved."""
        return _copy(self._state)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        _put(state, self._state)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within it the network has the averaged weights; after it, its own again."""
        now = self._network.state_dict()
        own = _copy(now)
        _put(self._state, now)
        try:
            yield
        finally:
            _put(own, now)


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


@torch.no_grad()
def _put(state: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    _same_names(state, into)
    for name, value in state.items():
        into[name].copy_(value)


def _same_names(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    differ = sorted(one.keys() ^ other.keys())
    if differ:
        raise ValueError(f"these are not states of the same network; only one has {', '.join(differ)}")
