"""Pictures from disk in order, prepared by several threads a little ahead of who uses them."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Pixels = NDArray[np.uint8]

BATCHES_AHEAD = 3


def prepared_batches(
    items: Sequence[Item], prepare: Callable[[Item], Pixels], batch_size: int
) -> Iterator[tuple[Sequence[Item], Pixels]]:
    """Batches of items with their pixels (n, height, width, 3), in the order of the items.

    Threads do: Pillow lets go of Python's lock while it decodes and resizes, and threads start at
    once, where worker processes would each spend seconds importing what this process has imported.
    """
    chunks = [items[at : at + batch_size] for at in range(0, len(items), batch_size)]
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pictures") as pool:
        waiting: deque[list[Future[Pixels]]] = deque()
        ahead = iter(chunks)
        try:
            for chunk in chunks:
                while len(waiting) < BATCHES_AHEAD and (coming := next(ahead, None)) is not None:
                    waiting.append([pool.submit(prepare, item) for item in coming])
                yield chunk, np.stack([future.result() for future in waiting.popleft()])
        finally:
            # An error or Ctrl-C must not wait for pictures that nobody will use.
            pool.shutdown(wait=False, cancel_futures=True)
