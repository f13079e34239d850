"""Which frames of a video are taken: one a second, every tenth, or so many evenly spread."""

import math
import re
from fractions import Fraction
from typing import Self

from pydantic import Field, field_validator, model_validator

from handlens.base.spec import Spec
from handlens.data.video_survey import Timetable

_STEP = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>ms|s|min|f)")
_CLOCK = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d+):)?(?P<seconds>\d+(?:\.\d+)?|\.\d+)\s*s?")
_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60)}

DEFAULT_STEP = "1s"


class MomentsSpec(Spec):
    """Which frames are taken; without any of it, one a second."""

    every: str | None = None
    """The step from frame to frame: a time such as 1s, 0.5s, 200ms or 2min, or a number of frames as 10f."""
    count: int | None = Field(default=None, ge=1)
    """So many frames, evenly spread, instead of a step."""
    start: str | None = None
    """Where to begin, in seconds or as minutes:seconds or hours:minutes:seconds; none: at the beginning."""
    end: str | None = None
    """Where to end, which is itself not taken; none: at the end."""

    @field_validator("every")
    @classmethod
    def _is_step(cls, every: str | None) -> str | None:
        if every is not None:
            _step(every)
        return every

    @field_validator("start", "end")
    @classmethod
    def _is_clock(cls, clock: str | None) -> str | None:
        if clock is not None:
            seconds(clock)
        return clock

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.every is not None and self.count is not None:
            raise ValueError("every and count both say which frames are taken: keep one of them")
        if self.start is not None and self.end is not None and seconds(self.start) >= seconds(self.end):
            raise ValueError(f"the end, {self.end}, is not after the start, {self.start}")
        return self


def chosen(timetable: Timetable, spec: MomentsSpec) -> list[int]:
    """The frames to take, by number; of each moment the first frame that is shown at it or after it."""
    start = seconds(spec.start) if spec.start is not None else Fraction(0)
    end = min(seconds(spec.end), timetable.length_s) if spec.end is not None else timetable.length_s
    first, last = timetable.first_from(start), timetable.first_from(end)
    if spec.count is not None:
        return _spread(timetable, spec.count, first, last, (start, end))
    number, unit = _step(spec.every or DEFAULT_STEP)
    if unit == "f":
        return list(range(first, last, int(number)))
    step = number * _SECONDS[unit]
    taken = []
    place = first
    while place < last:
        taken.append(place)
        # From the frame that was taken on: a gap in the video, longer than the step, is passed over.
        steps = math.floor((timetable.time_s(place) - start) / step) + 1
        place = timetable.first_from(start + steps * step)
    return taken


def seconds(clock: str) -> Fraction:
    """A place in a video, such as 12.5, 1:30 or 1:02:03.5, in seconds."""
    found = _CLOCK.fullmatch(clock.strip())
    if found is None:
        raise ValueError(f"{clock!r} is no place in a video: write seconds as 12.5, or 1:30, or 1:02:03")
    minutes = 60 * int(found["hours"] or 0) + int(found["minutes"] or 0)
    return 60 * minutes + Fraction(found["seconds"])


def _spread(
    timetable: Timetable, count: int, first: int, last: int, span: tuple[Fraction, Fraction]
) -> list[int]:
    """The frames at the middles of so many equal parts, or all where there are no more of them."""
    if last - first <= count:
        return list(range(first, last))
    start, end = span
    part = (end - start) / count
    places = [timetable.first_from(start + part * (number + Fraction(1, 2))) for number in range(count)]
    # Where frames are sparse, one would be the first after several middles: each later one moves on. What
    # that pushes beyond the end comes back from there.
    for number in range(1, count):
        places[number] = max(places[number], places[number - 1] + 1)
    most = last
    for number in reversed(range(count)):
        most = min(places[number], most - 1)
        places[number] = most
    return places


def _step(every: str) -> tuple[Fraction, str]:
    found = _STEP.fullmatch(every.strip())
    number = Fraction(found["number"]) if found else Fraction(0)
    if found is None or number == 0 or (found["unit"] == "f" and number.denominator != 1):
        raise ValueError(f"{every!r} is no step: write a time as 1s, 0.5s or 200ms, or frames as 10f")
    return number, found["unit"]
