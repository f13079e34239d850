"""Pictures saved for tests as if long ago, and turned by a tag."""

import os
from pathlib import Path

from PIL import Image

LONG_AGO = 1_600_000_000


def keep(picture: Image.Image, path: Path, **how: object) -> Path:
    """Save a picture with an old time stamp, because facts of files just written are not remembered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **how)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def exif(orientation: int) -> Image.Exif:
    """Tags that say how the picture is turned."""
    tags = Image.Exif()
    tags[274] = orientation
    return tags
