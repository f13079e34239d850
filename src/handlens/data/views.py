"""Training views: the same picture as it might also have been taken.

A view is drawn from the picture's own content and the view's number, never from global randomness:
the fourth view of a picture is the same in every run, which is what lets its features be kept.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from handlens.base.files import digest
from handlens.base.spec import Spec
from handlens.data.image import PIXEL_LIMIT, JudgingView, open_picture, reduce, undecoded

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]


class TrainingView(Spec):
    """How far a training view may stray from the picture."""

    name: str = "mild"
    """What this kind of view is called in reports."""
    flip_horizontal: bool = True
    """Left and right may be exchanged."""
    flip_vertical: bool = False
    """Top and bottom may be exchanged."""
    turn: bool = False
    """Quarter turns; for things without an up and down."""
    rotate: float = Field(8.0, ge=0, le=180)
    """Largest rotation, in degrees; the border is filled with the mirrored picture."""
    crop: float = Field(0.8, gt=0, le=1)
    """Smallest share of the picture's area that stays in sight."""
    stretch: float = Field(1.1, ge=1, le=4)
    """Largest change of the aspect ratio, as a factor."""
    scale: float = Field(0.0, ge=0, lt=1)
    """How much smaller the thing may get, as a share; the border is filled with the mirrored picture."""
    brightness: float = Field(0.15, ge=0, lt=1)
    """Largest change of brightness, as a share."""
    contrast: float = Field(0.15, ge=0, lt=1)
    """Largest change of contrast, as a share."""
    saturation: float = Field(0.15, ge=0, lt=1)
    """Largest change of colourfulness, as a share."""
    noise: float = Field(0.0, ge=0, le=1)
    """Largest deviation of the noise laid over the picture, as a share of the full range."""


class ViewsSpec(Spec):
    """How a picture becomes what the network sees.

    Fixed views, `count` of them, can be kept: pixels, activations, features. Fresh ones are drawn for a
    network that trains; `count` is then left to what still is kept, a head that is trained first, and to
    judging by the mean over the views.
    """

    judge: JudgingView = JudgingView()
    """The view for judging, the same from training to the production line."""
    train: tuple[TrainingView, ...] = ()
    """Kinds of training views; with several, validation decides which kind is used."""
    count: int = Field(1, ge=1, le=64)
    """Views of each training picture: the judging view and count - 1 training views."""
    fresh: bool = False
    """Draw new training views in every epoch, one a picture; only for networks that train."""
    average: Literal["never", "always", "auto"] = "never"
    """Whether a picture is judged by the mean over its views; `auto` lets validation decide."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [view.name for view in self.train]
        if len(set(names)) < len(names):
            raise ValueError("two kinds of training views have the same name; give each its own")
        if self.count > 1 and not self.train:
            raise ValueError("count is more than 1 but train names no kind of training view")
        if self.fresh and not self.train:
            raise ValueError("fresh is set but train names no kind of training view")
        return self

    @property
    def kinds(self) -> dict[str, TrainingView | None]:
        """The kinds of training views by name; one without a name where there is only the picture."""
        return {view.name: view for view in self.train} if self.count > 1 or self.fresh else {"": None}

    @property
    def averages(self) -> tuple[bool, ...]:
        """The ways of judging that validation may choose from."""
        if self.count == 1 or self.average == "never":
            return (False,)
        return (True,) if self.average == "always" else (False, True)


def training_view(
    path: Path,
    content: str,
    number: int,
    view: TrainingView,
    judge: JudgingView,
    pixel_limit: int = PIXEL_LIMIT,
) -> Pixels:
    """View `number` of a picture whose content digest is `content`, as (size, size, 3) pixels."""
    picture = sized_picture(path, 2 * judge.size, judge, pixel_limit)
    return draw_view(picture, chance(content, str(number)), view, judge.size)


def chance(content: str, words: str) -> np.random.Generator:
    """Chance for one drawing, told by its words, of the picture whose content digest is `content`."""
    return np.random.default_rng(int(digest(content, words, length=8), 16))


def side_for(view: TrainingView, judge: JudgingView) -> int:
    """The short side that a picture must have for the smallest crop of a view to fill it without blur."""
    return min(2 * judge.size, math.ceil(judge.size / math.sqrt(view.crop)))


def sized_picture(path: Path, side: int, judge: JudgingView, pixel_limit: int = PIXEL_LIMIT) -> Image.Image:
    """The upright RGB picture with a short side of at most `side`, which is twice the view's size or less."""
    # Twice the view's size leaves room for crops without blur and keeps large photographs cheap.
    picture = open_picture(path, 2 * judge.size, pixel_limit)
    size = _within(picture.size, side)
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BOX)


