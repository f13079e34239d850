"""A trained run, taken up again: its figures, and its judgment of other pictures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.files import whole_file
from handlens.base.progress import progress
from handlens.data.check import check
from handlens.data.groups import GroupSpec
from handlens.data.samples import SIDES, Samples
from handlens.data.scan import scan
from handlens.data.sides import Shot
from handlens.data.walk import Walk
from handlens.evaluate.calibration import apply_temperature
from handlens.evaluate.predict import head_probabilities
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Metrics
from handlens.evaluate.summary import summarise
from handlens.models.heads import Head
from handlens.recipe import Recipe
from handlens.run import RunFolder
from handlens.training.checkpoint import HeadFacts, load_head
from handlens.training.device import choose_device
from handlens.training.extract import Extractor

ENDINGS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "csv": lambda table, path: table.write_csv(path),
    "parquet": lambda table, path: table.write_parquet(path),
    "json": lambda table, path: table.write_json(path),
}


@dataclass(frozen=True)
class Judged:
    """What a run says of some pictures, and the pictures that could not be read."""

    predictions: Predictions
    bad: tuple[tuple[str, str], ...]
    """Name and reason."""

    def to_table(self) -> pl.DataFrame:
        """A row a picture for people: what it is called, how surely, and every class's probability."""
        said = self.predictions
        names = pl.Series("prediction", [said.classes[at] for at in said.predicted], dtype=pl.String)
        confidence = pl.Series("confidence", np.array(said.confidence))
        table = said.to_table().drop("group").rename({"id": "picture"})
        if said.targets is None:
            table = table.drop("target")
        return table.select("picture", names, confidence, pl.exclude("picture"))

    def write(self, path: Path) -> None:
        """Write the table as .csv, .parquet or .json, by the ending of the path."""
        write = look_up(ENDINGS, path.suffix.lower().removeprefix("."), "ending for a table of judgments")
        with whole_file(path) as partial:
            write(self.to_table(), partial)


