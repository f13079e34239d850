"""Videos: every frame by its number and true time, upright, and whatever is wrong said in a sentence."""

import gc
import os
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import filmed
import numpy as np
import pytest
from filmed import film, held, number_on, numbered, numbered_film
from PIL import Image

from handlens.base.errors import HandlensError
from handlens.data import video as video_module
from handlens.data.video import UnreadableVideo, VideoFile
from handlens.data.video_frames import Frame, NotAsTold, read_frames
from handlens.data.video_survey import Survey, Timetable, survey

av = filmed.av

# Codings and containers that differ in what they tell: times, order, key frames.
KINDS: dict[str, dict[str, Any]] = {
    "plain.avi": {},
    "plain.mp4": {},
    "plain.mkv": {},
    "between.avi": {"between": 2},
    "between.mp4": {"between": 2},
    "between.ts": {"codec": "mpeg2video", "between": 2},
    "between.mpg": {"codec": "mpeg2video", "between": 2},
    "alone.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "alone.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "lossless.mkv": {"codec": "ffv1"},
    "hidden.webm": {"codec": "libvpx"},
    "nine.webm": {"codec": "libvpx-vp9"},
    "open.mp4": {"codec": "libx264", "options": {"x264-params": "open-gop=1:keyint=10:bframes=3"}},
    "open.ts": {"codec": "libx264", "options": {"x264-params": "open-gop=1:keyint=10:bframes=3"}},
    "order.avi": {"codec": "libx264"},
    "raw.h264": {"codec": "libx264"},
}


def numbers(of: Survey, wanted: list[int]) -> list[int]:
    return [number_on(frame.picture()) for frame in read_frames(of, wanted)]


def upright(path: Path) -> Image.Image:
    (frame,) = read_frames(survey(path), [0])
    return frame.picture()


def corners(picture: Image.Image) -> tuple[str, str]:
    """Where the red and the blue corner are."""

    def place(channel: int) -> str:
        pixels = np.asarray(picture, dtype=int)
        strong = pixels[..., channel] - pixels.sum(axis=2) // 3 > 40
        y, x = (axis.mean() for axis in np.nonzero(strong))
        return (
            ("top" if y < picture.height / 2 else "bottom")
            + " "
            + ("left" if x < picture.width / 2 else "right")
        )

    return place(0), place(2)


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_found_by_its_number_and_stands_at_its_time(name: str, tmp_path: Path) -> None:
    path = numbered_film(tmp_path / name, 64, **KINDS[name])
    known = survey(path)
    assert len(known.timetable) == 64
    assert numbers(known, list(range(64))) == list(range(64))
    # Any few of them are the same ones, whatever of the video was passed over.
    for wanted in ([0], [63], [9, 10, 11], [3, 29, 30, 60], list(range(5, 64, 13))):
        assert numbers(known, wanted) == wanted
    times = [float(known.timetable.time_s(number)) for number in range(64)]
    assert times == pytest.approx([number / 25 for number in range(64)], abs=0.0011)
    assert float(known.timetable.length_s) == pytest.approx(64 / 25, abs=0.041)
    assert known.problems == ()


@pytest.mark.parametrize("name", ["plain.mkv", "between.mp4"])
def test_variable_rates_keep_their_true_times(name: str, tmp_path: Path) -> None:
    steps = np.random.default_rng(1).integers(5, 400, 40)
    times = (np.cumsum(steps) - steps[0]).tolist()
    known = survey(numbered_film(tmp_path / name, 40, times_ms=times, **KINDS[name]))
    found = [round(float(known.timetable.time_s(number)) * 1000) for number in range(40)]
    assert found == times
    assert numbers(known, [0, 7, 8, 39]) == [0, 7, 8, 39]


def test_the_clock_begins_with_the_sound_where_that_is_first(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = filmed.WIDTH, filmed.HEIGHT, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=8000)
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        noise.sample_rate, noise.pts = 8000, 0
        container.mux(sound.encode(noise))
        for number in range(5):
            frame = av.VideoFrame.from_image(numbered(number))
            frame.pts, frame.time_base = 10 + number, Fraction(1, 25)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    assert float(survey(path).timetable.time_s(0)) == pytest.approx(0.4, abs=0.002)


