"""Runs a training, then runs it again and kills it at random moments until it comes to its end.

Everything is imported once, and each attempt is a process of its own that is forked off: it knows nothing
of the one before but what that left on disk.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import handlens.pipeline
import handlens.training.finetune  # noqa: F401
from handlens.cli import main
from handlens.training import fit


def begun(words: list[str], cache: Path, save_every_s: float) -> int:
    """The process that trains, with a cache of its own."""
    process = os.fork()
    if process:
        return process
    os.environ["HANDLENS_CACHE"] = str(cache)
    fit.SAVE_EVERY_S, fit.SAVING_AT_MOST = save_every_s, float("inf")
    sys.argv = ["handlens", *words]
    main()
    os._exit(1)


def ended(process: int) -> None:
    """Wait for the end of a training, which must be a good one."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code:
        sys.exit(f"a training ended with {code}")


def killed_at_any_moment(words: list[str], cache: Path, state: Path, times: int, within_s: float) -> int:
    """Let it save at least once, then kill it; gives how often it was still at it."""
    moments, kills = random.Random(0), 0
    for _ in range(times):
        # Often, so that most moments lie in the middle of an epoch.
        process = begun(words, cache, save_every_s=0.1)
        before = state.stat().st_mtime_ns if state.exists() else 0
        while os.waitpid(process, os.WNOHANG)[0] == 0:
            if state.exists() and state.stat().st_mtime_ns > before:
                time.sleep(moments.uniform(0, within_s))
                os.kill(process, signal.SIGKILL)
                kills += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
                break
            time.sleep(0.002)
    return kills


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    folder = Path(given["folder"])
    start = time.monotonic()
    ended(begun([*given["words"], str(folder / "whole")], folder / "cache-1", save_every_s=1e9))
    took_s = time.monotonic() - start
    again = [*given["words"], str(folder / "killed")]
    state_path = folder / "killed" / "checkpoints" / "state.pt"
    kills = killed_at_any_moment(again, folder / "cache-2", state_path, given["times"], took_s / 8)
    ended(begun(again, folder / "cache-2", save_every_s=0.1))
    print(kills)
