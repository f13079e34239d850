"""Drawing heat: the raw map in colours that colour-blind people tell apart, and laid over the picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from handlens.explain.maps import Heat

Pixels = NDArray[np.uint8]

# Cividis (Nuñez, Anderton and Renslow 2018, "Optimizing colormaps with consideration for color vision
# deficiency"), in 32 steps from dark blue to yellow, steadily lighter.
CIVIDIS = (
    np.frombuffer(
        bytes.fromhex(
            "00224e 00285b 002e6a 053371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 535a6d "
            "5a5f6e 61656f 686a71 6f7073 767676 7d7c78 848279 8c8878 938e78 9b9476 a39a74 "
            "aba072 b4a76f bcae6c c4b468 cdbb63 d5c25e dec958 e7d150 f0d846 f9e03a fee838 "
        ),
        np.uint8,
    )
    .reshape(-1, 3)
    .astype(np.float32)
)
HOTTEST = 0.65
"""How far the hottest place covers the picture below it."""
WORDS_OF_EMPTY = "nothing spoke for it"
MOST_OF_ALL = 0.995
"""So large a share of the pixels lies within the colours: one hot pixel must not dim all others."""


def scaled(heat: Heat) -> Heat:
    """The heat from 0 to 1; an empty map stays 0 everywhere."""
    top = float(np.quantile(heat, MOST_OF_ALL)) or float(heat.max())
    return np.clip(heat / top, 0, 1) if top > 0 else np.zeros_like(heat)


def coloured(heat: Heat) -> Pixels:
    """The raw map (side, side, 3): dark blue where nothing spoke for the class, yellow where most did."""
    places = scaled(heat) * (len(CIVIDIS) - 1)
    lower = np.minimum(places.astype(np.int64), len(CIVIDIS) - 2)
    part = (places - lower)[..., None]
    mixed: Pixels = np.rint(CIVIDIS[lower] * (1 - part) + CIVIDIS[lower + 1] * part).astype(np.uint8)
    return mixed


def laid_over(pixels: Pixels, heat: Heat) -> Pixels:
    """The map over the picture in grey, which shows through where it is cold."""
    # Colours of the picture would be taken for heat.
    grey = (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    cover = HOTTEST * scaled(heat)[..., None]
    mixed: Pixels = np.rint(grey * (1 - cover) + coloured(heat) * cover).astype(np.uint8)
    return mixed


def laid_over_with_words(pixels: Pixels, heat: Heat) -> Pixels:
    """The map over the picture, for where no words stand beside it: an empty one says so at its foot."""
    mixed = laid_over(pixels, heat)
    if heat.any():
        return mixed
    picture = Image.fromarray(mixed)
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    strip = max(12, height // 8)
    pen.rectangle((0, height - strip, width, height), fill="black")
    font = ImageFont.load_default(size=strip * 0.66)
    pen.text((width / 2, height - strip / 2), WORDS_OF_EMPTY, fill="white", font=font, anchor="mm")
    return np.asarray(picture)
