"""Many rows, one table: each row's figures over its trainings, and what may be said of their differences.

A row is one recipe, trained once or several times from other seeds. It is called better than another only
where the interval of their difference on the same pictures and a test that is corrected for the number of
differences both say so; all else is a tie, and told as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import Field

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.parallel import in_order
from handlens.base.spec import Spec
from handlens.evaluate.intervals import MISSED, Basis, Grouping, as_figure, spreads
from handlens.evaluate.judged_alike import agreed, same_pictures
from handlens.evaluate.metrics import METRICS, Judged, Values, Weights
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure
from handlens.evaluate.significance import (
    TEST,
    PairedDifference,
    Repeated,
    difference,
    holm,
    interval_of,
    missed_by_one,
)

LOWER_IS_BETTER = ("log_loss", "mse", "ece")
"""The figures that are errors."""

Standing = Literal["reference", "better", "worse", "tie", "failed"]


@dataclass(frozen=True, eq=False)
class Entry:
    """One row before it is judged."""

    name: str
    trainings: tuple[Predictions, ...]
    """What each of its trainings said of the pictures."""
    problem: str = ""
    """Why there are none."""
    notes: tuple[str, ...] = ()
    """What the reader has to know of it."""


class Difference(Spec):
    """A row's figure less that of the row it is compared with, on the same pictures."""

    value: float
    """The difference itself."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""
    method: str
    """How the interval was made."""
    p: float
    """How often a difference as large comes out where there is none."""
    p_corrected: float
    """The same, corrected for the number of differences that were looked at."""


class Row(Spec):
    """One row of the table."""

    name: str
    """What the row is called."""
    standing: Standing
    """What may be said of it beside the reference."""
    leads: bool
    """Whether it is the best row, or not clearly worse than the best one."""
    figures: dict[str, Figure] = Field(default={})
    """Means over its trainings, with intervals, by name."""
    by_training: dict[str, tuple[float, ...]] = Field(default={})
    """The same figures of each training."""
    difference: Difference | None = None
    """To the reference, in the figure that the table is about."""
    better_than: tuple[str, ...] = ()
    """The rows that it is clearly better than."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Counts over all trainings, true classes down and predicted classes across."""
    problem: str = ""
    """Why it has no figures."""
    notes: tuple[str, ...] = ()
    """What the reader has to know of it."""

    @property
    def num_trainings(self) -> int:
        """Trainings that its figures are the mean of."""
        return max(map(len, self.by_training.values()), default=0)

    def deviation(self, figure: str) -> float | None:
        """The standard deviation from training to training; none of a single one."""
        values = self.by_training.get(figure, ())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


