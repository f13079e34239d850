"""A small folder of pictures and a command line, as a person would use them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from drawn import SMALL, Command, draw_folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cache = tmp_path_factory.mktemp("cache")
    gone = {"HANDLENS_WEIGHTS": "", "HF_HUB_OFFLINE": "1", "HANDLENS_CACHE": str(cache), "COLUMNS": "200"}
    return {**os.environ, **gone, "OMP_NUM_THREADS": "1", "TORCH_HOME": str(cache / "torch")}


@pytest.fixture(scope="session")
def handlens(environment: dict[str, str]) -> Command:
    """Run a command; gives its exit code and what it printed."""

    def run(*words: object, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "handlens", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment | extra,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("données 図") / "photos")


@pytest.fixture(scope="session")
def trained(handlens: Command, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the small folder."""
    run = tmp_path_factory.mktemp("runs") / "first"
    done = handlens("train", pictures, "--recipe", "quick", *SMALL, "--out", run)
    assert done.returncode == 0, done.stderr
    return run
