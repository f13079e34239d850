"""What the parts of an ablation are worth: main effects and interactions, with intervals.

The effect of a part is the mean difference that it makes, over all rows that differ in nothing else. An
interaction is by how much a part is worth more where another one is there too; half of it is what a
two-level factorial design calls so (Box, Hunter and Hunter 2005, "Statistics for Experimenters", section
5.7). Rows that are missing take those out that they would be compared with.

Both are differences of means over rows, each judged on the same pictures and under the same resamples, so
that the intervals come from where those of two rows come from: `significance.difference`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.compare_runs import common_side
from handlens.evaluate.comparison import JudgedRows
from handlens.evaluate.intervals import MISSED, Basis, Grouping
from handlens.evaluate.judged_alike import agreed, joined, same_pictures
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.significance import Repeated, difference, holm
from handlens.study.study import Study
from handlens.study.table import finished_trainings, rows_of

Values = tuple[str, ...]
"""A row by its value on each axis."""
Rows = Mapping[Values, Mapping[int, Predictions]]
"""What each training of each row said, by its seed."""


class Effect(Spec):
    """What a part is worth, or two of them together."""

    of: str
    """The part, or both, in words."""
    interaction: bool
    """Whether it is about two parts."""
    value: float
    """The mean difference."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""
    p: float
    """How often as large a difference comes out where there is none."""
    p_corrected: float
    """The same, corrected for the number of effects in the table."""
    num: int
    """Comparisons of rows that it is the mean of."""
    num_trainings: int
    """Seeds."""
    method: str
    """How the interval was made."""

    @property
    def clear(self) -> bool:
        """Whether the interval and the corrected test both say that there is something."""
        return not self.low <= 0 <= self.high and self.p_corrected <= MISSED

    @property
    def words(self) -> tuple[str, ...]:
        """For people: what it is of, its value, its interval, how sure it is, and of how many."""
        value, low, high = (
            f"{each:+.3f}".replace("-", "\N{MINUS SIGN}") for each in (self.value, self.low, self.high)
        )
        p = "<0.001" if self.p_corrected < 0.001 else f"{self.p_corrected:.3f}"
        return self.of, value, f"{low} to {high}", p, "clear" if self.clear else "not to be told from none"


class Effects(Spec):
    """All effects of an ablation."""

    figure: str
    """The figure that they are differences in."""
    effects: tuple[Effect, ...]
    """Main effects, then interactions."""
    notes: tuple[str, ...] = ()
    """What the reader has to know."""


@dataclass(frozen=True)
class Contrast:
    """Rows whose mean is compared with the mean of others; a row may stand there several times."""

    of: str
    more: tuple[Values, ...]
    less: tuple[Values, ...]
    num: int

    @property
    def interaction(self) -> bool:
        """Of an interaction, two rows stand on each side."""
        return len(self.more) == 2 * self.num


def effects_of(study: Study, figure: str = "accuracy") -> Effects:
    """The effects of the parts that a study ablates, as far as its runs are done."""
    if not study.spec.ablate:
        raise HandlensError("This study ablates nothing. Name its parts under 'ablate:' in its file.")
    axes = list(study.spec.differing)
    values = {name: tuple(study.spec.differing[name]) for name in study.spec.ablate}
    return effects(axes, values, judged_rows(study), figure)


def judged_rows(study: Study) -> dict[Values, dict[int, Predictions]]:
    """What each finished training said, of the side that the table is of."""
    side = common_side(rows_of(study))
    rows: dict[Values, dict[int, Predictions]] = {}
    for cells in finished_trainings(study):
        first, said = cells[0], [study.run(cell).predictions_path(side) for cell in cells]
        rows.setdefault(tuple(first.values.values()), {})[first.seed] = joined(
            [Predictions.read(path) for path in said], first.row
        )
    return rows


