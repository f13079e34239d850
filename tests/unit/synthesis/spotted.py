"""Small pictures of a plain surface and of one with dark spots, already split."""

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from handlens.data.samples import Samples

SPOTTED, PLAIN = "点 spots", "plain"


def draw(label: str, number: int, size: int = 32) -> Image.Image:
    """A grainy surface; of the spotted class one dark spot lies somewhere in it."""
    chance = np.random.default_rng([number, len(label)])
    values = chance.normal(150, 4, (size, size))
    if label == SPOTTED:
        x, y, width, height = chance.uniform((0.2, 0.2, 0.07, 0.07), (0.8, 0.8, 0.16, 0.16)) * size
        down, across = np.mgrid[:size, :size]
        values[((across - x) / width) ** 2 + ((down - y) / height) ** 2 < 1] -= 90
    grey = np.clip(values, 0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([grey, grey, 255 - grey // 2], axis=-1))


def draw_folder(
    root: Path, num_spotted: int = 8, num_plain: int = 10, size: int = 32, test: int = 4
) -> Samples:
    """Pictures in class folders with names of all kinds; the last ones of each class are the test side."""
    rows = []
    for label, num in ((SPOTTED, num_spotted), (PLAIN, num_plain)):
        for number in range(num + test):
            path = root / label / f"bild {number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(label, number, size).save(path)
            side = "train" if number < num else "test"
            rows.append((f"{label}/{path.name}", str(path), label, f"{label}/{path.name}", side))
    table = pl.DataFrame(rows, schema=["id", "path", "label", "group", "split"], orient="row")
    return Samples(table, root)
