"""How much `handlens sites` should believe the pictures of a site when it adapts batch norms.

    python benchmarks/site_prior.py --data DIR/weld2 DIR/minerals7 DIR/trashnet6 --out site_prior.json

In every draw, pictures are dealt by lot to two or three sites of the same classes. In the kind "by lot"
nothing else happens, so that adapting can only lose. In the kind "made cameras" each site but the first gets
a camera of its own, drawn afresh: gamma, a colour cast, and blur. Each site is left out in turn, as the
command does it.

What is compared is to whose look a site is brought, and how much that counts beside its own: "sites" are all
sites as the network sees them, as the command has it; "network" is what the network learned from, as
Schneider et al. (2020) have it. A prior of 32 counts as 32 pictures of that look. Differences to the site
never seen are over all draws, paired picture by picture, with 95 % intervals over pictures and draws.
"""

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from handlens.data.check import check
from handlens.data.samples import Samples
from handlens.data.sides import Sides
from handlens.evaluate.results import Figure
from handlens.recipe import Recipe
from handlens.study.adapt import HeldTable, Moments, adapted_extractor, adapted_rows, batch_norms
from handlens.study.fewshot import by_head
from handlens.study.hits import Said, Truth, difference_by_training
from handlens.study.sites import LeftOut, Work, left_out_sites, with_sites
from handlens.study.sites_results import SitesSpec
from handlens.training.table import FeatureTable
from stamped import write_stamped

SITES, NETWORK = "sites", "network"
KINDS = ("by lot", "made cameras")
NETWORKS = {
    "handlens/nano": ("model.backbone=handlens/nano", "model.weights=bundled", "views.judge.size=128"),
    "torchvision/mobilenet_v2": (),
}
Setting = tuple[str, int]
"""Whose look, and how many pictures of it count beside those of a site."""


