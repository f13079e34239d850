"""Strong augmentation: each new picture is one training picture after many operations."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from handlens.base.files import digest
from handlens.data.operations import Drawn, FlipHorizontal, FlipVertical, Operation, Rotate90
from handlens.data.views import chance
from handlens.synthesis.material import Material, Told
from handlens.synthesis.spec import SynthesisSpec


class Augmenter:
    """Makes pictures of the class by strong augmentation of its training pictures, each in turn."""

    at_once = 1
    seeks_copies = False
    sentences: tuple[str, ...] = (
        "Each picture is a training picture after strong changes: nothing in it is new, and what the changes "
        "leave out of a class stays left out.",
    )

    def __init__(self, material: Material, spec: SynthesisSpec) -> None:
        self._material = material
        self._spec = spec
        # Who comes first follows from the pictures, not from their names.
        self._parents = in_turn(material, f"augment {spec.seed}")

    def told(self, number: int) -> Told:
        """The parent, and what each operation drew."""
        parent = self._parents[number % len(self._parents)]
        drawn = [
            {"operation": operation.operation, **drawn}
            for operation, drawn, _ in self._planned(parent, number)
        ]
        return Told(parent, {"operations": drawn})

    def pictures(self, numbers: Sequence[int]) -> Iterator[Image.Image]:
        """The parents, changed."""
        for number in numbers:
            parent = self._parents[number % len(self._parents)]
            picture = self._material.open(parent)
            for operation, drawn, generator in self._planned(parent, number):
                picture = operation.apply(picture, drawn, generator)
            yield picture

    def seen(self) -> Mapping[int, Path]:
        """The training pictures themselves."""
        return {row: self._material.paths[row] for row in self._material.learned}

    def _planned(self, parent: int, number: int) -> Iterator[tuple[Operation, Drawn, np.random.Generator]]:
        """The operations with what they draw, in order."""
        content = self._material.contents[parent]
        generator = chance(content, f"synthesize augment {number} {self._spec.seed}")
        flips: list[Operation] = []
        for wanted, flip in (
            (self._spec.flip_horizontal, FlipHorizontal()),
            (self._spec.flip_vertical, FlipVertical()),
        ):
            if wanted and generator.random() < 0.5:
                flips.append(flip)
        if self._spec.turn:
            flips += [Rotate90()] * int(generator.integers(4))
        for place, operation in enumerate((*flips, *self._spec.augment.operations)):
            # Each has a chance of its own: how many numbers one takes for a picture changes no other.
            own = chance(
                content, f"synthesize augment {number} {place} {operation.operation} {self._spec.seed}"
            )
            yield operation, operation.draw(own), own


def in_turn(material: Material, words: str) -> tuple[int, ...]:
    """The training pictures of the class in an order that their contents and the words decide."""
    return tuple(sorted(material.own, key=lambda row: (digest(material.contents[row], words), row)))
