"""The one preprocessing: open, orient, convert, resize, crop, normalise.

Training, evaluation, the exported bundle and the server all call this module, and it imports no
PyTorch. Every function is deterministic and may be called from many threads at once.
"""

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

# The plugins are named here because Pillow would otherwise import all of the fifty it knows when it
# meets its first TIFF or WebP, and would do so inside whichever thread comes first.
from PIL import (  # noqa: F401
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from pydantic import Field

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.spec import Spec

Source = Path | BinaryIO
"""Where a picture comes from: a path, or a seekable binary stream that stays open and stays the caller's."""

PIXEL_LIMIT = 178_956_970
"""Pictures with more pixels are refused: Pillow's own bound for what must be an attack or a mistake."""

# A reduced JPEG keeps twice the pixels that the view needs. With as many as needed the result differs
# from that of a full decoding by 0.33 levels, with twice as many by 0.18, and it costs a fifth of the time.
_DRAFT_MARGIN = 2

# From three on, Pillow's quick first step (averaging whole blocks) cannot be told from the fair resampling.
_REDUCING_GAP = 3.0

_WIDE_MODES = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# How files of our formats begin, to tell a damaged picture from something that never was one.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"GIF8")
_PHONE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif")


class JudgingView(Spec):
    """How a picture is judged: in training, evaluation, bundle and server alike."""

    size: int = Field(default=224, ge=32)
    """Side of the square, in pixels, that the model sees."""
    fit: Literal["whole", "crop"] = "whole"
    """`whole` squashes the whole picture into the square; `crop` takes the middle 7/8 of its short side."""
    normalise: Literal["imagenet", "half"] = "imagenet"
    """The mean and spread that the backbone was pretrained with."""

    @property
    def least_side(self) -> int:
        """The short side that a picture must have for this view to enlarge nothing."""
        return self.size if self.fit == "whole" else round(self.size * 256 / 224)


class Normalisation(NamedTuple):
    """The mean and standard deviation, a channel, of pictures whose values run from 0 to 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class UnreadablePicture(HandlensError):
    """A picture that cannot be used; `reason` says why in a few words."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path or 'The picture'} cannot be read: {reason}.")

    def __reduce__(self) -> tuple[type["UnreadablePicture"], tuple[str, Path | None]]:
        # Loader processes send it through pickle, which would otherwise pass the sentence as the reason.
        return type(self), (self.reason, self.path)


def judge(source: Source, view: JudgingView, pixel_limit: int = PIXEL_LIMIT) -> NDArray[np.uint8]:
    """The (size, size, 3) pixels of a picture as the model is to see them, before normalising."""
    return prepare(open_picture(source, view.least_side * _DRAFT_MARGIN, pixel_limit), view)


def open_picture(source: Source, at_least: int | None = None, pixel_limit: int = PIXEL_LIMIT) -> Image.Image:
    """The first frame of a picture: upright, RGB, transparent parts white, wide greys scaled to 0..255.

    With `at_least`, a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, so long as both sides keep
    that many pixels. A picture that cannot be read raises `UnreadablePicture`.
    """
    with undecoded(source, pixel_limit) as picture:
        return decode(picture, at_least)


def prepare(picture: Image.Image, view: JudgingView) -> NDArray[np.uint8]:
    """Resize and crop an RGB picture to the (size, size, 3) pixels of a view."""
    width, height = picture.size
    box = (0.0, 0.0, float(width), float(height))
    if view.fit == "crop":
        # Cutting before resizing is the same picture, and a panorama does not become a giant on the way.
        side = min(width, height) * view.size / view.least_side
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    square = (view.size, view.size)
    # A copy, because an array over Pillow's memory is read-only and PyTorch warns at every one.
    return np.array(picture.resize(square, Image.Resampling.BICUBIC, box, _REDUCING_GAP))


