"""What one picture can be made into another with: flips, turns, warps, crops, light and noise.

    - flip_vertical
    - {operation: rotate, degrees: [5, 45], border: crop}

An operation first draws, which needs no picture, and then does what was drawn: the manifest can say all of
it without making anything again. No border is ever black: what a turn lets in is the mirrored picture, or is
cut off.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import AfterValidator, BeforeValidator, Discriminator, Tag, model_validator

from handlens.base.choices import suggestion
from handlens.base.spec import Spec
from handlens.data.views import chance

Drawn = dict[str, float]
"""What an operation does to one picture, by name; empty where it always does the same."""

Matrix = tuple[float, float, float, float, float, float]
"""Where a point of the new picture lies in the old: x is a*x + b*y + c, and y is d*x + e*y + f."""

# Enough for every pixel that is interpolated from beyond an edge.
_SPARE_PIXELS = 2

# Noise is laid over strips of about this many values, which stay in the processor's own memory.
_STRIP_VALUES = 1 << 18


def _in_order(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("write the smaller number first")
    return pair


Range = Annotated[tuple[float, float], AfterValidator(_in_order)]
"""The least and the most that is drawn."""


class _Operation(Spec):
    """What all operations can do."""

    fixed: ClassVar[bool] = False
    """Whether it makes the same of a picture every time, and so has nothing more to give after the first."""
    operation: str

    def draw(self, generator: np.random.Generator) -> Drawn:
        """What is to be done to one picture."""
        return {}

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """Do it to an upright RGB picture; `generator` is the one that it was drawn from."""
        raise NotImplementedError


class FlipVertical(_Operation):
    """Exchange top and bottom: a flip about the x axis."""

    fixed: ClassVar[bool] = True
    operation: Literal["flip_vertical"] = "flip_vertical"

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """The picture upside down."""
        return picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


class FlipHorizontal(_Operation):
    """Exchange left and right: a flip about the y axis."""

    fixed: ClassVar[bool] = True
    operation: Literal["flip_horizontal"] = "flip_horizontal"

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """The picture as in a mirror."""
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


class Rotate90(_Operation):
    """Turn by 90 degrees, anticlockwise."""

    fixed: ClassVar[bool] = True
    operation: Literal["rotate90"] = "rotate90"

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """The picture on its side."""
        return picture.transpose(Image.Transpose.ROTATE_90)


class Rotate(_Operation):
    """Turn by any angle, one way or the other."""

    operation: Literal["rotate"] = "rotate"
    degrees: Range = (5.0, 45.0)
    """The least and the largest angle, from 0 to 180."""
    border: Literal["reflect", "crop"] = "reflect"
    """`reflect`: corners are filled with the mirrored picture; `crop`: the largest part without is kept."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 <= self.degrees[0] <= self.degrees[1] <= 180:
            raise ValueError("degrees must lie between 0 and 180; both directions are drawn")
        return self

    def draw(self, generator: np.random.Generator) -> Drawn:
        """The angle, anticlockwise."""
        return {"degrees": _either_way(generator, self.degrees)}

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """The turned picture; as large as it was, or smaller where the border is cut."""
        size = picture.size if self.border == "reflect" else size_within(picture.size, drawn["degrees"])
        return warped(picture, about_centre(picture.size, size, degrees=drawn["degrees"]), size)


class Affine(_Operation):
    """Turn, shear, stretch and shift at once; what comes in from outside is the mirrored picture."""

    operation: Literal["affine"] = "affine"
    degrees: Range = (0.0, 15.0)
    """The least and the largest angle of the turn, one way or the other."""
    shear: Range = (0.0, 10.0)
    """The least and the largest angle by which upright lines lean, one way or the other."""
    scale: Range = (0.85, 1.15)
    """How much larger the thing becomes, as a factor."""
    shift: Range = (0.0, 0.1)
    """How far it moves across and down, as a share of the sides, one way or the other."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 <= self.degrees[0] <= self.degrees[1] <= 180:
            raise ValueError("degrees must lie between 0 and 180; both directions are drawn")
        if not 0 <= self.shear[0] <= self.shear[1] <= 60:
            raise ValueError("shear must lie between 0 and 60 degrees; both directions are drawn")
        if not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise ValueError("scale must lie between 0.1 and 10, where 1 changes nothing")
        if not 0 <= self.shift[0] <= self.shift[1] <= 1:
            raise ValueError("shift is a share of the picture's side, between 0 and 1")
        return self

    def draw(self, generator: np.random.Generator) -> Drawn:
        """The angles, the factor and the shifts."""
        return {
            "degrees": _either_way(generator, self.degrees),
            "shear": _either_way(generator, self.shear),
            "scale": _between(generator, self.scale),
            "shift_x": _either_way(generator, self.shift),
            "shift_y": _either_way(generator, self.shift),
        }

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """The warped picture, as large as it was."""
        return warped(picture, about_centre(picture.size, picture.size, **drawn), picture.size)


class Crop(_Operation):
    """Keep a part, shaped like the picture; its pixels stay as they are."""

    operation: Literal["crop"] = "crop"
    area: Range = (0.5, 0.85)
    """The least and the largest share of the picture's area that is kept."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError("area is a share of the picture, above 0 and up to 1")
        return self

    def draw(self, generator: np.random.Generator) -> Drawn:
        """The share, and where the part lies in the room that it has."""
        area = _between(generator, self.area)
        return {"area": area, "x": _between(generator, (0, 1)), "y": _between(generator, (0, 1))}

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """The part that was drawn."""
        side = math.sqrt(drawn["area"])
        width, height = (max(1, round(side * length)) for length in picture.size)
        left = round(drawn["x"] * (picture.width - width))
        top = round(drawn["y"] * (picture.height - height))
        return picture.crop((left, top, left + width, top + height))


