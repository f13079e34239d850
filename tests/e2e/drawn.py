"""Small pictures for the end-to-end tests, and the settings that make a run on them quick."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Command = Callable[..., subprocess.CompletedProcess[str]]

# Quick on two busy cores, and nothing is downloaded.
SMALL = ("--set", "model.backbone=handlens/nano", "--set", "model.weights=bundled")
SMALL += ("--set", "views.judge.size=64", "--set", "train.epochs=4", "--set", "train.folds=2")


def draw(path: Path, kind: int, seed: int, size: tuple[int, int] = (90, 70)) -> None:
    """A picture of stripes (0), spots (1) or noise (2)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    phase = generator.uniform(0, 6)
    waves = {
        0: np.sin(x / 3 + phase),
        1: np.sin(x / 4 + phase) * np.sin(y / 4),
        2: generator.normal(0, 1, x.shape),
    }
    pixels = 128 + 70 * waves[kind][..., None] + generator.normal(0, 12, (*x.shape, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)


def draw_folder(
    root: Path, num: int = 12, names: tuple[str, ...] = ("stripes", "spots", "石墨 noise")
) -> Path:
    for kind, name in enumerate(names):
        for number in range(num):
            draw(root / name / f"picture {number:02}.png", kind, seed=1000 * kind + number)
    return root
