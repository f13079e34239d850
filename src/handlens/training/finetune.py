"""Training a network, or its upper part, from where it stands: on pictures, or on kept activations."""

from collections.abc import Callable, Mapping
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
from handlens.models.build import assemble, num_features
from handlens.models.freeze import apply_freeze, num_frozen_units
from handlens.models.heads import Head, probabilities
from handlens.models.network import Network
from handlens.models.pool import NUM_STATISTICS
from handlens.models.roles import stages
from handlens.models.twin import TwinHead, twin_trunk
from handlens.training import distributed
from handlens.training.activations import LowerPart
from handlens.training.aims import Aims, make_aims_loss
from handlens.training.device import a_core_a_batch, on_one_core
from handlens.training.extract import Extractor
from handlens.training.fit import NETWORK_BATCH, Progress, Way, fit
from handlens.training.optim import make_optimiser
from handlens.training.pictures import fixed_pictures, fresh_pictures
from handlens.training.planned import PlannedSupply, Source
from handlens.training.spec import TrainSpec

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
        self.begin = num_frozen_units(self.extractor.trunk, self.extractor.model.freeze, self.train.epochs)

    def network(self, head: Head | None) -> Network:
        """The network before its training, with a trained head or a new one."""
        model, trunk = self.extractor.model, self.extractor.trunk
        if head is None:
            width = num_features(trunk, model.pool)
            head = Head(model.head, width, self.aims.widths, self.train.seed)
        return assemble(model, deepcopy(trunk), deepcopy(head))

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
        view = views.kinds[self.kind]
        if views.fresh and view:
            self.begin = 0
            val = self.learning.places("val")
            judged = val if len(val) else learned if self.train.folds > 1 else None
            return fresh_pictures(shots, learned, judged, view, views.judge, limit, extractor.pixel_limit)
        why = ""
        if self.begin:
            lower = LowerPart.of(extractor.trunk, self.begin, extractor.made_of)
            kept, why = extractor.activations(lower, shots, learned, self.kind, limit)
            if kept is not None:
                return kept, why
            self.begin = 0
        pictures, sentence = fixed_pictures(
            shots, learned, view, views.count, views.judge, limit, extractor.pixel_limit
        )
        return pictures, f"{why} {sentence}".strip()

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
        device, freeze, source = self.extractor.device, self.extractor.model.freeze, self.source
        targets = self.learning.all_targets
        supply = PlannedSupply(
            source,
            targets,
            self.aims.widths,
            learned,
            judged,
            self.train.batch_size or NETWORK_BATCH,
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
            if freeze.thaw_every is not None or epoch == 0 or progress is not None:
                apply_freeze(network.trunk, freeze, epoch)

        # What thaws later has its place from the start.
        apply_freeze(network.trunk, freeze, self.train.epochs)
        optimiser = make_optimiser(self.train.optimiser, network, depth_of)
        return fit(
            network,
            supply,
            make_aims_loss(self.train.loss, self.aims, torch.from_numpy(targets[learned]).to(device.device)),
            optimiser,
            self.train,
            self.train.seed,
            progress,
            save,
            epoch_done,
            Way(
                device.device,
                self._compiled(network),
                torch.amp.GradScaler(device.device.type) if device.training == torch.float16 else None,
                thaw,
                seen,
            ),
        )

    def _compiled(self, network: Network) -> Callable[[Tensor], Tensor] | None:
        if not self.train.compile:
            return None
        compiled = torch.compile(network.member_scores)

        def scores(x: Tensor) -> Tensor:
            try:
                return compiled(x)
            except torch._dynamo.exc.TorchDynamoException as error:
                raise HandlensError(
                    f"PyTorch cannot compile this network here ({str(error).splitlines()[0]}). "
                    "Set train.compile to false."
                ) from error

        return scores

    def judge(self, network: Network, places: Rows, average: bool) -> NDArray[np.float32]:
        """Judge pictures of the learning sides with a network that has just been trained.

        From what is kept, so that a fold costs little; the test side is judged as pictures are judged ever
        after.
        """
        source = self.source
        network.eval()
        views = range(source.num_views if average else 1)
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
        return np.concatenate([np.empty((0, network.num_classes), np.float32), *means])


def beside_itself(trainer: NetworkTrainer, network: Network, head: Head) -> tuple[nn.Module, TwinHead]:
    """A trained network beside the one that it began as, with the head that was trained first."""
    network = network.cpu()
    trunk = twin_trunk(trainer.extractor.trunk, network.trunk, trainer.begin)
    return trunk, TwinHead(head, network.head, NUM_STATISTICS[trainer.extractor.model.pool])
