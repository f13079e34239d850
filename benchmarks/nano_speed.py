"""What the candidates for the package's small network cost: size, arithmetic, forward, training.

    export MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=4000000000
    PYTHONPATH=tools python benchmarks/nano_speed.py --out nano_speed.json

The first line keeps memory from going back to the system between the layers. Without it MobileNetV2's large
maps take up to a third longer, or not, by chance.

Forward passes at 224, in batches of 8 on one thread, channels last, as a ratio to MobileNetV2's up to its
last feature map. "folded" is Handlens's frozen pass, where batch norms are folded into convolutions; "as it
is" is without. The networks take turns, and a ratio is the median over the rounds: machines are shared. The
time is that which the process got from the processor. Training is forward and backward of 64 pictures at 112.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import mobilenet_v2

from handlens.training.frozen import fold_batch_norms
from pretrain_nano.networks import NETWORKS
from stamped import write_stamped

REFERENCE = "mobilenet_v2"
WAYS = {
    "float32, folded": (torch.float32, True),
    "float32, as it is": (torch.float32, False),
    "bfloat16, folded": (torch.bfloat16, True),
}
TRAINING = (torch.float32, torch.bfloat16)


def pictures(num: int, size: int) -> Tensor:
    return torch.randn(num, 3, size, size).contiguous(memory_format=torch.channels_last)


def seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def speedups(
    networks: dict[str, nn.Module], dtype: torch.dtype, folded: bool, rounds: int
) -> dict[str, float]:
    """How many times faster each is than the reference, as the median over the rounds."""
    batch = pictures(8, 224).to(dtype)
    ready = {}
    for name, network in networks.items():
        trunk = fold_batch_norms(network.eval()) if folded else deepcopy(network).eval()
        ready[name] = trunk.to(dtype).to(memory_format=torch.channels_last)
    ratios: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for number in range(rounds + 1):
            took = {name: seconds(lambda trunk=trunk: trunk(batch)) for name, trunk in ready.items()}
            for name, value in took.items():
                # The first round warms up.
                if number:
                    ratios[name].append(took[REFERENCE] / value)
    return {name: statistics.median(values) for name, values in ratios.items()}


def taught_a_second(network: nn.Module, dtype: torch.dtype, rounds: int) -> float:
    """Pictures a second of one core, forward and backward, in the best of the rounds."""
    batch = pictures(64, 112)
    network = deepcopy(network).train().to(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            rows = network(batch).float().mean((2, 3))
        rows.square().mean().backward()

    return len(batch) / min(seconds(step) for _ in range(rounds + 1))


def size_of(network: nn.Module) -> dict[str, int]:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(pictures(1, 224))
    return {
        "parameters": sum(weight.numel() for weight in network.parameters()),
        # What is saved: the running statistics of batch norms too, but not their counts.
        "bytes_float16": sum(2 * each.numel() for each in network.state_dict().values() if each.ndim),
        "multiply_adds": counter.get_total_flops() // 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {REFERENCE: mobilenet_v2().features}
    networks |= {name: build() for name, build in NETWORKS.items()}
    found: dict[str, dict[str, Any]] = {name: dict(size_of(network)) for name, network in networks.items()}
    for name, network in networks.items():
        # Running statistics that fit, for activations of an ordinary size.
        with torch.no_grad():
            network.train()(pictures(8, 224))
        found[name]["taught_a_second"] = {
            str(dtype).removeprefix("torch."): taught_a_second(network, dtype, 3) for dtype in TRAINING
        }
    for way, (dtype, folded) in WAYS.items():
        for name, ratio in speedups(networks, dtype, folded, given.rounds).items():
            found[name].setdefault("times_faster", {})[way] = ratio
    taught = [f"taught a second, {str(dtype).removeprefix('torch.')}" for dtype in TRAINING]
    columns = ["network", "parameters", "bytes, float16", "multiply-adds, M", *WAYS, *taught]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, row in found.items():
        cells = [f"{row['parameters']:,}", f"{row['bytes_float16']:,}", f"{row['multiply_adds'] / 1e6:.0f}"]
        cells += [f"{ratio:.2f}" for ratio in row["times_faster"].values()]
        cells += [f"{rate:.0f}" for rate in row["taught_a_second"].values()]
        print(f"| {' | '.join([name, *cells])} |")
    write_stamped(given.out, rounds=given.rounds, networks=found)


if __name__ == "__main__":
    main()
