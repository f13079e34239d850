"""Work in threads: in order, only a little ahead, errors at once."""

import threading
import time
from collections.abc import Iterator

import pytest

from handlens.base import parallel
from handlens.base.parallel import AHEAD, MOST_THREADS, in_order, num_threads, use_at_most

THREADS = 4


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of threads on every machine."""
    monkeypatch.setattr(parallel, "num_threads", lambda: THREADS)


def test_results_are_in_the_order_of_the_items() -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number % THREADS == 0 else 0)
        return number * number

    assert list(in_order(slow_at_first, range(50))) == [number * number for number in range(50)]


def test_nothing_gives_nothing() -> None:
    assert list(in_order(abs, [])) == []


def test_items_are_fetched_only_a_little_ahead() -> None:
    fetched = 0

    def items() -> Iterator[int]:
        nonlocal fetched
        for number in range(1000):
            fetched += 1
            yield number

    results = in_order(abs, items())
    assert fetched == 0
    for used in range(1, 20):
        next(results)
        assert fetched <= used + THREADS * AHEAD
    results.close()  # type: ignore[attr-defined]
    assert fetched < 30


def test_an_error_comes_through_without_the_rest_being_done() -> None:
    done = []

    def fail_at_five(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        time.sleep(0.002)
        done.append(number)
        return number

    results = in_order(fail_at_five, range(10_000))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert len(done) <= 5 + THREADS * AHEAD


def test_an_error_of_the_items_comes_through() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the folder is gone")

    with pytest.raises(OSError, match="the folder is gone"):
        list(in_order(abs, items()))


def test_leaving_early_cancels_what_waits() -> None:
    done = []

    def work(number: int) -> int:
        time.sleep(0.01)
        done.append(number)
        return number

    for number in in_order(work, range(10_000)):
        if number == 2:
            break
    time.sleep(0.1)
    assert len(done) <= 3 + THREADS * AHEAD


def test_several_threads_work_at_once() -> None:
    # Passes only when all four stand at it together.
    meeting = threading.Barrier(THREADS, timeout=10)
    assert len(list(in_order(lambda _: meeting.wait(), range(2 * THREADS)))) == 2 * THREADS


def test_each_thread_starts_once() -> None:
    started = []
    meeting = threading.Barrier(THREADS, timeout=10)
    list(in_order(lambda _: meeting.wait(), range(THREADS), lambda: started.append(threading.get_ident())))
    assert len(started) == len(set(started)) == THREADS


def test_never_more_threads_than_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    monkeypatch.setattr("os.process_cpu_count", lambda: 128, raising=False)
    assert num_threads() == MOST_THREADS
    monkeypatch.setattr(parallel, "_most", MOST_THREADS)
    for asked, given in ((3, 3), (500, MOST_THREADS)):
        use_at_most(asked)
        assert num_threads() == given
    monkeypatch.setattr("os.cpu_count", lambda: None)
    monkeypatch.setattr("os.process_cpu_count", lambda: None, raising=False)
    assert num_threads() == 1
