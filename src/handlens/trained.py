"""A trained run, taken up again: its figures, and its judgment of other pictures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.files import whole_file
from handlens.data.check import check
from handlens.data.derived import without_derived
from handlens.data.groups import GroupSpec
from handlens.data.kinds import Kinds
from handlens.data.samples import SIDES, Samples
from handlens.data.scan import none_readable, scan
from handlens.data.sides import Shot
from handlens.data.tasks import TaskLabels
from handlens.data.walk import Walk
from handlens.evaluate.calibration import apply_temperature
from handlens.evaluate.predict import AnyHead, judge_shots
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Metrics
from handlens.evaluate.summary import summarise
from handlens.learned_file import LearnedFile
from handlens.recipe import Recipe
from handlens.run import RunFolder
from handlens.training.checkpoint import HeadFacts
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
    further: Mapping[str, Predictions] = field(default_factory=dict)
    """What it says in further tasks, by their names."""
    kinds: Kinds | None = None
    """The kinds of the classes, where they have any."""
    notes: tuple[str, ...] = ()
    """What is to be known of what was judged."""

    def to_table(self) -> pl.DataFrame:
        """A row a picture for people: what it is called, how surely, and every class's probability."""
        said = self.predictions
        table = said.to_table().drop("group").rename({"id": "picture"})
        if said.targets is None:
            table = table.drop("target")
        columns = [*_said("", said)]
        if self.kinds:
            of_kinds = said.in_kinds(self.kinds)
            columns.append(_names("kind", of_kinds))
        for name, predictions in self.further.items():
            columns += _said(f":{name}", predictions)
        return table.select("picture", *columns, pl.exclude("picture"))

    def write(self, path: Path) -> None:
        """Write the table as .csv, .parquet or .json, by the ending of the path."""
        write = look_up(ENDINGS, path.suffix.lower().removeprefix("."), "ending for a table of judgments")
        with whole_file(path) as partial:
            write(self.to_table(), partial)


def _said(suffix: str, said: Predictions) -> tuple[pl.Series, pl.Series]:
    """The class of each picture and how sure that is, as columns."""
    return _names(f"prediction{suffix}", said), pl.Series(f"confidence{suffix}", np.array(said.confidence))


