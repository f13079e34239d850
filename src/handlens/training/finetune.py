"""Training a network, or its upper part, from where it stands: on pictures, or on kept activations."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handlens.base.errors import HandlensError
from handlens.base.parallel import in_order, num_threads
from handlens.data.sides import Rows, Sides
from handlens.models.build import num_features, with_head
from handlens.models.freeze import apply_freeze, num_frozen_units
from handlens.models.heads import Head, probabilities
from handlens.models.network import Network
from handlens.models.pool import NUM_STATISTICS
from handlens.models.probe import probe
from handlens.models.roles import stages, units
from handlens.models.twin import TwinHead, twin_trunk
from handlens.training import distributed
from handlens.training.activations import LowerPart
from handlens.training.aims import Aims, make_aims_loss
from handlens.training.device import a_core_a_batch, on_one_core
from handlens.training.extract import Extractor
from handlens.training.fit import Progress, fit
from handlens.training.lesson import Lesson
from handlens.training.optim import make_optimiser
from handlens.training.pictures import fixed_pictures, fresh_pictures
from handlens.training.planned import PlannedSupply, Source
from handlens.training.spec import TrainSpec
from handlens.training.strided import quick_strides

BATCH_SIZE = 32
JUDGED_AT_ONCE = 16


@dataclass
class NetworkTrainer:
    """All that the trainings of one run have in common: the final one, and those of its folds."""

    extractor: Extractor
    """The network as it comes, and the pictures' views."""
    train: TrainSpec
    learning: Sides
    aims: Aims
    kind: str
    """The kind of training views."""
    sentences: list[str] = field(default_factory=list)
    """What was kept on disk, and how large it is."""

    def __post_init__(self) -> None:
        freeze = self.extractor.model.freeze
        self.num_frozen = num_frozen_units(self.extractor.trunk, freeze, self.train.epochs)
        self.begin = self.num_frozen

    def network(self, head: Head | None) -> Network:
        """The network before its training, with a trained head or a new one."""
        model, trunk = self.extractor.model, self.extractor.trunk
        if head is None:
            width = num_features(trunk, model.pool)
            head = Head(model.head, width, self.aims.widths, self.train.seed)
        return with_head(model, deepcopy(trunk), deepcopy(head))

    @cached_property
    def source(self) -> Source:
        """Where the inputs come from; `begin` says at which unit of the network they go in."""
        with distributed.main_first():
            opened, sentence = self._open()
        self.sentences.append(sentence)
        return opened

    def _open(self) -> tuple[Source, str]:
        extractor, shots, learned = self.extractor, self.learning.shots, self.learning.places("train")
        views, limit = extractor.views, int(self.train.keep_gib * 2**30)
        # Where pictures may be judged by the mean over their views, those of the validation side need them.
        viewed = self.learning.places("train", "val") if True in views.averages else learned
        view = views.kinds[self.kind]
        if views.fresh and view:
            self.begin = 0
            val = self.learning.places("val")
            judged = val if len(val) else learned if self.train.folds > 1 else None
            return fresh_pictures(shots, learned, judged, view, views.judge, limit, extractor.pixel_limit)
        why = ""
        if self.begin:
            self._refuse_cutting_what_is_no_map()
            lower = LowerPart.of(extractor.trunk, self.begin, extractor.made_of)
            kept, why = extractor.activations(lower, shots, viewed, self.kind, limit)
            if kept is not None:
                return kept, why
            self.begin = 0
        pictures, sentence = fixed_pictures(
            shots, viewed, view, views.count, views.judge, limit, extractor.pixel_limit
        )
        return pictures, f"{why} {sentence}".strip()

    def _refuse_cutting_what_is_no_map(self) -> None:
        boundary = units(self.extractor.trunk)[self.begin - 1][0]
        if self.train.cutmix and probe(self.extractor.trunk)[boundary].layout != "map":
            raise HandlensError(
                f"train.cutmix cuts boxes out of maps, and what comes out of {boundary}, below which nothing "
                "trains, is laid out otherwise. Set train.mixup instead, or views.fresh to cut pictures."
            )

    def fit(
        self,
        network: Network,
        learned: Rows,
        judged: Rows | None,
        progress: Progress | None,
        save: Callable[[Progress], None],
        seen: Callable[[int], None] = lambda _: None,
        epoch_done: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> Progress:
        """Train on the places `learned` and leave the best weights in the network.

        `seen` is told the number of pictures of each batch.
        """
        lesson = self.lesson(network, learned, judged, goes_on=progress is not None, seen=seen)
        with _as_one_process(network), quick_strides(network.trunk):
            return fit(lesson, self.train, self.train.seed, progress, save, epoch_done)

    def lesson(
        self,
        network: Network,
        learned: Rows,
        judged: Rows | None,
        goes_on: bool = False,
        seen: Callable[[int], None] = lambda _: None,
    ) -> Lesson:
        """What the network learns, as `fit` trains it; `goes_on` says whether it has begun before."""
        device, freeze, source = self.extractor.device, self.extractor.model.freeze, self.source
        targets = self.learning.all_targets
        supply = PlannedSupply(
            source,
            targets,
            self.aims.widths,
            learned,
            judged,
            self.train.batch_size or BATCH_SIZE,
            mixup=self.train.mixup,
            cutmix=self.train.cutmix,
            balanced=self.train.balanced,
            threads=num_threads(),
            rank=distributed.rank(),
            world=distributed.world(),
        )
        network.begin = self.begin
        network.autocast_to = None if device.training == torch.float32 else device.training
        network.to(device.device).to(memory_format=torch.channels_last)
        depth = stages(network.trunk)

        def depth_of(name: str) -> int:
            part, _, path = name.partition(".")
            return 1 + depth.depth_from_head(path) if part == "trunk" else 0

        def thaw(epoch: int) -> None:
            if freeze.thaw_every is not None or epoch == 0 or goes_on:
                apply_freeze(network.trunk, freeze, epoch)

        # What thaws later has its place from the start.
        apply_freeze(network.trunk, freeze, self.train.epochs)
        optimiser = make_optimiser(self.train.optimiser, network, depth_of)
        loss = make_aims_loss(
            self.train.loss, self.aims, torch.from_numpy(targets[learned]).to(device.device)
        )
        scaler = torch.amp.GradScaler(device.device.type) if device.training == torch.float16 else None
        scores = self._compiled(network)
        return Lesson(network, supply, loss, optimiser, device.device, scores, scaler, thaw, seen)

    def _compiled(self, network: Network) -> Callable[[Tensor], Tensor] | None:
        if not self.train.compile:
            return None
        # All but the head, whose dropout draws from numbers of its own, which PyTorch cannot compile.
        compiled = torch.compile(network.rows)
        begun = False

        def scores(x: Tensor) -> Tensor:
            nonlocal begun
            try:
                rows = compiled(x)
            except Exception as error:
                # A compiler that is missing or fails says so by any exception; later ones are of training.
                if begun:
                    raise
                first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise HandlensError(
                    f"PyTorch cannot compile this network here ({first_line}). Set train.compile to false."
                ) from error
            begun = True
            return network.head.member_scores(rows)

        return scores

    def judge(self, network: Network, places: Rows, average: bool) -> NDArray[np.float32]:
        """Judge pictures of the learning sides with a network that has just been trained.

        From what is kept, so that a fold costs little; the test side is judged as pictures are judged ever
        after. Of several processes each judges its part, and all are told all.
        """
        source = self.source
        network.eval()
        views = range(source.num_views if average else 1)
        places = places[distributed.rank() :: distributed.world()]
        place_chunks = [places[at : at + JUDGED_AT_ONCE] for at in range(0, len(places), JUDGED_AT_ONCE)]
        jobs = [(chunk, view) for chunk in place_chunks for view in views]

        def judged(job: tuple[Rows, int]) -> NDArray[np.float32]:
            chunk, view = job
            inputs = torch.stack(
                [
                    source.learned(place, view, "") if view else source.judged(place)
                    for place in chunk.tolist()
                ]
            )
            with torch.inference_mode():
                scores = network(inputs.to(self.extractor.device.device))
            return probabilities(scores, network.widths).cpu().numpy()

        with a_core_a_batch():
            every = list(in_order(judged, jobs, on_one_core))
        means = [np.mean(every[at : at + len(views)], axis=0) for at in range(0, len(every), len(views))]
        own = np.concatenate([np.empty((0, network.num_classes), np.float32), *means])
        return distributed.dealt_back(own)


def _as_one_process(network: Network) -> AbstractContextManager[None]:
    if distributed.world() == 1:
        return nullcontext()
    # It imports timm, which one process alone may not need.
    from handlens.training.whole_batch import as_one_process

    return as_one_process(network)


def beside_itself(trainer: NetworkTrainer, network: Network, head: Head) -> tuple[nn.Module, TwinHead]:
    """A trained network beside the one that it began as, with the head that was trained first."""
    network = network.cpu()
    trunk = twin_trunk(trainer.extractor.trunk, network.trunk, trainer.num_frozen)
    return trunk, TwinHead(head, network.head, NUM_STATISTICS[trainer.extractor.model.pool])
