"""MLflow's store: a database beside the runs, or what MLFLOW_TRACKING_URI names."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from handlens.base.files import digest
from handlens.training.track import FIGURES, Row, scalars

# Before MLflow is imported, which looks then: nothing is reported to anybody.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

EXPERIMENT = "handlens"
KEY, FOLDER = "handlens.key", "handlens.run"
"""The tags by which a run is found again: a hash of its folder, and the folder for people."""
# What MLflow takes at a time, and of a setting's text.
MOST_METRICS, MOST_PARAMS, LONGEST = 1000, 100, 6000


class MLflow:
    """The MLflow run of one run folder."""

    def __init__(self, folder: Path, run: Path) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.run = run
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
        if not elsewhere:
            folder.mkdir(parents=True, exist_ok=True)
        # Two runs that begin at the same time would both make the tables.
        with nullcontext() if elsewhere else FileLock(folder / ".lock"):
            self.client = MlflowClient(elsewhere or f"sqlite:///{(folder / 'mlflow.db').as_posix()}")
            self.experiment = self._experiment(None if elsewhere else (folder / "artifacts").as_uri())
        found = self.client.search_runs(
            [self.experiment],
            f"tags.`{KEY}` = '{self._key}'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        self.id: str = found[0].info.run_id if found else ""
        metrics = found[0].data.metrics if found else {}
        self._finished = any(name.startswith(FIGURES) for name in metrics)
        rows = [name for name in metrics if not name.startswith(FIGURES)]
        steps = [each.step for name in rows for each in self.client.get_metric_history(self.id, name)]
        self.num_rows = max(steps, default=0)

    def begin(self, settings: Mapping[str, Any]) -> None:
        """A new run; one that never came to its first epoch makes room for it."""
        if self.id and not self.num_rows:
            self.client.delete_run(self.id)
        tags = {KEY: self._key, FOLDER: str(self.run)}
        self.id = self.client.create_run(self.experiment, run_name=self.run.name, tags=tags).info.run_id
        self.num_rows, self._finished = 0, False
        params = [Param(name, str(value)[:LONGEST]) for name, value in settings.items()]
        for at in range(0, len(params), MOST_PARAMS):
            self.client.log_batch(self.id, params=params[at : at + MOST_PARAMS])

    def write(self, rows: Sequence[Row]) -> None:
        """Each row as a whole."""
        for row in rows:
            self._log(scalars(row), int(row["epoch"]))

    def end(self, figures: Mapping[str, float]) -> None:
        """They stand at the last epoch."""
        if not self._finished:
            self._log(figures, self.num_rows)
        self.client.set_terminated(self.id)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        for at in range(0, len(metrics), MOST_METRICS):
            self.client.log_batch(self.id, metrics=metrics[at : at + MOST_METRICS])

    @property
    def _key(self) -> str:
        return digest(str(self.run))

    def _experiment(self, artifacts: str | None) -> str:
        """The experiment's id; it is made where there is none."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name, artifacts)
