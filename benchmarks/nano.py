"""What the network inside the package is worth: frozen and trained further, beside others, as in a run.

    python benchmarks/nano.py --data DIR --kept cells --out nano.json

DIR holds the four sets. For each set, split seed and recipe it takes the macro F1 and the accuracy on the
test side of heads on: `nano`, the same network with `random` weights, a `descriptor` made by hand (colours,
local binary patterns, edges) and two networks of torchvision, whose weights a folder of HANDLENS_WEIGHTS must
hold. `tuned` and `scratch` train all of nano, from its weights and from random ones. Figures of several seeds
are of all their test pictures together; differences are of the same pictures, drawn again by their groups.

What is in --kept is not measured again, so that a stopped benchmark goes on; another file of weights or
another descriptor is. `--weights-file` measures a file other than the package's, and with `--network
MODULE:CALLABLE` another network in nano's place. `--pictures 64` tries it on few pictures.
"""

import argparse
import importlib
import inspect
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import descriptor
from finetune import KEPT, some_of, whole_network
from frozen import SETS, SPLIT_SEEDS
from handlens import HandlensError, Recipe, train
from handlens.base.files import digest, write_json
from handlens.base.parallel import use_at_most
from handlens.data.image import NORMALISATIONS
from handlens.evaluate.intervals import Basis, Grouping, interval, spreads
from handlens.evaluate.metrics import METRICS, Judged, Values, Weights
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure
from handlens.evaluate.summary import judge
from handlens.models import backbones, nano, weights
from handlens.models.backbones import Backbone
from handlens.models.weights import WeightsChoice
from handlens.recipe import lay_over
from handlens.training.device import choose_device
from handlens.training.extract import Extractor
from stamped import write_stamped

HERE = "benchmark"
"""The library of backbones that only this benchmark knows."""
RECIPES = ("quick", "careful")
WHOLE = "whole"
"""What stands for the recipe where the whole network trains."""
FROZEN: dict[str, tuple[str, ...]] = {
    "nano": ("model.backbone=handlens/nano", "model.weights=bundled"),
    "random": ("model.backbone=handlens/nano", "model.weights=none"),
    # It has no map to take a maximum of, and pixels are not to be rounded.
    "descriptor": (
        f"model.backbone={HERE}/descriptor",
        "model.weights=none",
        "model.pool=average",
        "train.precision=float32",
    ),
    "squeezenet1_1": ("model.backbone=torchvision/squeezenet1_1",),
    "mobilenet_v2": ("model.backbone=torchvision/mobilenet_v2",),
}
TRAINED = {"tuned": FROZEN["nano"], "scratch": FROZEN["random"]}
CROP = 0.35
"""The smallest share of a picture that a training view shows where the whole network trains."""
PAIRS = (("nano", "random"), ("nano", "descriptor"), ("tuned", "scratch"))


# What takes the place of a backbone


class Described(nn.Module):
    """The descriptor in the place of a network: pictures as a network gets them, to maps of one place."""

    def forward(self, x: Tensor) -> Tensor:
        """Back to the very pixels, then the descriptor of each."""
        mean, std = (torch.tensor(part).view(3, 1, 1) for part in NORMALISATIONS["imagenet"])
        pixels = (255 * (x.cpu() * std + mean)).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        rows = np.stack([descriptor.describe(each) for each in pixels])
        return torch.from_numpy(rows)[:, :, None, None].to(x.device)


def described(name: str, choice: WeightsChoice | None, seed: int, own_rows: bool) -> Backbone:
    # Its code is what weights are to a network: features of other code are computed anew.
    return Backbone(f"{HERE}/{name}", Described(), "by hand", digest(inspect.getsource(descriptor)), False)


def register() -> None:
    """Let recipes name the descriptor."""
    backbones.LIBRARIES[HERE] = described


