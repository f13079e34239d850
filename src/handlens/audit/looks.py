"""What every picture looks like in numbers: sharpness, light, colour, border, and traces of how it was saved.

One reduced decoding a picture; what was found is remembered by the file's content.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageFile, JpegImagePlugin

from handlens.data.by_content import Keeping, as_scanned, find_by_content
from handlens.data.image import PIXEL_LIMIT, UnreadablePicture, orientation, reduce, rgb, turned
from handlens.data.scan import FileFacts
from handlens.data.screening import BURNT_OUT, DEEP_SHADOW, LOOKED_AT, reduced

Levels = NDArray[np.float32]

SIDES = ("left", "right", "top", "bottom")

_BORDER = 0.03
"""How wide the border is, as a share of the short side."""
_CUT = 0.1
"""What is cut off on each side to see how much a border tells that is none."""
_FEWEST_BANDS = 8
"""With fewer bands of the border's width, nothing is known of how bands differ."""
_LEAST_SPREAD = 0.01
"""As a share of the level: bands that differ by less are the same."""
_FARTHEST = 20.0
_SAME_LEVEL = 12
_PLAIN = 0.95
"""How far from its level a plain frame may lie, and how much of it must not: JPEG smears colours into it."""
_GRID = 8
"""JPEG treats pictures in squares of so many pixels."""
_GRID_SIDE = 1024
"""Pixels a side in which traces of these squares are looked for."""


@dataclass(frozen=True)
class Light:
    """Sharpness, light and colour; levels run from 0 to 255."""

    blur: float
    """0: none, 1: nothing but."""
    dark: float
    """Share of dark pixels."""
    bright: float
    """Share of burnt-out pixels."""
    span: float
    """From the darkest to the brightest level."""
    grey: float
    """Mean level."""
    contrast: float
    """Standard deviation of the levels."""
    red: float
    green: float
    blue: float
    colourfulness: float
    """Mean difference between the strongest and the weakest of the three colours; 0: a grey picture."""


@dataclass(frozen=True)
class Border:
    """How each of the `SIDES` differs from what lies inside, measured by how much that varies."""

    light: tuple[float, ...]
    """How the light differs from that of bands inside, in units of their spread."""
    contrast: tuple[float, ...]
    """The same of the contrast."""
    inner_light: tuple[float, ...]
    """What `light` would be if a tenth were cut off all around."""
    inner_contrast: tuple[float, ...]
    """What `contrast` would be then."""
    frame: tuple[float, ...]
    """How wide a frame of one level is, as a share of the picture."""


@dataclass(frozen=True)
class Saved:
    """Traces of how the picture was saved."""

    steps: float
    """How coarsely JPEG rounded the light, its mean quantiser; 0: not a JPEG."""
    colour_steps: float
    """The same of the colours; 0: not a JPEG, or a grey one."""
    sampling: int
    """How JPEG thinned the colours out: 0 not, 1 across, 2 across and down; -1: unknown."""
    progressive: bool
    """Whether a JPEG comes in several passes."""
    grid: float
    """How much stronger edges are where the squares of a JPEG meet, in a picture that is none: 1 without."""


@dataclass(frozen=True)
class Origin:
    """What the file's header says about where it came from."""

    camera: str
    program: str
    dots: float
    """Dots an inch; 0: not told."""
    profile: bool
    """Whether a colour profile is embedded."""


@dataclass(frozen=True)
class Look:
    """What one picture looks like."""

    light: Light
    border: Border
    saved: Saved
    origin: Origin


def looks(
    facts: Sequence[FileFacts], pixel_limit: int = PIXEL_LIMIT, cache: Path | None = None
) -> list[Look | None]:
    """How scanned files look, in their order; none where a file is no longer what was scanned."""
    found: dict[str, Look] = {}
    files = {fact.digest: fact for fact in facts}
    find_by_content(
        lambda fact: look(fact, pixel_limit), files, _KEEPING, "Looking at pictures", found.__setitem__, cache
    )
    return [found.get(fact.digest) for fact in facts]


