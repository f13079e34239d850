"""Looking at one video: the chosen frames are written and judged, and what was found is remembered."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from handlens.base.files import room_on_disk, write_text
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.base.spec import Spec
from handlens.data.clips import Clip
from handlens.data.made import write_picture
from handlens.data.moments import MomentsSpec, chosen
from handlens.data.screening import Look, ScreeningSpec, look_at, reduced, screen
from handlens.data.video_frames import Frame, NotAsTold, read_frames
from handlens.data.video_survey import Survey, survey

HIDDEN = ".frames"
"""Its name begins with a dot, so that nobody takes the thumbnails for pictures to learn from."""

THUMBNAIL = 240
"""Pixels that the long side of a thumbnail has at most."""

_THUMBNAIL_QUALITY = 75


class FramesSpec(Spec):
    """What is cut out of videos, and how."""

    moments: MomentsSpec = MomentsSpec()
    """Which frames are looked at."""
    screening: ScreeningSpec | None = ScreeningSpec()
    """Which of them are left out; null: none."""
    label: str | None = None
    """The class of all videos; none: the folder that each lies in."""
    format: Literal["jpg", "png"] = "jpg"
    """How frames are saved: .png exactly, .jpg almost and in a fifth of the room."""


class Row(Spec):
    """One frame that was looked at."""

    id: str
    """Where its picture is, or would be, below the folder."""
    number: int
    """In its video, from 0."""
    time_s: float
    sharpness: float
    relative_sharpness: float
    dark: float
    bright: float
    likeness: float | None
    kept: bool
    reason: str | None
    """Why it is left out, or that a person decided; none: nothing speaks against it."""


class Video(Spec):
    """What was found in one video."""

    name: str
    """The class and the video: what the names of its frames begin with, and their group."""
    label: str
    source: str
    """Its path below the folder that was given."""
    made: str
    """The hash of what it was looked at for."""
    codec: str
    width: int
    height: int
    length_s: float
    num_frames: int
    by_decoding: bool
    """Whether its frames were counted by decoding them all."""
    problems: tuple[str, ...]
    rows: tuple[Row, ...]


class Seen(NamedTuple):
    """What is remembered of a frame until all of its video are known."""

    look: Look
    size: tuple[int, int]
    damaged: bool
    interlaced: bool


def known(out: Path, clip: Clip, made: str) -> Video | None:
    """What was found in a video before, if it was looked at for the same."""
    path = _record_path(out, clip.name)
    if not path.is_file():
        return None
    video = Video.model_validate_json(path.read_bytes())
    return video if video.made == made else None


def look_through(out: Path, clip: Clip, spec: FramesSpec, made: str, what: str) -> Video:
    """Look at a video for the first time: judge its frames, and write those that may be kept."""
    surveyed = survey(clip.path)
    ids = _ids(clip, surveyed, spec)
    try:
        video = _judged(out, clip, spec, surveyed, ids, made, what)
    except NotAsTold:
        for id_ in ids.values():
            (out / id_).unlink(missing_ok=True)
            thumbnail_path(out, id_).unlink(missing_ok=True)
        surveyed = survey(clip.path, by_decoding=True)
        video = _judged(out, clip, spec, surveyed, _ids(clip, surveyed, spec), made, what)
    for row in video.rows:
        if not row.kept:
            (out / row.id).unlink(missing_ok=True)
    write_text(_record_path(out, clip.name), video.model_dump_json(indent=1) + "\n")
    return video


def _judged(
    out: Path,
    clip: Clip,
    spec: FramesSpec,
    surveyed: Survey,
    ids: Mapping[int, str],
    made: str,
    what: str,
) -> Video:
    """Decode the chosen frames once: write each, and decide when all of the video are known."""
    numbers = list(ids)

    def seen(frame: Frame) -> Seen:
        picture = frame.picture()
        write_once(picture, out / ids[frame.number])
        small = reduced(picture)
        _write_thumbnail(small, thumbnail_path(out, ids[frame.number]))
        return Seen(look_at(small), picture.size, frame.damaged, frame.raw.interlaced_frame)

    with progress(what, len(numbers), "frames") as advance:
        found = []
        for one in in_order(seen, read_frames(surveyed, numbers)):
            found.append(one)
            advance(1)
    screened = screen([one.look for one in found], [one.damaged for one in found], spec.screening)
    width, height = found[0].size if found else (0, 0)
    return Video(
        name=clip.name,
        label=clip.label,
        source=clip.source,
        made=made,
        codec=surveyed.codec,
        width=width,
        height=height,
        length_s=round(float(surveyed.timetable.length_s), 6),
        num_frames=len(surveyed.timetable),
        by_decoding=surveyed.route is None,
        problems=(*surveyed.problems, *_seen_wrong(found)),
        rows=tuple(
            Row(
                id=ids[number],
                number=number,
                time_s=round(float(surveyed.timetable.time_s(number)), 6),
                sharpness=round(look.sharpness, 2),
                relative_sharpness=round(judged.relative_sharpness, 4),
                dark=round(look.dark, 4),
                bright=round(look.bright, 4),
                likeness=None if judged.likeness is None else round(judged.likeness, 4),
                kept=judged.reason is None,
                reason=judged.reason,
            )
            for number, look, judged in zip(numbers, [one.look for one in found], screened, strict=True)
        ),
    )


def _seen_wrong(found: Sequence[Seen]) -> list[str]:
    """What shows only when frames are decoded, in sentences."""
    told = []
    damaged = sum(one.damaged for one in found)
    if damaged:
        told.append(f"{damaged} of the {len(found)} frames that were looked at are damaged.")
    if any(one.interlaced for one in found):
        told.append("It is interlaced: what moves has a comb at its edges.")
    return told


def _ids(clip: Clip, surveyed: Survey, spec: FramesSpec) -> dict[int, str]:
    """The chosen frames by number, each with its name: the video and the time."""
    numbers = chosen(surveyed.timetable, spec.moments)
    names = [f"{clip.name}-{float(surveyed.timetable.time_s(number)):08.3f}s" for number in numbers]
    times = Counter(names)
    # Of a thousand frames a second some have the same time.
    return {
        number: f"{name}.{spec.format}" if times[name] == 1 else f"{name}-{number}.{spec.format}"
        for number, name in zip(numbers, names, strict=True)
    }


def plain(name: str) -> str:
    """The id of a frame with or without its ending."""
    return name.removesuffix(".jpg").removesuffix(".png")


def thumbnail_path(out: Path, id_: str) -> Path:
    """Where the thumbnail of a frame lies, kept or not."""
    return out / HIDDEN / f"{plain(id_)}.jpg"


def write_once(picture: Image.Image, path: Path) -> None:
    """Write a picture that is not there yet."""
    # It is there where the command was stopped before, and is the same.
    if not path.is_file():
        write_picture(picture, path)


def _record_path(out: Path, name: str) -> Path:
    return out / HIDDEN / f"{name}.json"


def _write_thumbnail(small: Image.Image, path: Path) -> None:
    # Whole blocks averaged take a tenth of the time of a size to the pixel.
    thumbnail = small.reduce(math.ceil(max(small.size) / THUMBNAIL))
    with room_on_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Where this is stopped, the video is looked through again, and the thumbnail with it.
        thumbnail.save(path, "JPEG", quality=_THUMBNAIL_QUALITY)