def in_place_of_nano(network: str | None, file: Path | None) -> None:
    """Let the package take another network, or another file of weights, for its own."""
    if file is not None:
        weights.BUNDLED = file
    if network is not None:
        module, _, function = network.partition(":")
        make = getattr(importlib.import_module(module), function)

        def seeded() -> nn.Sequential:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made: nn.Sequential = make()
            return made

        nano.nano = seeded


# One cell: a row of one set, recipe and split seed


@dataclass(frozen=True)
class Cell:
    """One training and the judgments of its test side."""

    data: str
    recipe: str
    row: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}-{self.recipe}-{self.row}-{self.seed}"


@dataclass(frozen=True)
class Settings:
    """What holds for all cells."""

    data: Path
    kept: Path
    epochs: int
    size: int
    rate: float
    pictures: int | None


def recipe_of(cell: Cell, settings: Settings) -> Recipe:
    """The recipe of a cell; random weights are other ones with each seed."""
    of_row = (FROZEN | TRAINED)[cell.row]
    both = [*of_row, "split.ratios=8:2", f"split.seed={cell.seed}", f"model.seed={cell.seed}"]
    if cell.recipe != WHOLE:
        return Recipe.load(cell.recipe, both)
    values = whole_network(settings.epochs)
    # Few pictures and a small network: larger parts of the picture and larger steps than for MobileNetV2.
    values["views"]["judge"]["size"] = settings.size
    values["views"]["train"][0] |= {"crop": CROP, "flip_vertical": True}
    values["train"]["optimiser"]["learning_rate"] = settings.rate
    for setting in both:
        lay_over(values, setting)
    return Recipe.parse(values, "the recipe")


def identity(recipe: Recipe, settings: Settings) -> str:
    """What a cell's figures depend on, in a word."""
    extractor = Extractor(recipe.model, recipe.views, choose_device(recipe.train.precision))
    return digest(recipe.to_yaml(), extractor.weights_digest, str(settings.pictures))


def measured(cell: Cell, settings: Settings, folder: Path) -> dict[str, Any]:
    """The figures of a cell, measured now or found in --kept, with its judgments beside them."""
    recipe = recipe_of(cell, settings)
    made_of = identity(recipe, settings)
    path = settings.kept / f"{cell.name}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["made_of"] == made_of:
            return found
    before = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        run = train(folder, recipe, Path(scratch) / cell.name)
        figures = run.metrics.sides["test"].figures
        run.predictions().write(path.with_suffix(".parquet"))
    found = {"made_of": made_of, "seconds": round(time.monotonic() - before, 1)}
    found |= {key: {end: getattr(figures[key], end) for end in ("value", "low", "high")} for key in KEPT}
    # Last, so that it stands for a whole cell.
    write_json(path, found)
    return found


def all_measured(cells: Sequence[Cell], settings: Settings) -> dict[Cell, dict[str, Any]]:
    found = {}
    for data in dict.fromkeys(cell.data for cell in cells):
        with some_of(settings.data / data, settings.pictures) as folder:
            for cell in (cell for cell in cells if cell.data == data):
                found[cell] = measured(cell, settings, folder)
                told = " ".join(f"{key} {found[cell][key]['value']:.3f}" for key in KEPT)
                print(f"{cell.name}: {told} ({found[cell]['seconds']:.0f} s)", flush=True)
    return found


# Several seeds together


