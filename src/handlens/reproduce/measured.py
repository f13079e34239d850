"""Our figures for the rows of a paper's tables, from the run folders of a study."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from handlens.base.errors import HandlensError
from handlens.compare_runs import Group
from handlens.data.kinds import Kinds
from handlens.data.samples import Samples
from handlens.evaluate.cost import Cost, training_of
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import ClassResult, Figure, Metrics
from handlens.reproduce.gap import as_they_came, came_from, figures_over_groups

ON_TEST = {
    "accuracy": "accuracy",
    "precision": "precision_macro",
    "recall": "recall_macro",
    "f1_of_means": "f1_of_means",
    "f1_macro": "f1_macro",
    "log_loss": "log_loss",
    "mse_x100": "mse",
}
"""The papers' figures on test pictures, and what they are called among the metrics."""


@dataclass(frozen=True)
class Measured:
    """One figure of ours, with its 95 % interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class RowRuns:
    """What there is of one row under one protocol: its finished runs, and what its network costs."""

    name: str
    group: Group
    cost: Cost | None = None

    @cached_property
    def trainings(self) -> tuple[Predictions, ...]:
        """What each training said of the test pictures, grouped by what these really came from."""
        run = self.group.runs[0]
        origins = came_from(Samples.from_manifest(run.samples_path))
        try:
            return tuple(as_they_came(said, origins) for said in self.group.entry("test").trainings)
        except KeyError as error:
            # Pictures outside the folder of the others are named by their way from there.
            raise HandlensError(
                f"{run.path} judged {error}, and its own list of pictures has no such name, as where the "
                "folder was moved. Move it back, or choose another --out."
            ) from None

    @cached_property
    def on_test(self) -> dict[str, Figure]:
        """All figures on test pictures, by the papers' names."""
        found = figures_over_groups(self.trainings, list(ON_TEST.values()))
        return {name: found[metric] for name, metric in ON_TEST.items()}

    @cached_property
    def metrics(self) -> list[Metrics]:
        """The figures that each run wrote."""
        return [
            Metrics.parse(run.read_json(run.metrics_path), str(run.metrics_path)) for run in self.group.runs
        ]

    @cached_property
    def kinds(self) -> Kinds | None:
        """What its classes fall under, where they do."""
        told = self.metrics[0]
        return Kinds.of(told.classes, told.kinds.members, self.name) if told.kinds else None

    def last_epochs(self, key: str) -> float | None:
        """A value of the last epoch, the mean over the runs."""
        told = [history[-1].get(key) for run in self.group.runs if (history := run.read_history())]
        there = [value for value in told if value is not None and math.isfinite(value)]
        return float(np.mean(there)) if there else None

    @property
    def seconds_a_pass(self) -> float | None:
        """Seconds for one look at every training picture: the frozen pass and the learning, shared out."""
        minutes = training_of(self.group.provenances).minutes
        run = self.group.runs[0]
        views, epochs = run.read_recipe()["views"], len(run.read_history())
        passes = epochs * (1 if views["fresh"] else views["count"])
        return None if minutes is None or not passes else 60 * minutes / passes


def _on_test(name: str, scale: float) -> Callable[[RowRuns, str], Measured | None]:
    def measured(row: RowRuns, _: str) -> Measured | None:
        told = row.on_test[name]
        return Measured(scale * told.value, scale * told.low, scale * told.high)

    return measured


def _in_validation(row: RowRuns, _: str) -> Measured | None:
    """Accuracy on the validation side, where the split has one."""
    told = [metrics.sides["val"].figures["accuracy"] for metrics in row.metrics if "val" in metrics.sides]
    return _mean_of(told)


def _of_class(part: str) -> Callable[[RowRuns, str], Measured | None]:
    def measured(row: RowRuns, label: str) -> Measured | None:
        told: list[Figure] = []
        for metrics in row.metrics:
            classes: Mapping[str, ClassResult] = metrics.sides["test"].per_class
            named = {name.casefold(): result for name, result in classes.items()}
            if label.casefold() in named:
                told.append(getattr(named[label.casefold()], part))
        return _mean_of(told)

    return measured


