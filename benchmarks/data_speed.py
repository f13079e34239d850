"""How fast pictures are expanded and frames are cut, beside a plain loop that makes the same files.

    python benchmarks/data_speed.py expand --out expand.json
    python benchmarks/data_speed.py frames --out frames.json
    python benchmarks/data_speed.py expand --data photos
    python benchmarks/data_speed.py frames --videos froth.avi

The plain loop is what a person would write, in one thread: a picture is opened with Pillow, once for all
that is made of it by the same operations with the same numbers; or all of a video is decoded with PyAV and
the wanted frames become pictures by `to_image()`; and Pillow saves with the same settings. Handlens does
more in its time: it reads and checks all files first, judges every frame and makes its thumbnail, and writes
a manifest. Whether both made the same pictures is looked at in every round.

Both sides take turns on the same two cores, and a ratio is the median over the rounds: machines are shared.
"CPU" is the ratio by the processor's time instead, times two: what two cores with nothing else to do could
reach at most. Pictures and videos are drawn where none are given.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageChops

from handlens.data.expand import expand
from handlens.data.expand_plan import ExpandSpec
from handlens.data.footage import FramesSpec
from handlens.data.frames import cut_frames
from handlens.data.made import JPEG_QUALITY
from handlens.data.moments import MomentsSpec
from handlens.data.operations import chance_of
from handlens.data.png import LEVEL
from handlens.data.samples import Samples
from stamped import write_stamped

BAR = 1.7
"""What Handlens is to be at least, in times the plain loop's speed."""
CORES = 2
COMPARED = 20
"""Pictures of a folder that are compared pixel by pixel."""

Work = Callable[[Path], int]
"""Makes files below a folder and tells how many."""


