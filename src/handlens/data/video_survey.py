"""What a video holds: when each frame is shown, and where decoding has to begin to come to it.

Nothing is decoded for it as long as the packets tell the times. Where they do not, everything is decoded once
instead, which takes longer and is always right.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlens.base.progress import progress, say
from handlens.data.video import UnreadableVideo, VideoFile, open_video

# Formats reorder at most 16 frames; where times jump by more, they do not tell the order of showing.
_MOST_REORDERED = 32

# Packets of VP8 may hold a frame that is never shown.
_HIDES_FRAMES = ("vp8",)


@dataclass(frozen=True, eq=False)
class Timetable:
    """When each frame is shown, in the order of showing, from the beginning of the video."""

    ticks: NDArray[np.int64]
    """The time of each frame, ascending."""
    unit: Fraction
    """Seconds a tick."""
    length: int
    """Ticks until the last frame ends."""

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def length_s(self) -> Fraction:
        """How long the video is."""
        return self.length * self.unit

    def time_s(self, frame: int) -> Fraction:
        """When a frame is first shown."""
        return int(self.ticks[frame]) * self.unit

    def first_from(self, seconds: Fraction) -> int:
        """The first frame that is shown at a time or later; the number of frames if there is none."""
        return int(np.searchsorted(self.ticks, math.ceil(seconds / self.unit)))


@dataclass(frozen=True, eq=False)
class Route:
    """How to come to each frame without decoding all that lies before it."""

    entries: NDArray[np.int64]
    """The packet to begin with."""
    packets: NDArray[np.int64]
    """The packet that it comes out of."""
    independent: bool
    """Whether every packet can be decoded by itself."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What a video holds."""

    path: Path
    codec: str
    timetable: Timetable
    origin: int
    """The time, as the file writes it, at which the video begins."""
    route: Route | None
    """None where everything has to be decoded."""
    problems: tuple[str, ...]
    """What is wrong with the file, in sentences."""


def survey(path: Path, by_decoding: bool = False) -> Survey:
    """What a video holds: from its packets where they tell it, otherwise by decoding all of it."""
    if not by_decoding:
        with open_video(path) as video:
            told = _of_packets(video)
        if told is not None:
            return told
    say(f"{path.name} does not tell what it holds, or is damaged: all of it is decoded, which takes longer.")
    with open_video(path) as video:
        return _of_frames(video)


def _of_packets(video: VideoFile) -> Survey | None:
    """The survey as the packets tell it; None where they leave something open."""
    if video.codec in _HIDES_FRAMES or not video.tells_times:
        return None
    times: list[int] = []
    is_key: list[bool] = []
    is_shown: list[bool] = []
    length = 0
    for packet in video.packets():
        if packet.pts is None:
            return None
        times.append(packet.pts)
        is_key.append(packet.is_keyframe)
        is_shown.append(not packet.is_discard)
        length = max(length, packet.pts + (packet.duration or video.step))
    shown = np.flatnonzero(is_shown)
    if not len(shown):
        return None
    pts = np.array(times, dtype=np.int64)
    packets = shown[np.argsort(pts[shown], kind="stable")]
    ticks = pts[packets]
    if np.any(np.diff(ticks) <= 0) or np.max(np.abs(packets - shown)) > _MOST_REORDERED:
        return None
    origin = video.origin(int(ticks[0]))
    timetable = Timetable(ticks - origin, video.unit, length - origin)
    alone = video.is_intra or all(is_key)
    entries = packets if alone else _entries(pts, np.flatnonzero(is_key), packets)
    route = Route(entries, packets, alone)
    return Survey(video.path, video.codec, timetable, origin, route, video.problems(timetable.length_s))


def _of_frames(video: VideoFile) -> Survey:
    """The survey by decoding everything."""
    times: list[int] = []
    length = 0
    with progress("Counting frames", video.expected, "frames") as advance:
        for raw, _ in video.decoded_whole():
            time = raw.pts if video.tells_times else None
            if time is None or (times and time <= times[-1]):
                # Times that are missing or run backwards are those of an even film.
                time = times[-1] + video.step if times else 0
            times.append(time)
            length = time + (raw.duration or video.step)
            advance(1)
    if not times:
        raise UnreadableVideo("no frame of it can be decoded", video.path)
    origin = video.origin(times[0])
    timetable = Timetable(np.array(times, dtype=np.int64) - origin, video.unit, length - origin)
    return Survey(video.path, video.codec, timetable, origin, None, video.problems(timetable.length_s))


def _entries(pts: NDArray[np.int64], keys: NDArray[np.intp], packets: NDArray[np.intp]) -> NDArray[np.int64]:
    """For each frame the last key packet before it that is not shown after it.

    Frames that are decoded after a key packet but shown before it may rest on the one before.
    """
    if not len(keys):
        return np.zeros(len(packets), dtype=np.int64)
    place = np.searchsorted(keys, packets, side="right") - 1
    while True:
        too_late = (place >= 0) & (pts[keys[place]] > pts[packets])
        if not too_late.any():
            return np.where(place >= 0, keys[place], 0).astype(np.int64)
        place[too_late] -= 1
