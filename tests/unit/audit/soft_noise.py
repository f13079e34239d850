"""Pictures that tell nothing."""

import numpy as np
from PIL import Image, ImageFilter


def noise(seed: int, width: int = 72, height: int = 64) -> Image.Image:
    """A picture that tells nothing: soft noise in colour, all over."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    soft = np.asarray(rough.filter(ImageFilter.GaussianBlur(1.2))).astype(float)
    strong = 128 + 3 * (soft - soft.mean()) + rng.integers(-6, 7, soft.shape)
    return Image.fromarray(np.clip(strong, 0, 255).astype(np.uint8))
