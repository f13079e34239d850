"""Small pictures for the tests of data."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is remembered between runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def write_picture() -> Callable[[Path], Path]:
    """Write a tiny picture under any name, whatever its suffix."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            Image.new("RGB", (4, 4), (120, 40, 40)).save(file, "PNG")
        return path

    return write