def saved(picture: Image.Image, path: Path) -> None:
    """As Handlens saves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        picture.save(path, compress_level=LEVEL)
    else:
        picture.save(path, quality=JPEG_QUALITY, subsampling=0)


# What is worked on, where nothing is given


def scenery(width: int, height: int, seed: int) -> np.ndarray:
    """Coarse and fine structure, as on a photographed surface."""
    chance = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for step, strength in ((64, 40), (16, 25), (4, 12)):
        drawn = chance.integers(0, 255, (height // step + 2, width // step + 2, 3)).astype(np.uint8)
        grown = Image.fromarray(drawn).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(grown, np.float32) - 128) * (strength / 74)
    return total + 128


def drawn_pictures(folder: Path, suffix: str, num: int, size: tuple[int, int]) -> Path:
    """Two classes of pictures."""
    for number in range(num):
        noise = np.random.default_rng(number).normal(0, 4, (size[1], size[0], 3))
        pixels = np.clip(scenery(*size, seed=number) + noise, 0, 255).astype(np.uint8)
        path = folder / f"class{number % 2}" / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **({} if suffix == ".png" else {"quality": 90}))
    return folder


def drawn_video(path: Path, codec: str, num: int, size: tuple[int, int]) -> Path:
    """A camera that moves over a surface, 25 frames a second with a key frame every two seconds."""
    import av
    from av.video.reformatter import Colorspace

    width, height = size
    wide = scenery(width + 2 * num, height, seed=0)
    noise = [np.random.default_rng(seed).normal(0, 3, (height, width, 1)) for seed in range(5)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # Untold, players take high definition for BT.709, and PyAV does not.
        stream.codec_context.colorspace = Colorspace.SMPTE170M
        stream.codec_context.gop_size, stream.codec_context.bit_rate = 50, 8_000_000
        for number in range(num):
            pixels = wide[:, 2 * number : 2 * number + width] + noise[number % 5]
            frame = av.VideoFrame.from_ndarray(np.clip(pixels, 0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# Expansion


def handlens_expands(data: Path, recipe: str) -> Work:
    def work(out: Path) -> int:
        made = expand(Samples.read(data), data, out, ExpandSpec.load(recipe))
        return made.num_made

    return work


def plain_expands(manifest: Path, recipe: str) -> Work:
    """The loop that makes the same pictures as a manifest of Handlens tells."""
    operations = {each.operation: each for each in ExpandSpec.load(recipe).operations}
    samples = Samples.from_manifest(manifest)
    paths = dict(samples.table.select("id", "path").iter_rows())
    made = samples.table.filter(pl.col("made_by") == "expand")
    folder = manifest.parent

    def work(out: Path) -> int:
        for (parent,), rows in made.group_by("parent", maintain_order=True):
            with Image.open(paths[parent]) as opened:
                picture = opened.convert("RGB")
            for row in rows.iter_rows(named=True):
                operation = operations[row["operation"]]
                generator = chance_of(operation.operation, row["parent_digest"], row["number"], row["seed"])
                new = operation.apply(picture, operation.draw(generator), generator)
                saved(new, out / Path(row["path"]).relative_to(folder))
        return len(made)

    return work


def measure_expand(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Pictures a second of `handlens expand`, by recipe and format."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        sets = {str(path): path for path in arguments.data}
        if not sets:
            for suffix, size in ((".jpg", (1280, 960)), (".png", (640, 480))):
                folder = Path(temporary) / "data" / suffix[1:]
                name = f"{arguments.num} x {suffix} of {size[0]} x {size[1]}"
                sets[name] = drawn_pictures(folder, suffix, arguments.num, size)
        for name, data in sets.items():
            for recipe in arguments.recipes:
                ours = handlens_expands(data, recipe)
                reference = Path(temporary) / "reference"
                with fresh(reference):
                    ours(reference)
                    plain = plain_expands(reference / "samples.csv", recipe)
                    rows.append(compared(f"{name}, {recipe}", ours, plain, Path(temporary), arguments.rounds))
    return rows


# Frames


def handlens_cuts(video: Path, every: str) -> Work:
    spec = FramesSpec(moments=MomentsSpec(every=every), screening=None)

    def work(out: Path) -> int:
        return len(cut_frames([video], out, spec).samples)

    return work


def plain_cuts(video: Path, manifest: Path) -> Work:
    """The loop that saves the same frames as a manifest of Handlens tells."""
    import av

    table = Samples.from_manifest(manifest).table
    names = dict(zip(table["frame"].to_list(), table["path"].to_list(), strict=True))
    folder = manifest.parent

    def work(out: Path) -> int:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            for number, frame in enumerate(container.decode(stream)):
                if number in names:
                    saved(frame.to_image(), out / Path(names[number]).relative_to(folder))
        return len(names)

    return work


def measure_frames(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Pictures a second of `handlens frames`, by video and step."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        videos = {path.name: path for path in arguments.videos}
        if not videos:
            for codec, suffix, size in (("libx264", ".mp4", (1280, 720)), ("mpeg4", ".avi", (640, 480))):
                path = Path(temporary) / "data" / f"{codec}{suffix}"
                name = f"{codec}, {size[0]} x {size[1]}, {arguments.num / 25:g} s"
                videos[name] = drawn_video(path, codec, arguments.num, size)
        for name, video in videos.items():
            for every in arguments.every:
                ours = handlens_cuts(video, every)
                reference = Path(temporary) / "reference"
                with fresh(reference):
                    ours(reference)
                    plain = plain_cuts(video, reference / "samples.csv")
                    rows.append(
                        compared(f"{name}, every {every}", ours, plain, Path(temporary), arguments.rounds)
                    )
    return rows


# Comparing


@contextmanager
def fresh(folder: Path) -> Iterator[None]:
    """A folder that is not there before, nor afterwards; and nothing is remembered of files read before."""
    cache = folder.parent / "cache"
    os.environ["HANDLENS_CACHE"] = str(cache)
    for each in (folder, cache):
        shutil.rmtree(each, ignore_errors=True)
    yield
    shutil.rmtree(folder, ignore_errors=True)


def timed(work: Work, out: Path) -> tuple[float, float]:
    """Pictures a second, and a second of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    num = work(out)
    return num / (time.perf_counter() - wall), num / (time.process_time() - processor)


