"""What a process says that it held."""

import subprocess
import sys
from pathlib import Path

import pytest

from handlens.base import memory

HOLD = "from handlens.base.memory import peak_mib; before = peak_mib(); held = b'x' * (200 << 20); del held; "
HOLD += "print(before, peak_mib())"


def test_what_was_held_and_let_go_counts_and_what_others_hold_does_not():
    mine = b"x" * (100 << 20)
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    del mine
    # The interpreter alone, and 200 MiB more.
    assert 0 < before < 90
    assert after - before == pytest.approx(200, abs=10)


def test_without_proc_the_system_is_asked_in_another_way(monkeypatch):
    pytest.importorskip("resource")
    own = memory.peak_mib()
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere/status"))
    assert memory.peak_mib() == pytest.approx(own, rel=0.5)