class Camera:
    """A camera of its own: gamma, a colour cast, and blur."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.gamma = 2 ** rng.uniform(-1, 1)
        self.gains = 2 ** rng.uniform(-0.4, 0.4, 3)
        self.blur = rng.uniform(0, 2)

    def taken(self, image: Image.Image) -> Image.Image:
        """What it makes of a picture."""
        light = np.asarray(image, np.float32) / 255
        levels = (255 * np.clip(light**self.gamma * self.gains, 0, 1)).astype(np.uint8)
        return Image.fromarray(levels).filter(ImageFilter.GaussianBlur(self.blur))


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one data set."""

    data: Path
    most: int
    """Pictures at most, of every class as many, and always the same."""
    few: int
    """Pictures of each class at the last site; 0 for as many as at the others."""

    def pictures(self) -> list[tuple[Path, str]]:
        """The pictures and their classes."""
        found = []
        folders = sorted(each for each in self.data.iterdir() if each.is_dir())
        for folder in folders:
            files = sorted(each for each in folder.iterdir() if each.is_file())
            order = np.random.default_rng(len(files)).permutation(len(files))[: self.most // len(folders)]
            found += [(files[at], folder.name) for at in sorted(order)]
        return found

    def dealt(self, labels: Sequence[str], num_sites: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The site of each picture: of every class as many at each, or few at the last."""
        sites = np.empty(len(labels), dtype=np.int64)
        for label in sorted(set(labels)):
            here = rng.permutation(np.flatnonzero(np.array(labels) == label))
            sites[here] = (np.arange(len(here)) + rng.integers(num_sites)) % num_sites
            if self.few:
                last = here[sites[here] == num_sites - 1]
                sites[last[self.few :]] = 0
        return sites

    def samples(self, kind: str, draw: int, folder: Path) -> Samples:
        """One draw, written and read."""
        rng = np.random.default_rng([draw, KINDS.index(kind), *self.data.name.encode()])
        num_sites = 2 + draw % 2
        pictures = self.pictures()
        sites = self.dealt([label for _, label in pictures], num_sites, rng)
        cameras = [Camera(rng) for _ in range(num_sites)]
        rows = [("path", "label", "site")]
        for number, ((path, label), site) in enumerate(zip(pictures, sites.tolist(), strict=True)):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            if kind == "made cameras" and site:
                image = cameras[site].taken(image)
            image.save(folder / f"{number:05d}.png", compress_level=1)
            rows.append((f"{number:05d}.png", label, f"site {site}"))
        with (folder / "table.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return Samples.read(folder / "table.csv")


@dataclass(frozen=True, eq=False)
class Judged:
    """What one draw said of every picture, in the order of the files."""

    targets: NDArray[np.int64]
    groups: tuple[str, ...]
    said: Mapping[Setting | None, NDArray[np.int64]]
    """By setting; None is the network as it is."""


def judged(recipe: Recipe, samples: Samples, settings: Sequence[Setting], seed: int) -> Judged:
    """Leave each site out in turn, one training each."""
    spec = SitesSpec(column="site", seeds=1)
    placed, _ = with_sites(check(samples, recipe.data), spec.column, recipe.data.pixel_limit)
    sides, names = Sides.of(placed), placed.table[spec.column].to_list()
    work = Work(recipe, sides, names, spec)
    sites = left_out_sites(sides, names, spec.column)
    learned = [Moments.learned(norm) for norm in batch_norms(work.extractor.trunk)]
    tables: dict[Setting | None, FeatureTable] = {None: work.table}
    for whose, prior in settings:
        tables[whose, prior] = renormed(work, work.usual if whose == SITES else learned, prior)
    order = np.argsort(sides.ids)
    return Judged(
        sides.targets[order],
        tuple(sides.groups[at] for at in order),
        {setting: said_of(work, sites, table, seed)[order] for setting, table in tables.items()},
    )


def renormed(work: Work, usual: Sequence[Moments], prior: int) -> FeatureTable:
    """`Work.renormed` with another look and another prior."""
    values, site = work._values(), np.array(work.names)
    for name, told in work.shots_by_site.items():
        here = np.flatnonzero(site == name)
        adapted = adapted_extractor(work.extractor, told, usual, prior)
        values[:, here] = adapted_rows(adapted, [work.sides.shots[place] for place in here], name)
    return HeldTable(values)


def said_of(work: Work, sites: Sequence[LeftOut], table: FeatureTable, seed: int) -> NDArray[np.int64]:
    """What every picture is called by a head that learned from the other sites."""
    called = np.full(len(work.sides.ids), -1, dtype=np.int64)
    for site in sites:
        called[site.judged] = by_head(work.lesson(table, site.others, site.judged, seed))
    return called


def told(draws: Sequence[Sequence[Judged]]) -> dict[Setting | None, tuple[Figure, Figure | None]]:
    """Figure and difference of every setting over data sets (outer) and draws (inner)."""
    targets = np.concatenate([each[0].targets for each in draws])
    groups = tuple(f"{at} {group}" for at, each in enumerate(draws) for group in each[0].groups)
    truth = Truth(targets, groups)
    rows: dict[Setting | None, Said] = {
        setting: np.concatenate([np.stack([draw.said[setting] for draw in each]) for each in draws], axis=1)
        for setting in draws[0][0].said
    }
    found = dict(zip(rows, truth.measured(list(rows.values())), strict=True))
    return {
        setting: (
            truth.figure_of(row),
            truth.difference(difference_by_training(row, found[None], truth.basis)) if setting else None,
        )
        for setting, row in found.items()
    }


def points(figure: Figure) -> str:
    """'+3.1 (-0.2 to +6.4)'."""
    return f"{100 * figure.value:+.1f} ({100 * figure.low:+.1f} to {100 * figure.high:+.1f})"


def of_kind(given: argparse.Namespace, network: str, kind: str) -> list[dict[str, Any]]:
    """All draws of one kind with one network, and their table."""
    recipe = Recipe.load("quick", NETWORKS[network])
    settings = given.settings
    draws: list[list[Judged]] = []
    for path in given.data:
        drawn = Drawn(path, given.pictures, given.few)
        draws.append([])
        for draw in range(given.first, given.first + given.draws):
            with tempfile.TemporaryDirectory() as scratch:
                os.environ["HANDLENS_CACHE"] = str(Path(scratch) / "cache")
                samples = drawn.samples(kind, draw, Path(scratch))
                draws[-1].append(judged(recipe, samples, settings, draw))
    by_data = {path.name: told([each]) for path, each in zip(given.data, draws, strict=True)}
    by_data["all"] = told(draws)
    print(f"\n| {network}, {kind} | prior | {' | '.join(by_data)} |\n|---|--:|{'---|' * len(by_data)}")
    found = []
    for each_setting in (None, *settings):
        figures = {name: each[each_setting] for name, each in by_data.items()}
        words = [points(gap) if gap else f"{100 * own.value:.1f} %" for own, gap in figures.values()]
        whose, prior = each_setting or ("as it is", "")
        print(f"| {whose} | {prior} | {' | '.join(words)} |", flush=True)
        told_as = {
            name: {"accuracy": own.value, "difference": gap and gap.model_dump(mode="json")}
            for name, (own, gap) in figures.items()
        }
        found.append({"network": network, "kind": kind, "look": whose, "prior": prior, "figures": told_as})
    return found


def setting(words: str) -> Setting:
    """'sites:8' or 'network:32'."""
    whose, _, prior = words.partition(":")
    if whose not in (SITES, NETWORK) or not prior.isdecimal():
        raise argparse.ArgumentTypeError(f"{words!r} is not such as {SITES}:8 or {NETWORK}:32")
    return whose, int(prior)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of pictures by class")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--first", type=int, default=0, help="another first draw gives other divisions")
    parser.add_argument("--pictures", type=int, default=180, help="of each folder at most")
    parser.add_argument("--few", type=int, default=0, help="pictures of each class at the last site")
    parser.add_argument(
        "--settings",
        nargs="+",
        type=setting,
        default=[setting(f"{whose}:{prior}") for whose in (SITES, NETWORK) for prior in (0, 8, 32)],
        help="whose look and its prior, such as sites:8 network:32",
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    started = time.process_time()
    found = [each for network in given.networks for kind in KINDS for each in of_kind(given, network, kind)]
    asked = {key: str(value) for key, value in vars(given).items()}
    write_stamped(given.out, asked=asked, cpu_seconds=round(time.process_time() - started), settings=found)


if __name__ == "__main__":
    main()
