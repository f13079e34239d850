"""Pictures that are quick to learn, and a recipe for them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from handlens.study.spec import StudySpec

# Nothing is downloaded, and a run takes a fraction of a second.
TINY: dict[str, Any] = {
    "views": {"judge": {"size": 32}},
    "model": {"backbone": "handlens/nano", "weights": "bundled"},
    "train": {"epochs": 2, "folds": 0},
}


def draw_photos(folder: Path, num: int = 10, seed: int = 0) -> Path:
    """Pictures of two classes that differ in brightness, not always enough."""
    for kind, name in enumerate(("dark", "light")):
        for number in range(num):
            rng = np.random.default_rng([seed, kind, number])
            pixels = rng.integers(0, 200, (40, 40, 3)) + 30 * kind
            path = folder / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def parsed(**values: Any) -> StudySpec:
    return StudySpec.parse({"recipe": TINY, **values}, "The study")
