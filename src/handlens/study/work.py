"""What is done with one cell, in whatever process: run it, and say how it fared."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from handlens.base.errors import HandlensError
from handlens.base.parallel import use_at_most
from handlens.data.samples import Samples
from handlens.recipe import Recipe
from handlens.run import RunFolder
from handlens.study.folder import log

State = Literal["done", "failed", "waiting"]

PATIENCE_S = 60.0
"""How long a cell waits for a process that still writes its folder: that of a lost node is about to end."""
LOOK_EVERY_S = 0.5

_begun = False
"""Whether this process has run a cell before."""


@dataclass(frozen=True, eq=False)
class Task:
    """One cell, with all that another process needs to run it."""

    cell: str
    recipe: Recipe
    samples: Samples
    folder: Path
    log: Path
    command: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that the process is to have, where it was not started by this one."""


@dataclass(frozen=True)
class Outcome:
    """How a cell fared."""

    state: State
    why: str = ""
    """Why it failed."""
    seconds: float | None = None
    """How long it took."""

    @property
    def first_reason(self) -> str:
        """The first sentence of why: how to mend it takes more words than a line has room for."""
        first = " ".join(self.why.split()).partition(". ")[0].removesuffix(".")
        return f"{first}." if first else ""


def carried_out(task: Task, threads: int = 0) -> Outcome:
    """Run a cell, on so many threads (0 for all): a cell that fails is told, and others go on."""
    global _begun
    alone, _begun = not _begun, True
    os.environ.update(task.environment)
    use_threads(threads)
    # Imported here: the process that only hands cells out has no use for what trains.
    from handlens.pipeline import run_recipe

    started = time.monotonic()
    try:
        wait_for_writer(RunFolder(task.folder))
        log(task.log, "begun", cell=task.cell, threads=threads)
        run_recipe(task.recipe, task.samples, task.folder, task.command, alone=alone)
        outcome = Outcome("done", seconds=round(time.monotonic() - started, 2))
    except HandlensError as error:
        outcome = Outcome("failed", str(error))
    except Exception as error:
        # Whatever it is, hours of other cells must not end with it; the row says what it was.
        outcome = Outcome("failed", f"A mistake in Handlens, not yours: {type(error).__name__}: {error}")
    log(task.log, outcome.state, cell=task.cell, why=outcome.why)
    return outcome


def use_threads(threads: int) -> None:
    """Let this process take so many threads, so that several of them share the cores of a machine."""
    import torch

    if threads:
        use_at_most(threads)
        torch.set_num_threads(threads)


def wait_for_writer(run: RunFolder, patience_s: float | None = None) -> None:
    """Wait for a process that still writes a run folder; after a while its error is told."""
    until = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
    while True:
        try:
            with run.only_writer():
                return
        except HandlensError:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK_EVERY_S)
