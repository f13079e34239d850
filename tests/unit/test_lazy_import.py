"""What needs no network starts without one: heavy libraries are loaded by the commands that use them."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "sklearn", "scipy", "polars", "numpy", "PIL")


def loaded_after(code: str) -> set[str]:
    """Which of the heavy libraries a new interpreter has loaded after some code."""
    # On standard error, since the help of a command is on standard output.
    told = f"{code}\nimport sys\nsys.stderr.write(' '.join(set({HEAVY}) & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(ended.stderr.split())


def test_the_check_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_after("import numpy")


def test_the_package_itself_loads_nothing() -> None:
    assert loaded_after("import handlens\nassert 'train' in dir(handlens)") == set()


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["train", "--help"], ["recipes", "--help"]],
    ids=" ".join,
)
def test_help_and_version_load_nothing(words: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["handlens", *{words}]
from handlens.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""
    assert loaded_after(code) == set()


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import handlens

    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = handlens.trian


@pytest.mark.parametrize("name", ["HandlensError", "Recipe", "Samples", "TrainedRun", "load_run", "train"])
def test_a_public_name_stays_what_it_is(name: str) -> None:
    # In a new interpreter, since it depends on what was imported before.
    code = f"""
import handlens
first = getattr(handlens, "{name}")
assert "{name}" in handlens.__all__
assert first.__name__ == "{name}", first
assert getattr(handlens, "{name}") is first, getattr(handlens, "{name}")
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
