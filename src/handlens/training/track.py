"""Keeping watch over runs with TensorBoard and MLflow: their rows, settings and figures in local stores.

Nothing leaves the machine, unless MLFLOW_TRACKING_URI names a server. What is tracked is a copy: the run
folder holds all of it too.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.evaluate.results import Metrics, TaskResult
from handlens.run import file_word

TrackerName = Literal["tensorboard", "mlflow"]
Row = Mapping[str, Any]

NEEDS: dict[TrackerName, tuple[str, ...]] = {
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
"""The packages of each."""
SIDES = {"train_": "train/", "val_": "val/"}
"""What the names of a row's numbers begin with there; both stores group by the word before the slash."""
FIGURES = "figures/"
"""What those of the finished run begin with."""


class Tracker(Protocol):
    """A store that has this run's rows."""

    num_rows: int
    """The epochs that it holds so far."""

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Begin anew, with the settings of the run; what was there is of another run, or empty."""

    def write(self, rows: Sequence[Row]) -> None:
        """Keep the rows of further epochs."""

    def end(self, figures: Mapping[str, float]) -> None:
        """Keep the figures of the finished run."""


class Tracking:
    """All that follows one run."""

    def __init__(self, trackers: Mapping[TrackerName, Tracker]) -> None:
        self._trackers = dict(trackers)
        self._told: set[TrackerName] = set()

    @classmethod
    def of(
        cls, names: Sequence[TrackerName], run: Path, settings: Mapping[str, Any], num_rows: int
    ) -> "Tracking":
        """The stores beside a run folder whose history has so many rows; new ones, or gone on with."""
        folder = run.resolve().parent / "tracking"
        trackers: dict[TrackerName, Tracker] = {}
        for name in dict.fromkeys(names):
            try:
                tracker = look_up(TRACKERS, name, "tracker")(folder, run.resolve())
                # A store that is ahead of the run belongs to a run of the same name that is gone.
                if not 0 < tracker.num_rows <= num_rows:
                    tracker.begin(settings)
            except HandlensError:
                raise
            except Exception as error:
                raise HandlensError(
                    f"{name} cannot be opened ({_first_line(error)}). Mend that, or take it out of "
                    "train.track."
                ) from error
            trackers[name] = tracker
        return cls(trackers)

    def history(self, rows: Sequence[Row]) -> None:
        """Keep those rows of a run's history that are new."""

        def write(tracker: Tracker) -> None:
            if len(rows) > tracker.num_rows:
                tracker.write(rows[tracker.num_rows :])
                tracker.num_rows = len(rows)

        self._each(write, "The rows are kept and tried again with those of the next epochs.")

    def end(self, figures: Mapping[str, float]) -> None:
        """The run is finished."""
        named = {f"{FIGURES}{name}": value for name, value in figures.items()}
        self._each(lambda tracker: tracker.end(named), "The run folder has the figures.")

    def _each(self, do: Callable[[Tracker], None], comfort: str) -> None:
        """A server that is out of reach for a while must not end a training of many hours."""
        for name, tracker in self._trackers.items():
            try:
                do(tracker)
            except Exception as error:
                if name not in self._told:
                    sys.stderr.write(f"{name} could not be written to ({_first_line(error)}). {comfort}\n")
                    self._told.add(name)


def refuse_missing(names: Sequence[TrackerName]) -> None:
    """Tell which packages are wanted and not there, before any work is done."""
    gone = [package for name in names for package in NEEDS[name] if find_spec(package) is None]
    if gone:
        raise HandlensError(
            f"train.track needs {', '.join(dict.fromkeys(gone))}, which is not installed: "
            "pip install 'handlens[track]', or take it out of train.track."
        )


def flattened(spec: Spec, place: str = "") -> dict[str, Any]:
    """Every setting by its place, as `train.optimiser.learning_rate`; what is no single value as JSON."""
    flat: dict[str, Any] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Spec):
            flat |= flattened(value, f"{place}{name}.")
        else:
            plain = spec.model_dump(mode="json", by_alias=True, include={name}).popitem()[1]
            single = isinstance(plain, str | int | float)
            flat[f"{place}{name}"] = plain if single else json.dumps(plain, ensure_ascii=False)
    return flat


def scalars(row: Row) -> dict[str, float]:
    """The numbers of a history row, by the names that they have in both stores."""
    named = {}
    for name, value in row.items():
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value):
            start = next((start for start in SIDES if name.startswith(start)), "")
            named[SIDES.get(start, "") + name.removeprefix(start)] = float(value)
    return named


def figures_of(metrics: Metrics) -> dict[str, float]:
    """The headline figures of a finished run with their intervals, as `test/accuracy` and `.../low`."""
    named: dict[str, float] = {}
    tasks: dict[str, TaskResult] = {
        "": metrics,
        **{f"{file_word(name)}/": task for name, task in metrics.tasks.items()},
    }
    for task, result in tasks.items():
        for side, judged in result.sides.items():
            for name, figure in judged.figures.items():
                place = f"{task}{side}/{name}"
                named |= {place: figure.value, f"{place}/low": figure.low, f"{place}/high": figure.high}
    return {name: value for name, value in named.items() if math.isfinite(value)}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def tensorboard(folder: Path, run: Path) -> Tracker:
    """Event files, a folder a run."""
    from handlens.training.track_tensorboard import TensorBoard

    return TensorBoard(folder / "tensorboard" / run.name)


def mlflow(folder: Path, run: Path) -> Tracker:
    """A database for all runs, or the server that MLFLOW_TRACKING_URI names."""
    from handlens.training.track_mlflow import MLflow

    return MLflow(folder / "mlflow", run)


TRACKERS: dict[str, Callable[[Path, Path], Tracker]] = {
    "tensorboard": tensorboard,
    "mlflow": mlflow,
}