def _of_kind(folded: bool) -> Callable[[RowRuns, str], Measured | None]:
    """How often the class is right, or with `folded` the kind, over pictures of one kind or of all."""

    def measured(row: RowRuns, kind: str) -> Measured | None:
        if row.kinds is None:
            return None
        judged = []
        for said in row.trainings:
            in_kinds = said.in_kinds(row.kinds)
            chosen = in_kinds.known
            if kind and in_kinds.targets is not None:
                chosen = in_kinds.targets == row.kinds.names.index(kind)
            judged.append((in_kinds if folded else said).only(np.flatnonzero(chosen)))
        if not judged[0].ids:
            return None
        told = figures_over_groups(judged, ["accuracy"])["accuracy"]
        return Measured(100 * told.value, 100 * told.low, 100 * told.high)

    return measured


def _mean_of(told: Sequence[Figure]) -> Measured | None:
    """In per cent; several trainings have no common interval here."""
    if not told:
        return None
    if len(told) == 1:
        return Measured(100 * told[0].value, 100 * told[0].low, 100 * told[0].high)
    return Measured(100 * float(np.mean([each.value for each in told])))


def _cost(get: Callable[[Cost], float | None]) -> Callable[[RowRuns, str], Measured | None]:
    def measured(row: RowRuns, _: str) -> Measured | None:
        value = get(row.cost) if row.cost else None
        return None if value is None else Measured(value)

    return measured


def _plain(get: Callable[[RowRuns], float | None]) -> Callable[[RowRuns, str], Measured | None]:
    def measured(row: RowRuns, _: str) -> Measured | None:
        value = get(row)
        return None if value is None else Measured(value)

    return measured


def _train_accuracy(row: RowRuns) -> float | None:
    value = row.last_epochs("train_accuracy")
    return None if value is None else 100 * value


@dataclass(frozen=True)
class PaperFigure:
    """A column of a paper's table."""

    title: str
    places: int
    measure: Callable[[RowRuns, str], Measured | None]
    """Our value, from the runs of a row and the name of the paper's row, or of a kind (empty for all)."""
    of_class: bool = False
    """Whether its rows are classes."""

    def words(self, value: float | None) -> str:
        """A value as it stands in the table."""
        return "" if value is None else f"{value:.{self.places}f}"


FIGURES: dict[str, PaperFigure] = {
    "accuracy": PaperFigure("accuracy, %", 2, _on_test("accuracy", 100)),
    "precision": PaperFigure("precision, %", 2, _on_test("precision", 100)),
    "recall": PaperFigure("recall, %", 2, _on_test("recall", 100)),
    "f1_of_means": PaperFigure("F1 of the means, %", 2, _on_test("f1_of_means", 100)),
    "f1_macro": PaperFigure("F1, %", 2, _on_test("f1_macro", 100)),
    "mse_x100": PaperFigure("loss, 10\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT TWO}", 2, _on_test("mse_x100", 100)),
    "log_loss": PaperFigure("test loss", 2, _on_test("log_loss", 1)),
    "val_accuracy": PaperFigure("validation accuracy, %", 2, _in_validation),
    "train_accuracy": PaperFigure("train accuracy, %", 2, _plain(_train_accuracy)),
    "train_loss": PaperFigure("train loss", 2, _plain(lambda row: row.last_epochs("train_loss"))),
    "minutes": PaperFigure("minutes", 2, _plain(lambda row: training_of(row.group.provenances).minutes)),
    "epoch_s": PaperFigure("seconds an epoch", 2, _plain(lambda row: row.seconds_a_pass)),
    "parameters_m": PaperFigure("parameters, M", 2, _cost(lambda cost: cost.num_parameters / 1e6)),
    "size_mib": PaperFigure("MiB", 2, _cost(lambda cost: cost.size_mib)),
    "cpu_ms": PaperFigure("ms a picture", 2, _cost(lambda cost: cost.median_ms)),
    "class_precision": PaperFigure("precision, %", 2, _of_class("precision"), of_class=True),
    "class_recall": PaperFigure("recall, %", 2, _of_class("recall"), of_class=True),
    "right_in_kind": PaperFigure("class right, %", 2, _of_kind(folded=False)),
    "kind_right": PaperFigure("kind right, %", 2, _of_kind(folded=True)),
    "class_f1": PaperFigure("F1, %", 2, _of_class("f1"), of_class=True),
}
