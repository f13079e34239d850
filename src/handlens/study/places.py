"""Where cells run: one after another in this process, in several of this machine, or on a Ray cluster."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from multiprocessing import Pipe, active_children, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder
from handlens.base.parallel import num_threads
from handlens.study.work import Outcome, Task, carried_out

LOOK_EVERY_S = 0.2
LOST_NODES = 5
"""How often a cell is given to another node because its own was lost."""


class Place(Protocol):
    """Takes cells and gives back how they fared, as `with` begins and ends it."""

    slots: int
    """Cells at once."""

    def __enter__(self) -> Self:
        """Be ready for cells."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""

    def begin(self, task: Task, alone: bool) -> None:
        """Begin a cell; `alone`, where no other one can run beside it, with all there is."""

    def ended(self) -> tuple[str, Outcome]:
        """Wait until a cell has ended: its name, and how it fared."""


class Here:
    """One after another in this process: nothing is imported twice, and each cell has all cores."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = 1
        self._task: Task | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing runs beside this process."""

    def begin(self, task: Task, alone: bool) -> None:
        """Its turn comes when its end is asked for."""
        self._task = task

    def ended(self) -> tuple[str, Outcome]:
        """Run it."""
        assert self._task is not None
        return self._task.cell, carried_out(self._task)


class Processes:
    """Several processes of this machine, which share its cores. One that is lost costs its own cell only."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free: list[_Worker] = []
        self._busy: dict[Future[Outcome], tuple[str, _Worker]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes, in the middle of their cells if need be: these go on another time."""
        # That is quick, so a second Ctrl-C can wait.
        with undisturbed():
            for worker in (*self._free, *(worker for _, worker in self._busy.values())):
                worker.end()
            # After Ctrl-C the program ends at once: what their queues hold of the system is given back now.
            self._free.clear()
            self._busy.clear()
            gc.collect()

    def begin(self, task: Task, alone: bool) -> None:
        """Give it to a process that has nothing to do, or to a new one."""
        threads = num_threads() if alone else max(1, num_threads() // self.slots)
        with undisturbed():
            # Its process starts here, and takes over that Ctrl-C waits: this one alone answers it.
            while True:
                worker = self._free.pop() if self._free else _Worker()
                future = worker.begin(task, threads)
                if future is not None:
                    break
                worker.end()
            self._busy[future] = task.cell, worker

    def ended(self) -> tuple[str, Outcome]:
        """The first that is ready; a process that was lost is replaced."""
        ended: set[Future[Outcome]] = set()
        while not ended:
            # Ctrl-C is heard only between two waits: polars has system calls begin again after a signal.
            ended = wait(self._busy, LOOK_EVERY_S, FIRST_COMPLETED).done
        future = ended.pop()
        cell, worker = self._busy.pop(future)
        try:
            outcome = future.result()
        except BrokenProcessPool:
            worker.end()
            return cell, Outcome(
                "failed",
                "Its process was ended from outside, as it happens where memory runs out. Give the command "
                "again and it goes on, with fewer --processes if it was the memory.",
            )
        self._free.append(worker)
        return cell, outcome


class _Worker:
    """One process. It ends when it is let go, and with this process, however that ends."""

    def __init__(self) -> None:
        reader, self._leash = Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _be_led, (reader,))
        self._reader = reader
        self._processes: set[BaseProcess] = set()

    def begin(self, task: Task, threads: int) -> Future[Outcome] | None:
        """Run a cell, with the first one in a new process; none where that was ended from outside since."""
        if not all(process.is_alive() for process in self._processes):
            return None
        others = set(active_children())
        try:
            future = self._pool.submit(carried_out, task, threads)
        except BrokenProcessPool:
            return None
        self._processes |= set(active_children()) - others
        return future

    def end(self) -> None:
        """At once: a process that has only just started would import for many seconds before it listens."""
        for process in self._processes:
            process.kill()
        self._leash.close()
        self._reader.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        del self._pool


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended; a process that starts in it never hears of it."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main one is interrupted by it.
        yield
        return
    heard: list[int] = []
    answer = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    # A signal that this thread does not take goes to another one, and is answered here all the same.
    before = (
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        if hasattr(signal, "pthread_sigmask")
        else None
    )
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, answer)
        if heard:
            signal.raise_signal(signal.SIGINT)


def _be_led(leash: Connection) -> None:
    """What a process does first: be quiet, leave Ctrl-C to the one that started it, and end with it."""
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_it() -> None:
        leash.poll(None)
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


class OnRay:
    """The nodes of a Ray cluster, which all see the pictures, the study's folder and the cache by one path.

    A cell whose node is lost begins on another one, where its run folder goes on.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._cells: dict[Any, str] = {}
        self._joined = False
        self._threads = 1
        self._gpus = 0

    def __enter__(self) -> Self:
        ray = _ray()
        if not ray.is_initialized():
            # The cluster that RAY_ADDRESS names, the one that runs on this machine, or one of this machine.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(include_dashboard=None, log_to_driver=False, logging_level="ERROR")
            self._joined = True
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and "CPU" in node["Resources"]]
        cores = min((int(each["CPU"]) for each in nodes), default=1)
        # A cell a node, unless it is said how many at once; then they share the cores of the nodes.
        self.slots = self.slots if self.slots > 1 else max(1, len(nodes))
        self._threads = max(1, min(cores, cores * len(nodes) // self.slots))
        self._gpus = int(any(each.get("GPU") for each in nodes))
        return self

    def __exit__(self, *_: object) -> None:
        """Take back what nobody waits for any more."""
        ray = _ray()
        for running in self._cells:
            ray.cancel(running, force=True)
        if self._joined:
            ray.shutdown()

    def begin(self, task: Task, alone: bool) -> None:
        """Ray finds the node; with the same folders and switches as here."""
        switches = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("HANDLENS_") or name == "HF_HUB_OFFLINE"
        }
        # A node's processes work in another folder than this one.
        switches["HANDLENS_CACHE"] = str(cache_folder().resolve())
        carried = replace(task, folder=task.folder.resolve(), environment=switches)
        run = _ray().remote(carried_out)
        # A lost node is Ray's to notice; whatever else goes wrong, the cell itself tells.
        run = run.options(num_cpus=self._threads, num_gpus=self._gpus, max_retries=LOST_NODES)
        self._cells[run.remote(carried, self._threads)] = task.cell

    def ended(self) -> tuple[str, Outcome]:
        """The first that is ready."""
        ray = _ray()
        (first, *_), _ = ray.wait(list(self._cells), num_returns=1)
        cell = self._cells.pop(first)
        try:
            outcome = ray.get(first)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            return cell, Outcome("failed", f"Ray lost it {LOST_NODES + 1} times: {reason}")
        assert isinstance(outcome, Outcome)
        return cell, outcome


def _ray() -> Any:
    try:
        # By name, because the types of a package that may be missing cannot be checked.
        return import_module("ray")
    except ImportError:
        raise HandlensError(
            "Running on Ray needs an extra that is not installed. Install it with "
            "pip install 'handlens[ray]', or leave out --on ray."
        ) from None


PLACES: dict[str, Callable[[int], Place]] = {"here": Here, "processes": Processes, "ray": OnRay}
"""Where cells run, by name; each is told how many at once."""