def test_a_timetable_finds_the_first_frame_from_a_time_on() -> None:
    table = Timetable(np.array([0, 40, 80, 200]), Fraction(1, 1000), 240)
    assert [table.first_from(Fraction(time, 1000)) for time in (0, 1, 40, 41, 81, 200, 201)] == [
        0,
        1,
        1,
        2,
        3,
        3,
        4,
    ]
    assert table.length_s == Fraction(24, 100)


@pytest.mark.parametrize(
    ("matrix", "where", "size"),
    [
        (filmed.UPRIGHT, ("top left", "top right"), (128, 48)),
        (filmed.CLOCKWISE, ("top right", "bottom right"), (48, 128)),
        (filmed.UPSIDE_DOWN, ("bottom right", "bottom left"), (128, 48)),
        (filmed.ANTICLOCKWISE, ("bottom left", "top left"), (48, 128)),
        (filmed.MIRRORED, ("top right", "top left"), (128, 48)),
    ],
)
def test_phone_video_comes_out_upright(
    matrix: tuple[int, int, int, int], where: tuple[str, str], size: tuple[int, int], tmp_path: Path
) -> None:
    picture = upright(held(numbered_film(tmp_path / "phone.mp4", 3), matrix))
    assert (corners(picture), picture.size) == (where, size)


@pytest.mark.parametrize(
    ("degrees", "where"), [("90", ("top right", "bottom right")), ("odd", ("top left", "top right"))]
)
def test_the_metadata_of_old_phones_turn_too(degrees: str, where: tuple[str, str], tmp_path: Path) -> None:
    path = numbered_film(tmp_path / "old.mkv", 3, metadata={"rotate": degrees})
    assert corners(upright(path)) == where


def test_pixels_that_are_not_square_become_so(tmp_path: Path) -> None:
    wide = upright(numbered_film(tmp_path / "wide.mkv", 2, pixel_shape=Fraction(4, 3)))
    tall = upright(numbered_film(tmp_path / "tall.mkv", 2, pixel_shape=Fraction(1, 2)))
    assert (wide.size, tall.size) == ((171, 48), (128, 96))


