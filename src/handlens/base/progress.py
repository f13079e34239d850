"""Long work shows itself: a progress bar with rate and time left, on standard error."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int], None]


@contextmanager
def progress(what: str, total: int, unit: str = "pictures") -> Iterator[Advance]:
    """Show a bar for the block; call what it gives with the number of things just done.

    Silent where standard error is not a terminal, so that logs and pipes stay clean.
    """
    if not _watched():
        yield lambda _: None
        return
    with _bar() as bar:
        task = bar.add_task(what, total=total, unit=unit)
        yield lambda count: bar.advance(task, count)


def say(message: str) -> None:
    """One line on standard error for the person who waits; nothing where nobody watches."""
    if _watched():
        tell(message)


def tell(message: str) -> None:
    """One line on standard error, for logs too: of what takes hours, they show how far it is."""
    if _speaks():
        sys.stderr.write(message + "\n")


def _watched() -> bool:
    return sys.stderr.isatty() and _speaks()


def _speaks() -> bool:
    """Of several processes that train together, only the first one speaks."""
    return os.environ.get("RANK", "0") == "0"


def _bar() -> "Progress":
    # Rich takes a while to import, and most calls never draw a bar.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """How many things a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed or 0.0
            return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "")

    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
    )
