"""Tasks: the columns of labels that are learned and judged, the main one and any further ones.

A picture may lack the label of a task. It then teaches and judges the others only.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError, Problems
from handlens.data.samples import COLUMNS, Samples, join_names

MISSING = -1
"""The target of a picture without a label."""

_OURS = (*(name for name in COLUMNS if name != "label"), "digest")


@dataclass(frozen=True, eq=False)
class TaskLabels:
    """What one column of labels says of each picture."""

    name: str
    """What the column is called."""
    classes: tuple[str, ...]
    """The labels that occur, sorted."""
    targets: NDArray[np.int64]
    """The class of each picture, as an index into `classes`; `MISSING` where it has no label."""

    @classmethod
    def of(cls, samples: Samples, column: str, classes: Sequence[str] | None = None) -> Self:
        """Read a column; `classes` are those of a run where other pictures are to be judged by it."""
        labels = as_labels(samples.table[column])
        known = tuple(classes) if classes is not None else tuple(sorted(labels.drop_nulls().unique()))
        number: dict[str | None, int] = {None: MISSING} | {label: at for at, label in enumerate(known)}
        strange = sorted({label for label in labels if label not in number})
        if strange:
            near = suggestion(strange[0], known) if len(strange) == 1 else ""
            raise HandlensError(
                f"The run does not know {join_names([repr(label) for label in strange])} of the column "
                f"{column!r}.{near} It knows {', '.join(known)}. Rename or leave out the others."
            )
        name = samples.label_name if column == "label" else column
        return cls(name, known, np.array([number[label] for label in labels], dtype=np.int64))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which pictures have a label."""
        return np.asarray(self.targets >= 0)

    def only(self, rows: NDArray[np.int64]) -> Self:
        """The same task on some of the pictures."""
        return replace(self, targets=self.targets[rows])


def columns_of_tasks(tasks: Iterable[TaskLabels]) -> tuple[slice, ...]:
    """Where the scores of each task stand in those of all tasks side by side."""
    ends = np.cumsum([0, *(len(task.classes) for task in tasks)]).tolist()
    return tuple(slice(start, end) for start, end in pairwise(ends))


def as_labels(column: pl.Series) -> pl.Series:
    """A column as labels: text without blanks around it; blanks alone are no label."""
    if column.dtype.is_float():
        # What pandas writes for a missing number.
        column = column.fill_nan(None)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def task_columns(samples: Samples, tasks: Sequence[str]) -> tuple[str, ...]:
    """The columns that further tasks are called after, in whatever case they are written."""
    columns = samples.table.columns
    folded = {column.casefold(): column for column in reversed(columns)}
    free = [column for column in columns if column not in (*COLUMNS, "digest", samples.label_name)]
    found, problems = [], []
    for task in tasks:
        column = task if task in columns else folded.get(task.casefold())
        if column in ("label", samples.label_name):
            problems.append(
                f"{task!r} is the main task already. Take it off the list, or choose another main one with "
                "data.label."
            )
        elif column is None or column in _OURS:
            told = f" Its other columns are {', '.join(free)}." if free else " It has no other columns."
            problems.append(f"There is no column {task!r} with labels.{suggestion(task, free)}{told}")
        else:
            found.append(column)
    # Files are named after tasks, and some systems take 'Wear' and 'wear' for one name.
    times = Counter(column.casefold() for column in found)
    problems += [f"{name!r} is named {count} times." for name, count in times.items() if count > 1]
    if problems:
        raise Problems("The further tasks (data.tasks) do not fit the table of pictures:", problems)
    return tuple(found)


def with_tasks(samples: Samples, tasks: Sequence[str]) -> Samples:
    """The same pictures with the columns of further tasks made labels."""
    columns = task_columns(samples, tasks)
    return samples.with_table(
        samples.table.with_columns(as_labels(samples.table[column]) for column in columns)
    )


def without_any_label(table: pl.DataFrame, label: str, tasks: Sequence[str]) -> list[int]:
    """The rows that neither the main column of labels nor one of the others says anything about.

    Others that the table does not have say nothing.
    """
    wanted = {task.casefold() for task in tasks}
    others = [column for column in table.columns if column.casefold() in wanted and column not in _OURS]
    empty = [as_labels(table[column]).is_null() for column in dict.fromkeys((label, *others))]
    return [row for row, lacking in enumerate(zip(*empty, strict=True)) if all(lacking)]
