"""What is lost where a GSConv takes a convolution's place: the error of its output, by how it starts.

    python benchmarks/gsconv.py --weights WEIGHTS --data PICTURES --out gsconv.json

WEIGHTS is a folder with mobilenet_v2 and squeezenet1_1, PICTURES one of pictures. The convolutions of these
networks see 16 of the pictures at 224; other 16 are what the last column is refitted on. Prints a table in
Markdown of |y - y'| / |y|.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from handlens.models import gsconv
from handlens.models.gsconv import CHEAP_SIZE, GSConv
from handlens.models.weights import load_into, read_state
from stamped import write_stamped

COLUMNS = ("fit", "fit to white noise", "kept half alone", "paper", "fit, then refitted on other pictures")
NETWORKS = ("mobilenet_v2", "squeezenet1_1")
RANDOM = ((64, 1), (128, 2), (256, 1))
"""Channels and stride of the convolutions whose weights and maps are drawn."""
NUM_PICTURES = 16
SUFFIXES = (".jpg", ".jpeg", ".png")


def two_batches(folder: Path) -> tuple[Tensor, Tensor]:
    """Pictures to measure on and others to refit on, spread over the folder in turns."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    step = len(paths) // (2 * NUM_PICTURES)
    if not step:
        sys.exit(f"{folder} holds {len(paths)} pictures; {2 * NUM_PICTURES} are needed.")
    return opened(paths[::step][:NUM_PICTURES]), opened(paths[step // 2 :: step][:NUM_PICTURES])


def opened(paths: Sequence[Path]) -> Tensor:
    pixels = [np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in paths]
    values = (np.stack(pixels) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return torch.from_numpy(values).permute(0, 3, 1, 2).float()


def fitted_to_noise(conv: nn.Conv2d) -> GSConv:
    """The fit that takes what a convolution sees to be white noise."""
    relation = partial(gsconv.Relation, neighbours=0.0, common=0.0)
    with mock.patch.object(gsconv, "Relation", relation):
        return GSConv.like(conv)


def refitted(conv: nn.Conv2d, maps: Tensor) -> GSConv:
    """The fit, its depthwise kernels found again by least squares on maps that the convolution sees."""
    made = GSConv.like(conv)
    num_dense, num_cheap = made.dense.out_channels, made.cheap.out_channels
    wanted = conv(maps)[:, made.order.argsort()[num_dense:]]
    kept = made.dense(maps)[:, :num_cheap]
    for channel in range(num_cheap):
        seen = functional.unfold(kept[:, [channel]], CHEAP_SIZE, padding=CHEAP_SIZE // 2)
        seen = seen.transpose(1, 2).flatten(0, 1).double()
        if made.cheap.bias is not None:
            seen = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)
        products = seen.T @ seen
        products.diagonal().add_(1e-6 * products.diagonal().mean())
        solved = torch.linalg.solve(products, seen.T @ wanted[:, channel].flatten().double())
        made.cheap.weight[channel] = solved[: CHEAP_SIZE**2].view(1, CHEAP_SIZE, CHEAP_SIZE)
        if made.cheap.bias is not None:
            made.cheap.bias[channel] = solved[-1]
    return made


@torch.no_grad()
def lost(conv: nn.Conv2d, maps: Tensor, others: Tensor) -> list[float]:
    """|y - y'| / |y| for each column."""
    y = conv(maps)
    fit = GSConv.like(conv)
    alone = y * (fit.order < fit.dense.out_channels)[:, None, None]
    outputs = (
        fit(maps),
        fitted_to_noise(conv)(maps),
        alone,
        GSConv.like(conv, "paper")(maps),
        refitted(conv, others)(maps),
    )
    return [((output - y).norm() / y.norm()).item() for output in outputs]


def random_rows() -> Iterator[tuple[str, list[float]]]:
    for channels, stride in RANDOM:
        conv = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        nn.init.normal_(conv.weight)
        maps, others = (torch.randn(4, channels, 28, 28) for _ in range(2))
        yield f"random, {channels} to {channels}, stride {stride}", lost(conv, maps, others)


def network_rows(name: str, weights: Path, batches: Sequence[Tensor]) -> Iterator[tuple[str, list[float]]]:
    """One for each 3 x 3 convolution that is not in groups, on what it sees of the pictures."""
    network = getattr(torchvision.models, name)()
    load_into(network, read_state(weights / f"{name}.safetensors"), weights, ("classifier",))
    network.eval()
    seen: dict[str, list[Tensor]] = {}
    hooks, convs = [], {}
    for path, conv in network.named_modules():
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3) and conv.groups == 1:
            kept = seen.setdefault(path, [])
            hooks.append(conv.register_forward_pre_hook(lambda _, given, kept=kept: kept.append(given[0])))
            convs[path] = conv
    with torch.no_grad():
        for batch in batches:
            network(batch)
    for hook in hooks:
        hook.remove()
    for path, conv in convs.items():
        yield f"{name} `{path}`, {conv.in_channels} to {conv.out_channels}", lost(conv, *seen[path])


def rows(weights: Path, data: Path) -> Iterator[tuple[str, list[float]]]:
    batches = two_batches(data)
    yield from random_rows()
    expanding = []
    for name in NETWORKS:
        for convolution, values in network_rows(name, weights, batches):
            yield convolution, values
            if "expand3x3" in convolution:
                expanding.append(values)
    yield "mean of the `expand3x3`", np.mean(expanding, axis=0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="the folder of the networks' weights")
    parser.add_argument("--data", type=Path, required=True, help="a folder of at least 32 pictures")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"| convolution | {' | '.join(COLUMNS)} |\n{'|---' * (len(COLUMNS) + 1)}|")
    found = {}
    for convolution, values in rows(given.weights, given.data):
        print(f"| {convolution} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)
        found[convolution] = dict(zip(COLUMNS, values, strict=True))
    write_stamped(given.out, lost=found)


if __name__ == "__main__":
    main()
