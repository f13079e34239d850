"""What has been judged already: a line a cell in one file, to which lines are only ever added.

A study of hundreds of small trainings goes on from it after a stop. The first line says what it is about, so
that cells of other pictures or of another recipe are never taken for its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.base.files import room_on_disk

VERSION = 1
"""Raise it when the same cell would be judged otherwise than before."""

Key = tuple[str | int, ...]
"""The names and numbers by which a cell is known."""


class Ledger:
    """The cells that are judged, and the class that each of them called every picture."""

    def __init__(self, path: Path, about: Mapping[str, str]) -> None:
        self.path = path
        self.about = {**about, "version": str(VERSION)}
        self._said: dict[Key, NDArray[np.int64]] = {}
        whole = self._read()
        if not whole:
            with room_on_disk(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"about": self.about}) + "\n", encoding="utf-8")

    def __contains__(self, key: Key) -> bool:
        return key in self._said

    def __getitem__(self, key: Key) -> NDArray[np.int64]:
        return self._said[key]

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        """Those of some cells that are not judged yet."""
        return [key for key in keys if key not in self._said]

    def add(self, key: Key, said: NDArray[np.int64]) -> None:
        """Keep one cell."""
        line = json.dumps({"cell": list(key), "said": said.tolist()}, separators=(",", ":"))
        with room_on_disk(self.path.parent), self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self._said[key] = said

    def _read(self) -> bool:
        """Learn what is kept; what a killed process left of a last line is cut off."""
        if not self.path.is_file():
            return False
        text = self.path.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        if not lines:
            return False
        about = json.loads(lines[0])["about"]
        differ = [name for name in {**about, **self.about} if about.get(name) != self.about.get(name)]
        if differ:
            raise HandlensError(
                f"{self.path.parent} was begun with other settings ({', '.join(differ)}). Give the same "
                "ones, or choose another folder with --out."
            )
        if not text.endswith("\n"):
            self.path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
        for line in lines[1:]:
            kept = json.loads(line)
            self._said[tuple(kept["cell"])] = np.array(kept["said"], dtype=np.int64)
        return True
