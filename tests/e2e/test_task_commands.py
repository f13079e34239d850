"""A table that lacks some main labels, with further tasks, through the commands."""

import csv
from pathlib import Path

from drawn import SMALL, Command


def table_of(pictures: Path, path: Path) -> Path:
    """Every picture's class and whether it is of the first half; each lacks one of them now and then."""
    files = sorted(pictures.rglob("*.png"))
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "kind", "half"])
        for number, file in enumerate(files):
            kind = "" if number % 6 == 0 else file.parent.name
            half = "" if number % 6 == 1 else ("early" if int(file.stem[-2:]) < 6 else "late")
            rows.writerow([file.relative_to(path.parent), kind, half])
    return path


def test_missing_main_labels_are_taken_by_every_command(
    handlens: Command, pictures: Path, tmp_path: Path
) -> None:
    table = table_of(pictures, pictures.parent / "labels.csv")
    tasks = ("--label", "kind", "--set", "data.tasks=[half]")
    run = tmp_path / "run"
    done = handlens("train", table, "--recipe", "quick", *SMALL, *tasks, "--out", run)
    assert done.returncode == 0, done.stderr
    assert (run / "predictions" / "test.half.parquet").is_file()

    again = handlens("evaluate", run, "--data", table, "--label", "kind", "--out", tmp_path / "judged.json")
    assert again.returncode == 0, again.stderr

    rate = handlens("find-rate", table, "--recipe", "quick", *SMALL, *tasks)
    assert rate.returncode == 0, rate.stderr


def test_without_further_tasks_a_missing_label_is_told(handlens: Command, pictures: Path) -> None:
    table = table_of(pictures, pictures.parent / "labels-alone.csv")
    done = handlens("train", table, "--recipe", "quick", *SMALL, "--label", "kind")
    assert done.returncode == 2
    assert "label" in done.stderr
    assert "Traceback" not in done.stderr
