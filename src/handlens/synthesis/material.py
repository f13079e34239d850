"""What synthetic pictures are made from: training pictures that were taken, and those of the rare class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.data.derived import derived_rows
from handlens.data.image import PIXEL_LIMIT, open_picture
from handlens.data.samples import Samples

LEAST_PICTURES = 2
"""A class must have so many training pictures for another one to be made."""


class CannotMake(HandlensError):
    """The pictures do not have what a way of making others needs; with the same settings it never will."""


@dataclass(frozen=True)
class Material:
    """Pictures with their sides, and the class that there are too few of."""

    samples: Samples
    contents: Sequence[str]
    """The hash of each picture's file."""
    label: str
    """The rare class."""
    learned: tuple[int, ...]
    """The rows that may be learned from: labelled training pictures that were not made from others."""
    pixel_limit: int = PIXEL_LIMIT

    @classmethod
    def of(
        cls, samples: Samples, contents: Sequence[str], label: str, pixel_limit: int = PIXEL_LIMIT
    ) -> "Material":
        """The training side of split samples; a class that cannot be helped is refused."""
        usable = ~derived_rows(samples) & samples.table["label"].is_not_null().to_numpy()
        learned = np.flatnonzero(usable & (samples.table["split"] == "train").to_numpy())
        material = cls(samples, contents, label, tuple(learned.tolist()), pixel_limit)
        if label not in samples.classes:
            raise HandlensError(
                f"There is no class {label!r}.{suggestion(label, samples.classes)} "
                f"There are {', '.join(samples.classes)}."
            )
        if len(material.own) < LEAST_PICTURES:
            raise HandlensError(
                f"{label!r} has {len(material.own)} training pictures, and at least {LEAST_PICTURES} are "
                "needed to make others from. Take more pictures of it first."
            )
        return material

    @cached_property
    def labels(self) -> list[str | None]:
        """The class of every picture."""
        return self.samples.table["label"].to_list()

    @cached_property
    def groups(self) -> list[str]:
        """What every picture came from."""
        return self.samples.table["group"].to_list()

    @cached_property
    def ids(self) -> list[str]:
        """The name of every picture."""
        return self.samples.table["id"].to_list()

    @cached_property
    def paths(self) -> list[Path]:
        """Where every picture lies."""
        return [Path(path) for path in self.samples.table["path"]]

    @cached_property
    def own(self) -> tuple[int, ...]:
        """The rows to learn from that are of the class."""
        return tuple(row for row in self.learned if self.labels[row] == self.label)

    @cached_property
    def held_out(self) -> tuple[int, ...]:
        """Pictures of the class that nothing was learned from: those of the test and validation sides."""
        sides = self.samples.table["split"].to_list()
        taken = ~derived_rows(self.samples)
        return tuple(
            row
            for row, (label, side) in enumerate(zip(self.labels, sides, strict=True))
            if label == self.label and side != "train" and taken[row]
        )

    def open(self, row: int) -> Image.Image:
        """A picture, upright and RGB."""
        return open_picture(self.paths[row], pixel_limit=self.pixel_limit)


@dataclass(frozen=True)
class Told:
    """What one synthetic picture is made from."""

    parent: int | None = None
    """The row of the picture that it is a changed one of; none where there is no such picture."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What was drawn for it."""


class Maker(Protocol):
    """A way of making pictures of a class, ready to make them; they are known by their numbers from 0."""

    at_once: int
    """Pictures that are made together: numbers from a multiple of it on. With 1, in several threads."""
    seeks_copies: bool
    """Whether a picture that looks like a training picture is a failure; others are meant to."""
    sentences: tuple[str, ...]
    """How it works on these pictures, and what it assumes."""

    def told(self, number: int) -> Told:
        """What the picture of this number is made from."""

    def pictures(self, numbers: Sequence[int]) -> Iterable[Image.Image]:
        """The pictures of these numbers, of which there are `at_once`."""

    def seen(self) -> Mapping[int, Path]:
        """The training pictures by their rows, as this way saw them."""
