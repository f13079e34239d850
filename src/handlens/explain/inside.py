"""How much of a map lies inside what is known to be the defect."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handlens.data.image import JudgingView, open_picture, prepare
from handlens.explain.maps import Heat


def share_inside(heat: Heat, mask: NDArray[np.bool_]) -> float:
    """The share of the heat that lies inside; 0 for an empty map."""
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0


def mask_in_view(path: Path, view: JudgingView, pixel_limit: int) -> NDArray[np.bool_]:
    """The mask of a picture, resized and cropped as the picture is: the pixels at least half in it."""
    grey = open_picture(path, pixel_limit=pixel_limit).convert("L")
    # Masks are written as 0 and 255, but also as 0 and 1.
    marked = Image.fromarray(np.where(np.asarray(grey) > 0, 255, 0).astype(np.uint8))
    return np.asarray(prepare(marked.convert("RGB"), view)[..., 0] >= 128)
