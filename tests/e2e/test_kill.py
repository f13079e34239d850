"""Killed at any moment, the same command goes on and ends with the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawn import SMALL, Command, draw_folder

MORE = ("--set", "train.epochs=40", "--set", "model.head.kind=layers")


def test_killed_at_any_moment_ends_with_the_same_bytes(
    handlens: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    pictures = draw_folder(tmp_path / "photos", 30)
    whole = tmp_path / "whole"
    words = ["train", str(pictures), "--recipe", "quick", *SMALL, *MORE, "--out"]
    # Each with a cache of its own: the killed run must compute and keep its features itself.
    started = time.monotonic()
    done = handlens(*words, whole, HANDLENS_CACHE=str(tmp_path / "cache-1"))
    took = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    killed = tmp_path / "killed"
    moments = random.Random(0)
    kills = 0
    for attempt in range(8):
        process = subprocess.Popen(
            [sys.executable, "-m", "handlens", *words, str(killed)],
            env=environment | {"HANDLENS_CACHE": str(tmp_path / "cache-2")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # From the first files to the report; imports alone take a good part of the time.
        try:
            process.wait(took * (0.3 + 0.1 * attempt) * moments.uniform(0.8, 1.1))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 2
    last = handlens(*words, killed, HANDLENS_CACHE=str(tmp_path / "cache-2"))
    assert last.returncode == 0, last.stderr
    for name in (
        "predictions/test.parquet",
        "predictions/val.parquet",
        "checkpoints/best.safetensors",
        "metrics.json",
    ):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    relative = [{path.relative_to(run) for path in run.rglob("*")} for run in (whole, killed)]
    assert relative[0] == relative[1]


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="needs the right to mount")
def test_a_full_disk_is_told_and_the_run_resumes(
    handlens: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        (disk / "ballast").write_bytes(b"0" * 500_000)
        words = ("train", pictures, "--recipe", "quick", *SMALL, "--out", disk / "run")
        full = handlens(*words)
        assert full.returncode == 2, full.stderr
        assert "is full" in full.stderr
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        resumed = handlens(*words)
        assert resumed.returncode == 0, resumed.stderr
        name = "predictions/test.parquet"
        assert (disk / "run" / name).read_bytes() == (trained / name).read_bytes()
    finally:
        subprocess.run(["umount", str(disk)], check=False)
