"""A network beside itself as it was: the frozen upper part and the trained one, on one lower part.

Judging by the mean of both is surer than by either: where fine-tuning on few pictures has gone astray,
what it started from still has its say.
"""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from handlens.models.heads import Head
from handlens.models.roles import units


class Twin(nn.Module):
    """Two upper parts of one make, their maps or rows side by side."""

    def __init__(self, before: nn.Module, trained: nn.Module) -> None:
        super().__init__()
        self.before = before
        self.trained = trained

    def forward(self, x: Tensor) -> Tensor:
        """The channels of both, those of the part as it was first."""
        return torch.cat([self.before(x), self.trained(x)], dim=1)


def twin_trunk(before: nn.Module, trained: nn.Module, begin: int) -> nn.Sequential:
    """One trunk of two that have their first units, as many as `begin`, in common."""
    trunk = nn.Sequential()
    chain = [unit for _, unit in units(trained)]
    for number, unit in enumerate(chain[:begin]):
        trunk.add_module(str(number), unit)
    old = nn.Sequential(*[deepcopy(unit) for _, unit in units(before)[begin:]])
    trunk.add_module("twin", Twin(old, nn.Sequential(*chain[begin:])))
    return trunk


class TwinHead(nn.Module):
    """A head for each of the two, judging by the mean of their probabilities."""

    def __init__(self, before: Head, trained: Head, num_pools: int) -> None:
        super().__init__()
        self.before = before
        self.trained = trained
        self.num_pools = num_pools
        """Numbers that the pool makes of each channel."""
        self.widths = trained.widths

    @property
    def num_classes(self) -> int:
        """The width of the scores."""
        return self.trained.num_classes

    @property
    def num_features(self) -> int:
        """Numbers a picture that both take together."""
        return self.before.num_features + self.trained.num_features

    def forward(self, x: Tensor) -> Tensor:
        """The logarithm of the mean probability, which is a score like any other.

        A pool goes over the channels of both, one number after the other.
        """
        rows = x.view(len(x), self.num_pools, 2, -1)
        scores = torch.stack([self.before(rows[:, :, 0].flatten(1)), self.trained(rows[:, :, 1].flatten(1))])
        return torch.logsumexp(scores, dim=0) - math.log(2)
