"""The frames of a video one by one, upright, decoding only what the wanted ones rest on.

Memory does not grow with the length of the video: a frame is forgotten when its user forgets it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from PIL import Image

from handlens.data.image import turned
from handlens.data.video import UnreadableVideo, VideoFile, open_video
from handlens.data.video_survey import Route, Survey

if TYPE_CHECKING:
    import av

# Decoding a few packets for nothing costs less than emptying the decoder and starting it again.
_SMALL_GAP = 8

_UNTOLD = 2
"""What FFmpeg calls colours of which the file does not say how they were coded."""

_HIGH_DEFINITION = 720


class NotAsTold(Exception):
    """Decoding gave other frames than the packets promised, or damaged ones, as `read_frames` says."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame, decoded but not yet made into a picture, which other threads may do."""

    number: int
    """In the order of showing, from 0."""
    time_s: Fraction
    damaged: bool
    """Whether the decoder had to guess a part of it."""
    raw: "av.VideoFrame"
    orientation: int
    """As EXIF counts it; 1 is upright."""
    pixel_shape: Fraction
    """How wide a pixel is for its height."""

    def picture(self) -> Image.Image:
        """The frame as it is meant to be seen: RGB, upright, its pixels square."""
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        width, height = self.raw.width, self.raw.height
        if self.pixel_shape > 1:
            width = round(width * self.pixel_shape)
        elif self.pixel_shape < 1:
            height = round(height / self.pixel_shape)
        # Untold, high definition means BT.709 and anything smaller BT.601, as for players.
        is_bt709 = self.raw.colorspace == _UNTOLD and self.raw.height >= _HIGH_DEFINITION
        converted = self.raw.reformat(
            width,
            height,
            "rgb24",
            src_colorspace=Colorspace.ITU709 if is_bt709 else None,
            dst_color_range=ColorRange.JPEG,
            # Every processor gives the same pixels, at most two levels of 255 from the exact ones. With exact
            # rounding this would take twenty times as long, more than decoding.
            interpolation=Interpolation.BICUBIC | Interpolation.BITEXACT,
            threads=1,
        )
        return turned(Image.fromarray(converted.to_ndarray()), self.orientation)


def read_frames(of: Survey, wanted: Sequence[int]) -> Iterator[Frame]:
    """The frames with these numbers, ascending, one by one as they are decoded.

    Raises `NotAsTold` where the survey was made without decoding and the video has other frames, or where any
    is damaged: how it then looks depends on all that was decoded before. `survey(path, by_decoding=True)`
    leads to frames that are always the same.
    """
    if not wanted:
        return
    with open_video(of.path) as video:
        raws = _by_number(video, wanted) if of.route is None else _by_route(video, of, of.route, wanted)
        for number, raw, spoiled in raws:
            yield Frame(
                number=number,
                time_s=of.timetable.time_s(number),
                damaged=spoiled,
                raw=raw,
                orientation=video.orientation(raw),
                pixel_shape=video.pixel_shape,
            )


_Numbered = tuple[int, "av.VideoFrame", bool]


def _by_number(video: VideoFile, wanted: Sequence[int]) -> Iterator[_Numbered]:
    """Decode everything and count."""
    waiting = deque(wanted)
    for number, (raw, spoiled) in enumerate(video.decoded_whole()):
        if number == waiting[0]:
            yield waiting.popleft(), raw, spoiled
            if not waiting:
                return
    raise UnreadableVideo("it gives other frames every time it is read", video.path)


def _by_route(video: VideoFile, of: Survey, route: Route, wanted: Sequence[int]) -> Iterator[_Numbered]:
    """Decode only what the wanted frames rest on."""
    video.stream.thread_type = "AUTO"
    runs = _runs(route, wanted)
    run = runs.popleft()
    for index, packet in enumerate(video.packets()):
        if index < run.first or (route.independent and index not in run.packets):
            continue
        raws = video.decoded(packet)
        if index == run.last:
            # Emptied, the decoder gives what it held back, and can begin anew at another place.
            raws += video.decoded(None)
            video.stream.codec_context.flush_buffers()
        for raw, spoiled in raws:
            if spoiled:
                raise NotAsTold
            if run.wanted and raw.pts is not None:
                time = int(of.timetable.ticks[run.wanted[0]]) + of.origin
                if raw.pts > time:
                    raise NotAsTold
                if raw.pts == time:
                    yield run.wanted.popleft(), raw, False
        if index == run.last:
            if run.wanted:
                raise NotAsTold
            if not runs:
                return
            run = runs.popleft()
    raise NotAsTold


@dataclass(frozen=True)
class _Run:
    """Packets that are decoded one after the other."""

    first: int
    last: int
    wanted: deque[int]
    packets: frozenset[int]
    """Those that the wanted frames come out of."""


def _runs(route: Route, wanted: Sequence[int]) -> deque[_Run]:
    """Wanted frames, ascending, gathered into runs; where packets stand alone, one run is enough."""
    runs: list[tuple[int, int, list[int]]] = []
    for number in wanted:
        first, last = int(route.entries[number]), int(route.packets[number])
        if runs and (route.independent or first <= runs[-1][1] + _SMALL_GAP):
            before, end, numbers = runs[-1]
            numbers.append(number)
            runs[-1] = (min(before, first), max(end, last), numbers)
        else:
            runs.append((first, last, [number]))
    return deque(
        _Run(first, last, deque(numbers), frozenset(route.packets[numbers].tolist()))
        for first, last, numbers in runs
    )