def effects(
    axes: Sequence[str], parts: Mapping[str, Values], rows: Rows, figure: str = "accuracy"
) -> Effects:
    """The effects of `parts`, each with its values, of which the first is what others are compared with."""
    wanted = [*contrasts(axes, parts, set(rows))]
    if not wanted:
        raise HandlensError("No two finished rows differ in one part only: there are no effects to tell yet.")
    seeds = sorted(set.intersection(*(set(trainings) for trainings in rows.values())))
    if not seeds:
        raise HandlensError(
            "No seed is finished in every row that has any: there are no effects to tell yet."
        )
    notes = []
    most = max(len(trainings) for trainings in rows.values())
    if len(seeds) < most:
        notes.append(f"Of {most} seeds the {len(seeds)} that every row has are used.")
    keys = list(rows)
    named = {str(at): [rows[key][seed] for seed in seeds] for at, key in enumerate(keys)}
    judged, regrouped = agreed(same_pictures(named, common=False)[0])
    first = next(iter(judged.values()))[0]
    table = JudgedRows(list(judged.values()), [figure], Grouping.of(first.groups))
    measured = {key: row[figure] for key, row in zip(keys, table.measured(0), strict=True)}
    told = [effect(each, measured, table.basis(figure)) for each in wanted]
    corrected = holm([each.p for each in told])
    return Effects(
        figure=figure,
        effects=tuple(
            each.model_copy(update={"p_corrected": p}) for each, p in zip(told, corrected, strict=True)
        ),
        notes=(*notes, *regrouped),
    )


def contrasts(axes: Sequence[str], parts: Mapping[str, Values], rows: set[Values]) -> Iterator[Contrast]:
    """Every value of every part against its first, then every two of them of different parts."""
    steps = [(name, value) for name, (_, *others) in parts.items() for value in others]
    place = {name: axes.index(name) for name in parts}

    def with_(row: Values, name: str, value: str) -> Values:
        return (*row[: place[name]], value, *row[place[name] + 1 :])

    for name, value in steps:
        base = parts[name][0]
        pairs = [(with_(row, name, value), row) for row in sorted(rows) if row[place[name]] == base]
        pairs = [pair for pair in pairs if pair[0] in rows]
        if pairs:
            more, less = zip(*pairs, strict=True)
            yield Contrast(_words(name, value, base), more, less, len(pairs))
    for (one, value), (other, further) in combinations(steps, 2):
        if one == other:
            continue
        bases = parts[one][0], parts[other][0]
        more_rows: list[Values] = []
        less_rows: list[Values] = []
        for row in sorted(rows):
            if (row[place[one]], row[place[other]]) != bases:
                continue
            first, second = with_(row, one, value), with_(row, other, further)
            both = with_(first, other, further)
            if {first, second, both} <= rows:
                more_rows += [both, row]
                less_rows += [first, second]
        if more_rows:
            words = f"{_words(one, value, bases[0])} × {_words(other, further, bases[1])}"
            yield Contrast(words, tuple(more_rows), tuple(less_rows), len(more_rows) // 2)


def effect(contrast: Contrast, measured: Mapping[Values, Repeated], basis: Basis) -> Effect:
    """One contrast with its interval."""
    sides = [[measured[row] for row in rows] for rows in (contrast.more, contrast.less)]
    # Of an interaction each side is a sum of two rows, and reaches twice as far.
    rows = 2 if contrast.interaction else 1
    more, less = (_mean(side, times=rows) for side in sides)
    found = difference(more, less, replace(basis, highest=rows * basis.highest))
    within = found.interval()
    return Effect(
        of=contrast.of,
        interaction=contrast.interaction,
        value=found.value,
        low=within.low,
        high=within.high,
        p=found.p,
        p_corrected=found.p,
        num=contrast.num,
        num_trainings=len(more.values),
        method=within.method,
    )


def _mean(rows: Sequence[Repeated], times: int) -> Repeated:
    """The mean of several rows, training by training: the same seed in each of them is one training."""
    parts = ((row.values, row.drawn, row.left_out) for row in rows)
    return Repeated(*(times * np.mean(np.stack(part), axis=0) for part in zip(*parts, strict=True)))


def _words(part: str, value: str, base: str) -> str:
    """A part that is there or not by its name; else which of its values is in the place of which."""
    return value if not base else f"{part}: {value} instead of {base}"
