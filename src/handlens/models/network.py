"""A network in one piece: trunk, pool and head, of which all or only the upper part may train."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from handlens.models.freeze import Norms, keep_frozen_still
from handlens.models.heads import Head, Share
from handlens.models.roles import units

Pool = Callable[[Tensor], Tensor]


class Network(nn.Module):
    """Pictures (n, 3, height, width) to scores.

    Where nothing trains below a unit of the trunk, it can begin there: it then takes the kept
    activations at that boundary in the place of pictures.
    """

    def __init__(self, trunk: nn.Module, pool: Pool, head: Head, norms: Norms = "frozen_only") -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.pool = pool
        self.norms = norms
        self.begin = 0
        """The first unit of the trunk that is run; what comes in is what the one before it gives."""
        self.autocast_to: torch.dtype | None = None
        """The precision of the trunk's arithmetic in training; none for that of the weights."""

    @property
    def members(self) -> int:
        """Heads that learn side by side."""
        return self.head.members

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of classes of each task."""
        return self.head.widths

    @property
    def num_classes(self) -> int:
        """The width of the scores."""
        return self.head.num_classes

    def rows(self, x: Tensor) -> Tensor:
        """Pictures, or activations at the boundary, to rows of features."""
        kind = x.device.type
        with torch.autocast(kind, dtype=self.autocast_to, enabled=self.autocast_to is not None):
            for _, unit in units(self.trunk)[self.begin :]:
                x = unit(x)
        return self.pool(x.float())

    def member_scores(self, x: Tensor) -> Tensor:
        """The scores of each member, (members, n, classes): what training looks at."""
        return self.head.member_scores(self.rows(x))

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the members together, (n, classes)."""
        return self.head(self.rows(x))  # type: ignore[no-any-return]

    def begin_chance(self, seed: int, share: Share | None = None) -> None:
        """Draw all that is random from here on as anew from this seed; with a share, for the whole batch."""
        self.head.begin_chance(seed, share)
        torch.manual_seed(seed)

    def train(self, mode: bool = True) -> Self:
        """In training, what is frozen stays as it is in judging."""
        super().train(mode)
        if mode:
            keep_frozen_still(self.trunk, self.norms)
            # Below the first unit that trains nothing is random, whether it is run or its output is kept.
            for _, unit in units(self.trunk):
                if any(weight.requires_grad for weight in unit.parameters()):
                    break
                unit.eval()
        return self
