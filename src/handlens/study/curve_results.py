"""What a learning curve shows: its table, what each step gained, and the answer that follows or does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from handlens.base.spec import Spec
from handlens.evaluate.results import Figure
from handlens.evaluate.significance import Repeated, holm
from handlens.report.words import count, percent
from handlens.study.hits import HitFigure, Said, Standing, Truth, difference_by_training, standing_of

HALF, ALL = "half", "all"
HARDLY = 0.01
"""A gain that is surely smaller is not worth the pictures."""

Verdict = Literal["help", "hardly", "unclear", "worse"]


class CurveSpec(Spec):
    """How a learning curve is drawn."""

    steps: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 5, 10, 20)
    """Pictures a class; half of them and all of them always follow."""
    draws: int = Field(default=10, ge=2)
    """How many times pictures are drawn."""
    methods: tuple[Literal["head", "prototypes", "cosine", "ridge"], ...] = (
        "head",
        "prototypes",
        "cosine",
        "ridge",
    )
    """What learns; the first one answers the question."""
    figure: HitFigure = "accuracy"
    """What is measured: the share of all pictures that is right, or the mean of that over the classes."""
    seed: int = Field(default=0, ge=0)
    """Another seed draws other pictures."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError("methods: name at least one, and each once")
        return self


class Step(Spec):
    """So many pictures a class."""

    name: str
    """The number, or half, or all."""
    fewest: int
    """Pictures of the class that has fewest at this step."""
    most: int
    """Pictures of the class that has most."""
    pictures: int
    """Pictures in all."""
    groups: float
    """Groups that they come from, in the mean over the draws."""


class Point(Spec):
    """One method at one step."""

    method: str
    step: str
    figure: Figure
    """The mean over the draws."""
    by_draw: tuple[float, ...]
    difference: Figure | None
    """To the first method on the same draws."""
    p_corrected: float | None
    standing: Standing


class Gain(Spec):
    """What a method gained from one step to the next."""

    method: str
    before: str
    after: str
    figure: Figure


class Curve(Spec):
    """The shape of curve.json."""

    data: str
    recipe: str
    backbone: str
    spec: CurveSpec
    classes: tuple[str, ...]
    n: int
    """Test pictures."""
    n_groups: int
    steps: tuple[Step, ...]
    points: tuple[Point, ...]
    gains: tuple[Gain, ...]
    verdict: Verdict
    answer: str
    notes: tuple[str, ...]

    def point(self, method: str, step: str) -> Point:
        """One method at one step."""
        return next(each for each in self.points if (each.method, each.step) == (method, step))


@dataclass(frozen=True)
class Told:
    """What follows from the judgments."""

    points: tuple[Point, ...]
    gains: tuple[Gain, ...]
    verdict: Verdict
    answer: str


def measured(
    said: Mapping[tuple[str, str], Said], truth: Truth, steps: Sequence[Step], methods: Sequence[str]
) -> Told:
    """All figures, differences and the answer, from what each method said at each step, a row a draw."""
    found = dict(zip(said, truth.measured(list(said.values())), strict=True))
    first, names = methods[0], [step.name for step in steps]
    others = [row for row in said if row[0] != first]
    differences = {
        row: difference_by_training(found[row], found[first, row[1]], truth.basis) for row in others
    }
    corrected = dict(zip(others, holm([each.p for each in differences.values()]), strict=True))

    def point(row: tuple[str, str]) -> Point:
        difference = truth.difference(differences[row]) if row in differences else None
        return Point(
            method=row[0],
            step=row[1],
            figure=truth.figure_of(found[row]),
            by_draw=tuple(found[row].values.tolist()),
            difference=difference,
            p_corrected=corrected.get(row),
            standing=standing_of(difference, corrected.get(row)),
        )

    gains = [
        Gain(method=method, before=before, after=after, figure=_gain(found, truth, method, before, after))
        for method in methods
        for before, after in pairwise(names)
    ]
    last = [each for each in gains if each.method == first][-1:]
    verdict, answer = answered(
        last[0] if last else None, {step.name: step for step in steps}, found[first, names[-1]].value
    )
    return Told(tuple(map(point, said)), tuple(gains), verdict, answer)


def _gain(
    found: Mapping[tuple[str, str], Repeated], truth: Truth, method: str, before: str, after: str
) -> Figure:
    return truth.difference(difference_by_training(found[method, after], found[method, before], truth.basis))


def answered(gain: Gain | None, steps: Mapping[str, Step], reached: float) -> tuple[Verdict, str]:
    """The answer to 'do I need more pictures?', in a sentence; or why there is none."""
    if gain is None:
        return "unclear", (
            "These pictures cannot tell whether more would help: no class has more than one to learn from."
        )
    figure, before, after = gain.figure, steps[gain.before], steps[gain.after]
    step = f"from {in_words(before)} to {in_words(after)}"
    within = f"{_points(figure.low)} to {_points(figure.high)}"
    if figure.low > 0 and figure.high < HARDLY:
        return "hardly", (
            f"More pictures would hardly help: {step} it gained {_points(figure.value)} points ({within}), "
            "and the next doubling usually gains less."
        )
    if figure.low > 0:
        return "help", (
            f"More pictures would help: {step} it still gained {_points(figure.value)} points ({within})."
        )
    if figure.high < HARDLY:
        if figure.high < 0:
            return "worse", (
                f"More pictures of this kind do not help: {step} it lost {_points(-figure.value)} points "
                f"({_points(-figure.high)} to {_points(-figure.low)}). Look at the labels of those that were "
                "added."
            )
        return "hardly", (
            f"More pictures would hardly help: {step} it gained at most {_points(figure.high)} points. What "
            f"is wrong of {percent(reached)} right needs other views, another network or better labels."
        )
    grouped = figure.n_groups < figure.n
    few = count(figure.n_groups if grouped else figure.n, "test group" if grouped else "test picture")
    return "unclear", (
        f"These pictures cannot tell whether more would help: {step} it changed by "
        f"{_signed(figure.value)} points ({_signed(figure.low)} to {_signed(figure.high)}), which may be "
        f"chance on {few}."
    )


def in_words(step: Step) -> str:
    """A step as people say it."""
    if step.name not in (HALF, ALL):
        return f"{step.name} a class"
    number = str(step.most) if step.fewest == step.most else f"{step.fewest} to {step.most}"
    return f"{step.name} of them ({number} a class)"


def _points(share: float) -> str:
    return f"{100 * share:.1f}".replace("-", "\N{MINUS SIGN}")


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")
