"""Which frames of a video a person would leave out: blurred, badly exposed, or the same as the one before.

Every figure is a share or a plain number that stands in the manifest, and no frame is judged by another
video: what is usual in its own one is the measure, because scenes differ more than mistakes do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from handlens.base.spec import Spec

LOOKED_AT = 640
"""Pictures are looked at reduced, their long side between this many pixels and twice as many: blur that no
eye and no network sees does not count, and neither does the noise of the camera."""

DEEP_SHADOW = 40
BURNT_OUT = 250
"""Of 255: darker is dark, as bright is burnt out."""

NOTHING_ELSE = 0.995
"""A picture of which this share is dark, or burnt out, shows nothing, whatever is usual in its video."""

_SKETCH_SIDE = 32
# In levels of 255, the mean over a field of the sketch: coding and noise change it by less than one.
_SAME_FIELD = 6

Reason = Literal["damaged", "under-exposed", "over-exposed", "blurred", "near-identical"]


class ScreeningSpec(Spec):
    """Which frames are left out; each limit may be set so that it leaves out none."""

    least_sharp: float = Field(default=0.4, ge=0, lt=1)
    """Frames with less than this share of the sharpness usual in their video are blurred; 0: none is."""
    most_dark: float = Field(default=0.98, gt=0, le=1)
    """Frames with a larger share of dark pixels (below 40 of 255) are under-exposed; 1: none is."""
    most_bright: float = Field(default=0.5, gt=0, le=1)
    """Frames with a larger share of burnt-out pixels (250 or more of 255) are over-exposed; 1: none is."""
    most_alike: float = Field(default=0.97, gt=0, le=1)
    """Frames of which a larger share looks the same as in the last kept one are left out; 1: none is."""


@dataclass(frozen=True)
class Look:
    """What one frame looks like, in numbers."""

    sharpness: float
    """Variance of the Laplacian of the reduced grey picture."""
    dark: float
    """Share of dark pixels."""
    bright: float
    """Share of burnt-out pixels."""
    sketch: bytes
    """Mean grey of 32 x 32 fields."""


@dataclass(frozen=True)
class Screened:
    """What was decided about a frame, and by which figures."""

    relative_sharpness: float
    """Its sharpness as a share of what is usual in its video."""
    likeness: float | None
    """The share of it that looks the same as in the last kept frame before it; none before the first one."""
    reason: Reason | None
    """Why it is left out; none: it is kept."""


def reduced(picture: Image.Image) -> Image.Image:
    """The picture as it is looked at: whole blocks of pixels averaged."""
    factor = max(picture.size) // LOOKED_AT
    return picture.reduce(factor) if factor > 1 else picture


def look_at(small: Image.Image) -> Look:
    """The figures of a picture that `reduced` gave."""
    grey = small.convert("L")
    levels = np.asarray(grey)
    sketch = grey.resize((_SKETCH_SIDE, _SKETCH_SIDE), Image.Resampling.BOX, reducing_gap=2)
    return Look(
        sharpness=_sharpness(levels),
        dark=np.count_nonzero(levels < DEEP_SHADOW) / levels.size,
        bright=np.count_nonzero(levels >= BURNT_OUT) / levels.size,
        sketch=sketch.tobytes(),
    )


def screen(
    looks: Sequence[Look], damaged: Sequence[bool], spec: ScreeningSpec | None
) -> tuple[Screened, ...]:
    """Decide about the frames of one video, in the order of time; without a spec only tell the figures."""
    good = [
        look
        for look, broken in zip(looks, damaged, strict=True)
        if not broken and max(look.dark, look.bright) <= NOTHING_ELSE
    ]
    sharp = _median([look.sharpness for look in good])
    # Where most of a video is black or white, that is the scene. Half of what is left is then the limit.
    most_dark, most_bright = (
        max(limit, (1 + _median(shares)) / 2)
        for limit, shares in (
            (spec.most_dark if spec else 1.0, [look.dark for look in good]),
            (spec.most_bright if spec else 1.0, [look.bright for look in good]),
        )
    )
    screened: list[Screened] = []
    kept: Look | None = None
    for look, broken in zip(looks, damaged, strict=True):
        relative = look.sharpness / sharp if sharp else 1.0
        alike = None if kept is None else likeness(kept.sketch, look.sketch)
        reason: Reason | None = None
        if spec is not None:
            if broken:
                reason = "damaged"
            elif spec.most_dark < 1 and look.dark > min(most_dark, NOTHING_ELSE):
                reason = "under-exposed"
            elif spec.most_bright < 1 and look.bright > min(most_bright, NOTHING_ELSE):
                reason = "over-exposed"
            elif relative < spec.least_sharp:
                reason = "blurred"
            elif alike is not None and alike > spec.most_alike:
                reason = "near-identical"
        if reason is None:
            kept = look
        screened.append(Screened(relative, alike, reason))
    return tuple(screened)


def likeness(one: bytes, other: bytes) -> float:
    """The share of two sketches that looks the same; light that changes as a whole counts for nothing."""
    change = _values(one) - _values(other)
    change -= np.median(change)
    return float(np.mean(np.abs(change) <= _SAME_FIELD))


def _sharpness(levels: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy)."""
    if min(levels.shape) < 3:
        return 0.0
    # 16 bits hold every value between -4 * 255 and 4 * 255.
    values = levels.astype(np.int16)
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1]
    laplacian += values[1:-1, :-2]
    laplacian += values[1:-1, 2:]
    laplacian -= 4 * values[1:-1, 1:-1]
    # Whole numbers add up to the same on every machine.
    flat = laplacian.ravel().astype(np.int64)
    total, squares = int(flat.sum()), int(np.dot(flat, flat))
    return squares / flat.size - (total / flat.size) ** 2


def _values(sketch: bytes) -> NDArray[np.float64]:
    return np.frombuffer(sketch, np.uint8).astype(np.float64)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0
