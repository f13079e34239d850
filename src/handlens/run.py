"""The run folder: the only file that knows the names on disk."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from handlens.base.errors import HandlensError
from handlens.base.files import digest, only_writer, whole_file, write_json, write_text
from handlens.base.spec import read_yaml_file, write_yaml


class RunFolder:
    """Everything that one training leaves behind, by name.

    Reading tells a missing or broken part in a sentence; writing is whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A run that exists, or a sentence that says what the path is instead."""
        run = cls(path)
        if not run.path.exists():
            raise HandlensError(f"There is no folder {path}. A run folder is what 'handlens train' wrote.")
        if not run.path.is_dir() or not run.recipe_path.is_file():
            raise HandlensError(
                f"{path} is not a run folder: it holds no recipe.yaml. Give the folder that "
                "'handlens train' wrote, for example runs/photos-1."
            )
        return run

    # The names. Nothing else in the package spells them.

    @property
    def recipe_path(self) -> Path:
        """The fully resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def provenance_path(self) -> Path:
        """Versions, machine, commit and hashes."""
        return self.path / "provenance.json"

    @property
    def samples_path(self) -> Path:
        """The table of pictures with its split."""
        return self.path / "samples.parquet"

    @property
    def history_path(self) -> Path:
        """A row an epoch."""
        return self.path / "history.jsonl"

    @property
    def metrics_path(self) -> Path:
        """All figures with their intervals."""
        return self.path / "metrics.json"

    @property
    def compared_path(self) -> Path:
        """The figures beside those of another run, where there is one to compare with."""
        return self.path / "compared.json"

    @property
    def leak_path(self) -> Path:
        """Which test pictures have copies in training, where a leaking split was allowed."""
        return self.path / "leak.json"

    @property
    def report_path(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    @property
    def figures_path(self) -> Path:
        """Pictures for papers."""
        return self.path / "figures"

    @property
    def best_path(self) -> Path:
        """The weights that are used."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def last_path(self) -> Path:
        """The weights after the latest epoch."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def state_path(self) -> Path:
        """What training needs to go on: optimiser, random numbers, position."""
        return self.path / "checkpoints" / "state.pt"

    @property
    def done_path(self) -> Path:
        """Written last: the run is complete."""
        return self.path / "DONE"

    def predictions_path(self, side: str, task: str | None = None) -> Path:
        """The predictions for one side of the split; of the main task, or of a further one by its name."""
        of_task = "" if task is None else f".{file_word(task)}"
        return self.path / "predictions" / f"{side}{of_task}.parquet"

    # What is in them.

    @property
    def done(self) -> bool:
        """Whether the run is complete."""
        return self.done_path.is_file()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    def read_recipe(self) -> dict[str, Any]:
        """The recipe as plain values."""
        values = read_yaml_file(self.recipe_path)
        if not isinstance(values, dict):
            raise HandlensError(f"{self.recipe_path} is not a recipe. Restore it or train again.")
        return values

    def write_recipe(self, values: Mapping[str, Any]) -> None:
        """Keep the fully resolved recipe."""
        write_text(self.recipe_path, write_yaml(dict(values)))

    def write_metrics(self, values: Mapping[str, Any]) -> None:
        """Keep the figures."""
        write_json(self.metrics_path, dict(values))

    def read_compared(self) -> Any:
        """The comparison with another run; none where there is no such run."""
        return self.read_json(self.compared_path) if self.compared_path.is_file() else None

    def write_compared(self, values: Mapping[str, Any]) -> None:
        """Keep the comparison with another run."""
        write_json(self.compared_path, dict(values))

    def read_leak(self) -> Any:
        """What the split leaked; none where it leaked nothing."""
        return self.read_json(self.leak_path) if self.leak_path.is_file() else None

    def write_leak(self, values: Mapping[str, Any]) -> None:
        """Keep what the split leaked."""
        write_json(self.leak_path, dict(values))

    def read_json(self, path: Path) -> Any:
        """One of the run's JSON files."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HandlensError(
                f"The run {self.path} has no {path.name}: it is not finished. Give its 'handlens train' "
                "command again and it goes on."
            ) from None
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise HandlensError(
                f"{path} is damaged. Delete it and give the run's 'handlens train' command again."
            ) from None

    def read_provenance(self) -> dict[str, Any]:
        """Where the run comes from."""
        return dict(self.read_json(self.provenance_path))

    def write_provenance(self, values: Mapping[str, Any]) -> None:
        """Keep where the run comes from."""
        write_json(self.provenance_path, dict(values))

    def read_history(self) -> list[dict[str, Any]]:
        """A row an epoch; empty before the first."""
        if not self.history_path.is_file():
            return []
        rows = []
        for line in self.history_path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break  # The line that was being written when the run was killed.
        return rows

    def write_history(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep the rows, whole: an epoch is a short line, and rewriting leaves no torn one."""
        write_text(self.history_path, "".join(json.dumps(dict(row)) + "\n" for row in rows))

    def mark_done(self) -> None:
        """Say that the run is complete."""
        write_text(self.done_path, "")

    def write_figure(self, name: str, content: bytes) -> None:
        """Keep a picture under figures/."""
        with whole_file(self.figures_path / name) as partial:
            partial.write_bytes(content)

    def only_writer(self) -> AbstractContextManager[None]:
        """Keep a second process from writing the same run."""
        return only_writer(self.path)


def file_word(name: str) -> str:
    """A name as part of a file's name, the same on every system; other names give other words."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name):
        return name
    # What a file's name cannot hold, or another system may spell otherwise, is told by a hash.
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:40].strip('_')}-{digest(name, length=5)}".removeprefix(
        "-"
    )
