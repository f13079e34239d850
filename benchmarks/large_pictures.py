"""How much faster large pictures are judged than with plain Pillow, and that ordinary ones are not slower.

Makes its own pictures, runs both ways in turn so that a busy machine slows both, and prints the medians:

    python benchmarks/large_pictures.py --out large_pictures.json
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from handlens.base.files import write_json
from handlens.data.image import JudgingView, judge

PICTURES = {
    "12 megapixels": ((4000, 3000), "JPEG"),
    "12 megapixels, PNG": ((4000, 3000), "PNG"),
    "ordinary": ((500, 375), "JPEG"),
}
SIZE = 224


def make_picture(path: Path, size: tuple[int, int], picture_format: str) -> None:
    """Write a picture of smooth shades and sensor noise, which compresses about as a photograph does."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shades = [
        128 + 90 * np.sin(x / 211 + y / 307 + band) * np.cos(y / 173 - x / 997 * band) for band in range(3)
    ]
    noise = np.random.default_rng(0).normal(0, 8, (height, width, 3))
    pixels = (np.stack(shades, axis=-1) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, picture_format, quality=90)


def plain(path: Path) -> np.ndarray:
    """What everybody writes."""
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB").resize((SIZE, SIZE)))


def ours(path: Path) -> np.ndarray:
    """The judging view."""
    return judge(path, JudgingView(size=SIZE))


def interleave(path: Path, ways: dict[str, Callable[[Path], np.ndarray]], rounds: int) -> dict[str, float]:
    """The median time of each way, in milliseconds."""
    times_ms: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way(path)
            times_ms[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(times) for name, times in times_ms.items()}


def measure(folder: Path, rounds: int) -> list[dict[str, float | str]]:
    """One row a kind of picture."""
    rows: list[dict[str, float | str]] = []
    for name, (size, picture_format) in PICTURES.items():
        path = folder / f"{size[0]}.{picture_format.lower()}"
        make_picture(path, size, picture_format)
        difference = np.abs(ours(path).astype(int) - plain(path)).mean()
        # Small pictures take so little time that they need more rounds for a steady median.
        medians = interleave(path, {"plain": plain, "ours": ours}, rounds * (1 if max(size) > 1000 else 20))
        rows.append(
            {
                "pictures": name,
                "size_mib": path.stat().st_size / 2**20,
                "plain_ms": medians["plain"],
                "handlens_ms": medians["ours"],
                "ratio": medians["plain"] / medians["ours"],
                "mean_difference_levels": float(difference),
            }
        )
    return rows


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    parser.add_argument("--rounds", type=int, default=15, help="how often each large picture is judged")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), arguments.rounds)
    print(f"{'pictures':<20} {'plain':>10} {'handlens':>10} {'ratio':>7} {'difference':>12}")
    for row in rows:
        print(
            f"{row['pictures']:<20} {row['plain_ms']:>7.1f} ms {row['handlens_ms']:>7.1f} ms"
            f" {row['ratio']:>6.2f}x {row['mean_difference_levels']:>5.2f} levels"
        )
    if arguments.out:
        versions = {"python": platform.python_version(), "pillow": PIL.__version__}
        write_json(arguments.out, {"versions": versions, "rows": rows})


if __name__ == "__main__":
    main()
