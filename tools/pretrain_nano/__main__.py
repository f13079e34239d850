"""The command that teaches the network of the package; the same command goes on after a stop."""

import argparse
import os
from dataclasses import fields
from pathlib import Path

import torch

from pretrain_nano.networks import NETWORKS
from pretrain_nano.plan import Plan
from pretrain_nano.teach import teach

CHOICES = {"network": list(NETWORKS)}


def main() -> None:
    """Read the options, teach, say where the weights are."""
    parser = argparse.ArgumentParser(prog="python -m pretrain_nano", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("build/nano"), help="folder for weights, curve, state"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, (os.cpu_count() or 2) - 1),
        help="processes that draw; pictures do not depend on it",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that learn, on a processor")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--kept", type=Path, help="folder for the drawn pictures, to compare networks on them"
    )
    for field in fields(Plan):
        kind = type(field.default)
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            choices=CHOICES.get(field.name),
        )
    chosen = vars(parser.parse_args())
    out, workers, threads, device, kept = (
        chosen.pop(name) for name in ("out", "workers", "threads", "device", "kept")
    )
    torch.set_num_threads(threads)
    teach(Plan(**chosen), out, workers, torch.device(device), kept)
    print(f"Weights: {out / 'nano.safetensors'}")


if __name__ == "__main__":
    main()
