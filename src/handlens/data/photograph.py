"""A camera and a lamp for drawn surfaces: the same relief gives another picture at every shot."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handlens.data.relief import Field, Relief, cloud

Colour = tuple[float, float, float]

# Pairs of sRGB colours that rocks, ores and metals of any structure come in.
PALETTES: tuple[tuple[Colour, Colour], ...] = (
    ((0.36, 0.37, 0.40), (0.62, 0.62, 0.64)),  # graphite, steel
    ((0.72, 0.66, 0.55), (0.50, 0.40, 0.29)),  # sand, limestone
    ((0.58, 0.34, 0.22), (0.74, 0.55, 0.36)),  # rust
    ((0.42, 0.46, 0.36), (0.60, 0.61, 0.49)),  # chlorite, olivine
    ((0.78, 0.77, 0.74), (0.58, 0.58, 0.60)),  # quartz, gypsum
    ((0.70, 0.58, 0.36), (0.47, 0.39, 0.28)),  # brass, pyrite
    ((0.34, 0.40, 0.50), (0.60, 0.64, 0.68)),  # blue slate
    ((0.73, 0.52, 0.45), (0.53, 0.48, 0.46)),  # pink feldspar
    ((0.27, 0.25, 0.25), (0.50, 0.45, 0.41)),  # basalt
    ((0.45, 0.39, 0.48), (0.68, 0.63, 0.66)),  # amethyst, lepidolite
    ((0.62, 0.38, 0.26), (0.40, 0.44, 0.40)),  # copper with patina
    ((0.50, 0.47, 0.42), (0.70, 0.68, 0.63)),  # clay, ash
)


@dataclass(frozen=True)
class Lamp:
    """Where the light of one picture comes from."""

    azimuth: float
    elevation: float
    nearness: float
    """0 is the sun; a near lamp shines on every point from another direction."""


@dataclass(frozen=True)
class Look:
    """What all pictures of a specimen share besides its structure."""

    first: Colour
    second: Colour
    metal: float
    """0 shines white as a mineral does, 1 in its own colour."""
    boldness: float
    """How strongly the relief stands out."""
    stain: float
    wear: float
    """How far edges are worn round, in hundredths of a picture."""
    dust: float
    """0 is clean, 1 is covered until hardly anything shows."""


def draw_look(palette: int, rng: np.random.Generator) -> Look:
    """Colours near those of a palette, and how worn and dusty the specimen is."""
    first, second = PALETTES[palette % len(PALETTES)]
    if rng.random() < 0.5:
        first, second = second, first
    shift = rng.normal(0, 0.02, (2, 3))
    dirty, worn = rng.random(2) < 0.25
    return Look(
        first=_shifted(first, shift[0]),
        second=_shifted(second, shift[1]),
        metal=float(rng.choice([0.0, 0.3, 0.9])),
        boldness=float(rng.uniform(0.6, 1.25)),
        stain=float(rng.uniform(0, 0.25)),
        wear=float(rng.uniform(0.5, 1.4) if worn else 0.0),
        dust=float(rng.uniform(0.5, 0.9) if dirty else rng.uniform(0.0, 0.25)),
    )


def photograph(relief: Relief, look: Look, rng: np.random.Generator, size: int) -> Image.Image:
    """Take one picture: choose a place and a lamp, light the relief, and spoil it as cameras do."""
    unit = size / 256
    zoom = rng.uniform(0.65, 1.2)
    height, tint, shade, gloss = _framed(relief, rng, size, zoom)
    height = height * np.float32(look.boldness / zoom)
    if look.wear or look.dust > 0.3:
        height, gloss = _aged(height, gloss, look, unit)

    lamp = Lamp(
        azimuth=rng.uniform(0, 2 * math.pi),
        elevation=math.radians(rng.uniform(22, 62)),
        nearness=rng.uniform(0.0, 0.5),
    )
    diffuse, shine = _lit(height, gloss, lamp)
    diffuse *= _unshadowed(height, lamp, unit)
    sky = _open_sky(height, unit)
    ambient = rng.uniform(0.15, 0.45)

    stain = cloud(rng, size, 90 * unit) * look.stain
    tint = np.clip(tint + 0.4 * stain, 0, 1)[..., None]
    colour = _linear(look.first) * (1 - tint) + _linear(look.second) * tint
    colour *= np.clip(shade * (1 - 0.5 * stain), 0.15, 2)[..., None]
    specks = _specks(rng, size, unit, look.dust)[..., None]
    grey = np.float32(0.4) + 0.3 * colour.mean(axis=(0, 1))
    colour = colour * (1 - specks) + grey * specks
    mirrored = 1 - look.metal + look.metal * colour * 2
    light = colour * (diffuse + ambient * sky)[..., None]
    light += mirrored * (shine * sky)[..., None] * (1 - specks) * rng.uniform(0.15, 0.6)
    return _exposed(light.astype(np.float32), rng, unit)


def _framed(
    relief: Relief, rng: np.random.Generator, size: int, zoom: float
) -> tuple[Field, Field, Field, Field]:
    """Cut a turned square out of the maps; the zoom is how many of their pixels make one of the picture."""
    side = len(relief.height)
    turn = rng.uniform(0, 2 * math.pi)
    cos, sin = zoom * math.cos(turn), zoom * math.sin(turn)
    room = max(side / 2 - size * zoom * math.sqrt(0.5) - 2, 0.0)
    x, y = side / 2 + rng.uniform(-room, room, 2)
    half = size / 2
    affine = (cos, -sin, x - half * (cos - sin), sin, cos, y - half * (sin + cos))

    def cut(field: Field, how: Image.Resampling) -> Field:
        turned = Image.fromarray(field).transform((size, size), Image.Transform.AFFINE, affine, how)
        return np.asarray(turned, dtype=np.float32)

    smooth, plain = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR
    return (
        cut(relief.height, smooth),
        cut(relief.tint, plain),
        cut(relief.shade, plain),
        cut(relief.gloss, plain),
    )


def _aged(height: Field, gloss: Field, look: Look, unit: float) -> tuple[Field, Field]:
    """Wear the edges round, then let dust fill the hollows and dull the faces."""
    from scipy.ndimage import gaussian_filter

    worn = gaussian_filter(height, max(look.wear * 2.56 * unit, 1e-3))
    level = gaussian_filter(worn, 5 * unit, truncate=2.5)
    filled = worn + (np.maximum(worn, level) - worn) * look.dust
    softened = filled * (1 - look.dust * 0.6) + gaussian_filter(filled, 2 * unit) * look.dust * 0.6
    return np.asarray(softened, dtype=np.float32), gloss * np.float32(1 - look.dust)


def _lit(height: Field, gloss: Field, lamp: Lamp) -> tuple[Field, Field]:
    """What the lamp gives: Lambert's cosine law, and Blinn and Phong's highlights seen from above."""
    place = np.linspace(-1, 1, len(height), dtype=np.float32)
    slopes_down = np.asarray(np.gradient(height, axis=0), dtype=np.float32)
    slopes_across = np.asarray(np.gradient(height, axis=1), dtype=np.float32)
    x = math.cos(lamp.azimuth) * math.cos(lamp.elevation) - lamp.nearness * place[None, :]
    y = math.sin(lamp.azimuth) * math.cos(lamp.elevation) - lamp.nearness * place[:, None]
    z = np.float32(math.sin(lamp.elevation))
    distance = np.sqrt(x * x + y * y + z * z)
    steep = np.sqrt(slopes_across**2 + slopes_down**2 + 1)
    facing = (z - slopes_across * x - slopes_down * y) / (steep * distance)
    # Half-way between the lamp and the eye, which is at (0, 0, 1).
    half_z = z + distance
    half = np.sqrt(x * x + y * y + half_z**2)
    mirror = np.maximum((half_z - slopes_across * x - slopes_down * y) / (steep * half), 0)
    sharpness = 12 + 60 * gloss**2
    shine = np.exp(sharpness * np.log(np.maximum(mirror, 1e-6))) * gloss * (1 + 2 * gloss)
    return np.maximum(facing, 0) / distance**0.5, shine


def _unshadowed(height: Field, lamp: Lamp, unit: float) -> Field:
    """Look from every point towards the lamp: 1 where nothing is in the way, little in shadow."""
    size = len(height)
    num_steps, stride = 8, 2.2 * unit
    margin = int(num_steps * stride) + 2
    padded = np.pad(height, margin, mode="edge")
    hidden = np.zeros_like(height)
    for step in range(1, num_steps + 1):
        away = step * stride
        left = margin + round(away * math.cos(lamp.azimuth))
        top = margin + round(away * math.sin(lamp.azimuth))
        blocking = padded[top : top + size, left : left + size] - np.float32(away * math.tan(lamp.elevation))
        np.maximum(hidden, blocking - height, out=hidden)
    # The lamp has a size, so the edge of a shadow is not sharp.
    return np.asarray(1 - 0.8 * np.clip(hidden / (2 * unit), 0, 1), dtype=np.float32)


def _open_sky(height: Field, unit: float) -> Field:
    """How much of the sky a point sees: narrow hollows are dark."""
    from scipy.ndimage import gaussian_filter

    below: Field = np.zeros_like(height)
    for reach in (2.0, 6.0):
        around = gaussian_filter(height, reach * unit, truncate=2.5)
        below += np.maximum(around - height, 0) / np.float32(reach * unit)
    return np.asarray(np.exp(-below), dtype=np.float32)


def _specks(rng: np.random.Generator, size: int, unit: float, dust: float) -> Field:
    """How much of every point is under loose dust: single specks, and a patchy veil where it is thick."""
    from scipy.ndimage import gaussian_filter

    specks = np.zeros((size, size), dtype=np.float32)
    for reach, number in ((0.6, 500), (1.3, 60)):
        drops = np.zeros((size, size), dtype=np.float32)
        count = rng.poisson(number * dust)
        drops[rng.integers(0, size, count), rng.integers(0, size, count)] = rng.uniform(0.5, 1, count)
        width = max(reach * unit, 0.4)
        specks += gaussian_filter(drops, width) * np.float32(2 * math.pi * width**2)
    veil = np.clip(cloud(rng, size, 60 * unit) * 0.15 + 0.75 * dust - 0.15, 0, 0.8)
    return np.asarray(np.clip(specks + veil, 0, 0.95), dtype=np.float32)


def _exposed(light: NDArray[np.float32], rng: np.random.Generator, unit: float) -> Image.Image:
    """The camera: focus, vignette, white balance, exposure, sensor noise and tone."""
    from scipy.ndimage import gaussian_filter

    size = len(light)
    out_of_focus, dark = rng.random(2) < 0.15
    blur = rng.uniform(1.6, 3.6) if out_of_focus else rng.uniform(0.25, 0.85)
    light = gaussian_filter(light, (blur * unit, blur * unit, 0))
    place = np.linspace(-1, 1, size, dtype=np.float32)
    light *= (1 - rng.uniform(0.05, 0.3) * (place[None, :] ** 2 + place[:, None] ** 2) / 2)[..., None]
    light *= np.exp(rng.normal(0, 0.03, 3)).astype(np.float32)
    # The camera chooses the exposure by the brightness it sees, so that brightness tells nothing.
    aim = rng.uniform(0.035, 0.07) if dark else rng.uniform(0.13, 0.3)
    light *= np.float32(aim) / light.mean()
    grain = rng.uniform(0.02, 0.06) if dark else rng.uniform(0.003, 0.014)
    # Photons arrive by chance: the spread of their number grows with its root.
    light += rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(np.maximum(light, 0) + 0.01) * grain
    shoulder = np.maximum(light, 0)
    shoulder = shoulder * (1 + shoulder / 4) / (1 + shoulder)
    picture = np.clip(shoulder, 0, 1) ** (1 / 2.2) * 255
    return Image.fromarray(picture.round().astype(np.uint8))


def _shifted(colour: Colour, shift: NDArray[np.float64]) -> Colour:
    red, green, blue = (np.array(colour) + shift).clip(0.05, 0.95).tolist()
    return red, green, blue


def _linear(colour: Colour) -> NDArray[np.float32]:
    """The light that an sRGB colour gives back."""
    return np.array(colour, dtype=np.float32) ** np.float32(2.2)
