"""Opening a video: whatever is wrong with the file is said in a sentence, and what it holds is read anyway.

PyAV is imported when a video is opened: it is an extra, `pip install 'handlens[video]'`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from handlens.base.errors import HandlensError
from handlens.base.parallel import num_threads

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".wmv", ".asf", ".flv", ".ogv"),
    *(".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".vob", ".mxf", ".dv", ".y4m"),
)

# Frames that are being decoded at the same time each take up their room.
_MOST_THREADS = 8

# Frames of fewer pixels take less to decode than threads take to hand them over.
_WORTH_THREADS = 500_000

# No coder puts more frames between two that they rest on.
_MOST_BETWEEN = 16

# Pictures and pages of text that FFmpeg also opens as films.
_NO_VIDEO = ("image2", "tty")

# Files whose header says how long they are. Of others FFmpeg guesses it from their size.
_TELL_LENGTH = ("matroska", "mov", "flv", "asf")

# As FFmpeg numbers the curves of brightness called PQ and HLG.
_FOR_HDR_SCREENS = (16, 18)

_CLOCKWISE = {90: 6, 180: 3, 270: 8}
"""The EXIF orientation that says the same as a clockwise turn, as old phones wrote it into the metadata."""

_DISPLAY = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
"""The EXIF orientation that says the same as the signs of a display matrix."""


Decoded = tuple["av.VideoFrame", bool]
"""A frame, and whether the decoder had to guess a part of it."""


class UnreadableVideo(HandlensError):
    """A video that gives no frame; `reason` says why in a few words."""

    def __init__(self, reason: str, path: Path) -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path} cannot be read as a video: {reason}.")


class VideoFile:
    """An open video: its packets and frames one after the other, and what was wrong with them."""

    def __init__(self, container: "InputContainer", stream: "VideoStream", path: Path) -> None:
        self.container = container
        self.stream = stream
        self.path = path
        self.codec = stream.codec_context.name
        self.unit = stream.time_base or Fraction(1, 90_000)
        """Seconds a tick of the clock that times are written in."""
        self._orientations: dict[int, int] = {}
        self._packets = 0
        self._broken = 0
        self._torn: set[int] = set()
        self._waiting: list[av.VideoFrame] = []
        self._spoiled = False
        self._unread: str | None = None

    def packets(self) -> Iterator["av.Packet[VideoStream]"]:
        """The packets that hold something, up to the end or to where the file cannot be read any more."""
        from av.error import FFmpegError

        try:
            for packet in self.container.demux(self.stream):
                # The last one only says that there are no more. Empty ones before it repeat a frame.
                self._packets += packet.dts is not None
                if packet.is_corrupt and packet.pts is not None:
                    self._torn.add(packet.pts)
                if packet.size:
                    yield packet
        except FFmpegError as error:
            self._unread = str(error.strerror)

    def decoded(self, packet: "av.Packet[VideoStream] | None") -> "list[Decoded]":
        """What comes out for a packet, or at the end for none; a broken packet gives nothing."""
        from av.error import FFmpegError
        from av.video.frame import PictureType

        try:
            raws = self.stream.codec_context.decode(packet)
        except FFmpegError:
            self._broken += 1
            self._spoiled = True
            raws = []
        found = []
        for raw in raws:
            self._waiting.append(raw)
            # Frames between two others rest on both, so the later one has to be seen first. Some codings call
            # all frames so, and reorder none.
            is_between = raw.pict_type == PictureType.B and self.stream.codec_context.has_b_frames
            if not is_between or len(self._waiting) == _MOST_BETWEEN:
                found += self._judged()
        if packet is None:
            found += self._judged()
        return found

    def _judged(self) -> "list[Decoded]":
        """The frames that were waiting. Damage spreads up to the next one that rests on no other."""
        from av.video.frame import PictureType

        raws, self._waiting = self._waiting, []
        hurt = [raw.is_corrupt or raw.pts in self._torn for raw in raws]
        judged = []
        for raw, is_hurt in zip(raws, hurt, strict=True):
            itself = any(hurt) if raw.pict_type == PictureType.B else is_hurt
            self._spoiled = itself or (self._spoiled and not raw.key_frame)
            judged.append((raw, self._spoiled))
        return judged

    def decoded_whole(self) -> "Iterator[Decoded]":
        """All frames in the order of showing, the same whenever they are decoded."""
        # Threads that share out frames guess damaged ones from whatever the others have ready, and those that
        # share out parts of one do not even see the damage of H.264.
        self.stream.thread_count = 1
        for packet in self.packets():
            yield from self.decoded(packet)
        yield from self.decoded(None)

    @property
    def is_intra(self) -> bool:
        """Whether the coding lets every packet stand alone."""
        return self.stream.codec_context.codec.intra_only

    @property
    def tells_times(self) -> bool:
        """Whether the file says when each frame is shown; an AVI file only numbers them as they are coded."""
        return self.container.format.name != "avi" or not self.stream.codec_context.has_b_frames

    @property
    def step(self) -> int:
        """Ticks from frame to frame, on average."""
        rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        return max(1, round(1 / (rate * self.unit)))

    @property
    def expected(self) -> int:
        """About how many frames there are; 0 where nothing is known."""
        length = Fraction(self.container.duration or 0, 1_000_000)
        return self.stream.frames or round(length / (self.step * self.unit))

    @property
    def pixel_shape(self) -> Fraction:
        """How wide a pixel is for its height."""
        shape = self.stream.sample_aspect_ratio
        # What is beyond this is a mistake of whoever wrote the file.
        return shape if shape and Fraction(1, 4) <= shape <= 4 else Fraction(1)

    def orientation(self, raw: "av.VideoFrame") -> int:
        """How a frame was held, as EXIF counts it."""
        # PyAV never forgets a frame whose side data were asked for, so they are only where the turn is new.
        if raw.rotation not in self._orientations:
            self._orientations[raw.rotation] = self._looked_up(raw)
        return self._orientations[raw.rotation]

    def _looked_up(self, raw: "av.VideoFrame") -> int:
        """The orientation by the frame's display matrix, otherwise by the metadata."""
        matrix = raw.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return _CLOCKWISE.get(_told_turn(self.stream), 1)
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()  # type: ignore[call-overload]
        largest = max(map(abs, (a, b, c, d))) or 1
        # Small numbers are what rounding left of a right angle; a turn by odd degrees is none of ours.
        a, b, c, d = (round(value / largest) for value in (a, b, c, d))
        return _DISPLAY.get((a, b, c, d), 1)

    def origin(self, first: int) -> int:
        """The time at which the clock of players begins: with the first stream, which may be the sound."""
        if self.container.start_time is None:
            return first
        begins = round(Fraction(self.container.start_time, 1_000_000) / self.unit)
        # It is written in microseconds: rounding is no earlier beginning. Nor is a clock of another day.
        return begins if Fraction(1, 1000) < (first - begins) * self.unit < 60 else first

    def problems(self, length_s: Fraction) -> tuple[str, ...]:
        """What a person should know after a reading up to the end, in sentences."""
        end = float(length_s)
        told = []
        promised = self.stream.frames
        declared = self._declared_s()
        if promised - self._packets > max(2, promised // 100):
            told.append(
                f"It holds {self._packets} of the {promised} frames that its header promises, {end:.1f} s."
            )
        elif declared is not None and declared - end > max(1.0, declared / 50):
            told.append(f"It breaks off after {end:.1f} s of the {declared:.1f} s that its header promises.")
        elif self._unread is not None:
            told.append(f"It cannot be read beyond {end:.1f} s ({self._unread}).")
        if self._broken:
            told.append(f"{self._broken} of its {self._packets} packets are damaged and give no frame.")
        if self.stream.codec_context.color_trc in _FOR_HDR_SCREENS:
            told.append("It was recorded for HDR screens: its frames are flatter than it looks there.")
        return tuple(told)

    def _declared_s(self) -> float | None:
        if not self.container.format.name.startswith(_TELL_LENGTH):
            return None
        if self.stream.duration is not None:
            return float(self.stream.duration * self.unit)
        # The length of the file is that of its longest stream, which may be the sound.
        if self.container.duration is not None and len(self.container.streams) == 1:
            return self.container.duration / 1e6
        return None


@contextmanager
def open_video(path: Path) -> Iterator[VideoFile]:
    """Open a file and give its video, or say why there is none."""
    av = _pyav()
    _refuse_other_things(path)
    try:
        # A video may name other files; nothing is fetched from elsewhere for it.
        container = av.open(str(path), container_options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        raise UnreadableVideo(_not_opened(path, error), path) from None
    with container:
        stream = _video_stream(container, path)
        is_small = stream.codec_context.width * stream.codec_context.height < _WORTH_THREADS
        stream.thread_count = 1 if is_small else min(num_threads(), _MOST_THREADS)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all
        yield VideoFile(container, stream, path)


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError:
        raise HandlensError(
            "Reading videos needs PyAV, which is not installed. "
            "Install it with: pip install 'handlens[video]'."
        ) from None
    return av


def _video_stream(container: "InputContainer", path: Path) -> "VideoStream":
    from av.stream import Disposition

    if container.format.name.startswith(_NO_VIDEO) or container.format.name.endswith("_pipe"):
        raise UnreadableVideo("this is a picture or a text, not a video", path)
    # The cover of a record is a stream too.
    videos = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not videos:
        sound = "only sound" if container.streams.audio else "nothing to see"
        raise UnreadableVideo(f"there is {sound} in it", path)
    best = container.streams.best("video")
    stream = next((each for each in videos if best is not None and each.index == best.index), videos[0])
    if stream.codec_context is None:
        raise UnreadableVideo("FFmpeg knows no decoder for it", path)
    return stream


def _refuse_other_things(path: Path) -> None:
    if path.is_dir():
        raise UnreadableVideo("this is a folder", path)
    if not path.exists():
        link = path.is_symlink()
        raise UnreadableVideo("this link leads nowhere" if link else "there is no such file", path)
    if not path.is_file():
        # Opening a named pipe would wait for ever.
        raise UnreadableVideo("this is not an ordinary file", path)
    if path.stat().st_size == 0:
        raise UnreadableVideo("the file is empty", path)


def _not_opened(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "reading it is not permitted"
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "its recording was broken off before the table of its frames was written, or that is damaged"
    if start.startswith((b"RIFF", b"\x1aE\xdf\xa3")):
        return "the file is damaged at its beginning"
    return "this is not a video that FFmpeg knows"


def _told_turn(stream: "VideoStream") -> int:
    """Degrees clockwise in the stream's metadata, whose names each format writes in its own case."""
    told = {name.casefold(): value for name, value in stream.metadata.items()}
    try:
        return int(told.get("rotate", "0")) % 360
    except ValueError:
        return 0
