"""Cut-and-blend: the defect of one picture, set without a seam into another picture of the same class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from handlens.base.errors import HandlensError
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.formats.pictures import MASK_COLUMN
from handlens.data.image import UnreadablePicture, open_picture, turned
from handlens.data.orientations import after
from handlens.data.views import chance
from handlens.data.walk import Walk
from handlens.synthesis.augment import in_turn
from handlens.synthesis.material import CannotMake, Material, Told
from handlens.synthesis.patches import Patch, found, of_mask, typical_of
from handlens.synthesis.poisson import blended
from handlens.synthesis.spec import SynthesisSpec

MOST_FOR_TYPICAL = 50
"""So many pictures tell what is typical of a class."""

PLACES = 8
"""So many places are drawn for a patch, of which the one is taken that hides least of the receiver's own."""

STRAYS = 0.05
"""How far a patch may stray where all pictures show one thing in one place, as a share of the sides."""

_SHRINKS_TO = 0.8
"""Of the receiver's sides: a patch that is larger is made smaller until it finds room."""


@dataclass(frozen=True)
class Placed:
    """One blend, all of it drawn."""

    donor: int
    receiver: int
    orientation: int
    """How the patch is turned or mirrored, as EXIF numbers it."""
    scale: float
    x: float
    y: float
    """Where the middle of the patch comes to lie, as shares of the receiver's sides."""


class Blender:
    """Makes pictures of the class by moving the defects of its training pictures among them."""

    at_once = 1
    seeks_copies = False

    def __init__(self, material: Material, spec: SynthesisSpec) -> None:
        self._material = material
        self._spec = spec
        self._receivers = in_turn(material, f"blend {spec.seed}")
        self._typical = self._typical_of_class()
        self._patches = self._all_patches()
        self._donors = tuple(row for row in self._receivers if row in self._patches)
        if not self._donors:
            raise CannotMake(
                f"In none of the {len(material.own)} training pictures of {material.label!r} does anything "
                "stand out that could be cut and blended. Name a mask of each defect in a column 'mask' of "
                "the table, lower blend.stands_out, or leave this way out."
            )
        self.sentences = self._told_how()

    def told(self, number: int) -> Told:
        """The receiver, in whose group the picture stands, and the donor of the patch."""
        placed = self._placed(number)
        drawn = {
            "donor": self._material.ids[placed.donor],
            "orientation": placed.orientation,
            "scale": placed.scale,
            "x": placed.x,
            "y": placed.y,
        }
        return Told(placed.receiver, drawn)

    def pictures(self, numbers: Sequence[int]) -> Iterator[Image.Image]:
        """The receivers with one more defect."""
        for number in numbers:
            placed = self._placed(number)
            donor, receiver = self._material.open(placed.donor), self._material.open(placed.receiver)
            yield set_in(receiver, donor, self._patches[placed.donor], placed)

    def seen(self) -> Mapping[int, Path]:
        """The training pictures themselves."""
        return {row: self._material.paths[row] for row in self._material.learned}

    @cached_property
    def _masks(self) -> list[str | None]:
        """The path of each picture's mask, where the table has such a column."""
        table = self._material.samples.table
        return table[MASK_COLUMN].to_list() if MASK_COLUMN in table.columns else [None] * len(table)

    def _placed(self, number: int) -> Placed:
        """What is drawn for a number; it depends on the pictures' contents alone."""
        material, spec = self._material, self._spec
        receiver = self._receivers[number % len(self._receivers)]
        generator = chance(material.contents[receiver], f"synthesize blend {number} {spec.seed}")
        others = [row for row in self._donors if row != receiver] or list(self._donors)
        donor = others[int(generator.integers(len(others)))]
        patch = self._patches[donor]
        scale = round(float(np.exp(generator.uniform(*np.log(spec.blend.scale)))), 4)
        orientation = int(generator.choice(self._orientations))
        middle = ((patch.box[0] + patch.box[2]) / 2, (patch.box[1] + patch.box[3]) / 2)
        places = generator.random((PLACES, 2))
        if self._typical is not None:
            places = np.clip(np.array(middle) + (places - 0.5) * 2 * STRAYS, 0, 1)
        size = (scale * (patch.box[2] - patch.box[0]), scale * (patch.box[3] - patch.box[1]))
        x, y = places[int(np.argmin([self._hidden(receiver, place, size) for place in places]))]
        return Placed(donor, receiver, orientation, scale, round(float(x), 4), round(float(y), 4))

    @property
    def _orientations(self) -> list[int]:
        """How a patch may be turned, as the flips and turns allow."""
        across, down = self._spec.flip_horizontal, self._spec.flip_vertical
        upright = [1, *([2] if across else []), *([4] if down else []), *([3] if across and down else [])]
        # One, two or three quarter turns after each of them.
        quarters = {after(each, turn) for each in upright for turn in (6, 3, 8)}
        return sorted({*upright, *quarters}) if self._spec.turn else upright

    def _hidden(self, receiver: int, place: NDArray[np.float64], size: tuple[float, float]) -> float:
        """How much of the receiver's own defect a patch of a size (shares of the sides) would hide."""
        own = self._patches.get(receiver)
        if own is None:
            return 0.0
        # It is kept within the picture.
        start = np.clip(place - np.array(size) / 2, 0, np.maximum(0, 1 - np.array(size)))
        first, last = np.maximum(start, own.box[:2]), np.minimum(start + size, own.box[2:])
        return float(np.prod(np.maximum(last - first, 0)))

    def _typical_of_class(self) -> NDArray[np.float32] | None:
        rows = self._receivers[:MOST_FOR_TYPICAL]
        return typical_of([self._material.open(row) for row in rows])

    def _all_patches(self) -> dict[int, Patch]:
        def patch(row: int) -> Patch | None:
            mask = self._masks[row]
            if mask:
                # A path from the root; an absolute one stays what it is.
                return of_mask(_opened_mask(self._material.samples.root / mask))
            return found(self._material.open(row), self._spec.blend.stands_out, self._typical)

        patches = {}
        with progress("Finding defects", len(self._receivers)) as advance:
            for row, each in zip(self._receivers, in_order(patch, self._receivers), strict=True):
                if each is not None:
                    patches[row] = each
                advance(1)
        return patches

    def _told_how(self) -> tuple[str, ...]:
        masked = sum(bool(self._masks[row]) for row in self._donors)
        if masked == len(self._donors):
            how = "what its mask marks"
        else:
            against = "its surroundings" if self._typical is None else "what is typical of the class"
            how = f"what differs most from {against}"
            how += f", or what its mask marks ({masked} have one)" if masked else ""
        where = "anywhere" if self._typical is None else "near where it was"
        return (
            f"A defect was found in {len(self._donors)} of {len(self._receivers)} training pictures: {how}. "
            f"It is set {where} into another picture of the class, which keeps its own.",
            "This assumes that the class is told by such a spot, that it may lie there, and that one more of "
            "it is still the same class. Look at the pictures: whether that holds, no figure says.",
        )


