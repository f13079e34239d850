"""How well and how fast copies are found.

    PYTHONPATH=tools python benchmarks/data_copies.py copies --out copies.json
    python benchmarks/data_copies.py shared FOLDER_OF_SETS --out shared.json
    PYTHONPATH=tools python benchmarks/data_copies.py scale --out scale.json

`copies` draws pictures, adds altered copies of some, and tells recall by alteration and precision over
pairs, after each step of the search. Precision among pictures that merely differ would mean little, so these
are easily mistaken for each other, though none counts as a copy of another. A fifth are specimens, five shots
of each, at places of it that overlap in part, turned by any angle, under another lamp. A fifth are crops of
larger drawings, five of each: four neighbours side by side, and the middle, which shares a quarter with each
of them. All others are two pieces of each of many materials, drawn with the same settings, many of them as
the same kind of object before a plain background.
`shared` names the copies in folders of real pictures. `scale` draws thumbnails and measures time and memory.
Times are told twice: by the clock, and what the processor worked, which hardly depends on other programs.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from handlens.data.copies import Confirm, Copies, CopySpec, by_features, find_copies
from handlens.data.fingerprints import coefficients, thumbnails
from handlens.data.image import PIXEL_LIMIT, SUFFIXES
from handlens.data.near import near_pairs
from handlens.data.neighbours import Pairs, candidates
from handlens.data.scan import FileFacts, scan
from stamped import write_stamped

Chance = np.random.Generator
Alter = Callable[[Image.Image, Chance], Image.Image]

LONG_AGO = 1_600_000_000
"""Facts of files just written are not remembered, as they might be written again."""
PICTURES_OF_ONE = 5
"""Shots of a specimen, and crops of a sheet."""
MATERIALS_AT_ONCE = 48
SHEETS_AT_ONCE = 12


# What is done to a copy


def reencoded(picture: Image.Image, chance: Chance) -> Image.Image:
    """Saved again as JPEG, from poor to good."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(chance.integers(30, 90)))
    return Image.open(stream).convert("RGB")


def resized(picture: Image.Image, chance: Chance) -> Image.Image:
    """From half the size to one and a half times."""
    factor = chance.uniform(0.5, 1.5)
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.resize(size, Image.Resampling.LANCZOS)


def cropped(picture: Image.Image, chance: Chance) -> Image.Image:
    """Of width and height 95 % are left, somewhere."""
    width, height = round(picture.width * 0.95), round(picture.height * 0.95)
    left, top = (
        int(chance.integers(0, room + 1)) for room in (picture.width - width, picture.height - height)
    )
    return picture.crop((left, top, left + width, top + height))


def trimmed(picture: Image.Image, chance: Chance) -> Image.Image:
    """On each of the four sides 5 % are cut away."""
    across, down = round(picture.width * 0.05), round(picture.height * 0.05)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def flipped(picture: Image.Image, chance: Chance) -> Image.Image:
    """Mirrored in one of four ways."""
    ways = ("FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "TRANSPOSE", "TRANSVERSE")
    return picture.transpose(Image.Transpose[str(chance.choice(ways))])


def turned(picture: Image.Image, chance: Chance) -> Image.Image:
    """By one, two or three right angles."""
    return picture.transpose(Image.Transpose[str(chance.choice(("ROTATE_90", "ROTATE_180", "ROTATE_270")))])


def brightened(picture: Image.Image, chance: Chance) -> Image.Image:
    """Up to 40 % brighter or darker, with up to a quarter more or less contrast; the brightest is cut off."""
    factor = chance.uniform(1.15, 1.4) ** chance.choice((-1, 1))
    return ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(factor)).enhance(
        chance.uniform(0.8, 1.25)
    )


def all_at_once(picture: Image.Image, chance: Chance) -> Image.Image:
    """Cropped, turned, brightened, resized and saved again."""
    for alter in (cropped, chance.choice((flipped, turned)), brightened, resized, reencoded):
        picture = alter(picture, chance)
    return picture


ALTERATIONS: dict[str, Alter] = {
    each.__name__: each for each in (reencoded, resized, cropped, flipped, turned, brightened)
}
HARDER: dict[str, Alter] = {each.__name__: each for each in (trimmed, all_at_once)}
"""Told too, but not part of the recall over all."""


# Pictures


@dataclass(frozen=True)
class Drawing:
    """A picture, and which others are easily mistaken for it: those of the same family."""

    picture: Image.Image
    kind: str
    family: int