def normalise(pixels: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """Turn (..., H, W, 3) pixels into the (..., 3, H, W) input of a model, contiguous in memory."""
    chosen = look_up(NORMALISATIONS, name, "normalisation")
    *batch, height, width, channels = pixels.shape
    out = np.empty((*batch, channels, height, width), np.float32)
    # Written channel by channel into its place: no float copy of the batch in the other order.
    for channel, (mean, std) in enumerate(zip(chosen.mean, chosen.std, strict=True)):
        target = out[..., channel, :, :]
        np.multiply(pixels[..., channel], np.float32(1 / (255 * std)), out=target)
        target -= np.float32(mean / std)
    return out


@contextmanager
def undecoded(source: Source, pixel_limit: int = PIXEL_LIMIT) -> Iterator[ImageFile.ImageFile]:
    """Give a picture whose header is read and whose size is allowed, but of which no pixel is decoded yet.

    Whatever Pillow finds wrong with the file within the block is raised as `UnreadablePicture`.
    """
    path = source if isinstance(source, Path) else None
    with open_file(source) if isinstance(source, Path) else nullcontext(source) as stream:
        start = b""
        try:
            stream.seek(0)
            start = stream.read(16)
            if not start:
                raise UnreadablePicture("the file is empty")
            with _pillow_limit, Image.open(stream, formats=FORMATS) as picture:
                _check_size(picture, pixel_limit)
                yield picture
        except UnreadablePicture as error:
            raise UnreadablePicture(error.reason, path) from error.__cause__
        except UnidentifiedImageError as error:
            raise UnreadablePicture(_unidentified(start), path) from error
        except Exception as error:
            # Damaged files bring out nearly every exception there is: OSError, SyntaxError, ValueError,
            # struct.error, zlib.error, KeyError... What is raised in this block is about the file.
            raise UnreadablePicture(_failure(error), path) from error


def decode(picture: ImageFile.ImageFile, at_least: int | None = None) -> Image.Image:
    """The upright RGB picture behind a header that `undecoded` gave; `at_least` as for `open_picture`."""
    if at_least is not None:
        reduce(picture, at_least)
    picture.load()
    upright = turned(rgb(picture), orientation(picture))
    # The tags still tell the old orientation, and whoever believes them would turn the picture again.
    upright.info = {}
    return upright


def reduce(picture: ImageFile.ImageFile, at_least: int) -> tuple[float, float]:
    """Have a large JPEG decoded at a reduced scale; gives the width and height it really covers then.

    They are fractions where the last row or column stands for less than a whole pixel.
    """
    # Asked for a square, Pillow picks the strongest reduction that keeps both sides as long. Only JPEG
    # knows this; "RGB" leaves the modes of grey and CMYK files as they are.
    drafted = picture.draft("RGB", (at_least, at_least))
    return drafted[1][2:] if drafted else (float(picture.width), float(picture.height))


def orientation(picture: ImageFile.ImageFile) -> int:
    """The EXIF orientation that is still to be undone on a decoded picture; 1 is upright.

    Pillow turns TIFF files by itself while it decodes them, and then reports 1.
    """
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Damaged EXIF raises almost anything. The pixels are good, so it counts as absent, as in viewers.
        return 1


def turned(picture: Image.Image, from_orientation: int) -> Image.Image:
    """Undo an EXIF orientation; values that EXIF does not know count as upright."""
    turn = _UPRIGHT.get(from_orientation)
    return picture if turn is None else picture.transpose(turn)


def rgb(picture: Image.Image) -> Image.Image:
    """Any decoded picture as RGB, alpha laid over white."""
    if picture.mode in _WIDE_MODES:
        return Image.fromarray(_eight_bits(picture)).convert("RGB")
    if picture.mode == "LAB":
        raise UnreadablePicture("its colours are LAB, which cannot be converted; save it as RGB")
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, "white")
        white.paste(with_alpha, mask=with_alpha)
        return white
    # Converting RGB to RGB would copy every pixel of the commonest kind of picture.
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def value_range(picture: Image.Image) -> tuple[float, float] | None:
    """The least and greatest value of a picture with more than 8 bits a pixel; None for all others."""
    if picture.mode not in _WIDE_MODES:
        return None
    values = np.asarray(picture)
    if picture.mode == "F":
        values = values[np.isfinite(values)]
        if not values.size:
            return 0.0, 0.0
    return float(values.min()), float(values.max())