def look(fact: FileFacts, pixel_limit: int = PIXEL_LIMIT) -> Look | None:
    """How one file looks; none where it is no longer what was scanned."""
    try:
        with as_scanned(fact, pixel_limit) as picture:
            # Only before decoding: it takes the tables and tags away from some formats.
            steps, colour_steps = _quantisers(picture)
            sampling = JpegImagePlugin.get_sampling(picture) if steps else -1
            progressive = bool(picture.info.get("progressive"))
            origin = _origin(picture)
            reduce(picture, LOOKED_AT // 2)
            picture.load()
            grid = 1.0 if steps else _grid(picture)
            small = turned(reduced(rgb(picture)), orientation(picture))
    except UnreadablePicture:
        return None
    saved = Saved(steps, colour_steps, int(sampling), progressive, grid)
    return Look(_light(small), _border(np.asarray(small.convert("L"))), saved, origin)


def blur(grey: Levels) -> float:
    """How blurred a picture is, without another one to compare it with: 0 not at all, 1 nothing but.

    Crete, Dolmiere, Ladret and Nicolas 2007, "The blur effect: perception and estimation with a new
    no-reference perceptual blur metric", equations 1 to 5: what is blurred already loses little by being
    blurred again.
    """
    from scipy.ndimage import uniform_filter1d

    found = 0.0
    for axis in (0, 1):
        again = uniform_filter1d(grey, 9, axis=axis)
        before = np.abs(np.diff(grey, axis=axis))
        lost = np.maximum(0, before - np.abs(np.diff(again, axis=axis)))
        total = float(before.sum(dtype=np.float64))
        if total:
            found = max(found, 1 - float(lost.sum(dtype=np.float64)) / total)
    return found


def _light(small: Image.Image) -> Light:
    """Sharpness, light and colour."""
    grey = small.convert("L")
    counts = _counts(grey)
    levels = np.arange(256)
    mean = float(counts @ levels)
    occurring = np.flatnonzero(counts)
    red, green, blue = small.split()
    strongest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    weakest = ImageChops.darker(ImageChops.darker(red, green), blue)
    return Light(
        blur=blur(np.asarray(grey).astype(np.float32)),
        dark=float(counts[:DEEP_SHADOW].sum()),
        bright=float(counts[BURNT_OUT:].sum()),
        span=float(occurring[-1] - occurring[0]),
        grey=mean,
        contrast=float(np.sqrt(counts @ (levels - mean) ** 2)),
        red=float(_counts(red) @ levels),
        green=float(_counts(green) @ levels),
        blue=float(_counts(blue) @ levels),
        colourfulness=float((_counts(strongest) - _counts(weakest)) @ levels),
    )


def _counts(grey: Image.Image) -> NDArray[np.float64]:
    """The share of the pixels at each of the 256 levels."""
    return np.asarray(grey.histogram(), dtype=np.float64) / (grey.width * grey.height)


def _border(grey: NDArray[np.uint8]) -> Border:
    """How the sides differ from the inside, of the picture and of what is left when a tenth is cut off."""
    width = max(1, round(_BORDER * min(grey.shape)))
    light, contrast = _edges(grey, width)
    down, across = (round(_CUT * side) for side in grey.shape)
    inside = grey[down : len(grey) - down, across : grey.shape[1] - across]
    inner_light, inner_contrast = _edges(inside, width)
    return Border(
        light,
        contrast,
        inner_light,
        inner_contrast,
        frame=(_frame(grey.T), _frame(grey.T[::-1]), _frame(grey), _frame(grey[::-1])),
    )


def _edges(grey: NDArray[np.uint8], width: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """How the light and the contrast at each of the `SIDES` differ from those inside."""
    columns, rows = _bands(grey.T, width), _bands(grey, width)
    light, contrast = ((*_ends(columns[at]), *_ends(rows[at])) for at in (0, 1))
    return light, contrast


def _bands(grey: NDArray[np.uint8], width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean level and the logarithm of the contrast of bands of so many rows, from end to end."""
    count = len(grey) // width
    # What is over lies in the middle, so that both ends begin at the edge.
    half = count // 2 * width
    rows = np.concatenate([grey[:half], grey[len(grey) - (count * width - half) :]])
    num = width * grey.shape[1]
    values = rows.astype(np.float32)
    sums = values.sum(axis=1, dtype=np.float64).reshape(count, width).sum(axis=1)
    squares = np.square(values).sum(axis=1, dtype=np.float64).reshape(count, width).sum(axis=1)
    means = sums / num
    variances = np.maximum(0, squares / num - means**2)
    return means, np.log1p(np.sqrt(variances))


def _ends(of_bands: NDArray[np.float64]) -> tuple[float, float]:
    """How far the first and the last band lie from the middle of the others, in units of their spread.

    In a texture that fills the picture both are bands like the others, whatever the texture is: a share of
    white, say, would tell the texture and not the border.
    """
    if len(of_bands) < _FEWEST_BANDS:
        return 0.0, 0.0
    inside = of_bands[1:-1]
    middle = float(np.median(inside))
    # Half of the distance between the quartiles, and a little for pictures that are plain inside.
    low, high = np.quantile(inside, (0.25, 0.75))
    spread = float(high - low) / 2 + _LEAST_SPREAD * (1 + abs(middle))
    first, last = np.clip((of_bands[[0, -1]] - middle) / spread, -_FARTHEST, _FARTHEST)
    return float(first), float(last)


def _frame(rows: NDArray[np.uint8]) -> float:
    """The share of the rows, from the first, that show the level of the first, but for a few pixels."""
    level = float(np.median(rows[0]))
    for number, row in enumerate(rows):
        # Row by row, because hardly any picture has a second one.
        if np.count_nonzero(np.abs(row - level) <= _SAME_LEVEL) < _PLAIN * len(row):
            return number / len(rows)
    return 1.0


def _grid(picture: Image.Image) -> float:
    """The step across the lines where the squares of a JPEG would meet, as a share of steps elsewhere."""
    if min(picture.size) < 4 * _GRID:
        return 1.0
    corner = picture.crop((0, 0, min(picture.width, _GRID_SIDE), min(picture.height, _GRID_SIDE)))
    grey = np.asarray(rgb(corner).convert("L")).astype(np.int16)
    on = off = 0.0
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis, dtype=np.float64)
        meets = np.arange(len(steps)) % _GRID == _GRID - 1
        # Not the means: a single edge of the subject may lie on such a line.
        on += float(np.median(steps[meets]))
        off += float(np.median(steps[~meets]))
    return on / off if off else 1.0


def _quantisers(picture: ImageFile.ImageFile) -> tuple[float, float]:
    """The mean quantisers of light and colour; 0 where there are none."""
    tables = getattr(picture, "quantization", None) or {}
    means = [float(np.mean(table)) for _, table in sorted(tables.items())]
    return (means[0] if means else 0.0), (means[1] if len(means) > 1 else 0.0)


def _origin(picture: ImageFile.ImageFile) -> Origin:
    tags: dict[int, object] = {}
    # Damaged tags raise almost anything; the pixels are good, so they count as absent.
    with suppress(Exception):
        tags = dict(picture.getexif())
    camera = (_text(tags.get(tag)) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    dots = picture.info.get("dpi")
    try:
        per_inch = round(float(dots[0]), 1) if dots else 0.0
    except (TypeError, ValueError, ZeroDivisionError, IndexError):
        per_inch = 0.0
    return Origin(
        camera=" ".join(filter(None, camera)),
        program=_text(tags.get(ExifTags.Base.Software)),
        dots=per_inch if np.isfinite(per_inch) else 0.0,
        profile=bool(picture.info.get("icc_profile")),
    )


def _text(value: object) -> str:
    """A tag as words; whatever cannot be read of it is replaced."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", errors="replace").decode().replace("\0", " ").strip()[:80]


def _written(seen: Look) -> str:
    return json.dumps(asdict(seen))


def _read(text: str) -> Look:
    values = json.loads(text)
    border = {name: tuple(sides) for name, sides in values["border"].items()}
    light, saved, origin = values["light"], values["saved"], values["origin"]
    return Look(Light(**light), Border(**border), Saved(**saved), Origin(**origin))


_KEEPING = Keeping(folder="audit", table="looks", column="look", version=1, write=_written, read=_read)
