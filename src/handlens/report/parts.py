"""What the page shows beside the main task: further tasks, and the kinds that classes belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from handlens.evaluate.results import KindsResult, Metrics, SideResult, TaskResult, judged_side
from handlens.report.cards import Card, cards
from handlens.report.doubts import SamplesSummary


@dataclass(frozen=True)
class Cell:
    """How often one class was taken for another."""

    number: int
    share: float
    """Of the pictures of the true class."""


@dataclass(frozen=True)
class Part:
    """One section with figures, a confusion matrix and a table of its classes."""

    key: str
    """What the section is called in links."""
    name: str
    """What the task is called."""
    classes: tuple[str, ...]
    side_name: str
    side: SideResult
    cards: tuple[Card, ...]
    confusion: list[list[Cell]]
    temperature: float | None
    temperature_from: str | None
    members: Mapping[str, Sequence[str]]
    """The classes of each kind; empty for a task."""
    summary: SamplesSummary
    """The pictures of each class, or of each kind."""

    @property
    def headline(self) -> list[Card]:
        """The figures that stand large."""
        return [card for card in self.cards if card.headline]

    @property
    def further(self) -> list[Card]:
        """Those in the folded table."""
        return [card for card in self.cards if not card.headline]

    @property
    def guessed(self) -> float:
        """How often it would be right always to say the most frequent class of training."""
        return self.side.share_of(self.summary.most_frequent())


def summary_of(samples: pl.DataFrame, column: str = "label") -> SamplesSummary:
    """Pictures and groups by class and side, the classes in alphabetical order."""
    counted = (
        samples.drop_nulls(["split", column])
        .group_by(column, "split")
        .agg(pl.len().alias("pictures"), pl.col("group").n_unique().alias("groups"))
        .sort(column, "split")
    )
    pictures: dict[str, dict[str, int]] = {}
    groups: dict[str, dict[str, int]] = {}
    for label, split, num_pictures, num_groups in counted.iter_rows():
        pictures.setdefault(label, {})[split] = num_pictures
        groups.setdefault(label, {})[split] = num_groups
    # Where nothing was told, a group bears the name of its picture, or of one of several identical ones.
    untold = bool(samples["group"].is_in(samples["id"].implode()).all())
    return SamplesSummary(pictures, groups, untold)


def cells(confusion: Sequence[Sequence[int]]) -> list[list[Cell]]:
    """The confusion matrix with the share of the true class in each cell."""
    return [[Cell(number, number / max(1, sum(row))) for number in row] for row in confusion]


def parts_of_tasks(metrics: Metrics, samples: pl.DataFrame) -> list[Part]:
    """The sections of the further tasks."""
    return [
        _part(f"task-{number}", name, result, summary_of(samples, name))
        for number, (name, result) in enumerate(metrics.tasks.items(), start=1)
    ]


def part_of_kinds(metrics: Metrics, samples: pl.DataFrame) -> Part | None:
    """The section of the kinds; none where classes have none."""
    if metrics.kinds is None:
        return None
    kind_of = {label: kind for kind, members in metrics.kinds.members.items() for label in members}
    coarse = samples.with_columns(pl.col("label").replace_strict(kind_of, default=None))
    return _part("kinds", "kinds", metrics.kinds, summary_of(coarse))


def _part(key: str, name: str, result: TaskResult | KindsResult, summary: SamplesSummary) -> Part:
    side_name = judged_side(result)
    side = result.sides[side_name]
    return Part(
        key=key,
        name=name,
        classes=result.classes,
        side_name=side_name,
        side=side,
        cards=tuple(cards(result)),
        confusion=cells(side.confusion),
        temperature=result.temperature if isinstance(result, TaskResult) else None,
        temperature_from=result.temperature_from if isinstance(result, TaskResult) else None,
        members=result.members if isinstance(result, KindsResult) else {},
        summary=summary,
    )
