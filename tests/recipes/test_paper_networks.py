"""The papers' improved networks, each one line of a recipe: sizes by hand arithmetic, and a few trained."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from handlens.api import train
from handlens.data.samples import Samples
from handlens.models.build import build
from handlens.models.figures import num_parameters, size_mib
from handlens.recipe import Recipe
from handlens.trained import TrainedRun

# The start that is fitted takes seconds to find and is no matter of size; below it is trained from once.
GSCONV = "{replace: conv3x3, with: gsconv, in: blocks, start: paper}"


def edits(*each):
    return f"model.edits=[{', '.join(each)}]"


def se():
    return "{insert: se, after: residual}"


def multi_se(heads):
    return f"{{insert: multi_se, heads: {heads}, after: residual}}"


def recipe(backbone, *settings):
    whole = ("model.weights=none", "model.freeze=none", "model.pool=own", "model.head.kind=linear")
    return Recipe.load("quick", [f"model.backbone=torchvision/{backbone}", *whole, *settings])


ECA_CONVNEXT = ("convnext_tiny", edits("{insert: eca, after: blocks}"))
OURS = ("resnet18", edits(GSCONV, multi_se(8)))
FITTED = ("squeezenet1_1", edits("{replace: conv3x3, with: gsconv, in: features.9}"))
GRAPHITE = ("model.pool=average", "model.head.kind=graphite")

# ResNet18's stages: the channels of its blocks, two in each.
STAGES = (64, 128, 256, 512)


def se_by_hand():
    """Two layers of C to C / 16 and back, with biases, behind each of two residual branches a stage."""
    return sum(2 * (2 * c * (c // 16) + c // 16 + c) for c in STAGES)


def attention_by_hand(widths):
    """Q, K, V and the layer behind the heads, each w to w with a bias."""
    return sum(2 * 4 * (w * w + w) for w in widths)


def gsconv_by_hand():
    """What the 3 x 3 convolutions lose: half of their outputs, for a depthwise 5 x 5 each."""
    into_first = (64, 64, 128, 256)
    lost = 0
    for first, c in zip(into_first, STAGES, strict=True):
        for num_in in (first, c, c, c):
            lost += 9 * num_in * c // 2 - 25 * c // 2
    return lost


def graphite_by_hand(features, classes):
    return (features + 1) * 1024 + (1024 + 1) * 2048 + (2048 + 1) * classes


def published(name, classes):
    """torchvision's own network; on no device, which costs nothing."""
    with torch.device("meta"):
        return num_parameters(torchvision.models.get_model(name, num_classes=classes))


def features_of(name):
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    last = ("classifier", "fc")
    return sum(num_parameters(part) for key, part in network.named_children() if key not in last)


RESNET18 = 11_179_077
CASES = {
    "ECA-ConvNeXt-T": (*ECA_CONVNEXT, 26, lambda: published("convnext_tiny", 26) + 84),
    "SE": ("resnet18", edits(se()), 5, lambda: RESNET18 + se_by_hand()),
    "Multi-SE, 8 heads": (
        "resnet18", edits(multi_se(8)), 5, lambda: RESNET18 + se_by_hand() + attention_by_hand([64] * 4),
    ),
    "GSConv": ("resnet18", edits(GSCONV), 5, lambda: RESNET18 - gsconv_by_hand()),
    "SE and GSConv": (
        "resnet18", edits(GSCONV, se()), 5, lambda: RESNET18 - gsconv_by_hand() + se_by_hand(),
    ),
    **{
        f"Ours-ResNet18, {heads} heads": (
            "resnet18", edits(GSCONV, multi_se(heads)), 5,
            lambda widths=widths: RESNET18 - gsconv_by_hand() + se_by_hand() + attention_by_hand(widths),
        )
        for heads, widths in {4: [32] * 4, 8: [64] * 4, 16: [64, 128, 128, 128]}.items()
    },
    **{
        f"I-{name}": (
            name, GRAPHITE, 4, lambda name=name, width=width: features_of(name) + graphite_by_hand(width, 4),
        )
        for name, width in {"vgg16": 512, "resnet34": 512, "mobilenet_v2": 1280}.items()
    },
}  # fmt: skip
MIB = {"SE": 42.98, "GSConv": 21.87, "Ours-ResNet18, 8 heads": 22.72}


@pytest.fixture
def no_first_weights(monkeypatch):
    """Drawing first weights takes seconds, and any weights will do."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_", "uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: nn.init.constant_(tensor, 0.1))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("no_first_weights")
def test_an_improved_network_has_the_weights_that_arithmetic_says(name):
    backbone, settings, classes, by_hand = CASES[name]
    settings = (settings,) if isinstance(settings, str) else settings
    network = build(recipe(backbone, *settings).model, (classes,))
    assert num_parameters(network) == by_hand()
    if name in MIB:
        assert round(size_mib(network), 2) == MIB[name]


def drawn(root: Path, num: int = 10) -> Path:
    """Two classes of stripes, across and down."""
    for kind, axis in (("across", 0), ("down", 1)):
        for number in range(num):
            rng = np.random.default_rng([axis, number])
            waves = np.sin(np.indices((64, 64))[axis] / 3 + rng.uniform(0, 6))
            pixels = 128 + 70 * waves[..., None] + rng.normal(0, 12, (64, 64, 3))
            path = root / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return root


@pytest.mark.parametrize(
    ("backbone", "settings"),
    [ECA_CONVNEXT, OURS, ("mobilenet_v2", GRAPHITE), FITTED],
    ids=["ECA-ConvNeXt-T", "Ours-ResNet18", "I-MobileNetV2", "a fitted GSConv"],
)
def test_an_improved_network_takes_two_steps_and_is_the_same_after_loading(backbone, settings, tmp_path):
    settings = (settings,) if isinstance(settings, str) else settings
    pictures = Samples.from_folder(drawn(tmp_path / "pictures"))
    two_steps = ("train.epochs=1", "train.batch_size=8", "train.folds=0", "split.ratios=8:2")
    size = ("views.judge.size=64", "train.precision=float32")
    asked = recipe(backbone, *settings, *two_steps, *size)
    run = train(pictures, asked, tmp_path / "run")
    judged = run.predictions("test")
    again = TrainedRun(tmp_path / "run").predict([tmp_path / "pictures" / name for name in judged.ids])
    told = again.to_table().select(pl.col(r"^p:.*$")).to_numpy()
    np.testing.assert_array_equal(told.astype(np.float32), judged.probabilities)
    row = run.folder.history_path.read_text().splitlines()
    assert len(row) == 1
    assert '"train_loss":' in row[0]
