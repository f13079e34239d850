"""The story of cutting frames: videos in, a folder of screened pictures with a table of them out.

    OUT/samples.csv            the kept frames: the manifest that every command reads
    OUT/dropped.csv            those left out, with the same columns
    OUT/<class>/<video>-<time>.jpg
    OUT/.frames/               what was found in each video, thumbnails, and what a person overruled

A video that was looked at once is not read again, except for frames that a person wants after all.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from handlens.base.choices import suggestion
from handlens.base.errors import Problems
from handlens.base.files import digest, write_json, write_text
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.base.spec import Spec
from handlens.data.clips import Clip, find_clips
from handlens.data.footage import (
    HIDDEN,
    FramesSpec,
    Row,
    Video,
    known,
    look_through,
    plain,
    thumbnail_path,
    write_once,
)
from handlens.data.made import Fact, Made, MadeFolder, Making, column_of, digest_of_files
from handlens.data.samples import Samples, join_names
from handlens.data.video import UnreadableVideo
from handlens.data.video_frames import Frame, read_frames
from handlens.data.video_survey import survey
from handlens.data.walk import absolute

DROPPED = "dropped.csv"

BY_HAND = "by hand"


class Overruled(Spec):
    """The shape of overruled.json: what a person decided."""

    kept: dict[str, bool]
    """For the id of a frame whether it is kept."""


@dataclass(frozen=True)
class Cut:
    """What a folder of frames holds."""

    path: Path
    samples: Samples
    videos: tuple[Video, ...]
    unreadable: Mapping[str, str]
    """Videos that gave nothing, and why."""

    @property
    def rows(self) -> list[Row]:
        """All frames, kept or not."""
        return [row for video in self.videos for row in video.rows]

    @property
    def dropped(self) -> dict[str, int]:
        """How many frames were left out for which reason, the most frequent first."""
        return dict(Counter(str(row.reason) for row in self.rows if not row.kept).most_common())

    def thumbnail(self, row: Row) -> Path:
        """Where the thumbnail of a frame lies."""
        return thumbnail_path(self.path, row.id)


def cut_frames(
    sources: Sequence[Path],
    out: Path,
    spec: FramesSpec | None = None,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Cut:
    """Cut frames out of videos; `keep` and `drop` name frames about which a person decides otherwise.

    What a person decided is remembered in the folder, until another decision about the same frame.
    """
    spec = spec or FramesSpec()
    clips, notes = find_clips(sources, spec.label)
    made = Made(
        step="frames",
        # What the frames are called depends on the folder that was given.
        settings={**spec.model_dump(mode="json"), "videos": [clip.name for clip in clips]},
        sources=tuple(str(absolute(source)) for source in sources),
        source_digest=digest_of_files([clip.path for clip in clips]),
    )
    folder = MadeFolder(out, made)
    with folder.writing():
        videos, unreadable = _looked_at(folder, clips, spec)
        videos = _overruled(folder.path, videos, keep, drop)
        paths = {clip.name: clip.path for clip in clips}
        for video in videos:
            _settle(folder.path, video, paths[video.name])
        _write_dropped(folder.path, videos)
        kept = [_making(video, row) for video in videos for row in video.rows if row.kept]
        samples = folder.finish(kept, *notes, *_told(videos, unreadable))
    return Cut(folder.path, samples, tuple(videos), unreadable)


def _looked_at(
    folder: MadeFolder, clips: Sequence[Clip], spec: FramesSpec
) -> tuple[list[Video], dict[str, str]]:
    """What is in each video, known or new, and the videos that cannot be read."""
    made = digest(folder.made.model_dump_json(exclude={"sources"}))
    videos: list[Video] = []
    unreadable: dict[str, str] = {}
    for number, clip in enumerate(clips, start=1):
        try:
            video = known(folder.path, clip, made)
            if video is None:
                video = look_through(folder.path, clip, spec, made, f"Video {number} of {len(clips)}")
            videos.append(video)
        except UnreadableVideo as error:
            unreadable[clip.source] = error.reason
    if not videos:
        raise Problems(
            "No video can be read:" if len(clips) > 1 else "The video cannot be read:",
            (f"{path}: {reason}." for path, reason in unreadable.items()),
        )
    return videos, unreadable


def _overruled(out: Path, videos: Sequence[Video], keep: Sequence[str], drop: Sequence[str]) -> list[Video]:
    """What was found, with what a person decided, now or before."""
    ids = {plain(row.id): row.id for video in videos for row in video.rows}
    now: dict[str, bool] = {}
    problems = []
    for names, kept in ((keep, True), (drop, False)):
        for name in names:
            id_ = ids.get(plain(name.strip()))
            if id_ is None:
                problems.append(f"there is no frame {name!r}.{suggestion(plain(name.strip()), ids)}")
            elif now.setdefault(id_, kept) != kept:
                problems.append(f"{name!r} is to be kept and to be dropped: name it once.")
    if problems:
        raise Problems("Some frames are not clear (their ids are in the contact sheet):", problems)
    record = out / HIDDEN / "overruled.json"
    decided: dict[str, bool] = {}
    if record.is_file():
        decided = Overruled.model_validate_json(record.read_bytes()).kept
    if now:
        decided |= now
        write_json(record, Overruled(kept=dict(sorted(decided.items()))).model_dump())
    return [
        video.model_copy(update={"rows": tuple(_decided(row, decided.get(row.id)) for row in video.rows)})
        for video in videos
    ]


def _decided(row: Row, kept: bool | None) -> Row:
    # To decide as the figures do is no overruling.
    if kept is None or kept == row.kept:
        return row
    return row.model_copy(update={"kept": kept, "reason": BY_HAND})


def _settle(out: Path, video: Video, path: Path) -> None:
    """Bring the pictures in line with what was decided; what is wanted after all is decoded again."""
    missing = {row.number: row.id for row in video.rows if row.kept and not (out / row.id).is_file()}
    if missing:

        def written(frame: Frame) -> None:
            write_once(frame.picture(), out / missing[frame.number])

        with progress("Cutting again", len(missing), "frames") as advance:
            for _ in in_order(written, read_frames(survey(path, video.by_decoding), sorted(missing))):
                advance(1)
    for row in video.rows:
        if not row.kept:
            (out / row.id).unlink(missing_ok=True)


def _making(video: Video, row: Row) -> Making:
    return Making(row.id, video.label, video.name, None, _facts(video, row))


def _facts(video: Video, row: Row) -> dict[str, Fact]:
    return {"source": video.source, "frame": row.number, **row.model_dump(exclude={"id", "number"})}


def _write_dropped(out: Path, videos: Sequence[Video]) -> None:
    """The frames that were left out, as a table that any program opens."""
    dropped = [(video, row) for video in videos for row in video.rows if not row.kept]
    facts = [_facts(video, row) for video, row in dropped]
    columns: dict[str, list[Fact]] = {
        "path": [row.id for _, row in dropped],
        "label": [video.label for video, _ in dropped],
        "group": [video.name for video, _ in dropped],
        "split": [None for _ in dropped],
        "made_by": ["frames" for _ in dropped],
    }
    names = ("source", "frame", *(name for name in Row.model_fields if name not in ("id", "number")))
    columns |= {name: [fact[name] for fact in facts] for name in names}
    table = pl.DataFrame([column_of(name, values) for name, values in columns.items()])
    write_text(out / DROPPED, table.write_csv())


def _told(videos: Sequence[Video], unreadable: Mapping[str, str]) -> list[str]:
    """What a person should know, in sentences."""
    told = [f"{video.source}: {problem}" for video in videos for problem in video.problems]
    told += [f"{path} was left out: {reason}." for path, reason in unreadable.items()]
    none = [video.source for video in videos if not video.rows]
    if none:
        told.append(f"There is no frame between the start and the end that were given in {join_names(none)}.")
    lost = [video.source for video in videos if video.rows and not any(row.kept for row in video.rows)]
    if lost:
        told.append(f"No frame was kept of {join_names(lost)}.")
    return told
