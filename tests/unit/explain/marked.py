"""Pictures with a drawn defect whose place is known."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from handlens.data.samples import Samples

SIZE = 96
DEFECT, GOOD = "点 defect", "good"

RECIPE = {
    "name": "toy",
    "views": {"judge": {"size": 160}},
    "model": {"backbone": "handlens/nano", "weights": "bundled"},
    "train": {"epochs": 20, "folds": 0, "precision": "float32"},
}


def draw(number: int, defective: bool, size: int = SIZE) -> tuple[Image.Image, NDArray[np.bool_]]:
    """A grainy surface with soft waves; a defect is one dark and bright checked spot somewhere in it."""
    chance = np.random.default_rng([number, defective])
    down, across = np.mgrid[:size, :size]
    values = 140 + 12 * np.sin(across / 9 + chance.uniform(0, 6)) + chance.normal(0, 6, (size, size))
    x, y = chance.uniform(0.22, 0.78, 2) * size
    mask = (across - x) ** 2 + (down - y) ** 2 < (0.13 * size) ** 2
    if defective:
        values = np.where(mask, 128 + 100 * np.sign(np.sin(across * 1.1) * np.sin(down * 1.1)), values)
    grey = np.clip(values, 0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([grey] * 3, axis=-1)), mask & defective


def draw_folder(root: Path, num: int = 24, num_test: int = 8) -> Samples:
    """Both classes with a column of masks, already split."""
    rows = []
    for defective, label in ((True, DEFECT), (False, GOOD)):
        for at in range(num + num_test):
            name = f"{label}/bild {at:02d}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            picture, mask = draw(at, defective)
            picture.save(root / name)
            side = "train" if at < num else "test"
            kept = None
            if defective:
                kept = f"masks/{at:02d}.png"
                (root / "masks").mkdir(exist_ok=True)
                Image.fromarray(mask).save(root / kept)
            rows.append((name, str(root / name), label, name, side, kept))
    columns = ["id", "path", "label", "group", "split", "mask"]
    return Samples(pl.DataFrame(rows, schema=columns, orient="row"), root)
