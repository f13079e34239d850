"""What a run has done so far, part by part: each fold's training and the final one, to go on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handlens.training import distributed
from handlens.training.checkpoint import load_state, save_state
from handlens.training.fit import Progress


class TrainingState:
    """The parts of a run's training by name, each finished, under way or not begun.

    Of several processes only the main one reads and writes; the others are told.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        parts = load_state(path) if distributed.is_main() else None
        self._parts: dict[str, Any] = distributed.from_main(parts) or {}

    def progress(self, part: str) -> Progress | None:
        """How far a training has come; none before its first save."""
        state = self._parts.get(part)
        return Progress.from_state(state) if state else None

    def saver(
        self, part: str, saved: Callable[[Progress], None] = lambda _: None
    ) -> Callable[[Progress], None]:
        """What saves the progress of a training."""

        def save(progress: Progress) -> None:
            self._put(part, progress.as_state())
            saved(progress)

        return save

    def judgments(self, part: str) -> NDArray[np.float32] | None:
        """What a fold's network judged, where that fold is finished."""
        kept = self._parts.get(f"{part} judged")
        return None if kept is None else np.asarray(kept.numpy())

    def finish(self, part: str, judged: NDArray[np.float32]) -> None:
        """Keep what a fold's network judged, in the place of its weights."""
        self._parts.pop(part, None)
        self._put(f"{part} judged", torch.from_numpy(judged))

    def _put(self, name: str, value: Any) -> None:
        self._parts[name] = value
        if distributed.is_main():
            save_state(self.path, self._parts)