def open_file(path: Path) -> BufferedReader:
    """Open an ordinary file for reading; anything else that a path can name is `UnreadablePicture`."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise UnreadablePicture("this is a folder, not a picture", path)
        if not stat.S_ISREG(kind):
            # Opening a named pipe would wait for ever.
            raise UnreadablePicture("this is not an ordinary file", path)
        return path.open("rb")
    except FileNotFoundError as error:
        link = path.is_symlink()
        reason = "this link leads to a file that is not there" if link else "there is no such file"
        raise UnreadablePicture(reason, path) from error
    except PermissionError as error:
        raise UnreadablePicture("reading it is not permitted", path) from error
    except OSError as error:
        raise UnreadablePicture(f"the system says: {error.strerror}", path) from error


class _PillowLimit:
    """Pillow's own pixel limit, lifted while pictures of ours are open, because `pixel_limit` replaces it.

    The limit is one global variable of Pillow, and it warns on the terminal at half its value. It is
    counted, not saved and restored by each thread, so that threads do not restore each other's value; and it
    is a number, not None, because Pillow looks at it twice while other threads may change it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = 0
        self._theirs = Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if not self._open:
                self._theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, sys.maxsize
            self._open += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._open -= 1
            if not self._open:
                Image.MAX_IMAGE_PIXELS = self._theirs


_pillow_limit = _PillowLimit()


def _check_size(picture: Image.Image, pixel_limit: int) -> None:
    pixels = picture.width * picture.height
    if pixels > pixel_limit:
        count, limit = (f"{value / 1e6:,.1f}".removesuffix(".0") for value in (pixels, pixel_limit))
        raise UnreadablePicture(f"{count} megapixels are over the limit of {limit}")


def _eight_bits(picture: Image.Image) -> NDArray[np.uint8]:
    """Grey values scaled from the range that this picture really uses to 0..255.

    Cameras write 12 bits into 16, and microscopes write any floats: a fixed scale would show black.
    """
    low, high = value_range(picture) or (0.0, 0.0)
    # Single precision holds 16 bits exactly, at half the memory.
    precision = np.float32 if picture.mode.startswith("I;16") else np.float64
    values: NDArray[np.floating] = np.array(picture, dtype=precision)
    if low == high:
        return np.full(values.shape, 128, np.uint8)
    np.subtract(values, low, out=values)
    np.divide(values, high - low, out=values)
    np.multiply(values, 255, out=values)
    # Not a number becomes black; the infinities become the ends of the range.
    np.nan_to_num(values, copy=False, nan=0.0)
    np.clip(values, 0, 255, out=values)
    rounded: NDArray[np.uint8] = np.rint(values).astype(np.uint8)
    return rounded


def _unidentified(start: bytes) -> str:
    if start[4:8] == b"ftyp" and start[8:12] in _PHONE_BRANDS:
        return "HEIC and AVIF pictures are not supported; save it as JPEG or PNG"
    if start.startswith(_SIGNATURES):
        return "the file is truncated or damaged"
    return "this is not a picture"


def _failure(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, OSError) and error.errno is not None:
        return f"the system says: {error.strerror}"
    if isinstance(error, EOFError) or "truncated" in str(error).casefold():
        return "the file is truncated"
    return f"the file is damaged ({error})"


# JPEG includes MPO, in which phones put a second picture (depth, gain map) behind the first.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM")

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
}

NORMALISATIONS = {
    "imagenet": Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "half": Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}
