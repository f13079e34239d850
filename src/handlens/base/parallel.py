"""Work in several threads, its results in order and only a little ahead of who uses them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 16
"""Beyond this the interpreter is the bottleneck, and what is being worked on fills the memory."""

_most = MOST_THREADS
"""What this process may use of them."""

AHEAD = 2
"""Items a thread that may wait to be fetched, so that memory stays flat however slow the user is."""


def num_threads() -> int:
    """As many as the cores that this process may use."""
    # Python 3.13 knows how many that is.
    cores = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    return min(cores, _most)


def use_at_most(threads: int) -> None:
    """Let this process work in no more threads than these, as where several share the cores of a machine."""
    global _most  # noqa: PLW0603 (it is about the whole process)
    _most = min(threads, MOST_THREADS)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], start: Callable[[], None] | None = None
) -> Iterator[Result]:
    """The function's results in the order of the items; `start` runs first in each thread.

    Threads do: Pillow and PyTorch let go of Python's lock while they work, and threads start at once,
    where worker processes would each spend seconds importing what this process has imported.
    """
    threads = num_threads()
    coming = iter(items)
    with ThreadPoolExecutor(threads, initializer=start) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in coming:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= threads * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # An error or Ctrl-C must not wait for work that nobody will use.
            pool.shutdown(wait=False, cancel_futures=True)
