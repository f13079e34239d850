"""Which frames are taken: steps of time and of frames, so many evenly, from and to."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlens.base.errors import HandlensError
from handlens.data.moments import MomentsSpec, chosen, seconds
from handlens.data.video_survey import Timetable


def even(count: int, rate: int = 25) -> Timetable:
    return Timetable(np.arange(count), Fraction(1, rate), count)


def at(*times_ms: int, length: int | None = None) -> Timetable:
    return Timetable(np.array(times_ms), Fraction(1, 1000), length or times_ms[-1] + 40)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [0, 25, 50, 75]),
        ({"every": "2s"}, [0, 50]),
        ({"every": "0.5s"}, [0, 13, 25, 38, 50, 63, 75, 88]),
        ({"every": "500ms"}, [0, 13, 25, 38, 50, 63, 75, 88]),
        ({"every": "30f"}, [0, 30, 60, 90]),
        ({"every": "1min"}, [0]),
        ({"every": "40ms", "start": "3.9"}, [98, 99]),
        ({"start": "1.5"}, [38, 63, 88]),
        ({"end": "2"}, [0, 25]),
        ({"start": "0:01", "end": "0:03"}, [25, 50]),
        ({"every": "10f", "start": "1", "end": "2"}, [25, 35, 45]),
        ({"count": 1}, [50]),
        ({"count": 4}, [13, 38, 63, 88]),
        ({"count": 2, "start": "2", "end": "4"}, [63, 88]),
        ({"count": 100}, list(range(100))),
        ({"count": 1000}, list(range(100))),
        ({"start": "10"}, []),
        ({"count": 3, "start": "10"}, []),
        ({"end": "100"}, [0, 25, 50, 75]),
    ],
)
def test_of_four_seconds(spec: dict[str, object], expected: list[int]) -> None:
    assert chosen(even(100), MomentsSpec.parse(spec, "here")) == expected


def test_tenths_of_a_second_are_exact() -> None:
    """Added as floating-point numbers, three tenths come after the frame at 0.3 s."""
    assert chosen(even(100, 10), MomentsSpec(every="0.1s")) == list(range(100))


def test_gaps_are_passed_over_and_no_frame_comes_twice() -> None:
    table = at(0, 40, 80, 3500, 3540, 4010)
    assert chosen(table, MomentsSpec()) == [0, 3, 5]
    assert chosen(table, MomentsSpec(count=4)) == [2, 3, 4, 5]


@given(
    st.lists(st.integers(1, 2000), min_size=1, max_size=60),
    st.integers(1, 80),
    st.integers(0, 3000),
    st.integers(1, 9000),
)
def test_so_many_are_as_many(steps: list[int], count: int, start_ms: int, more_ms: int) -> None:
    times = np.cumsum([0, *steps])
    table = Timetable(times, Fraction(1, 1000), int(times[-1]) + 1)
    spec = MomentsSpec(count=count, start=f"{start_ms / 1000}", end=f"{(start_ms + more_ms) / 1000}")
    taken = chosen(table, spec)
    allowed = [n for n, time in enumerate(times) if start_ms <= time < start_ms + more_ms]
    assert len(taken) == min(count, len(allowed))
    assert taken == sorted(set(taken))
    assert set(taken) <= set(allowed)


def test_clocks() -> None:
    told = {"12.5": 12.5, "1:30": 90, "01:02:03.5": 3723.5, ".5": 0.5, "7s": 7, " 8 ": 8}
    assert {clock: float(seconds(clock)) for clock in told} == told


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"every": "1 second"}, "'1 second' is no step: write a time as 1s"),
        ({"every": "0s"}, "is no step"),
        ({"every": "1.5f"}, "is no step"),
        ({"every": "-1s"}, "is no step"),
        ({"every": "1"}, "is no step"),
        ({"start": "noon"}, "'noon' is no place in a video"),
        ({"start": "5", "end": "5"}, "the end, 5, is not after the start, 5"),
        ({"every": "1s", "count": 3}, "every and count both say which frames"),
        ({"count": 0}, "count"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec: dict[str, object], message: str) -> None:
    with pytest.raises(HandlensError) as told:
        MomentsSpec.parse(spec, "The command")
    assert message in str(told.value)
