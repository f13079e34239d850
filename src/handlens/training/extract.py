"""Filling the feature stores: what is missing goes through the frozen backbone, once."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from handlens.base.files import cache_folder, digest
from handlens.base.parallel import in_order
from handlens.data.image import PIXEL_LIMIT, judge
from handlens.data.sides import Rows, Shot
from handlens.data.views import TrainingView, ViewsSpec, training_view
from handlens.models import backbones
from handlens.models.backbones import Backbone
from handlens.models.build import ModelSpec
from handlens.models.edits import apply_edits
from handlens.models.pool import POOLS
from handlens.training.activations import KeptActivations, LowerPart
from handlens.training.device import Device, a_core_a_batch, on_one_core
from handlens.training.frozen import FrozenPass
from handlens.training.room import need_of, room_for
from handlens.training.store import RowStore, fill
from handlens.training.table import FeatureTable

# Raise it when the same pictures and settings would give other features than before.
FEATURES_VERSION = 1

# Part of what features are: a network may round differently in batches of another size.
PICTURES_AT_ONCE = 8


class Extractor:
    """Turns pictures into features; builds the network only when something is missing."""

    def __init__(
        self,
        model: ModelSpec,
        views: ViewsSpec,
        device: Device,
        pixel_limit: int = PIXEL_LIMIT,
    ) -> None:
        self.model = model
        self.views = views
        self.device = device
        self.pixel_limit = pixel_limit

    @cached_property
    def backbone(self) -> Backbone:
        """The network as it comes, with its weights."""
        model = self.model
        return backbones.create(model.backbone, model.weights, model.seed, model.own_rows)

    @cached_property
    def trunk(self) -> nn.Module:
        """The network with the recipe's edits."""
        apply_edits(self.backbone.trunk, self.model.edits, self.model.seed)
        return self.backbone.trunk.eval()

    def with_trunk(self, trunk: nn.Module) -> "Extractor":
        """The same with another trunk."""
        other = Extractor(self.model, self.views, self.device, self.pixel_limit)
        other.trunk = trunk.eval()
        return other

    @property
    def made_of(self) -> str:
        """The network in words, all but its weights."""
        edits = (edit.model_dump_json(by_alias=True) for edit in self.model.edits)
        seed = (f"seed {self.model.seed}",) if self.model.edits else ()
        return "\n".join((self.model.backbone, *edits, *seed))

    @cached_property
    def weights_digest(self) -> str:
        """Hash of the weights, from the file where that is enough."""
        found = backbones.locate(self.model.backbone, self.model.weights)
        return found.digest() if found else self.backbone.digest

    @cached_property
    def frozen(self) -> FrozenPass:
        """The network made ready for speed."""
        pool = POOLS[self.model.pool]
        return FrozenPass(self.trunk, pool, self.views.judge.normalise, self.device)

    def fill(self, shots: Sequence[Shot]) -> None:
        """Make sure of the judging view of these pictures."""
        self.filled_store(None, 0, shots)

    def table(self, shots: Sequence[Shot], kind: str, all_views: bool = True) -> FeatureTable:
        """The features of pictures: the judging view and, where asked, the training views of a kind."""
        view = self.views.kinds[kind]
        numbers = range(self.views.count if view and all_views else 1)
        stores = [self.filled_store(view if number else None, number, shots) for number in numbers]
        return FeatureTable(stores, [shot.digest for shot in shots])

    def filled_store(self, kind: TrainingView | None, number: int, shots: Sequence[Shot]) -> RowStore:
        """One view's store, with what was missing computed now."""
        store = RowStore(cache_folder() / "features" / self._key(kind, number))
        fill(store, shots, lambda todo: self.rows(todo, kind, number), self._what("Features", number))
        return store

    def rows(
        self, shots: Sequence[Shot], kind: TrainingView | None, number: int, through: FrozenPass | None = None
    ) -> Iterator[tuple[Sequence[Shot], NDArray[Any]]]:
        """What comes out for pictures under one view, batch by batch, kept nowhere; by default features."""

        def pixels(shot: Shot) -> NDArray[np.uint8]:
            if kind is None:
                return judge(shot.path, self.views.judge, self.pixel_limit)
            return training_view(shot.path, shot.digest, number, kind, self.views.judge, self.pixel_limit)

        frozen = through or self.frozen

        def computed(batch: Sequence[Shot]) -> tuple[Sequence[Shot], NDArray[Any]]:
            return batch, frozen.rows(np.stack([pixels(shot) for shot in batch]), PICTURES_AT_ONCE)

        batches = (shots[at : at + PICTURES_AT_ONCE] for at in range(0, len(shots), PICTURES_AT_ONCE))
        with a_core_a_batch():
            yield from in_order(computed, batches, on_one_core)

    def activations(
        self, lower: LowerPart, shots: Sequence[Shot], learned: Rows, kind: str, limit_bytes: int
    ) -> tuple[KeptActivations | None, str]:
        """The activations of pictures behind a part of the network in which nothing trains, kept.

        All `shots` get the judging view, and the places `learned` the training views of a kind besides.
        Where they would take more than the limit, or than there is room on the disk, none are kept. The
        sentence tells the size, before anything is written, and what became of it.
        """
        view = self.views.kinds[kind]
        frozen = FrozenPass(lower.network, None, self.views.judge.normalise, self.device)
        size = self.views.judge.size
        shape = frozen.rows(np.zeros((1, size, size, 3), np.uint8), PICTURES_AT_ONCE)[0]
        wanted = {
            number: shots if number == 0 else [shots[place] for place in learned]
            for number in range(self.views.count if view else 1)
        }
        stores = {
            number: RowStore(
                cache_folder() / "activations" / self._key(view if number else None, number, lower),
                "bfloat16" if shape.dtype == np.int16 else "float32",
            )
            for number in wanted
        }
        need = need_of(
            (store, [shot.digest for shot in wanted[number]], shape.nbytes)
            for number, store in stores.items()
        )
        views = f" under {len(stores)} views" if len(stores) > 1 else ""
        room = room_for(f"Activations behind {lower.name} of {len(shots)} pictures{views}", need, limit_bytes)
        if not room.fits:
            return None, room.sentence
        for number, store in stores.items():
            passed = partial(self.rows, kind=view if number else None, number=number, through=frozen)
            fill(store, wanted[number], passed, self._what("Activations", number))
        return KeptActivations(shots, list(stores.values())), room.sentence

    def _what(self, what: str, number: int) -> str:
        return f"{what}, view {number + 1} of {self.views.count}" if self.views.count > 1 else what

    def _key(self, kind: TrainingView | None, number: int, lower: LowerPart | None = None) -> str:
        """Everything but the picture that the features, or the activations, depend on."""
        drawn = kind.model_dump_json(exclude={"name"}) if kind else "judging view"
        network = (
            (lower.made_of, lower.weights_digest)
            if lower
            else (self.made_of, self.weights_digest, self.model.pool)
        )
        return digest(
            str(FEATURES_VERSION),
            *network,
            self.views.judge.model_dump_json(),
            drawn,
            str(number),
            self.device.words,
        )