def compared(name: str, ours: Work, plain: Work, folder: Path, rounds: int) -> dict[str, Any]:
    """Both in turns, and whether they made the same."""
    work = {"plain": plain, "handlens": ours}
    wall: dict[str, list[float]] = {side: [] for side in work}
    processor: dict[str, list[float]] = {side: [] for side in work}
    apart = 0
    for number in range(rounds):
        with fresh(folder / "plain"), fresh(folder / "handlens"):
            for side in sorted(work, reverse=bool(number % 2)):
                speeds = timed(work[side], folder / side)
                wall[side].append(speeds[0])
                processor[side].append(speeds[1])
            apart = max(apart, levels_apart(folder / "plain", folder / "handlens"))
    ratios = [ours / plain for plain, ours in zip(wall["plain"], wall["handlens"], strict=True)]
    row = {
        "work": name,
        "plain_a_second": statistics.median(wall["plain"]),
        "handlens_a_second": statistics.median(wall["handlens"]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "at_most": CORES * statistics.median(processor["handlens"]) / statistics.median(processor["plain"]),
        "levels_apart": apart,
    }
    print(
        f"| {name} | {row['plain_a_second']:.1f} | {row['handlens_a_second']:.1f} | **{row['ratio']:.2f}** | "
        f"{min(ratios):.2f} to {max(ratios):.2f} | {row['at_most']:.2f} | {apart} |",
        flush=True,
    )
    return row


def levels_apart(one: Path, other: Path) -> int:
    """The largest difference over pictures of both folders, which must hold the same ones."""
    names = pictures(one)
    assert names == pictures(other), "they made different files"
    largest = 0
    for name in names[:: max(1, len(names) // COMPARED)]:
        difference = ImageChops.difference(Image.open(one / name), Image.open(other / name))
        largest = max(largest, *(high for _, high in difference.getextrema()))
    return largest


def pictures(folder: Path) -> list[Path]:
    """Those below a folder, without the thumbnails in hidden ones."""
    found = [path.relative_to(folder) for suffix in ("jpg", "png") for path in folder.rglob(f"*.{suffix}")]
    return sorted(path for path in found if not path.parts[0].startswith("."))


def on_two_cores() -> None:
    """Where the system can, no more cores than these are used by either side."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    os.cpu_count = os.process_cpu_count = lambda: CORES  # type: ignore[assignment,attr-defined]


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    expanding = commands.add_parser("expand", help=measure_expand.__doc__)
    expanding.add_argument("--data", type=Path, nargs="+", default=[], help="folders with a folder a class")
    expanding.add_argument("--recipes", nargs="+", default=["graphite", "minerals"])
    expanding.add_argument("--num", type=int, default=60, help="pictures to draw where none are given")
    expanding.set_defaults(measure=measure_expand)
    cutting = commands.add_parser("frames", help=measure_frames.__doc__)
    cutting.add_argument("--videos", type=Path, nargs="+", default=[])
    cutting.add_argument("--every", nargs="+", default=["1s", "10f", "1f"])
    cutting.add_argument("--num", type=int, default=500, help="frames to draw where no video is given")
    cutting.set_defaults(measure=measure_frames)
    for command in (expanding, cutting):
        command.add_argument("--rounds", type=int, default=5)
        command.add_argument("--out", type=Path, help="a JSON file for the numbers")
    arguments = parser.parse_args(words)
    on_two_cores()
    print("| work | plain loop, pictures/s | Handlens, pictures/s | times | rounds | CPU | levels apart |")
    print("|---|---|---|---|---|---|---|")
    rows = arguments.measure(arguments)
    lowest = min(row["ratio"] for row in rows)
    print(f"The lowest is {lowest:.2f} times; the bar is {BAR}: {'reached' if lowest >= BAR else 'missed'}.")
    write_stamped(arguments.out, rounds=arguments.rounds, bar=BAR, cores_used=CORES, rows=rows)


if __name__ == "__main__":
    main()
