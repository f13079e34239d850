"""Filling the feature stores: what is missing goes through the frozen backbone, once."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handlens.base.files import cache_folder, digest
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.image import PIXEL_LIMIT, judge
from handlens.data.sides import Shot
from handlens.data.views import TrainingView, ViewsSpec, training_view
from handlens.models import backbones
from handlens.models.backbones import Backbone
from handlens.models.build import ModelSpec
from handlens.models.pool import POOLS
from handlens.training.device import Device, a_core_a_batch, on_one_core
from handlens.training.features import FeatureStore
from handlens.training.frozen import FrozenPass
from handlens.training.table import FeatureTable

# Raise it when the same pictures and settings would give other features than before.
FEATURES_VERSION = 1

# Part of what features are: a network may round differently in batches of another size.
PICTURES_AT_ONCE = 8


class Extractor:
    """Turns pictures into features; builds the network only when something is missing."""

    def __init__(
        self, model: ModelSpec, views: ViewsSpec, device: Device, pixel_limit: int = PIXEL_LIMIT
    ) -> None:
        self.model = model
        self.views = views
        self.device = device
        self.pixel_limit = pixel_limit

    @cached_property
    def backbone(self) -> Backbone:
        """The network with its weights."""
        return backbones.create(self.model.backbone, self.model.weights, self.model.seed)

    @cached_property
    def weights_digest(self) -> str:
        """Hash of the weights, from the file where that is enough."""
        found = backbones.locate(self.model.backbone, self.model.weights)
        return found.digest() if found else self.backbone.digest

    @cached_property
    def frozen(self) -> FrozenPass:
        """The network made ready for speed."""
        pool = POOLS[self.model.pool]
        return FrozenPass(self.backbone.trunk, pool, self.views.judge.normalise, self.device)

    def fill(self, shots: Sequence[Shot]) -> None:
        """Make sure of the judging view of these pictures."""
        self.filled_store(None, 0, shots)

    def table(self, shots: Sequence[Shot], kind: str, all_views: bool = True) -> FeatureTable:
        """The features of pictures: the judging view and, where asked, the training views of a kind."""
        view = self.views.kinds[kind]
        numbers = range(self.views.count if view and all_views else 1)
        stores = [self.filled_store(view if number else None, number, shots) for number in numbers]
        return FeatureTable(stores, [shot.digest for shot in shots])

    def filled_store(self, kind: TrainingView | None, number: int, shots: Sequence[Shot]) -> FeatureStore:
        """One view's store, with what was missing computed now."""
        store = FeatureStore(cache_folder() / "features" / self._key(kind, number))
        if not store.missing(shot.digest for shot in shots):
            return store
        with store.writing():
            todo = [shots[place] for place in store.missing(shot.digest for shot in shots)]
            what = (
                f"Features, view {number + 1} of {self.views.count}" if self.views.count > 1 else "Features"
            )
            with progress(what, len(todo)) as advance:
                for batch, rows in self.rows(todo, kind, number):
                    store.append([shot.digest for shot in batch], rows)
                    advance(len(batch))
        return store

    def rows(
        self, shots: Sequence[Shot], kind: TrainingView | None, number: int
    ) -> Iterator[tuple[Sequence[Shot], NDArray[np.float32]]]:
        """The features of pictures under one view, batch by batch, kept nowhere."""

        def pixels(shot: Shot) -> NDArray[np.uint8]:
            if kind is None:
                return judge(shot.path, self.views.judge, self.pixel_limit)
            return training_view(shot.path, shot.digest, number, kind, self.views.judge, self.pixel_limit)

        frozen = self.frozen

        def computed(batch: Sequence[Shot]) -> tuple[Sequence[Shot], NDArray[np.float32]]:
            return batch, frozen.rows(np.stack([pixels(shot) for shot in batch]), PICTURES_AT_ONCE)

        batches = (shots[at : at + PICTURES_AT_ONCE] for at in range(0, len(shots), PICTURES_AT_ONCE))
        with a_core_a_batch():
            yield from in_order(computed, batches, on_one_core)

    def _key(self, kind: TrainingView | None, number: int) -> str:
        """Everything but the picture that the features depend on."""
        drawn = kind.model_dump_json(exclude={"name"}) if kind else "judging view"
        return digest(
            str(FEATURES_VERSION),
            self.model.backbone,
            self.weights_digest,
            self.model.pool,
            self.views.judge.model_dump_json(),
            drawn,
            str(number),
            self.device.words,
        )
