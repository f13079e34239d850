"""Small pictures that live inside the page, so that it stays one file."""

import base64
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from handlens.base.errors import HandlensError
from handlens.data.image import open_picture

EDGE = 160
QUALITY = 80


def thumbnails(paths: Iterable[Path]) -> dict[Path, str]:
    """A thumbnail of each picture as a data URI; pictures that are gone or broken are missing."""
    wanted = list(dict.fromkeys(paths))
    # Pillow lets go of Python's lock while it decodes, so threads share the work.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        made = pool.map(_thumbnail, wanted)
        return {path: uri for path, uri in zip(wanted, made, strict=True) if uri is not None}


def _thumbnail(path: Path) -> str | None:
    """The middle square of a picture, or none where it cannot be read any more."""
    try:
        picture = open_picture(path, at_least=EDGE)
    except HandlensError:
        return None
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    small = picture.resize(
        (EDGE, EDGE), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short)
    )
    written = io.BytesIO()
    small.save(written, "JPEG", quality=QUALITY)
    return data_uri(written.getvalue())


def data_uri(jpeg: bytes) -> str:
    """A JPEG as something that an <img> can show without a file."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
