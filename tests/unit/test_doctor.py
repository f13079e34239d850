"""What is told of packages that only single commands need."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from handlens import doctor

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("name", doctor.EXTRAS)
def test_each_extra_brings_its_package(name: str) -> None:
    extra, _ = doctor.EXTRAS[name]
    asked = re.search(rf"^{extra} = \[(.*?)\]$", PROJECT.read_text(encoding="utf-8"), re.M | re.S)
    assert asked is not None
    # aiohttp is what fsspec[http] brings.
    assert f'"{name}' in asked[1] or (name == "aiohttp" and '"fsspec[http' in asked[1])


def test_a_package_that_is_not_there_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    found = doctor._extra("av")
    assert (found.state, found.mend) == ("note", "pip install 'handlens[video]'")
    assert "frames out of videos" in found.found