def _names(column: str, said: Predictions) -> pl.Series:
    return pl.Series(column, [said.classes[at] for at in said.predicted], dtype=pl.String)


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

    def predictions(self, side: str = "test", task: str | None = None) -> Predictions:
        """Its judgments of one side of the split, in the main task or in a further one."""
        return Predictions.read(self.folder.predictions_path(side, task))

    def recompute(self) -> Metrics:
        """Its figures, computed anew from its predictions."""
        main = self._judged_sides(None)
        if not main:
            raise HandlensError(
                f"{self.folder.path} has no predictions: it is not finished. "
                "Give its 'handlens train' command again and it goes on."
            )
        metrics = self.metrics
        return summarise(
            main,
            main.get("val"),
            metrics.temperature_from,
            label=metrics.label,
            tasks={task: self._judged_sides(task) for task in metrics.tasks},
            kinds=self.kinds,
        )

    def _judged_sides(self, task: str | None) -> dict[str, Predictions]:
        there = (side for side in SIDES if self.folder.predictions_path(side, task).is_file())
        return {side: self.predictions(side, task) for side in there}

    @property
    def kinds(self) -> Kinds | None:
        """The kinds that its classes fall under, where they do."""
        found = self.metrics.kinds
        return Kinds.of(self.metrics.classes, found.members, "The run") if found else None

    @cached_property
    def extractor(self) -> Extractor:
        """The backbone: that of the run's own file, or else the very one that the head was trained on."""
        recipe = self.recipe
        extractor = Extractor(
            recipe.model, recipe.views, choose_device(recipe.train.precision), recipe.data.pixel_limit
        )
        if self.facts.whole:
            return extractor.with_trunk(self._loaded.trunk())
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
        return self._loaded.facts

    @cached_property
    def head(self) -> AnyHead:
        """Its head."""
        return self._loaded.head()

    @cached_property
    def _loaded(self) -> LearnedFile:
        return LearnedFile(self.folder.best_path, self.recipe.model)

    def predict(self, pictures: Iterable[Path | str] | Path | str) -> Judged:
        """Judge pictures: files, or all in folders; probabilities are calibrated where they can be."""
        several = [pictures] if isinstance(pictures, Path | str) else pictures
        paths = pictures_in([Path(picture) for picture in several])
        facts = scan(paths, pixel_limit=self.recipe.data.pixel_limit)
        bad = tuple((str(fact.path), fact.problem) for fact in facts if fact.problem)
        good = [fact for fact in facts if fact.problem is None]
        if not good:
            raise none_readable(bad, "Give other pictures.")
        names = tuple(str(fact.path) for fact in good)
        judged = self._judgments([Shot(fact.path, fact.digest) for fact in good])

        def said(classes: tuple[str, ...], probabilities: NDArray[np.float32]) -> Predictions:
            return Predictions(names, names, None, classes, probabilities)

        main = said(self.facts.classes, judged[0])
        further = {
            name: said(classes, probabilities)
            for (name, classes), probabilities in zip(self.facts.further, judged[1:], strict=True)
        }
        return Judged(main, bad, further, self.kinds)

    def evaluate(self, samples: Samples, group: GroupSpec | None = None) -> tuple[Metrics, Judged]:
        """Judge other labelled pictures and say how good the judgment is: all but those made from others.

        What they came from is told as in the run's recipe, or by `group`. Further tasks are judged where
        the pictures have their labels.
        """
        there = {column.casefold() for column in samples.table.columns}
        tasks = tuple(name for name, _ in self.facts.further if name.casefold() in there)
        changes = {"tasks": tasks} | ({} if group is None else {"group": group})
        checked = check(without_derived(samples), self.recipe.data.model_copy(update=changes))
        unknown = sorted(set(checked.samples.classes) - set(self.facts.classes))
        if unknown:
            raise HandlensError(
                f"The run does not know {', '.join(map(repr, unknown))}. "
                f"It knows {', '.join(self.facts.classes)}. Rename or leave out the others."
            )
        table = checked.samples.table
        judged = self._judgments(
            [Shot(Path(path), name) for path, name in table.select("path", "digest").iter_rows()]
        )

        def said(column: str, classes: tuple[str, ...], probabilities: NDArray[np.float32]) -> Predictions:
            labels = TaskLabels.of(checked.samples, column, classes)
            return Predictions(
                tuple(table["id"]), tuple(table["group"]), labels.targets, classes, probabilities
            )

        main = said("label", self.facts.classes, judged[0])
        columns = dict(zip(tasks, checked.tasks, strict=True))
        further = {
            name: said(columns[name], classes, probabilities)
            for (name, classes), probabilities in zip(self.facts.further, judged[1:], strict=True)
            if name in columns
        }
        # The run's own temperature is already in these probabilities; none is fitted here.
        metrics = summarise(
            {"data": main},
            None,
            None,
            label=self.metrics.label,
            tasks={name: {"data": predictions} for name, predictions in further.items()},
            kinds=self.kinds,
        )
        return metrics, Judged(main, checked.bad, further, self.kinds, checked.notes)

    def _judgments(self, shots: Sequence[Shot]) -> list[NDArray[np.float32]]:
        """The calibrated probabilities in each task, computed now and kept nowhere."""
        facts = self.facts
        judged = judge_shots(self.extractor, self.head, shots, facts.kind, facts.average)
        named = [self.metrics.temperature]
        for name, _ in facts.further:
            task = self.metrics.tasks.get(name)
            named.append(task.temperature if task else None)
        parts = np.split(judged, np.cumsum(facts.widths)[:-1], axis=1)
        return [
            part if temperature is None else apply_temperature(part, temperature)
            for part, temperature in zip(parts, named, strict=True)
        ]


def pictures_in(named: Sequence[Path]) -> list[Path]:
    """The pictures that these files and folders name, those in folders sorted."""
    found: list[Path] = []
    mend = "Give pictures, or folders with some."
    for path in named:
        if path.is_dir():
            walk = Walk(path)
            below = walk.pictures_below(str(walk.root))
            # Named as the person named the folder.
            inside = sorted(path / walk.relative(picture) for picture in below)
            if not inside:
                raise HandlensError(f"There is no picture in the folder {path}. {mend}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise HandlensError(f"There is no file or folder {path}. {mend}")
    if not found:
        raise HandlensError(f"No picture was named. {mend}")
    return found