def set_in(receiver: Image.Image, donor: Image.Image, patch: Patch, placed: Placed) -> Image.Image:
    """The receiver with the donor's patch blended into it; as large as the receiver."""
    cut, share = _cut_out(donor, patch, placed, receiver.size)
    width, height = cut.size
    left = _within(placed.x * receiver.width - width / 2, receiver.width - width)
    top = _within(placed.y * receiver.height - height / 2, receiver.height - height)
    pixels = np.asarray(receiver).copy()
    part = pixels[top : top + height, left : left + width]
    mixed = blended(part, np.asarray(cut), np.asarray(share, np.float32))
    part[...] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _cut_out(
    donor: Image.Image, patch: Patch, placed: Placed, room: tuple[int, int]
) -> tuple[Image.Image, Image.Image]:
    """The rectangle around the patch and its mask, turned and enlarged as drawn, as far as there is room."""
    left, top, right, bottom = patch.box
    box = (left * donor.width, top * donor.height, right * donor.width, bottom * donor.height)
    rows, columns = patch.mask.shape
    mask = Image.fromarray(patch.mask)
    inside = (left * columns, top * rows, right * columns, bottom * rows)
    size = (max(3.0, box[2] - box[0]), max(3.0, box[3] - box[1]))
    if placed.orientation >= 5:
        size = size[::-1]
    scale = min(placed.scale, *(_SHRINKS_TO * most / side for most, side in zip(room, size, strict=True)))
    width, height = (max(1, round(side * scale)) for side in size)
    upright = (height, width) if placed.orientation >= 5 else (width, height)
    cut = donor.resize(upright, Image.Resampling.BICUBIC, box)
    share = mask.resize(upright, Image.Resampling.BILINEAR, inside)
    return turned(cut, placed.orientation), turned(share, placed.orientation)


def _within(start: float, most: int) -> int:
    return int(min(max(round(start), 0), max(most, 0)))


def _opened_mask(path: Path) -> Image.Image:
    """A mask; where a folder is named, as in MVTec LOCO, all its pictures are one."""
    if not path.is_dir():
        return _opened_part(path)
    paths = Walk(path).pictures_below(str(path))
    masks = [_opened_part(Path(each)) for each in paths]
    if len({mask.size for mask in masks}) != 1:
        what = "pictures of several sizes" if masks else "no picture"
        raise HandlensError(
            f"The folder of masks {path} holds {what}. Mend it, or empty its cell in the column "
            f"{MASK_COLUMN!r}."
        )
    return reduce(ImageChops.lighter, masks)


def _opened_part(path: Path) -> Image.Image:
    try:
        return open_picture(path)
    except UnreadablePicture as error:
        raise HandlensError(
            f"The mask {path} cannot be read: {error.reason}. Mend it, or empty its cell in the column "
            f"{MASK_COLUMN!r}."
        ) from None
