"""From predictions to metrics.json: every headline figure of every side, with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from handlens.base.errors import HandlensError
from handlens.base.parallel import in_order
from handlens.data.kinds import Kinds
from handlens.evaluate.calibration import apply_temperature, fit_temperature, reliability
from handlens.evaluate.intervals import Basis, Grouping, Spread, as_figure, interval, spreads
from handlens.evaluate.metrics import (
    METRICS,
    Judged,
    Metric,
    Values,
    Weights,
    ece,
    f1_by_class,
    precision_by_class,
    recall_by_class,
)
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import (
    ClassResult,
    Figure,
    KindsResult,
    Metrics,
    SideResult,
    TaskResult,
)

BY_CLASS = {"precision": precision_by_class, "recall": recall_by_class, "f1": f1_by_class}
"""The figures that each class has."""


def summarise(
    sides: Mapping[str, Predictions],
    calibrate_on: Predictions | None,
    calibrate_on_words: str | None,
    seed: int = 0,
    *,
    label: str | None = None,
    tasks: Mapping[str, Mapping[str, Predictions]] | None = None,
    kinds: Kinds | None = None,
) -> Metrics:
    """All figures of the judged sides, which must know the same classes.

    The temperature is fitted on `calibrate_on`. A side that shares pictures with it gets no calibrated
    figures: there they would only say how well the temperature fits what it was fitted to.

    `tasks` holds the judged sides of each further task, whose temperature is fitted on its own val side, and
    `label` is what the main task is called beside them. `kinds` adds the figures of kinds of classes.
    """
    main = _task(sides, calibrate_on, calibrate_on_words, seed)
    further = {}
    for name, judged in (tasks or {}).items():
        # On some pictures perhaps none has a label of this task; then there is nothing to tell.
        labelled = {
            side: found for side, predictions in judged.items() if (found := predictions.labelled()).ids
        }
        if labelled:
            further[name] = _task(labelled, labelled.get("val"), calibrate_on_words, seed)
    return Metrics(
        **dict(main),
        label=label if further else None,
        tasks=further,
        kinds=_kinds(sides, calibrate_on, main.temperature, kinds, seed) if kinds else None,
    )


def _task(
    sides: Mapping[str, Predictions],
    calibrate_on: Predictions | None,
    calibrate_on_words: str | None,
    seed: int,
) -> TaskResult:
    """All figures of one task."""
    classes = next(iter(sides.values())).classes
    for name, predictions in [*sides.items(), *([("calibration", calibrate_on)] if calibrate_on else [])]:
        if predictions.classes != classes:
            raise HandlensError(
                f"The predictions of {name} are over the classes {', '.join(predictions.classes)} and those "
                f"of {next(iter(sides))} over {', '.join(classes)}. Judge sides of one model together."
            )
    temperature = fit_temperature(calibrate_on) if calibrate_on and calibrate_on.known.any() else None
    return TaskResult(
        classes=classes,
        sides=_judged_sides(sides, calibrate_on, temperature, None, seed),
        temperature=temperature,
        temperature_from=calibrate_on_words if temperature is not None else None,
    )


def _kinds(
    sides: Mapping[str, Predictions],
    calibrate_on: Predictions | None,
    temperature: float | None,
    kinds: Kinds,
    seed: int,
) -> KindsResult:
    """All figures of the kinds; calibrated are the classes, whose probabilities are summed after that."""
    return KindsResult(
        members=kinds.members, sides=_judged_sides(sides, calibrate_on, temperature, kinds, seed)
    )


def _judged_sides(
    sides: Mapping[str, Predictions],
    calibrate_on: Predictions | None,
    temperature: float | None,
    kinds: Kinds | None,
    seed: int,
) -> dict[str, SideResult]:
    fitted_on = set(calibrate_on.ids) if calibrate_on else set()

    def measured(side: tuple[str, Predictions]) -> SideResult:
        name, predictions = side
        fresh = fitted_on.isdisjoint(predictions.ids)
        return judge(name, predictions, temperature if fresh else None, seed, kinds)

    # Side by side: nearly all of the time goes into drawing and weighing resamples.
    return dict(zip(sides, in_order(measured, sides.items()), strict=True))


def judge(
    name: str, predictions: Predictions, temperature: float | None, seed: int, kinds: Kinds | None = None
) -> SideResult:
    """All figures of one side, of classes or of their kinds; pictures without a known class are left out."""
    labelled = predictions.labelled()
    if labelled.targets is None or not len(labelled.targets):
        raise HandlensError(
            f"The predictions of {name} hold no picture with a known class, so there is nothing to measure."
        )
    calibrated = (
        replace(labelled, probabilities=apply_temperature(labelled.probabilities, temperature))
        if temperature is not None
        else None
    )
    if kinds is not None:
        labelled = labelled.in_kinds(kinds)
        calibrated = calibrated.in_kinds(kinds) if calibrated else None
    side = _Side(
        labelled.classes,
        _truth_beside(labelled),
        _truth_beside(calibrated) if calibrated else None,
        Grouping.of(labelled.groups),
    )
    # Each side draws from the seed alone, so that it does not matter which others are judged beside it.
    spread = spreads(side.measure, side.grouping, np.random.default_rng(seed))
    value = side.measure(np.ones(side.n))[:, 0]
    rows = dict(zip(side.rows(), zip(value.tolist(), spread, strict=True), strict=True))
    return SideResult(
        n=side.n,
        n_groups=side.grouping.count,
        figures={
            figure: _figure(*rows[figure, None], side.basis(metric))
            for figure, metric in side.metrics().items()
            if not np.isnan(rows[figure, None][0])
        },
        per_class={
            side.classes[index]: ClassResult(
                n=int((side.plain.targets == index).sum()),
                n_groups=side.grouping.among(side.plain.targets == index),
                **{
                    figure: _figure(*rows[figure, index], side.basis_of_class(figure, index))
                    for figure in BY_CLASS
                },
            )
            for index in side.occurring()
        },
        confusion=tuple(
            tuple(int(count) for count in row) for row in side.plain.weighed().confusion[:, :, 0]
        ),
        reliability=reliability(side.plain),
        reliability_calibrated=reliability(side.calibrated) if side.calibrated else None,
    )


def _truth_beside(labelled: Predictions) -> Judged:
    assert labelled.targets is not None
    return Judged(labelled.targets, labelled.probabilities)


def _figure(value: float, spread: Spread, basis: Basis) -> Figure:
    # A share of nothing is 0, as in the macro figures; its interval says that it is not known.
    value = 0.0 if np.isnan(value) else value
    return as_figure(value, interval(value, spread, basis), basis)


@dataclass(frozen=True, eq=False)
class _Side:
    """One side of the split, laid out so that one pass over the weightings measures everything."""

    classes: tuple[str, ...]
    plain: Judged
    calibrated: Judged | None
    grouping: Grouping

    @property
    def n(self) -> int:
        return len(self.plain.targets)

    def metrics(self) -> dict[str, Metric]:
        """The headline figures that say something about this side."""
        said = {name: metric for name, metric in METRICS.items() if len(self.classes) > metric.more_than}
        return said if self.calibrated is None else said | {"ece_calibrated": METRICS["ece"]}

    def occurring(self) -> list[int]:
        """The classes that some picture is of."""
        return [int(index) for index in np.unique(self.plain.targets)]

    def rows(self) -> list[tuple[str, int | None]]:
        """What `measure` computes, in its order: headline figures, then figures of classes."""
        headline: list[tuple[str, int | None]] = [(name, None) for name in self.metrics()]
        return [*headline, *((name, index) for name in BY_CLASS for index in self.occurring())]

    def measure(self, weights: Weights) -> Values:
        """Every figure under each weighting."""
        plain = self.plain.weighed(weights)
        headline = [
            ece(self.calibrated.weighed(weights))
            if name == "ece_calibrated" and self.calibrated
            else metric.compute(plain)
            for name, metric in self.metrics().items()
        ]
        by_class = [compute(plain)[self.occurring()] for compute in BY_CLASS.values()]
        return np.concatenate([np.stack(headline), *by_class])

    def basis(self, metric: Metric) -> Basis:
        """What a headline figure rests on."""
        return Basis(
            self.n,
            self.grouping.count,
            self.grouping.worth_by_class(self.plain.targets) if metric.macro else self.grouping.count,
            trials=self.n if metric.counted else None,
            highest=metric.highest(len(self.classes)),
            lifted=metric.lifted,
        )

    def basis_of_class(self, figure: str, index: int) -> Basis:
        """What a figure of a class rests on: the pictures that are of it, that are called it, or both."""
        of_it, called_it = self.plain.targets == index, self.plain.predicted == index
        asked = {"recall": of_it, "precision": called_it, "f1": of_it | called_it}[figure]
        # F1 is 2 TP / (pictures of it + pictures called it), so it counts a found picture twice.
        trials = int(of_it.sum() + called_it.sum()) if figure == "f1" else int(asked.sum())
        groups = self.grouping.among(asked)
        return Basis(int(asked.sum()), groups, groups, trials)