def size_of_sized(
    path: Path, side: int, judge: JudgingView, pixel_limit: int = PIXEL_LIMIT
) -> tuple[int, int]:
    """The two sides, in no order, that `sized_picture` will have; only the file's header is read."""
    with undecoded(path, pixel_limit) as picture:
        reduce(picture, 2 * judge.size)
        return _within(picture.size, side)


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    shrink = max(1.0, min(size) / side)
    return (round(size[0] / shrink), round(size[1] / shrink)) if shrink > 1 else size


def draw_view(
    picture: Image.Image | Pixels, generator: np.random.Generator, view: TrainingView, size: int
) -> Pixels:
    """Draw one training view of an upright RGB picture, or of its (height, width, 3) pixels."""
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as transform

    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    if view.flip_horizontal and generator.random() < 0.5:
        pixels = transform.horizontal_flip(pixels)
    if view.flip_vertical and generator.random() < 0.5:
        pixels = transform.vertical_flip(pixels)
    if view.turn:
        pixels = torch.rot90(pixels, int(generator.integers(4)), dims=(1, 2))
    angle = generator.uniform(-view.rotate, view.rotate)
    zoom = generator.uniform(1 - view.scale, 1)
    if view.rotate or view.scale:
        height, width = pixels.shape[1:]
        for axis, missing in enumerate(_missing(height, width, angle, zoom)):
            pixels = _mirrored(pixels, axis, missing)
        bilinear = InterpolationMode.BILINEAR
        pixels = transform.affine(pixels, angle, [0, 0], zoom, [0.0, 0.0], interpolation=bilinear)
        pixels = transform.center_crop(pixels, [height, width])
    top, left, height, width = _crop_box(generator, view, *pixels.shape[1:])
    pixels = transform.resized_crop(pixels, top, left, height, width, [size, size], antialias=True)
    brightness, contrast, saturation = (
        generator.uniform(1 - most, 1 + most) for most in (view.brightness, view.contrast, view.saturation)
    )
    for adjust, factor in (
        (transform.adjust_brightness, brightness),
        (transform.adjust_contrast, contrast),
        (transform.adjust_saturation, saturation),
    ):
        # A factor of 1 changes nothing, and would take longer than the crop.
        if factor != 1:
            pixels = adjust(pixels, factor)
    drawn: Pixels = pixels.permute(1, 2, 0).contiguous().numpy()
    if view.noise:
        deviation = 255 * generator.uniform(0, view.noise)
        noisy = drawn + generator.normal(0, deviation, drawn.shape)
        drawn = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return drawn


def _missing(height: int, width: int, angle: float, zoom: float) -> tuple[int, int]:
    """How much wider a picture must be above and beside so that, turned and shrunk, it leaves no black."""
    cosine, sine = abs(np.cos(np.deg2rad(angle))), abs(np.sin(np.deg2rad(angle)))
    tall = (width * sine + height * cosine) / zoom
    wide = (width * cosine + height * sine) / zoom
    return int(np.ceil(max(0.0, tall - height) / 2)) + 1, int(np.ceil(max(0.0, wide - width) / 2)) + 1


def _mirrored(pixels: "Tensor", axis: int, missing: int) -> "Tensor":
    """The picture with a mirrored border above and below (axis 0), or left and right (axis 1)."""
    from torchvision.transforms.v2 import functional as transform

    while missing > 0:
        side = pixels.shape[1 + axis]
        # It can be mirrored only by less than itself at a time, and a single line only be repeated.
        border = min(missing, side - 1) if side > 1 else missing
        edges = [0, border] if axis == 0 else [border, 0]
        pixels = transform.pad(pixels, edges, padding_mode="reflect" if side > 1 else "edge")
        missing -= border
    return pixels


def _crop_box(
    generator: np.random.Generator, view: TrainingView, height: int, width: int
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of the picture, shaped about like the picture."""
    area = generator.uniform(view.crop, 1)
    stretch = np.exp(generator.uniform(-np.log(view.stretch), np.log(view.stretch)))
    tall = max(1, min(height, round(height * float(np.sqrt(area / stretch)))))
    wide = max(1, min(width, round(width * float(np.sqrt(area * stretch)))))
    top = int(generator.integers(height - tall + 1))
    left = int(generator.integers(width - wide + 1))
    return top, left, tall, wide