def pooled(cells: Sequence[Cell], kept: Path) -> Predictions:
    """The judgments of all seeds; a picture on several test sides stays one group."""
    parts = [Predictions.read(kept / f"{cell.name}.parquet") for cell in cells]
    return replace(
        parts[0],
        ids=tuple(
            f"{cell.seed}/{name}" for cell, part in zip(cells, parts, strict=True) for name in part.ids
        ),
        groups=tuple(name for part in parts for name in part.groups),
        targets=np.concatenate([truth_of(part) for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )


def truth_of(predictions: Predictions) -> Any:
    assert predictions.targets is not None
    return predictions.targets


def difference(one: Predictions, other: Predictions) -> dict[str, Figure]:
    """How much better the first judges the same pictures, with intervals."""
    if one.ids != other.ids:
        sys.exit("The kept cells are of different pictures: measure into another folder of --kept.")
    judged = [Judged(truth_of(each), each.probabilities) for each in (one, other)]
    grouping = Grouping.of(one.groups)
    basis = Basis(len(one.ids), grouping.count, grouping.count, trials=None)

    def measure(times: Weights) -> Values:
        """From -1 and 1 to the 0 and 1 of a share, which is what intervals are made for."""
        first, second = (each.weighed(times) for each in judged)
        gains = [METRICS[key].compute(first) - METRICS[key].compute(second) for key in KEPT]
        return (1 + np.stack(gains)) / 2

    values = measure(np.ones(len(one.ids)))[:, 0].tolist()
    found = {}
    for key, value, spread in zip(
        KEPT, values, spreads(measure, grouping, np.random.default_rng(0)), strict=True
    ):
        around = interval(value, spread, basis)
        low, middle, high = (2 * share - 1 for share in (around.low, value, around.high))
        if (one.predicted == other.predicted).all():
            # Resamples of judgments that never differ would claim to be certain that none ever will.
            around = interval(0.0, spread, basis)
            low, high = -around.high, around.high
        found[key] = Figure(
            value=middle, low=low, high=high, method=around.method, n=basis.n, n_groups=basis.n_groups
        )
    return found


Rows = Mapping[str, dict[str, Figure]]
"""The figures of each row, or of each pair of rows."""


def together(cells: Sequence[Cell], kept: Path) -> tuple[Rows, Rows]:
    """The figures of the rows of one set and recipe over all seeds, and the differences of pairs."""
    rows = {
        row: pooled([cell for cell in cells if cell.row == row], kept)
        for row in dict.fromkeys(cell.row for cell in cells)
    }
    figures = {}
    for row, predictions in rows.items():
        side = judge(row, predictions, None, 0)
        figures[row] = {key: side.figures[key] for key in KEPT}
    pairs = {
        f"{one} less {other}": difference(rows[one], rows[other])
        for one, other in PAIRS
        if one in rows and other in rows
    }
    return figures, pairs


# Telling


def between(figure: Figure, sign: str = "") -> str:
    return f"{figure.value:{sign}.3f} ({figure.low:{sign}.3f} to {figure.high:{sign}.3f})"


def show(cells: Mapping[Cell, dict[str, Any]], kept: Path) -> dict[str, Any]:
    """Print the tables and what they come to, and give all of it back."""
    told: dict[str, dict[str, tuple[Rows, Rows]]] = {}
    print("\n| pictures | recipe | | macro F1 | by split seed | accuracy |\n|---|---|---|---|---|---|")
    for recipe, data in dict.fromkeys((cell.recipe, cell.data) for cell in cells):
        here = [cell for cell in cells if (cell.recipe, cell.data) == (recipe, data)]
        figures, pairs = told.setdefault(recipe, {})[data] = together(here, kept)
        for row, figure in figures.items():
            each = " ".join(f"{cells[cell]['f1_macro']['value']:.3f}" for cell in here if cell.row == row)
            f1, accuracy = between(figure["f1_macro"]), between(figure["accuracy"])
            print(f"| {data} | `{recipe}` | {row} | {f1} | {each} | {accuracy} |")
    print("\n| pictures | recipe | | difference in macro F1 | in accuracy |\n|---|---|---|---|---|")
    for recipe, of_sets in told.items():
        for data, (_, pairs) in of_sets.items():
            for pair, figure in pairs.items():
                f1, accuracy = between(figure["f1_macro"], "+"), between(figure["accuracy"], "+")
                print(f"| {data} | `{recipe}` | {pair} | {f1} | {accuracy} |")
    print()
    for recipe, of_sets in told.items():
        for sentence in verdicts(of_sets):
            print(f"{recipe}: {sentence}")
    return {
        recipe: {
            data: [{name: plain(figures) for name, figures in part.items()} for part in parts]
            for data, parts in of_sets.items()
        }
        for recipe, of_sets in told.items()
    }


def plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {key: figure.model_dump(mode="json") for key, figure in figures.items()}


def verdicts(of_sets: Mapping[str, tuple[Rows, Rows]]) -> Iterator[str]:
    """What the macro F1 of all sets comes to, for each pair of rows."""
    for one, other in PAIRS:
        name = f"{one} less {other}"
        gains = [pairs[name]["f1_macro"] for _, pairs in of_sets.values() if name in pairs]
        if not gains:
            continue
        apart = sum(
            figures[one]["f1_macro"].low > figures[other]["f1_macro"].high
            for figures, pairs in of_sets.values()
            if name in pairs
        )
        yield (
            f"{one} is at least as good as {other} on {sum(gain.value >= 0 for gain in gains)} of "
            f"{len(gains)} sets, surely better on {sum(gain.low > 0 for gain in gains)} (their own intervals "
            f"lie apart on {apart}), surely worse on {sum(gain.high < 0 for gain in gains)}"
        )


def cells_of(
    sets: Sequence[str], recipes: Sequence[str], rows: Sequence[str], seeds: Sequence[int]
) -> list[Cell]:
    """All cells that are asked for, in the order of the tables."""
    strange = [name for name in rows if name not in FROZEN | TRAINED]
    if strange:
        sys.exit(f"There is no row {strange[0]!r}. The rows are {', '.join(FROZEN | TRAINED)}.")
    frozen = [row for row in rows if row in FROZEN]
    parts = [(recipe, frozen) for recipe in recipes] + [(WHOLE, [row for row in rows if row in TRAINED])]
    return [
        Cell(data, recipe, row, seed)
        for recipe, of_recipe in parts
        for data in sets
        for row in of_recipe
        for seed in seeds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder of the four sets")
    parser.add_argument(
        "--kept", type=Path, required=True, help="where each cell is kept; it goes on from there"
    )
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default=",".join(map(str, SPLIT_SEEDS)), help="split seeds")
    parser.add_argument("--recipes", default=",".join(RECIPES), help="for the frozen rows")
    parser.add_argument("--rows", default=",".join(FROZEN | TRAINED))
    parser.add_argument("--weights-file", type=Path, help="in the place of nano's own weights")
    parser.add_argument("--network", metavar="MODULE:CALLABLE", help="in the place of nano")
    parser.add_argument("--epochs", type=int, default=12, help="of tuned and scratch")
    parser.add_argument("--size", type=int, default=160, help="of tuned and scratch")
    parser.add_argument("--rate", type=float, default=1e-3, help="largest learning rate of tuned and scratch")
    parser.add_argument("--pictures", type=int, help="take only about so many pictures of each set")
    parser.add_argument("--threads", type=int, help="use so many cores; all by default")
    parser.add_argument("--cache", type=Path, help="keep the features here")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.threads:
        use_at_most(given.threads)
        torch.set_num_threads(given.threads)
    register()
    in_place_of_nano(given.network, given.weights_file)
    settings = Settings(given.data, given.kept, given.epochs, given.size, given.rate, given.pictures)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    cells = cells_of(given.sets.split(","), given.recipes.split(","), given.rows.split(","), seeds)
    try:
        # What lacks its weights is told before hours of work.
        for cell in {cell.row: cell for cell in cells}.values():
            identity(recipe_of(cell, settings), settings)
    except HandlensError as error:
        sys.exit(str(error))
    given.kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HANDLENS_CACHE"] = str(given.cache or scratch)
        found = all_measured(cells, settings)
    told = show(found, given.kept)
    each = {cell.name: found[cell] for cell in cells}
    write_stamped(given.out, torch=torch.__version__, cells=each, together=told)


if __name__ == "__main__":
    main()
