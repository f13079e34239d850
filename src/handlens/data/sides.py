"""Samples as training meets them: files, class numbers, and the places of each side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlens.base.errors import Problems
from handlens.data.derived import derived_rows, mixed_rows
from handlens.data.samples import SIDES, Samples, join_names
from handlens.data.tasks import TaskLabels, task_columns

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Shot:
    """One picture: its file and the hash of its content."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Sides:
    """The pictures of a split in one order; a place is a number in that order."""

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    shots: tuple[Shot, ...]
    targets: Rows
    """The class of each picture in the main task, as an index into `classes`; -1 where it has none."""
    names: tuple[str, ...]
    """The side of each picture."""
    label_name: str = "label"
    """What the main task is called."""
    further: tuple[TaskLabels, ...] = ()
    """The tasks beside the main one."""
    derived: tuple[bool, ...] = ()
    """Whether each picture was made from others and may only be trained with; empty where none was."""
    mixed: tuple[bool, ...] = ()
    """Whether each picture shows something of others outside its group; empty where none does."""

    @classmethod
    def of(cls, samples: Samples, tasks: Sequence[str] = ()) -> "Sides":
        """Checked and split samples, in the order of their table; `tasks` names columns of further labels."""
        table = samples.table
        main = TaskLabels.of(samples, "label")
        further = tuple(TaskLabels.of(samples, column) for column in task_columns(samples, tasks))
        derived, mixed = derived_rows(samples), mixed_rows(samples)
        sides = cls(
            classes=main.classes,
            ids=tuple(table["id"]),
            groups=tuple(table["group"]),
            shots=tuple(
                Shot(Path(path), name) for path, name in zip(table["path"], table["digest"], strict=True)
            ),
            targets=main.targets,
            names=tuple(table["split"]),
            label_name=main.name,
            further=further,
            derived=tuple(derived.tolist()) if derived.any() else (),
            mixed=tuple(mixed.tolist()) if mixed.any() else (),
        )
        sides._require_labels()
        return sides

    @property
    def tasks(self) -> tuple[TaskLabels, ...]:
        """All tasks, the main one first."""
        return (TaskLabels(self.label_name, self.classes, self.targets), *self.further)

    @property
    def all_targets(self) -> Rows:
        """The classes in all tasks: (n,) where there is one task, else (n, tasks)."""
        return np.stack([task.targets for task in self.tasks], axis=1) if self.further else self.targets

    @property
    def present(self) -> tuple[str, ...]:
        """The sides that have pictures."""
        return tuple(side for side in SIDES if side in self.names)

    def places(self, *names: str) -> Rows:
        """Where the pictures of these sides stand."""
        return np.flatnonzero(np.isin(self.names, names))

    def taken(self, places: Rows) -> Rows:
        """Those of some places whose pictures were not made from others."""
        return places[~np.array(self.derived)[places]] if self.derived else places

    def unmixed(self, places: Rows) -> Rows:
        """Those of some places whose pictures show nothing of others outside their group."""
        return places[~np.array(self.mixed)[places]] if self.mixed else places

    def only(self, *names: str) -> "Sides":
        """The pictures of some sides, with places of their own."""
        kept = self.places(*names)

        def pick(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[place] for place in kept)

        return Sides(
            self.classes,
            pick(self.ids),
            pick(self.groups),
            pick(self.shots),
            self.targets[kept],
            pick(self.names),
            self.label_name,
            tuple(task.only(kept) for task in self.further),
            pick(self.derived) if self.derived else (),
            pick(self.mixed) if self.mixed else (),
        )

    def _require_labels(self) -> None:
        """Every task must have something to tell apart, to learn from and to be judged on."""
        problems = [
            f"{task.name!r} has only one class{''.join(f', {name!r}' for name in task.classes)}: there is "
            "nothing to tell apart."
            for task in self.further
            if len(task.classes) < 2
        ]
        for task in self.tasks:
            bare = [
                side for side in self.present if side != "val" and not task.known[self.places(side)].any()
            ]
            if bare and task.classes:
                problems.append(f"{task.name!r} has no label on the {join_names(bare)} side.")
        if problems:
            raise Problems(
                "Not every task can be learned and judged. Fill in labels, split otherwise, or take the task "
                "off data.tasks:",
                problems,
            )
