"""The generative way: a model of the training side draws pictures of the class from noise."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from handlens.base.files import digest
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.image import open_picture
from handlens.data.made import write_picture
from handlens.data.operations import is_grey
from handlens.synthesis.material import Material, Told
from handlens.synthesis.spec import SynthesisSpec
from handlens.synthesis.teach import Shown, cores_for, generator_of, names_of, taught
from handlens.synthesis.unet import callable_network, drawn, repeatable
from handlens.training.device import choose_device

MOST_PICTURES = 50_000
"""Of so many pictures it learns at most; all of the rare class are among them."""
MOST_BYTES = 2 * 1024**3
"""They are held in memory, reduced, and take no more of it than this."""

SEEN = "seen"
"""The folder with the pictures as the model saw them."""

ALMOST_SQUARE = 0.02


class Diffuser:
    """Draws pictures of the class by a model that has learned the training side."""

    at_once = 16
    seeks_copies = True

    def __init__(self, material: Material, spec: SynthesisSpec, folder: Path) -> None:
        """Train the model, or go on with it, in a folder of its own."""
        self._spec = spec
        self._rows = learned(material, min(MOST_PICTURES, MOST_BYTES // (3 * spec.diffusion.size**2)))
        self._folder = folder
        self._device = choose_device(spec.diffusion.precision)
        side = spec.diffusion.size
        self._shape = _shape_of([_size_of(material, row) for row in material.own])
        pixels = _squares(material, self._rows, side)
        self._write_seen(pixels)
        names = names_of([material.labels[row] for row in self._rows])
        classes = np.array([names.index(str(material.labels[row])) for row in self._rows])
        self._class = names.index(material.label)
        self._grey = is_grey(pixels[classes == self._class])
        self._any_class = len(names)
        self._network = taught(Shown(pixels, classes, names), spec, folder, self._device)
        exposures = spec.diffusion.steps * spec.diffusion.batch_size / len(self._rows)
        self.sentences: tuple[str, ...] = (
            f"The model learned from {len(self._rows)} training pictures of {len(names)} classes, "
            f"{len(material.own)} of them of {material.label}, reduced to {side} x {side} pixels; on average "
            f"it saw each {exposures:,.0f} times.",
            "Its pictures have no finer detail than that. Where the others have, a classifier may learn to "
            "tell the class by blur, which the figures on real pictures then show.",
        )

    def told(self, number: int) -> Told:
        """It is made from nothing but noise."""
        return Told()

    def pictures(self, numbers: Sequence[int]) -> Iterator[Image.Image]:
        """The pictures that stand in the noise of these numbers."""
        side, device = self._spec.diffusion.size, self._device.device
        noise = torch.stack(
            [
                torch.randn((3, side, side), generator=generator_of("noise", self._spec.seed, number))
                for number in numbers
            ]
        )
        classes = torch.full((len(numbers),), self._class)
        network = callable_network(self._network, None, device)
        with repeatable(device), cores_for(self._spec):
            made = drawn(
                network,
                noise.to(device),
                classes.to(device),
                self._any_class,
                self._spec.diffusion.sampler_steps,
                self._spec.diffusion.guidance,
            )
        if self._grey:
            made = made.mean(1, keepdim=True).expand_as(made)
        pixels = ((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        for square in pixels:
            yield self._in_shape(square)

    def seen(self) -> Mapping[int, Path]:
        """The training pictures as reduced as the model saw them: beside them, blur does not hide a copy."""
        return {row: self._seen_path(row) for row in self._rows}

    def _write_seen(self, pixels: NDArray[np.uint8]) -> None:
        for row, square in zip(self._rows, pixels, strict=True):
            path = self._seen_path(row)
            if not path.is_file():
                write_picture(self._in_shape(square), path)

    def _seen_path(self, row: int) -> Path:
        return self._folder / SEEN / f"{row:06d}.png"

    def _in_shape(self, square: NDArray[np.uint8]) -> Image.Image:
        """A square with the shape that pictures of the class have."""
        picture = Image.fromarray(square)
        return (
            picture
            if picture.size == self._shape_at(square)
            else picture.resize(self._shape_at(square), Image.Resampling.BICUBIC)
        )

    def _shape_at(self, square: NDArray[np.uint8]) -> tuple[int, int]:
        side = len(square)
        return (round(side * self._shape), side) if self._shape >= 1 else (side, round(side / self._shape))


def learned(material: Material, most: int) -> tuple[int, ...]:
    """The rows that the model learns from, in their order: all of the class, of others as many as may be."""
    if len(material.learned) <= most:
        return material.learned
    own = set(material.own)
    others = sorted(
        (row for row in material.learned if row not in own), key=lambda row: digest(material.contents[row])
    )
    return tuple(sorted([*own, *others[: max(0, most - len(own))]]))


def _squares(material: Material, rows: Sequence[int], side: int) -> NDArray[np.uint8]:
    """The whole pictures, squashed to squares."""

    def square(row: int) -> NDArray[np.uint8]:
        picture = open_picture(material.paths[row], 2 * side, material.pixel_limit)
        # The same filter as in the judging view.
        return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0))

    out = np.empty((len(rows), side, side, 3), np.uint8)
    with progress("Reading pictures", len(rows)) as advance:
        for place, pixels in enumerate(in_order(square, rows)):
            out[place] = pixels
            advance(1)
    return out


def _size_of(material: Material, row: int) -> tuple[int, int]:
    return open_picture(material.paths[row], 64, material.pixel_limit).size


def _shape_of(sizes: Sequence[tuple[int, int]]) -> float:
    """Width over height, the middle one of all."""
    shape = float(np.median([width / height for width, height in sizes]))
    return 1.0 if abs(shape - 1) < ALMOST_SQUARE else shape