@dataclass(frozen=True)
class MadeSet:
    """Drawings in files, some of them with an altered copy."""

    paths: list[str]
    originals: list[int]
    """The number of the drawing that each file shows."""
    alterations: list[str]
    """What was done to it; nothing, where it is empty."""
    kinds: list[str]
    """Of each drawing."""
    families: list[int]
    """Of each drawing."""

    def relation(self, one: int, other: int) -> str:
        """How two files belong together."""
        first, second = self.originals[one], self.originals[other]
        if first == second:
            return "copy"
        alike = (self.kinds[first], self.families[first]) == (self.kinds[second], self.families[second])
        return self.kinds[first] if alike else "unrelated"


def drawn(number: int, size: int, seed: int, look_alikes: bool = True) -> Iterator[Drawing]:
    """Different pictures, those of a family one after the other."""
    import torch

    from pretrain_nano.drawing import draw_batch

    families = number // 5 // PICTURES_OF_ONE if look_alikes else 0
    chance = torch.Generator().manual_seed(seed)
    yield from _shots(families, size, seed)
    for first in range(0, families, SHEETS_AT_ONCE):
        sheets = draw_batch(min(SHEETS_AT_ONCE, families - first), 1, 2 * size, chance).pictures
        for family, sheet in enumerate(sheets.permute(0, 2, 3, 1).numpy(), first):
            yield from (Drawing(crop, "neighbours", family) for crop in _crops(Image.fromarray(sheet), size))
    left = number - 2 * families * PICTURES_OF_ONE
    for place in range(0, left, 2 * MATERIALS_AT_ONCE):
        batch = draw_batch(MATERIALS_AT_ONCE, 2, size, chance).pictures[: left - place]
        for row, pixels in enumerate(batch.permute(0, 2, 3, 1).numpy(), place):
            yield Drawing(Image.fromarray(pixels), "material", row // 2)


def _shots(families: int, size: int, seed: int) -> Iterator[Drawing]:
    from handlens.data.surfaces import MATERIALS, draw_specimen

    names = list(MATERIALS)
    for family in range(families):
        piece = draw_specimen(names[family % len(names)], family // len(names), size, seed)
        yield from (Drawing(piece.picture(shot), "specimen", family) for shot in range(PICTURES_OF_ONE))


def _crops(sheet: Image.Image, size: int) -> Iterator[Image.Image]:
    """The quarters of a sheet, and the middle of it."""
    corners = [(0, 0), (size, 0), (0, size), (size, size), (size // 2, size // 2)]
    yield from (sheet.crop((left, top, left + size, top + size)) for left, top in corners)


def draw_set(
    folder: Path, number: int, copies: int, size: int, seed: int, look_alikes: bool = True
) -> MadeSet:
    """Draw pictures, and so many altered copies of some by each alteration."""
    chance = np.random.default_rng(seed)
    ways = ALTERATIONS | HARDER
    copied = chance.choice(number, min(copies * len(ways), number), replace=False)
    way_of = dict(zip(copied.tolist(), [way for way in ways for _ in range(copies)], strict=False))
    made = MadeSet([], [], [], [], [])

    def keep(picture: Image.Image, name: str, original: int, alteration: str) -> None:
        path = folder / f"{name}.jpg"
        picture.save(path, "JPEG", quality=92)
        os.utime(path, (LONG_AGO, LONG_AGO))
        made.paths.append(str(path))
        made.originals.append(original)
        made.alterations.append(alteration)

    for original, drawing in enumerate(drawn(number, size, seed, look_alikes)):
        made.kinds.append(drawing.kind)
        made.families.append(drawing.family)
        keep(drawing.picture, f"{original:06d}", original, "")
        way = way_of.get(original)
        if way is not None:
            keep(ways[way](drawing.picture, chance), f"{original:06d}-{way}", original, way)
    return made


# What is measured


def scores(together: Iterable[tuple[int, int]], made: MadeSet) -> dict[str, Any]:
    """Recall by alteration, and precision, of pairs of files that count as copies, each of them once."""
    pairs = set(together)
    row_of = {original: row for row, original in enumerate(made.originals) if not made.alterations[row]}
    hit: dict[str, list[bool]] = {way: [] for way in (*ALTERATIONS, *HARDER)}
    for row, way in enumerate(made.alterations):
        if way:
            hit[way].append((row_of[made.originals[row]], row) in pairs)
    relations = Counter(made.relation(one, other) for one, other in pairs)
    right = relations.pop("copy", 0)
    return {
        "recall": {way: float(np.mean(found)) for way, found in hit.items() if found},
        "copies": {way: len(found) for way, found in hit.items()},
        "recall_over_all": float(np.mean([found for way in ALTERATIONS for found in hit[way]])),
        "precision": right / len(pairs) if pairs else 1.0,
        "pairs": len(pairs),
        "wrong": dict(relations),
    }


def _in_clusters(copies: Copies) -> Iterator[tuple[int, int]]:
    for cluster in copies.clusters:
        yield from combinations(sorted(cluster.rows), 2)


def _ends(pairs: Pairs) -> Iterator[tuple[int, int]]:
    yield from zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)


def steps_of(facts: Sequence[FileFacts], made: MadeSet, spec: CopySpec, cache: Path) -> dict[str, Any]:
    """What is left after each step of the search: copies, if possible, and ever fewer others."""
    waves = coefficients(thumbnails(facts, cache=cache).levels)
    laid = near_pairs(facts, spec.neighbours, cache=cache)
    doubtful = laid.pairs.only(laid.similarity >= spec.doubtful)
    return {
        "nearest hashes": scores(_ends(candidates(waves, spec.neighbours)), made),
        "thumbnails laid over": scores(_ends(laid.pairs), made),
        "larger pictures, in doubt too": scores(_ends(doubtful), made),
    }


def found_among(paths: Sequence[Path], cache: Path) -> tuple[list[FileFacts], Copies, dict[str, float]]:
    """The copies among some files, and how many seconds each part took."""
    start = _now()
    facts = scan(paths, cache=cache)
    scanned = _now()
    copies = find_copies(facts, CopySpec(), cache=cache)
    found = _now()
    times = {}
    for part, taken in (("scan", scanned - start), ("copies", found - scanned)):
        times[f"{part}_s"], times[f"{part}_cpu_s"] = taken.tolist()
    return facts, copies, times


def _now() -> NDArray[np.float64]:
    """The time by the clock, and what the processor has worked."""
    return np.array([time.perf_counter(), time.process_time()])


def by_network(facts: Sequence[FileFacts]) -> Confirm:
    """What decides pairs in doubt in a full audit: the features of the network that Handlens brings."""
    import polars as pl

    from handlens.audit.quick_head import turned_features
    from handlens.audit.spec import AuditSpec
    from handlens.data.samples import Samples
    from handlens.data.views import ViewsSpec
    from handlens.training.device import choose_device
    from handlens.training.extract import Extractor

    spec = AuditSpec()
    views = ViewsSpec(judge=spec.view)
    extractor = Extractor(spec.model, views, choose_device("auto"), PIXEL_LIMIT)
    table = {"path": [str(each.path) for each in facts], "digest": [each.digest for each in facts]}
    return by_features(turned_features(Samples(pl.DataFrame(table), Path("/")), extractor))


def measure_copies(arguments: argparse.Namespace) -> None:
    """Recall and precision on a made set."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        made = draw_set(place, arguments.pictures, arguments.copies, arguments.size, arguments.seed)
        paths = [Path(path) for path in made.paths]
        facts, copies, times = found_among(paths, place / "cache")
        told = scores(_in_clusters(copies), made)
        asked = find_copies(facts, CopySpec(), by_network(facts), cache=place / "cache")
        steps = steps_of(facts, made, CopySpec(), place / "cache")
        steps["larger pictures alone"] = told
        steps["doubt decided by features"] = scores(_in_clusters(asked), made)
    wrong = [
        cluster.sentence([path.stem for path in paths])
        for cluster in copies.clusters
        if len({made.originals[row] for row in cluster.rows}) > 1
    ]
    num = len(made.kinds)
    alike = Counter(made.kinds[one] for members in _families(made) for one, _ in combinations(members, 2))
    print(
        f"{num} pictures and {len(facts) - num} copies; easily mistaken: {_counted(alike)} pairs of pictures"
    )
    for way, recall in told["recall"].items():
        print(f"  {way:<12} recall {recall:6.3f}  of {told['copies'][way]}")
    print(f"  over all     recall {told['recall_over_all']:6.3f}  (without {', '.join(HARDER)})")
    print(f"  precision {told['precision']:.4f} of {told['pairs']} pairs; wrong: {_counted(told['wrong'])}")
    print(f"  {'after this step':<30} {'pairs':>8} {'recall':>7} {'precision':>9}  wrong")
    for step, left in steps.items():
        figures = f"{left['pairs']:>8} {left['recall_over_all']:>7.3f} {left['precision']:>9.4f}"
        print(f"  {step:<30} {figures}  {_counted(left['wrong'])}")
    print(f"  {_told(times)}")
    for sentence in (*copies.notes, *wrong[:20]):
        print(f"  {sentence}")
    written = {"settings": _settings(arguments), **told, "easily_mistaken": alike, "steps": steps, **times}
    write_stamped(arguments.out, **written, notes=copies.notes, wrong_clusters=wrong)


def _families(made: MadeSet) -> Iterable[list[int]]:
    families: dict[tuple[str, int], list[int]] = {}
    for drawing, family in enumerate(zip(made.kinds, made.families, strict=True)):
        families.setdefault(family, []).append(drawing)
    return families.values()


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(numbers.items())) or "none"


def _told(times: dict[str, float]) -> str:
    parts = {"scan": "to look at the files", "copies": "to find copies"}
    return ", ".join(
        f"{times[f'{part}_s']:.1f} s {what} ({times[f'{part}_cpu_s']:.1f} s of processor time)"
        for part, what in parts.items()
    )


def measure_shared(arguments: argparse.Namespace) -> None:
    """The copies in folders of real pictures, by name."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for folder in sorted(each for each in arguments.data.iterdir() if each.is_dir()):
            paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
            if not paths:
                continue
            _, copies, times = found_among(paths, Path(cache))
            names = [path.relative_to(folder).as_posix() for path in paths]
            exact = [[names[row] for row in each] for each in copies.exact]
            near = [cluster.sentence(names) for cluster in copies.clusters if cluster.kind == "near"]
            rows.append({"set": folder.name, "pictures": len(paths), "exact": exact, "near": near, **times})
            print(
                f"{folder.name}: {len(paths)} pictures, {len(exact)} sets of exact copies,"
                f" {len(near)} of near ones"
            )
            for each in exact:
                print(f"  the same: {', '.join(each)}")
            for sentence in near:
                print(f"  {sentence}")
    write_stamped(arguments.out, sets=rows)


def measure_scale(arguments: argparse.Namespace) -> None:
    """Time and memory for several numbers of thumbnails, each in a process of its own."""
    rows = []
    for number in arguments.numbers:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            place = Path(folder)
            begun = time.perf_counter()
            made = draw_set(place, number, max(number // 100, 1), arguments.size, arguments.seed, False)
            paths = made.paths
            print(f"{len(paths)} thumbnails drawn in {time.perf_counter() - begun:.0f} s", flush=True)
            plan = place / "plan.json"
            plan.write_text(json.dumps(asdict(made)))
            for again in (False, True) if arguments.again else (False,):
                told = subprocess.run(
                    [sys.executable, __file__, "audited", str(plan)],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                row = {"pictures": len(paths), "again": again, **json.loads(told.stdout)}
                rows.append(row)
                print(
                    f"  {'again' if again else 'first'}: {_told(row)}, at most {row['peak_gib']:.2f} GiB;"
                    f" recall {row['recall_over_all']:.3f}, precision {row['precision']:.4f}",
                    flush=True,
                )
    write_stamped(arguments.out, settings=_settings(arguments), rows=rows)


def audited(arguments: argparse.Namespace) -> None:
    """What `measure_scale` runs by itself, so that no memory but that of the search counts."""
    made = MadeSet(**json.loads(arguments.plan.read_text()))
    _, copies, times = found_among([Path(path) for path in made.paths], arguments.plan.parent / "cache")
    # Linux counts it in KiB.
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**times, "peak_gib": peak_gib, **scores(_in_clusters(copies), made)}))


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(arguments).items()
        if name in ("pictures", "copies", "size", "seed")
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    copies = commands.add_parser("copies", help=measure_copies.__doc__)
    copies.add_argument("--pictures", type=int, default=5000)
    copies.add_argument("--copies", type=int, default=200, help="copies by each alteration")
    copies.add_argument("--size", type=int, default=224, help="pixels a side")
    copies.set_defaults(run=measure_copies)
    shared = commands.add_parser("shared", help=measure_shared.__doc__)
    shared.add_argument("data", type=Path, help="a folder of folders of pictures")
    shared.set_defaults(run=measure_shared)
    scale = commands.add_parser("scale", help=measure_scale.__doc__)
    scale.add_argument("--numbers", type=int, nargs="+", default=[10_000, 100_000])
    scale.add_argument("--size", type=int, default=64, help="pixels a side")
    scale.add_argument("--again", action="store_true", help="also when thumbnails are remembered already")
    scale.add_argument("--folder", type=Path, help="where the thumbnails lie meanwhile")
    scale.set_defaults(run=measure_scale)
    alone = commands.add_parser("audited")
    alone.add_argument("plan", type=Path)
    alone.set_defaults(run=audited)
    for command in (copies, shared, scale):
        command.add_argument("--out", type=Path, help="a JSON file for the numbers")
    for command in (copies, scale):
        command.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
