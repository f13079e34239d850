"""Activations at the boundary: what comes out of the lower part of a network in which nothing trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from handlens.data.sides import Shot
from handlens.models import weights
from handlens.models.roles import units
from handlens.training.frozen import activations_from
from handlens.training.store import RowStore


@dataclass(frozen=True)
class LowerPart:
    """The leading units of a trunk, in which nothing trains."""

    network: nn.Module
    """Pictures (n, 3, height, width) to what the first unit that trains takes."""
    name: str
    """Its last unit, for people."""
    made_of: str
    """All that makes it but its weights: backbone, edits, units."""

    @classmethod
    def of(cls, trunk: nn.Module, num_units: int, made_of: str) -> "LowerPart":
        """The first units of a trunk; `made_of` names the backbone and the edits that touch them."""
        chain = units(trunk)[:num_units]
        paths = [path for path, _ in chain]
        return cls(nn.Sequential(*(unit for _, unit in chain)), paths[-1], "\n".join([made_of, *paths]))

    @cached_property
    def weights_digest(self) -> str:
        """Hash of its weights as they are now."""
        return weights.digest_of(self.network)


class KeptActivations:
    """A source of batches: kept activations, view 0 being the judging view."""

    def __init__(self, shots: Sequence[Shot], stores: Sequence[RowStore]) -> None:
        self.shots = shots
        self.stores = stores
        self.num_views = len(stores)
        self.shape = tuple(activations_from(stores[0].row(shots[0].digest)).shape)

    def learned(self, place: int, view: int, words: str) -> Tensor:
        """The activations of one picture under one view; nothing is drawn."""
        return activations_from(self.stores[view].row(self.shots[place].digest))

    def judged(self, place: int) -> Tensor:
        """The activations of one picture under the judging view."""
        return self.learned(place, 0, "")
