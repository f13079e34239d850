"""What every file is, before anything is believed: format, size, damage, and which show the same pixels.

Facts are remembered between runs, so that only new and changed files are read again.
"""

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from io import BufferedReader
from itertools import compress
from pathlib import Path
from typing import TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile

from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder, digest
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.base.remembered import Remembered
from handlens.data.image import (
    PIXEL_LIMIT,
    SUFFIXES,
    UnreadablePicture,
    open_file,
    open_picture,
    orientation,
    reduce,
    rgb,
    turned,
    undecoded,
    value_range,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

# Raised when facts come to mean something else: what older versions remembered is then left alone.
_VERSION = 1

# A file changed this recently could be changed again without its time stamp showing it.
_UNSETTLED_NS = 2_000_000_000

# Sketches of large JPEGs are taken from a reduced decoding that keeps at least this many pixels a side.
_SKETCHED_SIDE = 64

# How far, in levels, the sketch of a reduced decoding can be from that of the full one. Measured: at most
# 7 over 1,318 photographs, 10 over pages of text and sparse dots at quality 30, and 17 over pure red and
# blue noise, where the full decoding clips what the reduced one averages.
_SKETCH_RADIUS = 20

# Small enough that an interrupted run keeps nearly all it did, large enough that writing costs nothing.
_BATCH = 256

_WIDE_NAMES = {"I": "more than 8 bits", "F": "floating point"}


@dataclass(frozen=True)
class FileFacts:
    """What one file was found to be; where `problem` is set, the facts beyond the bytes may be missing."""

    path: Path
    size_bytes: int = 0
    modified_ns: int = 0
    digest: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    frames: int = 0
    sketch: bytes = b""
    problem: str | None = None
    notes: tuple[str, ...] = ()


def scan(paths: Sequence[Path], pixel_limit: int = PIXEL_LIMIT, cache: Path | None = None) -> list[FileFacts]:
    """The facts of every file, in the order given; a file that cannot be used says so in its `problem`."""
    with _Memory(cache) as memory, progress("Checking files", len(paths), "files") as advance:
        facts = [memory.facts(path, pixel_limit) for path in paths]
        unknown = [index for index, known in enumerate(facts) if known is None]
        advance(len(paths) - len(unknown))

        def examined(index: int) -> tuple[int, FileFacts, bool]:
            return index, *_examine(paths[index], pixel_limit)

        for batch in _in_threads(examined, unknown, advance):
            for index, found, _ in batch:
                facts[index] = found
            memory.add_facts([found for _, found, settled in batch if settled], pixel_limit)
    return [found for found in facts if found is not None]


def none_readable(bad: Sequence[tuple[str, str]], mend: str, when: str = "") -> HandlensError:
    """What is said where not one picture is left; `bad` are their names with the reasons."""
    (name, reason), *more = bad
    if not more:
        return HandlensError(f"{name} cannot be read{when}: {reason}. {mend}")
    return HandlensError(f"None of the {len(bad)} pictures can be read{when}. {name}: {reason}. {mend}")


def same_pixels(
    facts: Sequence[FileFacts], pixel_limit: int = PIXEL_LIMIT, cache: Path | None = None
) -> list[list[int]]:
    """Sets of positions in `facts` of files that show the very same upright RGB pixels.

    The same picture in another lossless format, or with other metadata, is found; the same picture
    saved again at another JPEG quality has other pixels.
    """
    same_bytes: dict[str, list[int]] = defaultdict(list)
    for index, found in enumerate(facts):
        if found.problem is None:
            same_bytes[found.digest].append(index)
    pixels = _pixel_digests(
        _candidates([facts[indices[0]] for indices in same_bytes.values()]), pixel_limit, cache
    )
    sets: dict[str, list[int]] = defaultdict(list)
    for content, indices in same_bytes.items():
        sets[pixels.get(content, content)].extend(indices)
    return sorted(sorted(indices) for indices in sets.values() if len(indices) > 1)


def _examine(path: Path, pixel_limit: int) -> tuple[FileFacts, bool]:
    """The facts of a file, and whether they may be remembered."""
    try:
        with open_file(path) as stream:
            # Of the open file, not of the name: another file may be moved there meanwhile.
            status = os.fstat(stream.fileno())
            settled = _is_settled(status.st_mtime_ns)
            content = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            file = FileFacts(path, status.st_size, status.st_mtime_ns, content)
            try:
                return _examine_picture(file, stream, pixel_limit), settled
            except UnreadablePicture as error:
                # A lack of memory, or a disk that fails, is not a fact about the file.
                passing = isinstance(error.__cause__, MemoryError) or _is_from_system(error.__cause__)
                return replace(file, problem=error.reason), settled and not passing
    except UnreadablePicture as error:
        return FileFacts(path, problem=error.reason), False
    except OSError as error:
        return FileFacts(path, problem=f"the system says: {error.strerror}"), False


def _examine_picture(file: FileFacts, stream: BufferedReader, pixel_limit: int) -> FileFacts:
    """Add what decoding shows; large JPEGs are decoded at the smallest scale, which reads all of the file."""
    with undecoded(stream, pixel_limit) as picture:
        mode, (width, height) = picture.mode, picture.size
        covered = reduce(picture, _SKETCHED_SIDE)
        picture.load()
        values = value_range(picture)
        turn = orientation(picture)
        picture_format = picture.format or ""
        sketch = _sketch(rgb(picture), covered, turn)
        frames = _count_frames(picture)
    if turn >= 5:
        width, height = height, width
    return replace(
        file,
        format=picture_format,
        mode=mode,
        width=width,
        height=height,
        frames=frames,
        sketch=sketch,
        notes=tuple(_notes(file.path, picture_format, mode, frames, values)),
    )


def _sketch(picture: Image.Image, covered: tuple[float, float], turn: int) -> bytes:
    """The mean colours of 4 x 4 fields of the upright picture."""

    def fields(of: Image.Image, width: float, height: float) -> Image.Image:
        return of.resize((4, 4), Image.Resampling.BOX, (0, 0, width, height))

    if covered == picture.size:
        # Turned first, so that rounding treats it exactly as it does an upright file of the same pixels.
        upright = turned(picture, turn)
        return fields(upright, *upright.size).tobytes()
    return turned(fields(picture, *covered), turn).tobytes()


def _count_frames(picture: ImageFile.ImageFile) -> int:
    """How many frames or pages there are; asked for last, because it moves the file to another frame."""
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:
        # Damage behind the first frame raises anything, and only the first frame is ever used.
        return 1


def _notes(
    path: Path, picture_format: str, mode: str, frames: int, values: tuple[float, float] | None
) -> Iterator[str]:
    # The second picture of a phone's MPO is a depth or gain map, not a page that somebody would miss.
    if frames > 1 and picture_format != "MPO":
        yield f"first of {frames} {'pages' if picture_format == 'TIFF' else 'frames'} used"
    claimed = SUFFIXES.get(path.suffix.casefold())
    content = "JPEG" if picture_format == "MPO" else picture_format
    if claimed and claimed != content:
        yield f"the suffix says {claimed}, the content is {content}"
    if values:
        yield f"{_WIDE_NAMES.get(mode, '16-bit')}, scaled from {values[0]:.6g}..{values[1]:.6g}"


def _candidates(facts: Sequence[FileFacts]) -> list[FileFacts]:
    """The files, all of different bytes, whose size and sketch allow that they show the same pixels."""
    by_size: dict[tuple[int, int], list[FileFacts]] = defaultdict(list)
    for found in facts:
        by_size[found.width, found.height].append(found)
    return [found for alike in by_size.values() if len(alike) > 1 for found in _near(alike)]


def _near(facts: Sequence[FileFacts]) -> list[FileFacts]:
    """Those of some files of one size that have a near sketch among the others.

    Sketches of one kind are exact: pixels that are the same were averaged in the same way, or come from
    the same coefficients. Only between a reduced and a full decoding is there a radius. This keeps the
    frames of a video, which look alike but are JPEGs all, from being decoded in full.
    """
    counts = Counter((_is_reduced(found), found.sketch) for found in facts)
    near = {sketch for sketch, count in counts.items() if count > 1}
    reduced = [sketch for is_reduced, sketch in counts if is_reduced]
    full = [sketch for is_reduced, sketch in counts if not is_reduced]
    if reduced and full:
        near |= {(True, sketch) for sketch in _within_radius(reduced, full)}
        near |= {(False, sketch) for sketch in _within_radius(full, reduced)}
    return [found for found in facts if (_is_reduced(found), found.sketch) in near]


def _within_radius(sketches: Sequence[bytes], others: Sequence[bytes]) -> list[bytes]:
    """The sketches that have one of the others within the radius in every value."""
    # SciPy takes a while to import, and folders of one format never need it.
    from scipy.spatial import cKDTree

    def points(of: Sequence[bytes]) -> NDArray[np.float64]:
        return np.frombuffer(b"".join(of), np.uint8).reshape(len(of), -1).astype(np.float64)

    tree = cKDTree(points(others))
    bound = np.nextafter(_SKETCH_RADIUS, np.inf)
    near: list[bytes] = []
    left = list(sketches)
    # Any one neighbour answers it, where all of them would explode over thousands of dark frames. The first
    # round looks only where the sketch itself lies, and settles those; the second is exact for the rest.
    for inexactness in (1e9, 0.0):
        if left:
            query = tree.query(
                points(left), eps=inexactness, p=np.inf, distance_upper_bound=bound, workers=-1
            )
            is_near = np.isfinite(query[0])
            near += compress(left, is_near)
            left = list(compress(left, ~is_near))
    return near


def _is_reduced(found: FileFacts) -> bool:
    """Whether the sketch was taken from a reduced decoding."""
    return found.format in ("JPEG", "MPO") and min(found.width, found.height) // _SKETCHED_SIDE >= 2


def _pixel_digests(facts: Sequence[FileFacts], pixel_limit: int, cache: Path | None) -> dict[str, str]:
    """The digest of the upright RGB pixels for the digest of the bytes."""
    with _Memory(cache) as memory, progress("Comparing pixels", len(facts)) as advance:
        known = {found.digest: memory.pixels(found.digest) for found in facts}
        digests = {content: pixels for content, pixels in known.items() if pixels is not None}
        advance(len(digests))

        def digested(found: FileFacts) -> tuple[str, str | None]:
            return found.digest, _pixel_digest(found, pixel_limit)

        unknown = [found for found in facts if found.digest not in digests]
        for batch in _in_threads(digested, unknown, advance):
            new = {content: pixels for content, pixels in batch if pixels is not None}
            memory.add_pixels(new)
            digests |= new
    return digests


def _pixel_digest(found: FileFacts, pixel_limit: int) -> str | None:
    """The digest of a file's pixels; None where it is no longer the file that was scanned."""
    try:
        with open_file(found.path) as stream:
            picture = open_picture(stream, pixel_limit=pixel_limit)
            status = os.fstat(stream.fileno())
    except UnreadablePicture:
        return None
    if (status.st_size, status.st_mtime_ns) != (found.size_bytes, found.modified_ns):
        return None
    return digest(f"{picture.width}x{picture.height}", picture.tobytes())


def _in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], advance: Callable[[int], None]
) -> Iterator[list[Result]]:
    """Results in order, a batch at a time, so that each batch can be remembered at once."""
    results = []
    for result in in_order(function, items):
        results.append(result)
        advance(1)
        if len(results) == _BATCH:
            yield results
            results = []
    yield results


