"""Small pictures, and trainers of small networks on them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from handlens.base.files import digest
from handlens.data.image import JudgingView
from handlens.data.sides import Shot, Sides
from handlens.data.views import TrainingView, ViewsSpec
from handlens.models.build import ModelSpec
from handlens.training.aims import Aims
from handlens.training.device import Device
from handlens.training.extract import Extractor
from handlens.training.finetune import NetworkTrainer
from handlens.training.spec import TrainSpec

SIDE = 32
CPU = Device(torch.device("cpu"), torch.float32)
VIEW = TrainingView(name="drawn", rotate=10, crop=0.6)


def drawn_sides(folder: Path, count: int = 20, num_val: int = 0) -> Sides:
    """Pictures of coarse and of fine noise in turn; the last ones are the validation side."""
    folder.mkdir()
    shots = []
    for number in range(count):
        generator = np.random.default_rng(number)
        grain = 8 if number % 2 else 2
        cells = generator.integers(0, 256, (40 // grain, 40 // grain, 3), dtype=np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(cells.repeat(grain, 0).repeat(grain, 1)).save(path)
        shots.append(Shot(path, digest(path.read_bytes())))
    names = tuple(str(number) for number in range(count))
    return Sides(
        classes=("fine", "coarse"),
        ids=names,
        groups=names,
        shots=tuple(shots),
        targets=np.arange(count) % 2,
        names=("train",) * (count - num_val) + ("val",) * num_val,
    )


def trainer_of(
    sides: Sides,
    model: dict[str, object] | None = None,
    views: dict[str, object] | None = None,
    **train: object,
) -> NetworkTrainer:
    """A trainer of handlens/nano, or of another network, by the values of a recipe."""
    given = {"backbone": "handlens/nano", "weights": "none", "freeze": "none"} | (model or {})
    kinds = ViewsSpec.model_validate({"judge": JudgingView(size=SIDE)} | (views or {}))
    extractor = Extractor(ModelSpec.model_validate(given), kinds, CPU)
    spec = TrainSpec.model_validate({"epochs": 2, "batch_size": 8, "folds": 0} | train)
    aims = Aims(tuple(len(task.classes) for task in sides.tasks))
    return NetworkTrainer(extractor, spec, sides, aims, next(iter(kinds.kinds)))


def state_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all weights and statistics."""
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The names of what is not the same to the bit."""
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}