class Comparison(Spec):
    """All rows, on the same pictures."""

    figure: str
    """The figure that the rows are compared in."""
    lower_is_better: bool
    """Whether it is an error."""
    reference: str
    """The row that the others are compared with."""
    to_best: bool
    """Whether that is the best row, which these same figures chose."""
    n: int
    """Pictures."""
    n_groups: int
    """Groups that they come from."""
    classes: tuple[str, ...]
    """The classes in the order of the confusion matrices."""
    rows: tuple[Row, ...]
    """In the order that they were given in."""
    num_differences: int
    """Differences that the correction counts."""
    test: str
    """The test in words."""
    notes: tuple[str, ...] = ()
    """What the reader has to know of the pictures."""

    def row(self, name: str) -> Row:
        """One row by its name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def judged(self) -> tuple[Row, ...]:
        """The rows that have figures."""
        return tuple(row for row in self.rows if row.standing != "failed")

    @property
    def trained_once(self) -> tuple[Row, ...]:
        """The rows that cannot tell what another seed would change."""
        return tuple(row for row in self.judged if row.num_trainings == 1)

    @property
    def best(self) -> Row:
        """The row with the best value, which others may tie with."""
        return (min if self.lower_is_better else max)(
            self.judged, key=lambda row: row.figures[self.figure].value
        )


def compare(
    entries: Sequence[Entry],
    figure: str = "accuracy",
    *,
    also: Sequence[str] = ("f1_macro",),
    to: str = "first",
    common: bool = False,
    seed: int = 0,
) -> Comparison:
    """Put rows beside each other: `to` the `first` one, the `best` one, or one by its name.

    All must have judged the same pictures; with `common`, those that all judged are taken.
    """
    wanted = list(dict.fromkeys((figure, *also)))
    for name in wanted:
        look_up(METRICS, name, "figure")
    there = [entry for entry in entries if entry.trainings]
    _refuse_hopeless(entries, there, to)
    judged, notes = same_pictures({entry.name: entry.trainings for entry in there}, common)
    judged, regrouped = agreed(judged)
    some = judged[there[0].name][0]
    wanted = _told_by(some, wanted)
    if figure not in wanted:
        occurring = len(np.unique(_truth_beside(some).targets))
        raise HandlensError(
            f"{figure} says nothing of {len(some.classes)} classes of which {occurring} occur here. "
            "Choose another figure."
        )
    table = JudgedRows(list(judged.values()), wanted, Grouping.of(some.groups))
    measured = table.measured(seed)
    main, lower = [row[figure] for row in measured], figure in LOWER_IS_BETTER
    best = int((np.argmin if lower else np.argmax)([row.value for row in main]))
    names = [entry.name for entry in there]
    reference = best if to == "best" else 0 if to == "first" else names.index(to)
    apart = _Apart.of(main, table.basis(figure), reference, best, to == "best", seed)
    made = {entry.name: _failed(entry) for entry in entries if not entry.trainings}
    for at, entry in enumerate(there):
        made[entry.name] = Row(
            name=entry.name,
            standing=apart.standing(at, lower),
            leads=apart.leads(at, lower),
            figures={name: _figure(measured[at][name], table.basis(name)) for name in wanted},
            by_training={name: tuple(measured[at][name].values.tolist()) for name in wanted},
            difference=apart.difference(at),
            better_than=tuple(name for of, name in enumerate(names) if apart.beats(at, of, lower)),
            confusion=_confusion(judged[entry.name]),
            notes=entry.notes,
        )
    return Comparison(
        figure=figure,
        lower_is_better=lower,
        reference=names[reference],
        to_best=to == "best",
        n=len(some.ids),
        n_groups=table.grouping.count,
        classes=some.classes,
        rows=tuple(made[entry.name] for entry in entries),
        num_differences=len(apart.corrected),
        test=TEST,
        notes=(*notes, *regrouped),
    )


def _told_by(some: Predictions, figures: Sequence[str]) -> list[str]:
    """The figures that say something of these classes and of these pictures."""
    enough = [name for name in figures if len(some.classes) > METRICS[name].more_than]
    weighed = _truth_beside(some).weighed()
    return [name for name in enough if np.isfinite(METRICS[name].compute(weighed)).all()]


def _failed(entry: Entry) -> Row:
    """A row that says why it has no figures."""
    return Row(name=entry.name, standing="failed", leads=False, problem=entry.problem, notes=entry.notes)


def _refuse_hopeless(entries: Sequence[Entry], there: Sequence[Entry], to: str) -> None:
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise HandlensError(f"Two rows are called {twice[0]!r}. Give each row a name of its own.")
    if len(there) < 2:
        problems = "".join(f" {entry.name}: {entry.problem}" for entry in entries if entry.problem)
        raise HandlensError(
            f"A comparison needs two rows with figures, and there {'is one' if there else 'is none'}."
            f"{problems} Give more runs."
        )
    if to not in ("first", "best"):
        look_up({entry.name: entry for entry in there}, to, "row to compare with")


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """The rows, laid out so that one pass over the resamples measures all of them."""

    rows: Sequence[Sequence[Predictions]]
    figures: Sequence[str]
    grouping: Grouping

    def measured(self, seed: int) -> list[dict[str, Repeated]]:
        """Every figure of every row. All see the same resamples, which is what pairs them."""

        def one(said: Predictions) -> list[tuple[float, Values, Values]]:
            judged = _truth_beside(said)

            def measure(weights: Weights) -> Values:
                weighed = judged.weighed(weights)
                return np.stack([METRICS[name].compute(weighed) for name in self.figures])

            plain = measure(np.ones(len(said.ids)))[:, 0].tolist()
            spread = spreads(measure, self.grouping, np.random.default_rng(seed))
            return [(value, each.drawn, each.left_out) for value, each in zip(plain, spread, strict=True)]

        # Side by side: nearly all of the time goes into drawing and weighing resamples.
        found = iter(list(in_order(one, (said for row in self.rows for said in row))))
        made = []
        for row in self.rows:
            of_row = [next(found) for _ in row]
            made.append(
                {
                    name: Repeated(*(np.array([each[at][part] for each in of_row]) for part in range(3)))
                    for at, name in enumerate(self.figures)
                }
            )
        return made

    def basis(self, figure: str) -> Basis:
        """What a figure of these pictures rests on."""
        metric, some = METRICS[figure], _truth_beside(self.rows[0][0])
        return Basis(
            len(some.targets),
            self.grouping.count,
            self.grouping.worth_by_class(some.targets) if metric.macro else self.grouping.count,
            trials=len(some.targets) if metric.counted else None,
            highest=metric.highest(some.num_classes),
            lifted=metric.lifted,
        )


@dataclass(frozen=True, eq=False)
class _Apart:
    """Which rows may be told apart."""

    differences: Mapping[tuple[int, int], PairedDifference]
    """Of each pair, the later row less the earlier one."""
    reference: int
    best: int
    corrected: Mapping[tuple[int, int], float]
    """The corrected p values of the differences that were looked at."""
    among_all: Mapping[tuple[int, int], float]
    """The same where all pairs are looked at."""
    missed: float
    """How often each interval may miss."""

    @classmethod
    def of(
        cls, rows: Sequence[Repeated], basis: Basis, reference: int, best: int, to_best: bool, seed: int
    ) -> "_Apart":
        """Look at the differences of the reference, or at all where the best row is the reference."""
        pairs = [(own, other) for other, own in combinations(range(len(rows)), 2)]
        differences = {(own, other): difference(rows[own], rows[other], basis) for own, other in pairs}
        among_all = _holm_of(differences, pairs)
        if to_best:
            # Which row is the best these same figures chose, so every pair has been looked at.
            return cls(
                differences, reference, best, among_all, among_all, missed_by_one(rows, differences, seed)
            )
        corrected = _holm_of(differences, [pair for pair in pairs if reference in pair])
        return cls(differences, reference, best, corrected, among_all, MISSED)

    def standing(self, at: int, lower_is_better: bool) -> Standing:
        """What may be said of a row beside the reference."""
        if at == self.reference:
            return "reference"
        if self.beats(at, self.reference, lower_is_better):
            return "better"
        return "worse" if self.beats(self.reference, at, lower_is_better) else "tie"

    def beats(self, at: int, other: int, lower_is_better: bool) -> bool:
        """Whether a row is clearly better than another: as their standing says, or where all pairs count."""
        if self.reference in (at, other):
            looked_at, missed = self.corrected, self.missed
        else:
            looked_at, missed = self.among_all, MISSED
        if at == other or not self._clear(at, other, looked_at, missed):
            return False
        return (self._between(at, other).value < 0) == lower_is_better

    def leads(self, at: int, lower_is_better: bool) -> bool:
        """Whether a row is the best one, or cannot be told from it."""
        return not self.beats(self.best, at, lower_is_better)

    def difference(self, at: int) -> Difference | None:
        """A row's difference to the reference; none of the reference itself."""
        if at == self.reference:
            return None
        found = self._between(at, self.reference)
        within = found.interval(self.missed)
        method = within.method + (", wide enough for every pair at once" if self.missed < MISSED else "")
        return Difference(
            value=found.value,
            low=within.low,
            high=within.high,
            method=method,
            p=found.p,
            p_corrected=self.corrected[_pair(at, self.reference)],
        )

    def _between(self, own: int, other: int) -> PairedDifference:
        found = self.differences[_pair(own, other)]
        return found if own > other else replace(found, value=-found.value)

    def _clear(self, own: int, other: int, corrected: Mapping[tuple[int, int], float], missed: float) -> bool:
        within = self._between(own, other).interval(missed)
        return corrected[_pair(own, other)] <= MISSED and not within.low <= 0 <= within.high


def _pair(own: int, other: int) -> tuple[int, int]:
    return max(own, other), min(own, other)


def _holm_of(
    differences: Mapping[tuple[int, int], PairedDifference], pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    return dict(zip(pairs, holm([differences[pair].p for pair in pairs]), strict=True))


def _truth_beside(said: Predictions) -> Judged:
    assert said.targets is not None
    return Judged(said.targets, said.probabilities)


def _figure(row: Repeated, basis: Basis) -> Figure:
    return as_figure(row.value, interval_of(row, basis), basis)


def _confusion(trainings: Sequence[Predictions]) -> tuple[tuple[int, ...], ...]:
    """Counts over all trainings."""
    counted = sum(_truth_beside(said).weighed().confusion[:, :, 0] for said in trainings)
    return tuple(tuple(int(count) for count in row) for row in np.asarray(counted))
