"""TensorBoard's event files. TensorFlow is not needed for them."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from handlens.training.track import FIGURES, Row, scalars

EVENTS = "events.out.tfevents.*"


class TensorBoard:
    """The event files of one run, in a folder of its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.num_rows = 0
        self._finished = False
        if folder.is_dir():
            # It warns of what a killed process left unfinished.
            logging.getLogger("tensorboard").setLevel(logging.ERROR)
            kept = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
            tags = kept.Tags()["scalars"]
            rows = [kept.Scalars(tag)[-1].step for tag in tags if not tag.startswith(FIGURES)]
            self.num_rows = max(rows, default=0)
            self._finished = any(tag.startswith(FIGURES) for tag in tags)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Take away what is left of a former run of this name, and write the settings."""
        for path in self.folder.glob(EVENTS):
            path.unlink()
        self.num_rows, self._finished = 0, False
        table = [
            "| setting | value |",
            "|---|---|",
            *(f"| {key} | `{told}` |" for key, told in settings.items()),
        ]
        self._add(
            [
                (0, hparams_pb(dict(settings), trial_id=self.folder.name)),
                (0, text_pb("recipe", "\n".join(table))),
            ]
        )

    def write(self, rows: Sequence[Row]) -> None:
        """Each row is one event, so that a process that is killed leaves whole rows."""
        self._add([(int(row["epoch"]), summary_of(scalars(row))) for row in rows])

    def end(self, figures: Mapping[str, float]) -> None:
        """They stand at the last epoch."""
        if not self._finished:
            self._add([(self.num_rows, summary_of(figures))])

    def _add(self, summaries: Sequence[tuple[int, Any]]) -> None:
        """To a file of its own, which is whole before this ends: commands end without leave-taking."""
        writer = EventFileWriter(str(self.folder))
        for step, summary in summaries:
            writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        writer.close()


def summary_of(values: Mapping[str, float]) -> Any:
    """Numbers as TensorBoard keeps them."""
    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
