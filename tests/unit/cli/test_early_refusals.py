"""What is wrong with a command's words is told before pictures are read, and before torch is imported."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer.main

from handlens.cli import app
from handlens.cli.app import run_command
from handlens.data.readers import read

FOLDERS = {
    "audit": ("none",),
    "convert": ("none", "--to", "folder"),
    "curve": ("none",),
    "demo": (),
    "expand": ("none",),
    "explain": ("none",),
    "frames": ("none",),
    "reproduce": ("graphite", "none"),
    "sites": ("none", "--column", "camera"),
    "study": ("none", "--recipes", "quick"),
    "synthesize": ("none", "--class", "ore", "--count", "1"),
    "train": ("none",),
}
"""Commands that write a folder, with pictures that are not there: these would be told next."""
FILES = {
    "compare": ("none",),
    "convert": ("none", "--to", "table"),
    "evaluate": ("none",),
    "find-rate": ("none",),
    "predict": ("none", "none"),
    "split": ("none",),
    "views": ("none",),
}

Run = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What a command says that ends with code 2, given in an empty folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["handlens", *map(str, words)])
        assert run_command() == 2
        return capsys.readouterr().err

    return run


def test_no_command_with_out_is_forgotten() -> None:
    known: dict[str, Any] = getattr(typer.main.get_command(app), "commands")  # noqa: B009 (a group has it)
    with_out = {name for name, each in known.items() if any("--out" in of.opts for of in each.params)}
    assert with_out == {*FOLDERS, *FILES}


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_that_cannot_be_made(command: str, refused: Run, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert f"{plain} is a file. Choose a folder" in refused(command, *FOLDERS[command], "--out", plain)
    told = refused(command, *FOLDERS[command], "--out", plain / "new")
    assert f"{plain} is a file, so" in told
    assert told.count("\n") == 1
    assert not any((tmp_path / "here").iterdir())


@pytest.mark.parametrize("command", FILES)
def test_a_file_that_cannot_be_written(command: str, refused: Run, tmp_path: Path) -> None:
    plain, folder = tmp_path / "plain", tmp_path / "folder"
    plain.touch()
    folder.mkdir()
    assert f"{folder} is a folder, and" in refused(command, *FILES[command], "--out", folder)
    assert f"{plain} is a file, so" in refused(command, *FILES[command], "--out", plain / "a.csv")
    assert not any((tmp_path / "here").iterdir())


def test_torch_is_not_waited_for(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    given = [
        [name, *words, "--out", str(plain / "new")] for name, words in (*FOLDERS.items(), *FILES.items())
    ]
    given += [["study", "nix.yaml", "none"], ["curve", "none", "--steps", "abc"]]
    program = (
        "import sys\nfrom handlens.cli.app import run_command\nimport handlens.cli\n"
        f"for words in {given!r}:\n"
        "    sys.argv = ['handlens', *words]\n"
        "    assert run_command() == 2, words\n"
        "    assert not {'torch', 'polars', 'PIL'} & set(sys.modules), words\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, capture_output=True)


def test_a_run_is_not_pictures(refused: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "figures").mkdir()
    (run / "recipe.yaml").write_text("name: quick\n", encoding="utf-8")
    for words in (
        *([name, *("run" if word == "none" else word for word in words)] for name, words in FOLDERS.items()),
        ["split", "run", "--out", "a.csv"],
        ["evaluate", "none", "--data", "run"],
    ):
        if words[0] in ("demo", "explain", "frames"):
            continue  # They are given no such pictures.
        told = refused(*(run if word == "run" else word for word in words), "--out", "new")
        assert f"{run} is a run, not pictures. Give the pictures, or {run / 'samples.parquet'}" in told


def test_pictures_beside_a_recipe_are_pictures(refused: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    (tmp_path / "samples.parquet").touch()
    assert "is a run" not in refused("split", tmp_path, "--out", "a.csv")


def test_a_study_that_is_not_there(refused: Run) -> None:
    Path("heads.yaml").touch()
    told = refused("study", "haeds.yaml", "photos")
    assert "There is no file haeds.yaml. Did you mean 'heads.yaml'? Give a study's file" in told
    Path("photos").mkdir()
    assert "photos is not a study's file." in refused("study", "photos")


@pytest.mark.parametrize("steps", ["abc", "1,zwei", "5,0", "-1", "1;2", "2.5", "[1"])
def test_steps_that_are_no_numbers(refused: Run, steps: str) -> None:
    told = refused("curve", "none", f"--steps={steps}")
    assert f"--steps {steps} " in told
    assert "such as --steps 1,2,5,10" in told


def test_the_label_and_what_is_not_there_are_no_sites(refused: Run, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    table = pl.DataFrame({"path": ["a.png", "b.png"], "ore": ["rich", "poor"], "camera": ["A", "B"]})
    table.write_csv(tmp_path / "table.csv")
    assert read(tmp_path / "table.csv", label="ore").label_name == "ore"
    words = ("sites", tmp_path / "table.csv", "--label", "ore", "--column")
    for column in ("ore", "label"):
        assert f"The column {column!r} is what is judged, and no site." in refused(*words, column)
    # Before any picture is looked at.
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert "no column 'kamera' to take sites from. Did you mean 'camera'?" in refused(*words, "kamera")
