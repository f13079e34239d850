"""Tracking, against the real stores, read by the trackers' own readers."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlens.base.errors import HandlensError
from handlens.recipe import Recipe
from handlens.training import track
from handlens.training.track import Tracking, flattened, refuse_missing, scalars

SETTINGS = {"train.epochs": 3, "train.optimiser.learning_rate": 0.01, "views.train": "[]", "model.own": True}
FIGURES = {"test/accuracy": 0.9, "test/accuracy/low": 0.8}


def row(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "learning_rate": 0.1 / epoch,
        "train_loss": 1.0 / epoch,
        "train_accuracy": 0.5,
        "val_loss": 2.0 / epoch,
        "val_accuracy": float("nan"),
    }


ROWS = [row(epoch) for epoch in range(1, 6)]
NAMES = {"learning_rate", "train/loss", "train/accuracy", "val/loss"}
LOSSES = [(epoch, pytest.approx(1 / epoch)) for epoch in range(1, 6)]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Noted and looked at afterwards, because what is refused in another thread is heard by nobody.
    asked = []

    def refuse(*given: object, **_: object) -> None:
        asked.append(given)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    assert asked == []


def tensorboard_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    kept = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(each.step, each.value) for each in kept.Scalars(tag)] for tag in kept.Tags()["scalars"]}


def mlflow_client(runs: Path) -> Any:
    tracking = pytest.importorskip("mlflow.tracking")
    return tracking.MlflowClient(f"sqlite:///{runs / 'tracking' / 'mlflow' / 'mlflow.db'}")


def mlflow_runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name("handlens")
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


@pytest.mark.usefixtures("no_network")
def test_tensorboard_has_rows_settings_and_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "first 图"
    tracking = Tracking.of(("tensorboard",), run, SETTINGS, 0)
    tracking.history(ROWS[:2])
    tracking.history(ROWS)
    folder = tmp_path / "tracking" / "tensorboard" / run.name
    # Also before the end: a command may be stopped.
    assert tensorboard_scalars(folder)["train/loss"] == LOSSES
    tracking.end(FIGURES)
    kept = tensorboard_scalars(folder)
    assert set(kept) == NAMES | {"figures/test/accuracy", "figures/test/accuracy/low"}
    assert kept["figures/test/accuracy"] == [(5, pytest.approx(0.9))]
    assert not run.exists()

    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    told = EventMultiplexer({"run": str(folder)}).Reload().GetAccumulator("run")
    begun = told.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = HParamsPluginData.FromString(begun).session_start_info.hparams
    assert settings["train.epochs"].number_value == 3
    assert settings["model.own"].bool_value
    assert settings["views.train"].string_value == "[]"
    assert b"train.optimiser.learning_rate" in told.Tensors("recipe")[0].tensor_proto.string_val[0]


@pytest.mark.usefixtures("no_network")
def test_mlflow_has_rows_settings_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "it's first"
    tracking = Tracking.of(("mlflow",), run, SETTINGS | {"long": "x" * 10_000}, 0)
    tracking.history(ROWS[:2])
    tracking.history(ROWS)
    client = mlflow_client(run.parent)
    (kept,) = mlflow_runs(client)
    assert kept.info.status == "RUNNING"
    assert kept.info.run_name == run.name
    assert kept.data.params["train.optimiser.learning_rate"] == "0.01"
    assert set(kept.data.metrics) == NAMES
    history = client.get_metric_history(kept.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == LOSSES
    tracking.end(FIGURES)
    (kept,) = mlflow_runs(client)
    assert kept.info.status == "FINISHED"
    assert kept.data.metrics["figures/test/accuracy"] == 0.9
    # Nothing beside the store, such as MLflow's usual folder in the working one.
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert [path.name for path in run.parent.iterdir()] == ["tracking"]


@pytest.mark.usefixtures("no_network")
def test_going_on_repeats_no_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    run, both = tmp_path / "run", ("tensorboard", "mlflow")
    Tracking.of(both, run, SETTINGS, 0).history(ROWS[:3])
    # Stopped after the state was saved and before the fourth row was tracked; the figures come twice.
    for reached in (4, 5):
        tracking = Tracking.of(both, run, SETTINGS, reached)
        tracking.history(ROWS[:4])
        tracking.history(ROWS)
        tracking.end(FIGURES)
    kept = tensorboard_scalars(tmp_path / "tracking" / "tensorboard" / "run")
    assert kept["train/loss"] == LOSSES
    assert len(kept["figures/test/accuracy"]) == 1
    client = mlflow_client(tmp_path)
    (only,) = mlflow_runs(client)
    history = client.get_metric_history(only.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == LOSSES


@pytest.mark.usefixtures("no_network")
def test_a_new_run_of_the_same_name_is_another(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    run, both = tmp_path / "run", ("tensorboard", "mlflow")
    Tracking.of(both, run, SETTINGS, 0).history(ROWS)
    Tracking.of(both, run, SETTINGS | {"train.epochs": 1}, 0)
    # That one was stopped before its first epoch, and makes room.
    Tracking.of(both, run, SETTINGS | {"train.epochs": 2}, 0).history(ROWS[:2])
    kept = tensorboard_scalars(tmp_path / "tracking" / "tensorboard" / "run")
    assert kept["train/loss"] == LOSSES[:2]
    first, second = mlflow_runs(mlflow_client(tmp_path))
    assert [each.data.params["train.epochs"] for each in (first, second)] == ["3", "2"]


@pytest.mark.usefixtures("no_network")
def test_rows_that_a_killed_process_tore_are_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    tracking = Tracking.of(("tensorboard",), run, SETTINGS, 0)
    for number in range(1, 4):
        tracking.history(ROWS[:number])
    folder = tmp_path / "tracking" / "tensorboard" / "run"
    last = max(folder.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name))
    last.write_bytes(last.read_bytes()[:-7])
    Tracking.of(("tensorboard",), run, SETTINGS, 3).history(ROWS)
    assert tensorboard_scalars(folder)["train/loss"] == LOSSES


def test_what_is_out_of_reach_for_a_while_is_caught_up_with(capsys: pytest.CaptureFixture[str]) -> None:
    class Flaky:
        num_rows = 0
        broken = True

        def __init__(self) -> None:
            self.rows: list[Any] = []

        def begin(self, settings: Any) -> None: ...

        def write(self, rows: Any) -> None:
            if self.broken:
                raise ConnectionError("no route to the server")
            self.rows += rows

        def end(self, figures: Any) -> None: ...

    flaky = Flaky()
    tracking = Tracking({"mlflow": flaky})
    tracking.history(ROWS[:1])
    tracking.history(ROWS[:2])
    assert capsys.readouterr().err.count("no route to the server") == 1
    flaky.broken = False
    tracking.history(ROWS[:3])
    assert flaky.rows == ROWS[:3]


def test_a_store_that_cannot_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, run: Path) -> Any:
        raise OSError("unable to open database file\nwith much more")

    monkeypatch.setitem(track.TRACKERS, "mlflow", broken)
    with pytest.raises(HandlensError, match=r"mlflow cannot be opened \(unable to open database file\)"):
        Tracking.of(("mlflow",), tmp_path / "run", {}, 0)


def test_what_is_not_installed_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_missing(())
    monkeypatch.setattr(track, "find_spec", lambda name: None if name == "alembic" else sys)
    refuse_missing(("tensorboard",))
    with pytest.raises(HandlensError, match=r"needs alembic, .* pip install 'handlens\[track\]'"):
        refuse_missing(("tensorboard", "mlflow"))


def test_a_recipe_in_single_values() -> None:
    flat = flattened(Recipe.load("careful", ["train.task_weights={石墨 (fine): 2}"]))
    assert flat["train.optimiser.learning_rate"] == 0.001
    assert flat["train.head_first"] == "null"
    assert flat["train.task_weights"] == '{"石墨 (fine)": 2.0}'
    assert flat["model.backbone"] == "torchvision/mobilenet_v2"
    assert all(isinstance(value, str | int | float) for value in flat.values())


def test_numbers_of_a_row() -> None:
    assert scalars(ROWS[1]) == {
        "learning_rate": 0.05,
        "train/loss": 0.5,
        "train/accuracy": 0.5,
        "val/loss": 1.0,
    }
