"""Do Handlens's class-activation maps agree with those of others, and what does a map cost?

    python benchmarks/study.py maps --data PICTURES --out maps.json

Each network is taken twice: as Handlens has it (trunk, pool, head; the map found by itself), and as
torchvision wrote it, with the same weights and the head's last layer in the place of its own. On the latter,
captum's LayerGradCam and a plain implementation in NumPy are told the layer by hand. Compared is the rank
correlation (Spearman) of the maps as large as the picture, for the class with the highest score of every
picture, and for the one with the lowest that has any map at all. Weights are pretrained where a folder of
HANDLENS_WEIGHTS has them, else random. Prints tables in Markdown.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import captum.attr
import numpy as np
import torch
import torchvision
from scipy.stats import spearmanr
from torch import Tensor, nn

from handlens.data.image import SUFFIXES, JudgingView, judge
from handlens.explain.maps import METHODS, heat_of
from handlens.explain.network import Explained
from handlens.explain.spec import ExplainSpec
from handlens.models import backbones, weights
from handlens.models.build import num_features
from handlens.models.heads import Head, HeadSpec
from handlens.models.pool import POOLS
from stamped import write_stamped

FAMILIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    # The module that gives the last map with the channels first, as one would name it by hand.
    "mobilenet_v2": lambda network: network.features,
    "resnet50": lambda network: network.layer4,
    "convnext_tiny": lambda network: network.features,
    "swin_t": lambda network: network.permute,
}
NUM_CLASSES = 6
LEAST = 0.99


class AsPublished(nn.Module):
    """torchvision's own network, with our head's weights in the place of its classifier."""

    def __init__(self, name: str, own: Explained) -> None:
        super().__init__()
        self.network = torchvision.models.get_model(name, weights=None).eval()
        self.network.load_state_dict(own.trunk.state_dict(), strict=False)
        layer = own.head.layers[-1]
        last = nn.Linear(*layer.weight.shape[1:])
        last.load_state_dict({"weight": layer.weight[0].T, "bias": layer.bias[0, 0]})
        end = next(end for end in ("classifier", "fc", "head") if hasattr(self.network, end))
        setattr(self.network, end, nn.Sequential(nn.Flatten(1), last))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def in_numpy(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> np.ndarray:
    """Values and slopes at a layer from autograd, all else in NumPy, enlarged by hand."""
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, out: kept.append(out))
    score = network(x.clone().requires_grad_())[0, target]
    hook.remove()
    (slope,) = torch.autograd.grad(score, kept[0])
    values, slopes = (each[0].detach().double().numpy() for each in (kept[0], slope))
    mean_slopes = slopes.mean(axis=(1, 2))
    return enlarged(np.maximum((mean_slopes[:, None, None] * values).sum(axis=0), 0), x.shape[-1])


def enlarged(small: np.ndarray, side: int) -> np.ndarray:
    """Bilinear, pixel middles on pixel middles."""
    at = np.clip((np.arange(side) + 0.5) * len(small) / side - 0.5, 0, len(small) - 1)
    low = np.minimum(at.astype(int), len(small) - 2)
    part = at - low
    rows = small[low] * (1 - part)[:, None] + small[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def pictures(folder: Path, num: int) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(paths) < num:
        sys.exit(f"{folder} holds {len(paths)} pictures; {num} are needed.")
    return paths[:: len(paths) // num][:num]


def agreement(name: str, paths: Sequence[Path]) -> dict[str, object]:
    """How far the maps of one network agree, over all pictures and two classes each."""
    choice = "pretrained" if weights.in_folders(f"torchvision/{name}") else "none"
    backbone = backbones.create(f"torchvision/{name}", choice)
    num = num_features(backbone.trunk, "average")
    head = Head(HeadSpec(standardise=False), num, NUM_CLASSES, seed=1)
    own = Explained(backbone.trunk, POOLS["average"], head, 224, "imagenet")
    published = AsPublished(name, own)
    layer = FAMILIES[name](published.network)
    found: dict[str, list[float]] = {"captum": [], "numpy": [], "scores": []}
    for path in paths:
        x = own.as_input(judge(path, JudgingView())[None])
        with torch.no_grad():
            scores, theirs = own(x)[0], published(x)[0]
        found["scores"].append(float((scores - theirs).abs().max() / scores.std()))
        order = scores.argsort(descending=True).tolist()
        maps = {target: heat_of(own, x, torch.tensor([target]), ExplainSpec())[0] for target in order}
        lowest = next(target for target in reversed(order) if np.ptp(maps[target]) > 0)
        for target in {next(target for target in order if np.ptp(maps[target]) > 0), lowest}:
            cam = captum.attr.LayerGradCam(published, layer).attribute(x, target, relu_attributions=True)
            large = captum.attr.LayerAttribution.interpolate(cam, (224, 224), "bilinear")[0, 0]
            others = {"captum": large.detach().numpy(), "numpy": in_numpy(published, layer, x, target)}
            for who, other in others.items():
                found[who].append(float(spearmanr(maps[target].ravel(), other.ravel()).statistic))
    return {
        "weights": backbone.source if choice == "none" else "pretrained",
        "place": own.place.words,
        "maps": len(found["captum"]),
        "least_captum": min(found["captum"]),
        "least_numpy": min(found["numpy"]),
        "largest_difference_of_scores": max(found["scores"]),
    }


def costs(paths: Sequence[Path]) -> dict[str, float]:
    """Milliseconds a map by each method, for MobileNetV2 on one core."""
    choice = "pretrained" if weights.in_folders("torchvision/mobilenet_v2") else "none"
    trunk = backbones.create("torchvision/mobilenet_v2", choice).trunk
    own = Explained(trunk, POOLS["average"], Head(HeadSpec(), 1280, NUM_CLASSES), 224, "imagenet")
    x = own.as_input(np.stack([judge(path, JudgingView()) for path in paths[:2]]))
    targets = torch.zeros(len(x), dtype=torch.long)
    taken = {}
    for method in METHODS:
        spec = ExplainSpec(method=method)
        heat_of(own, x[:1], targets[:1], spec)
        before = time.process_time()
        heat_of(own, x, targets, spec)
        taken[method] = 1000 * (time.process_time() - before) / len(x)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of pictures")
    parser.add_argument("--num", type=int, default=8, help="how many of them")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    paths = pictures(given.data, given.num)
    print(
        "| network | weights | map taken at | maps | least with captum | least with NumPy |\n"
        "|---|---|---|---|---|---|"
    )
    found = {}
    for name in FAMILIES:
        row = found[name] = agreement(name, paths)
        words = f"{row['least_captum']:.5f} | {row['least_numpy']:.5f}"
        print(f"| {name} | {row['weights']} | {row['place']} | {row['maps']} | {words} |", flush=True)
    taken = costs(paths)
    print("\n| method | processor ms a map, MobileNetV2 |\n|---|---|")
    for method, milliseconds in taken.items():
        print(f"| {method} | {milliseconds:,.0f} |")
    write_stamped(given.out, agreement=found, milliseconds=taken)
    if any(min(row["least_captum"], row["least_numpy"]) <= LEAST for row in found.values()):
        sys.exit(f"A map agrees by {LEAST} or less.")


if __name__ == "__main__":
    main()
