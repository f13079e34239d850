"""A learned network as methods of explanation need it: pictures to scores, with its last map at hand."""

from collections.abc import Callable
from copy import deepcopy
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handlens.data.image import normalise
from handlens.evaluate.predict import AnyHead
from handlens.evaluate.results import Metrics
from handlens.explain.layer import MapPlace, last_map
from handlens.models.heads import probabilities
from handlens.models.pool import POOLS
from handlens.models.twin import TwinHead
from handlens.recipe import Recipe
from handlens.run import RunFolder
from handlens.training.checkpoint import HeadFacts
from handlens.training.extract import Extractor
from handlens.training.frozen import fold_batch_norms


class Trained(Protocol):
    """What is asked of a run that is explained: `trained.TrainedRun` has all of it."""

    folder: RunFolder

    @property
    def recipe(self) -> Recipe:
        """The recipe that it was trained with."""

    @property
    def metrics(self) -> Metrics:
        """All its figures."""

    @property
    def extractor(self) -> Extractor:
        """The backbone with its weights, and the views."""

    @property
    def head(self) -> AnyHead:
        """Its head."""

    @property
    def facts(self) -> HeadFacts:
        """What its head must be used with."""


class Explained(nn.Module):
    """Normalised pictures (n, 3, side, side) to the scores of the main task, (n, classes).

    Scores are those before the softmax, the mean over members: a class has them by itself, whereas its
    probability also rises where another class falls. Weights are frozen; gradients begin at the map, or
    at the picture where that is asked to have one.
    """

    def __init__(
        self, trunk: nn.Module, pool: Callable[[Tensor], Tensor], head: AnyHead, side: int, normalisation: str
    ) -> None:
        super().__init__()
        # Copies, because the trunk gets a hook, and whoever gave it goes on judging with it.
        self.trunk = deepcopy(trunk).float().eval().requires_grad_(False)
        self.head = deepcopy(head).float().eval().requires_grad_(False)
        self.pool = pool
        self.side = side
        self.normalisation = normalisation
        self.map: Passage | None = None

    @classmethod
    def of(cls, trained: Trained, quick: bool = False) -> "Explained":
        """The network of a run; `quick` says the same in half the time, and is for probabilities alone."""
        extractor = trained.extractor
        view = extractor.views.judge
        trunk = fold_batch_norms(extractor.trunk) if quick else extractor.trunk
        network = cls(trunk, POOLS[extractor.model.pool], trained.head, view.size, view.normalise)
        network = network.to(extractor.device.device)
        return network.to(memory_format=torch.channels_last) if quick else network

    @cached_property
    def place(self) -> MapPlace:
        """Where its last map is."""
        return last_map(self.trunk, self.side)

    def passage(self) -> "Passage":
        """What the last map passes through; methods that work on pixels need none."""
        if self.map is None:
            self.map = Passage(self.place)
            self.trunk.get_submodule(self.place.path).register_forward_hook(self.map.through)
        return self.map

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the main task."""
        return scores_of(self.head, self.rows(x))[:, : self.head.widths[0]]

    def rows(self, x: Tensor) -> Tensor:
        """Rows of features."""
        return self.pool(self.trunk(x))

    def probabilities(self, x: Tensor) -> Tensor:
        """What the network says of the main task's classes, as it judges."""
        with torch.inference_mode():
            said = probabilities(self.head(self.rows(x)), self.head.widths)
        return said[:, : self.head.widths[0]]

    def as_input(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Pixels (n, side, side, 3) of the judging view as the network takes them."""
        device = next(self.head.parameters()).device
        return torch.from_numpy(normalise(pixels, self.normalisation)).to(device)


class Passage(nn.Module):
    """Where a map passes as (n, channels, height, width), whatever the network's own layout is."""

    def __init__(self, place: MapPlace) -> None:
        super().__init__()
        self.place = place

    def forward(self, feature_map: Tensor) -> Tensor:
        """The map as it is."""
        return feature_map

    # A method, which a copy of the network takes along as one of the copied passage.
    def through(self, _: nn.Module, __: object, out: Tensor) -> Tensor:
        """Lead what a module gives out through here."""
        return self.place.from_map(self(self.place.to_map(out)), out)


def scores_of(head: AnyHead, rows: Tensor) -> Tensor:
    """The scores (n, classes) before any softmax, the mean over all members."""
    if isinstance(head, TwinHead):
        parts = rows.view(len(rows), head.num_pools, 2, -1)
        both = [
            scores_of(each, parts[:, :, at].flatten(1)) for at, each in enumerate((head.before, head.trained))
        ]
        return (both[0] + both[1]) / 2
    return head.member_scores(rows).mean(dim=0)