class TrainedRun:
    """A finished run."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = RunFolder.open(Path(folder))

    @property
    def report_path(self) -> Path:
        """The page for people."""
        return self.folder.report_path

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that it was trained with."""
        return Recipe.parse(self.folder.read_recipe(), str(self.folder.recipe_path))

    @cached_property
    def metrics(self) -> Metrics:
        """All its figures."""
        return Metrics.parse(self.folder.read_json(self.folder.metrics_path), str(self.folder.metrics_path))

    def predictions(self, side: str = "test") -> Predictions:
        """Its judgments of one side of the split."""
        return Predictions.read(self.folder.predictions_path(side))

    def recompute(self) -> Metrics:
        """Its figures, computed anew from its predictions."""
        judged = {
            side: self.predictions(side) for side in SIDES if self.folder.predictions_path(side).is_file()
        }
        if not judged:
            raise HandlensError(
                f"{self.folder.path} has no predictions: it is not finished. "
                "Give its 'handlens train' command again and it goes on."
            )
        return summarise(judged, judged.get("val"), self.metrics.temperature_from)

    @cached_property
    def extractor(self) -> Extractor:
        """The frozen part, which must be the very one that the head was trained on."""
        recipe = self.recipe
        extractor = Extractor(
            recipe.model, recipe.views, choose_device(recipe.train.precision), recipe.data.pixel_limit
        )
        if extractor.weights_digest != self.facts.weights_digest:
            raise HandlensError(
                f"The weights of {recipe.model.backbone} on this machine are not those that "
                f"{self.folder.path} was trained on. "
                "Bring the same file into a folder of HANDLENS_WEIGHTS, or train again."
            )
        return extractor

    @property
    def facts(self) -> HeadFacts:
        """What its head must be used with."""
        return self._loaded[1]

    @property
    def head(self) -> Head:
        """Its head."""
        return self._loaded[0]

    @cached_property
    def _loaded(self) -> tuple[Head, HeadFacts]:
        state, facts = load_head(self.folder.best_path)
        head = Head(self.recipe.model.head, facts.num_features, len(facts.classes))
        try:
            head.load_state_dict(state)
        except RuntimeError as error:
            raise HandlensError(
                f"{self.folder.best_path} does not fit {self.folder.recipe_path} ({error}). Train again."
            ) from None
        return head.eval(), facts

    def predict(self, pictures: Iterable[Path | str] | Path | str) -> Judged:
        """Judge pictures: files, or all in folders; probabilities are calibrated where they can be."""
        several = [pictures] if isinstance(pictures, Path | str) else pictures
        paths = pictures_in([Path(picture) for picture in several])
        facts = scan(paths, pixel_limit=self.recipe.data.pixel_limit)
        bad = tuple((str(fact.path), fact.problem) for fact in facts if fact.problem)
        good = [fact for fact in facts if fact.problem is None]
        if not good:
            raise HandlensError(f"None of the {len(paths)} pictures can be read. {bad[0][0]}: {bad[0][1]}.")
        names = tuple(str(fact.path) for fact in good)
        predictions = Predictions(
            ids=names,
            groups=names,
            targets=None,
            classes=self.facts.classes,
            probabilities=self._probabilities([Shot(fact.path, fact.digest) for fact in good]),
        )
        return Judged(predictions, bad)

    def evaluate(self, samples: Samples, group: GroupSpec | None = None) -> tuple[Metrics, Judged]:
        """Judge other labelled pictures, all of them, and say how good the judgment is.

        What they came from is told as in the run's recipe, or by `group`.
        """
        unknown = sorted(set(samples.classes) - set(self.facts.classes))
        if unknown:
            raise HandlensError(
                f"The run does not know {', '.join(map(repr, unknown))}. "
                f"It knows {', '.join(self.facts.classes)}. Rename or leave out the others."
            )
        data = self.recipe.data if group is None else self.recipe.data.model_copy(update={"group": group})
        checked = check(samples, data)
        table = checked.samples.table
        number = {name: at for at, name in enumerate(self.facts.classes)}
        predictions = Predictions(
            ids=tuple(table["id"]),
            groups=tuple(table["group"]),
            targets=np.array([number[label] for label in table["label"]], np.int64),
            classes=self.facts.classes,
            probabilities=self._probabilities(
                [Shot(Path(path), name) for path, name in table.select("path", "digest").iter_rows()]
            ),
        )
        # The run's own temperature is already in these probabilities; none is fitted here.
        return summarise({"data": predictions}, None, None), Judged(predictions, checked.bad)

    def _probabilities(self, shots: Sequence[Shot]) -> NDArray[np.float32]:
        """The calibrated mean over the views, computed now and kept nowhere."""
        kind = self.recipe.views.kinds[self.facts.kind]
        numbers = range(self.recipe.views.count if self.facts.average else 1)
        total = np.zeros((len(shots), len(self.facts.classes)), np.float32)
        with progress("Judging", len(shots) * len(numbers), "views") as advance:
            for number in numbers:
                start = 0
                for batch, rows in self.extractor.rows(shots, kind if number else None, number):
                    total[start : start + len(batch)] += head_probabilities(self.head, torch.from_numpy(rows))
                    start += len(batch)
                    advance(len(batch))
        judged = total / np.float32(len(numbers))
        temperature = self.metrics.temperature
        return judged if temperature is None else apply_temperature(judged, temperature)


def pictures_in(named: Sequence[Path]) -> list[Path]:
    """The pictures that these files and folders name, those in folders sorted."""
    found: list[Path] = []
    for path in named:
        if path.is_dir():
            walk = Walk(path)
            below = walk.pictures_below(str(walk.root))
            # Named as the person named the folder.
            inside = sorted(path / walk.relative(picture) for picture in below)
            if not inside:
                raise HandlensError(f"There is no picture in the folder {path}.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise HandlensError(f"There is no file or folder {path}.")
    if not found:
        raise HandlensError("No picture was named.")
    return found
