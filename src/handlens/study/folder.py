"""The study folder: the only file that knows the names on disk."""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from handlens.base.errors import HandlensError
from handlens.base.files import only_writer, room_on_disk, write_json, write_text
from handlens.run import RunFolder
from handlens.study.spec import StudySpec


class StudyFolder:
    """What a study leaves behind: what it was, how each cell fared, and a run folder for each."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: Path) -> "StudyFolder":
        """A study that exists, or a sentence that says what the path is instead."""
        folder = cls(path)
        if not folder.study_path.is_file():
            raise HandlensError(
                f"{path} is not the folder of a study: it holds no study.yaml. Give the folder that "
                "'handlens study' wrote."
            )
        return folder

    @property
    def study_path(self) -> Path:
        """The study as it was last given."""
        return self.path / "study.yaml"

    @property
    def cells_path(self) -> Path:
        """How each cell fared."""
        return self.path / "cells.json"

    @property
    def log_path(self) -> Path:
        """When and where each cell was begun and ended, a line each."""
        return self.path / "log.jsonl"

    def table_path(self, form: str) -> Path:
        """The rows beside each other, as one of `report.comparison.WRITERS`."""
        return self.path / f"table.{form}"

    def run(self, word: str) -> RunFolder:
        """The run folder of a cell."""
        return RunFolder(self.path / "runs" / word)

    def begin(self, study: StudySpec) -> None:
        """Keep the study, in a folder that is its own."""
        if self.path.exists() and not self.study_path.is_file() and any(self.path.iterdir()):
            raise HandlensError(
                f"{self.path} exists but is not the folder of a study. Choose a new or an empty one with "
                "--out."
            )
        write_text(self.study_path, study.to_yaml())

    def read_study(self) -> StudySpec:
        """The study as it was last given."""
        return StudySpec.load(self.study_path)

    def read_cells(self) -> list[dict[str, Any]]:
        """How each cell fared; empty before the first one was begun."""
        try:
            return list(json.loads(self.cells_path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return []
        except (UnicodeDecodeError, json.JSONDecodeError, TypeError):
            raise HandlensError(
                f"{self.cells_path} is damaged. Delete it and give the 'handlens study' command again: "
                "finished runs stay."
            ) from None

    def write_cells(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep how each cell fared."""
        write_json(self.cells_path, [dict(row) for row in rows])

    def read_log(self) -> Iterator[dict[str, Any]]:
        """What the log says, in its order."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines() if self.log_path.is_file() else []
        yield from map(json.loads, lines)

    def only_writer(self) -> AbstractContextManager[None]:
        """Keep a second process from running the same study."""
        return only_writer(self.path)


def log(path: Path, event: str, **told: Any) -> None:
    """Add one line to a study's log; several processes do so at once."""
    line = {
        "time": round(time.time(), 3),
        "event": event,
        "host": socket.gethostname(),
        "process": os.getpid(),
    }
    with room_on_disk(path.parent), path.open("a", encoding="utf-8") as file:
        # In one piece, so that lines of different processes never mix.
        file.write(json.dumps({**line, **told}, ensure_ascii=False) + "\n")
