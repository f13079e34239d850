"""Two processes that train together, as torchrun starts them, against one process with the same recipe."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import polars.testing
import pytest
from drawn import draw_folder
from safetensors.numpy import load_file

from handlens.base.files import PARTIAL

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]

Launched = subprocess.CompletedProcess[str]

# All that has to be the whole batch's: norms from scratch, mixing, weights of classes, dropout, averages.
# With SGD, since Adam makes as much of a gradient that is nothing but rounding as of any other.
SCRATCH = """
views: {judge: {size: 64, fit: whole}, fresh: true, train: [{name: mild, crop: 0.7}]}
model: {backbone: handlens/nano, weights: none, freeze: none,
        head: {kind: layers, hidden: 16, dropout: 0.5}}
train: {epochs: 2, folds: 2, precision: float32, batch_size: 9, mixup: 0.4, cutmix: 1.0, average: 0.9,
        loss: {class_weights: balanced}, optimiser: {name: sgd, learning_rate: 3e-3}}
"""
# The head first, then the upper part of the network from kept activations; a validation side.
HEAD_FIRST = """
views: {judge: {size: 32, fit: whole}}
split: {ratios: "4:2:2"}
model: {backbone: handlens/nano, weights: bundled, freeze: {stages: 3, norms: fixed}}
train: {epochs: 2, precision: float32, batch_size: 8, beside_head: auto, head_first: {epochs: 3}}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = draw_folder(tmp_path_factory.mktemp("photos") / "photos", 9, ("stripes", "spots"))
    return draw_folder(root, 5, ("stripes", "spots", "noise"))


@pytest.fixture(scope="module")
def words(photos: Path) -> Callable[[str, Path], list[str]]:
    def command(recipe: str, run: Path) -> list[str]:
        path = photos.parent / f"recipe-{abs(hash(recipe))}.yaml"
        path.write_text(recipe, encoding="utf-8")
        return ["handlens", "train", str(photos), "--recipe", str(path), "--out", str(run)]

    return command


@pytest.fixture
def torchrun(environment: dict[str, str]) -> Callable[[list[str]], Launched]:
    """Two processes as a person starts them; gives what all of them printed."""

    def launch(command: list[str]) -> Launched:
        return subprocess.run(
            [*TORCHRUN, *command], capture_output=True, text=True, env=environment, timeout=200, check=False
        )

    return launch


@pytest.fixture(scope="module")
def alone(
    environment: dict[str, str],
    words: Callable[[str, Path], list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """The run of one process."""
    runs: dict[str, Path] = {}

    def train(recipe: str) -> Path:
        if recipe not in runs:
            runs[recipe] = tmp_path_factory.mktemp("alone") / "run"
            subprocess.run(
                [sys.executable, "-m", *words(recipe, runs[recipe])],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        return runs[recipe]

    return train


@contextmanager
def two_processes(command: list[str], environment: dict[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Started one by one without torchrun, so that what each of them does can be seen."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meeting = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            env={**environment, **meeting, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"{path} does not come"
        time.sleep(0.01)


def same(run: Path, other: Path) -> None:
    """The same files, the same pictures judged once each, the same figures within rounding."""
    names = [sorted(path.relative_to(each) for path in each.rglob("*")) for each in (run, other)]
    assert names[0] == names[1]
    for side in ("val", "test"):
        ours, theirs = (pl.read_parquet(each / "predictions" / f"{side}.parquet") for each in (run, other))
        assert ours["id"].is_unique().all()
        pl.testing.assert_frame_equal(ours, theirs, rel_tol=1e-4, abs_tol=1e-5)
    ours, theirs = (pl.read_ndjson(each / "history.jsonl") for each in (run, other))
    pl.testing.assert_frame_equal(ours, theirs, rel_tol=1e-4, abs_tol=1e-5)
    ours, theirs = (load_file(each / "checkpoints" / "best.safetensors") for each in (run, other))
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("recipe", [SCRATCH, HEAD_FIRST], ids=["scratch", "head first"])
def test_two_processes_end_as_one_does(
    recipe: str,
    alone: Callable[[str], Path],
    words: Callable[[str, Path], list[str]],
    torchrun: Callable[[list[str]], Launched],
    tmp_path: Path,
) -> None:
    done = torchrun(words(recipe, tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Report: ") == 1
    same(tmp_path / "run", alone(recipe))


def test_a_killed_process_ends_the_others_and_the_run_goes_on(
    alone: Callable[[str], Path],
    words: Callable[[str, Path], list[str]],
    environment: dict[str, str],
    torchrun: Callable[[list[str]], Launched],
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with two_processes(words(SCRATCH, run), environment) as (first, second):
        wait_for(run / "checkpoints" / "state.pt", first)
        os.kill(second.pid, signal.SIGKILL)
        _, error = first.communicate(timeout=60)
    assert first.returncode == 2
    assert "Another process of this training has ended" in error
    assert "Traceback" not in error
    assert not (run / "DONE").exists()
    assert not list(run.rglob(f".*{PARTIAL}"))
    by_one = shutil.copytree(run, tmp_path / "by one")
    done = torchrun(words(SCRATCH, run))
    assert done.returncode == 0, done.stderr
    same(run, alone(SCRATCH))
    subprocess.run([sys.executable, "-m", *words(SCRATCH, by_one)], env=environment, check=True)
    same(by_one, alone(SCRATCH))


def test_ended_from_outside_all_end_and_one_tells_why(
    words: Callable[[str, Path], list[str]], environment: dict[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    launcher = subprocess.Popen(
        [*TORCHRUN, *words(SCRATCH, run)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(run / "samples.parquet", launcher)
    launcher.terminate()
    _, error = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert error.count("handlens: Another process of this training has ended") == 1, error
    assert not (run / "DONE").exists()


def test_a_mistake_ends_all_and_is_told_once(
    alone: Callable[[str], Path],
    words: Callable[[str, Path], list[str]],
    torchrun: Callable[[list[str]], Launched],
) -> None:
    finished = alone(SCRATCH)
    before = (finished / "metrics.json").read_bytes()
    done = torchrun([*words(SCRATCH, finished), "--set", "train.epochs=4"])
    assert done.returncode == 1
    assert done.stderr.count("handlens: ") == 1
    assert "train.epochs: 2 there, 4 here" in done.stderr
    assert (finished / "metrics.json").read_bytes() == before