@pytest.mark.parametrize(
    ("height", "colorspace", "red", "blue"),
    [(64, None, 0.299, 0.114), (720, None, 0.2126, 0.0722), (64, 1, 0.2126, 0.0722), (720, 5, 0.299, 0.114)],
)
def test_colours_are_those_of_the_standard(
    height: int, colorspace: int | None, red: float, blue: float, tmp_path: Path
) -> None:
    path = tmp_path / "flat.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, height, "yuv420p"
        frame = av.VideoFrame(32, height, "yuv420p")
        if colorspace is not None:
            stream.codec_context.colorspace = frame.colorspace = colorspace
        for plane, value in zip(frame.planes, (120, 90, 180), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    luma, u, v = (120 - 16) / 219, (90 - 128) / 224, (180 - 128) / 224
    r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
    g = (luma - red * r - blue * b) / (1 - red - blue)
    pixel = np.asarray(upright(path), dtype=float)[height // 2, 16]
    assert pixel == pytest.approx([255 * r, 255 * g, 255 * b], abs=2.5)


def test_only_what_the_wanted_frames_rest_on_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = survey(numbered_film(tmp_path / "long.mp4", 200, gop=20))
    alone = survey(numbered_film(tmp_path / "alone.avi", 200, "mjpeg", pixels="yuvj420p"))
    decoded: list[int] = []
    whole = VideoFile.decoded
    monkeypatch.setattr(
        VideoFile, "decoded", lambda self, packet: decoded.append(packet is not None) or whole(self, packet)
    )
    # Frame 65 rests on the key frame 60 and those between, 150 on 140 and those between.
    assert numbers(known, [65, 150]) == [65, 150]
    assert sum(decoded) == 6 + 11
    decoded.clear()
    assert numbers(alone, [65, 150]) == [65, 150]
    assert sum(decoded) == 2


def test_frames_come_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory does not grow with the length of the video."""
    known = survey(numbered_film(tmp_path / "long.mp4", 200))
    decoded: list[int] = []
    whole = VideoFile.decoded
    monkeypatch.setattr(VideoFile, "decoded", lambda self, packet: decoded.append(1) or whole(self, packet))
    coming = read_frames(known, range(200))
    next(coming)
    assert len(decoded) < 40
    coming.close()


def test_frames_are_forgotten(tmp_path: Path) -> None:
    """Circles of references hold pictures of several megabytes until Python happens to look for them."""
    known = survey(held(numbered_film(tmp_path / "long.mp4", 100), filmed.CLOCKWISE))
    gc.collect()
    gc.disable()
    try:
        for frame in read_frames(known, range(100)):
            assert frame.picture().size == (48, 128)
        kept = [each for each in gc.get_objects() if isinstance(each, av.VideoFrame)]
    finally:
        gc.enable()
    assert len(kept) < 5


def test_what_the_packets_told_wrongly_is_noticed(tmp_path: Path) -> None:
    known = survey(numbered_film(tmp_path / "odd.mp4", 30))
    shifted = Timetable(known.timetable.ticks + 1, known.timetable.unit, known.timetable.length)
    wrong = Survey(known.path, known.codec, shifted, known.origin, known.route, ())
    with pytest.raises(NotAsTold):
        numbers(wrong, [4])
    right = survey(known.path, by_decoding=True)
    assert right.route is None
    assert numbers(right, [4, 20]) == [4, 20]
    assert list(right.timetable.ticks) == list(known.timetable.ticks)


OPTIONS = {"libx264": {"preset": "ultrafast", "bf": "3"}}


def textures(count: int) -> list[Image.Image]:
    """Pictures that move, with structure everywhere, so that damage shows."""
    drawn = np.random.default_rng(0).integers(0, 255, (15, 60)).astype(np.uint8)
    wide = Image.fromarray(drawn).resize((960, 240), Image.Resampling.BICUBIC).convert("RGB")
    return [wide.crop((4 * number, 0, 4 * number + 320, 240)) for number in range(count)]


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("name", ["cut.avi", "cut.mp4", "cut.mkv"])
def test_a_truncated_file_gives_what_it_has_and_says_so(name: str, tmp_path: Path) -> None:
    # The table of an MP4 file stands at its end unless it is asked to the front.
    front = {"movflags": "faststart"} if name.endswith("mp4") else None
    path = cut(numbered_film(tmp_path / name, 120, container_options=front), 0.6)
    known, frames = all_of(path)
    count = len(known.timetable)
    assert 50 < count < 100
    (problem,) = known.problems
    assert problem == (
        f"It holds {count} of the 120 frames that its header promises, {count / 25:.1f} s."
        if name != "cut.mkv"
        else f"It breaks off after {count / 25:.1f} s of the 4.8 s that its header promises."
    )
    whole = [number_on(frame.picture()) for frame in frames if not frame.damaged]
    assert whole == list(range(len(whole)))
    assert len(whole) >= count - 1


def test_a_file_without_its_table_says_so(tmp_path: Path) -> None:
    path = cut(numbered_film(tmp_path / "cut.mp4", 60), 0.7)
    with pytest.raises(UnreadableVideo, match="broken off before the table of its frames was written"):
        survey(path)


def hole(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(bytes(content))
    return path


def all_of(path: Path) -> tuple[Survey, list[Frame]]:
    try:
        known = survey(path)
        return known, list(read_frames(known, range(len(known.timetable))))
    except NotAsTold:
        known = survey(path, by_decoding=True)
        return known, list(read_frames(known, range(len(known.timetable))))


@pytest.mark.parametrize("name", ["plain.mp4", "between.mp4", "plain.mkv"])
def test_damage_in_the_middle_costs_only_what_rests_on_it(name: str, tmp_path: Path) -> None:
    known, frames = all_of(hole(numbered_film(tmp_path / name, 120, **KINDS[name])))
    told = {round(frame.time_s * 25): number_on(frame.picture()) for frame in frames if not frame.damaged}
    assert len(told) >= 80
    assert {0, 1, 2, 118, 119} <= set(told)
    assert {time: number for time, number in told.items() if time != number} == {}
    assert known.problems or any(frame.damaged for frame in frames)


def pixels(frames: list[Frame]) -> dict[float, np.ndarray]:
    return {float(frame.time_s): np.asarray(frame.picture(), np.int16) for frame in frames}


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_that_rest_on_a_damaged_later_one_are_damaged_too(codec: str, tmp_path: Path) -> None:
    path = film(tmp_path / "between.mp4", textures(90), codec, between=3, options=OPTIONS.get(codec))
    good = pixels(all_of(path)[1])
    _, frames = all_of(hole(path))
    damaged = {float(frame.time_s) for frame in frames if frame.damaged}
    other = {time for time, one in pixels(frames).items() if np.abs(one - good[time]).max() > 40}
    assert other
    assert other <= damaged
    assert len(damaged) < 45


def test_few_frames_wait_for_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some coders call all frames of minutes so that they would have to wait."""
    path = numbered_film(tmp_path / "between.mp4", 60, between=4)
    monkeypatch.setattr(video_module, "_MOST_BETWEEN", 2)
    with video_module.open_video(path) as opened:
        most = 0
        for packet in opened.packets():
            opened.decoded(packet)
            most = max(most, len(opened._waiting))
    assert most == 1
    assert numbers(survey(path), range(60)) == list(range(60))


def test_damaged_frames_are_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H.264 guesses and marks damaged frames in one thread alone."""
    monkeypatch.setattr(video_module, "num_threads", lambda: 4)
    path = hole(film(tmp_path / "a.mp4", textures(90), "libx264", options=OPTIONS["libx264"]))
    first = all_of(path)[1]
    assert any(frame.damaged for frame in first)
    for _ in range(3):
        again = all_of(path)[1]
        assert [frame.damaged for frame in again] == [frame.damaged for frame in first]
        assert all(map(np.array_equal, pixels(again).values(), pixels(first).values()))


def test_other_things_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "words.mp4").write_text("this is no video at all, however long it may be\n" * 20)
    (tmp_path / "words.txt").write_text("this is no video at all\n" * 20)
    numbered(3).save(tmp_path / "picture.jpg")
    numbered(3).save(tmp_path / "picture.mp4", "PNG")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(b"\0\0" * 8000)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "head.avi").write_bytes(b"RIFF\0\0\0\0AVI broken")
    reasons = {}
    for path in sorted([*tmp_path.iterdir(), tmp_path / "gone.mp4"]):
        with pytest.raises(UnreadableVideo) as told:
            survey(path)
        reasons[path.name] = told.value.reason
        assert str(path) in str(told.value)
    assert reasons == {
        "empty.mp4": "the file is empty",
        "folder.mp4": "this is a folder",
        "gone.mp4": "there is no such file",
        "head.avi": "the file is damaged at its beginning",
        "link.mp4": "this link leads nowhere",
        "picture.jpg": "this is a picture or a text, not a video",
        "picture.mp4": "this is a picture or a text, not a video",
        "pipe.mp4": "this is not an ordinary file",
        "sound.wav": "there is only sound in it",
        "words.mp4": "this is not a video that FFmpeg knows",
        "words.txt": "this is a picture or a text, not a video",
    }


def test_without_pyav_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered_film(tmp_path / "one.avi", 2)
    monkeypatch.setitem(video_module.__dict__["__builtins__"], "__import__", _no_av)
    with pytest.raises(HandlensError, match=r"pip install 'handlens\[video\]'"):
        survey(path)


def _no_av(name: str, *others: object) -> object:
    if name == "av":
        raise ImportError(name)
    return __import__(name, *others)  # type: ignore[arg-type]