class Brightness(_Operation):
    """Make all values brighter or darker by a factor."""

    operation: Literal["brightness"] = "brightness"
    change: Range = (0.1, 0.4)
    """The least and the largest change, as a share: 0.4 is a factor of 0.6 or 1.4."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 <= self.change[0] <= self.change[1] < 1:
            raise ValueError("change is a share, from 0 to below 1; brighter and darker are drawn")
        return self

    def draw(self, generator: np.random.Generator) -> Drawn:
        """The factor."""
        return {"factor": round(1 + _either_way(generator, self.change), 4)}

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """Every value times the factor, rounded and kept within 0..255."""
        values = np.clip(np.rint(np.arange(256) * drawn["factor"]), 0, 255).astype(int).tolist()
        return picture.point(values * len(picture.getbands()))


class Noise(_Operation):
    """Lay Gaussian noise over every value; grey pictures stay grey."""

    operation: Literal["noise"] = "noise"
    deviation: Range = (0.01, 0.05)
    """The least and the largest standard deviation, as a share of the full range."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 < self.deviation[0] <= self.deviation[1] <= 1:
            raise ValueError("deviation is a share of the full range, above 0 and up to 1")
        return self

    def draw(self, generator: np.random.Generator) -> Drawn:
        """The deviation."""
        return {"deviation": _between(generator, self.deviation)}

    def apply(self, picture: Image.Image, drawn: Drawn, generator: np.random.Generator) -> Image.Image:
        """The picture with noise of its own."""
        pixels = np.asarray(picture)
        if not is_grey(pixels):
            return Image.fromarray(noisy(pixels, 255 * drawn["deviation"], generator))
        return Image.fromarray(noisy(pixels[..., 0], 255 * drawn["deviation"], generator)).convert("RGB")


def about_centre(
    size: tuple[int, int],
    new_size: tuple[int, int],
    *,
    degrees: float = 0.0,
    shear: float = 0.0,
    scale: float = 1.0,
    shift_x: float = 0.0,
    shift_y: float = 0.0,
) -> Matrix:
    """The matrix that turns (anticlockwise), leans and enlarges a picture about its centre and shifts it."""
    turn, lean = math.radians(degrees), math.tan(math.radians(shear))
    cosine, sine = math.cos(turn) / scale, math.sin(turn) / scale
    # The way back, from the new picture to the old: first the turn is undone, then the leaning.
    a, b = cosine + lean * sine, -sine + lean * cosine
    d, e = sine, cosine
    x, y = new_size[0] / 2 + shift_x * size[0], new_size[1] / 2 + shift_y * size[1]
    return a, b, size[0] / 2 - a * x - b * y, d, e, size[1] / 2 - d * x - e * y


def warped(picture: Image.Image, matrix: Matrix, size: tuple[int, int]) -> Image.Image:
    """The picture seen through a matrix, mirrored at its edges as far as that looks beyond them."""
    a, b, c, d, e, f = matrix
    width, height = size
    across = [c, c + a * width, c + b * height, c + a * width + b * height]
    down = [f, f + d * width, f + e * height, f + d * width + e * height]
    left, right = _beyond(across, picture.width)
    top, bottom = _beyond(down, picture.height)
    wider = mirrored(picture, left, top, right, bottom)
    moved = (a, b, c + left, d, e, f + top)
    return wider.transform(size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR)