def _is_settled(modified_ns: int) -> bool:
    return time.time_ns() - modified_ns > _UNSETTLED_NS


def _is_from_system(error: BaseException | None) -> bool:
    """Whether an error came from reading; Pillow's own about the content carry no error number."""
    return isinstance(error, OSError) and error.errno is not None


class _Memory(Remembered):
    """What earlier runs found about files."""

    def __init__(self, folder: Path | None) -> None:
        folder = folder or cache_folder() / "scan"
        super().__init__(
            # Another Pillow may read a file differently.
            folder / f"facts-{_VERSION}-pillow-{PIL.__version__}.sqlite3",
            "CREATE TABLE IF NOT EXISTS facts (path BLOB, pixel_limit INTEGER, size_bytes INTEGER,"
            " modified_ns INTEGER, found TEXT, PRIMARY KEY (path, pixel_limit)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS pixels (digest TEXT PRIMARY KEY, pixels TEXT) WITHOUT ROWID",
        )

    def facts(self, path: Path, pixel_limit: int) -> FileFacts | None:
        """The facts of a file that has not changed since."""
        try:
            status = path.stat()
        except OSError:
            return None
        row = self._one(
            "SELECT found FROM facts"
            " WHERE path = ? AND pixel_limit = ? AND size_bytes = ? AND modified_ns = ?",
            (_key(path), pixel_limit, status.st_size, status.st_mtime_ns),
        )
        if row is None:
            return None
        found = json.loads(row)
        found |= {"sketch": bytes.fromhex(found["sketch"]), "notes": tuple(found["notes"])}
        return FileFacts(path, status.st_size, status.st_mtime_ns, **found)

    def add_facts(self, facts: Sequence[FileFacts], pixel_limit: int) -> None:
        """Remember the facts of some files."""
        rows = []
        for found in facts:
            values = asdict(found) | {"sketch": found.sketch.hex()}
            for name in ("path", "size_bytes", "modified_ns"):
                del values[name]
            key = _key(found.path)
            rows.append((key, pixel_limit, found.size_bytes, found.modified_ns, json.dumps(values)))
        self.write("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", rows)

    def pixels(self, content: str) -> str | None:
        """The digest of the pixels of the file with this digest of its bytes."""
        return self._one("SELECT pixels FROM pixels WHERE digest = ?", (content,))

    def add_pixels(self, pixels: dict[str, str]) -> None:
        """Remember digests of pixels for digests of bytes."""
        self.write("INSERT OR REPLACE INTO pixels VALUES (?, ?)", list(pixels.items()))

    def _one(self, query: str, values: tuple[object, ...]) -> str | None:
        rows = self.rows(query, values)
        return str(rows[0][0]) if rows else None


def _key(path: Path) -> bytes:
    # Names that are not valid text are bytes all the same, and SQLite stores no broken text.
    return os.fsencode(path.absolute())
