"""Samples as training meets them: files, class numbers, and the places of each side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlens.data.samples import SIDES, Samples

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
    """The class of each picture, as an index into `classes`."""
    names: tuple[str, ...]
    """The side of each picture."""

    @classmethod
    def of(cls, samples: Samples) -> "Sides":
        """Checked and split samples, in the order of their table."""
        table = samples.table
        number = {label: at for at, label in enumerate(samples.classes)}
        return cls(
            classes=samples.classes,
            ids=tuple(table["id"]),
            groups=tuple(table["group"]),
            shots=tuple(
                Shot(Path(path), name) for path, name in zip(table["path"], table["digest"], strict=True)
            ),
            targets=np.array([number[label] for label in table["label"]], dtype=np.int64),
            names=tuple(table["split"]),
        )

    @property
    def present(self) -> tuple[str, ...]:
        """The sides that have pictures."""
        return tuple(side for side in SIDES if side in self.names)

    def places(self, *names: str) -> Rows:
        """Where the pictures of these sides stand."""
        return np.flatnonzero(np.isin(self.names, names))

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
        )