def mirrored(picture: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """The picture with mirrored borders of these widths: NumPy's `reflect`, which has no edge twice."""
    return _mirrored_along(_mirrored_along(picture, 0, left, right), 1, top, bottom)


def size_within(size: tuple[int, int], degrees: float) -> tuple[int, int]:
    """The largest picture of the same shape that has no empty corner when one is turned by an angle."""
    width, height = size
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    shrink = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    return max(1, math.floor(width * shrink)), max(1, math.floor(height * shrink))


def is_grey(pixels: NDArray[np.uint8]) -> bool:
    """Whether pixels (..., 3) have no colour at all: what is made of them may have none either.

    Among grey pictures a tint would tell the made ones, and be learned as the class.
    """
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def noisy(pixels: NDArray[np.uint8], deviation: float, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Pixels with Gaussian noise of a deviation in levels laid over them, rounded and kept within 0..255."""
    out = np.empty_like(pixels)
    rows = max(1, _STRIP_VALUES // max(1, pixels[0].size))
    for start in range(0, len(pixels), rows):
        strip = pixels[start : start + rows]
        values = generator.standard_normal(strip.shape, dtype=np.float32)
        values *= np.float32(deviation)
        values += strip
        np.rint(values, out=values)
        np.clip(values, 0, 255, out=values)
        out[start : start + rows] = values
    return out


def chance_of(operation: str, content: str, number: int, seed: int) -> np.random.Generator:
    """What the `number`th picture made of one whose content digest is `content` is drawn from."""
    return chance(content, f"expand {operation} {number} {seed}")


def _between(generator: np.random.Generator, least_and_most: tuple[float, float]) -> float:
    # Rounded, so that the manifest says exactly what was done.
    return round(float(generator.uniform(*least_and_most)), 4)


def _either_way(generator: np.random.Generator, least_and_most: tuple[float, float]) -> float:
    """A number between the two, or the same below zero."""
    size = _between(generator, least_and_most)
    return size if generator.random() < 0.5 else -size


def _beyond(places: list[float], side: int) -> tuple[int, int]:
    """How many pixels places reach beyond the beginning and the end of a side."""
    return (
        max(0, math.ceil(-min(places)) + _SPARE_PIXELS),
        max(0, math.ceil(max(places) - side) + _SPARE_PIXELS),
    )


def _mirrored_along(picture: Image.Image, axis: int, before: int, after: int) -> Image.Image:
    """Mirrored borders at the two ends of one axis: 0 is across, 1 is down."""
    flip = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)[axis]
    while before > 0 or after > 0:
        side = picture.size[axis]
        # It can be mirrored only by less than itself at a time; a single line can only be repeated.
        most, skipped = (side - 1, 1) if side > 1 else (1, 0)
        first, last = min(before, most), min(after, most)
        size = list(picture.size)
        size[axis] += first + last
        wider = Image.new(picture.mode, (size[0], size[1]))
        wider.paste(picture, (first, 0) if axis == 0 else (0, first))
        for start, length, to in ((skipped, first, 0), (side - skipped - last, last, first + side)):
            if length:
                end = start + length
                box = (start, 0, end, size[1]) if axis == 0 else (0, start, size[0], end)
                wider.paste(picture.crop(box).transpose(flip), (to, 0) if axis == 0 else (0, to))
        picture, before, after = wider, before - first, after - last
    return picture


OPERATIONS: dict[str, type[_Operation]] = {
    "flip_vertical": FlipVertical,
    "flip_horizontal": FlipHorizontal,
    "rotate90": Rotate90,
    "rotate": Rotate,
    "affine": Affine,
    "crop": Crop,
    "brightness": Brightness,
    "noise": Noise,
}


def _named(value: Any) -> Any:
    """The name alone stands for an operation with its usual ranges."""
    if isinstance(value, _Operation):
        return value
    value = {"operation": value} if isinstance(value, str) else value
    name = value.get("operation") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or name not in OPERATIONS:
        near = suggestion(name, OPERATIONS) if isinstance(name, str) else ""
        raise ValueError(
            f"this is not an operation.{near} Write a name, or {{operation: name, ...}} with its ranges. "
            f"There are {', '.join(OPERATIONS)}"
        )
    return value


def _kind(value: Any) -> str:
    """Which operation it is; the brackets keep the name out of the place that an error tells."""
    return f"[{value.operation if isinstance(value, _Operation) else value['operation']}]"


Operation = Annotated[
    Annotated[FlipVertical, Tag("[flip_vertical]")]
    | Annotated[FlipHorizontal, Tag("[flip_horizontal]")]
    | Annotated[Rotate90, Tag("[rotate90]")]
    | Annotated[Rotate, Tag("[rotate]")]
    | Annotated[Affine, Tag("[affine]")]
    | Annotated[Crop, Tag("[crop]")]
    | Annotated[Brightness, Tag("[brightness]")]
    | Annotated[Noise, Tag("[noise]")],
    Discriminator(_kind),
    BeforeValidator(_named),
]
