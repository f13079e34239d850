"""The search for a learning rate and the tracking of a run, as a person would ask for them."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from drawn import SMALL, Command

NETWORK = (
    *("--set", "model.freeze={share: 0.5}", "--set", "train.batch_size=8"),
    *("--set", "train.head_first={epochs: 1}", "--set", "train.optimiser.depth_decay=0.5"),
)


def test_a_rate_for_a_head_as_a_picture_and_a_page(handlens: Command, pictures: Path, tmp_path: Path) -> None:
    words = ("find-rate", pictures, "--recipe", "quick", *SMALL)
    shown = handlens(*words, "--out", tmp_path / "rate.svg", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    setting = re.search(r"--set train\.optimiser\.learning_rate=(\S+)", shown.stdout)
    assert setting
    told = json.loads(handlens(*words, "--out", tmp_path / "rate.html", "--json", cwd=tmp_path).stdout)
    assert told["learning_rate"] == float(setting[1])
    assert told["learner"] == "the head on kept features"
    assert len(told["rates"]) == len(told["losses"]) == len(told["smoothed"])
    assert f"take {told['learning_rate']:g}" in ElementTree.parse(tmp_path / "rate.svg").getroot().itertext()
    page = (tmp_path / "rate.html").read_text(encoding="utf-8")
    assert told["setting"] in page
    assert "http:" not in page and "https:" not in page
    # Nothing is left behind but what was asked for, and the recipe takes what was found.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rate.html", "rate.svg"]
    again = handlens(*words, "--set", told["setting"], "--json")
    assert json.loads(again.stdout)["recipe_learning_rate"] == told["learning_rate"]


def test_a_rate_for_a_network_with_frozen_layers(handlens: Command, pictures: Path) -> None:
    told = handlens("find-rate", pictures, "--recipe", "quick", *SMALL, *NETWORK, "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["learner"] == "the network, its head trained first"
    assert 1e-7 < found["learning_rate"] < 10


def test_mistakes_are_told_in_a_sentence(handlens: Command, pictures: Path) -> None:
    done = handlens("find-rate", pictures, "--recipe", "quick", *SMALL, "--out", "rate.png")
    assert done.returncode == 2
    assert ".svg or .html" in done.stderr
    done = handlens("train", pictures, "--recipe", "quick", *SMALL, "--set", "train.track=[tensorbord]")
    assert done.returncode == 2
    assert "tensorboard" in done.stderr


def test_a_run_is_tracked_beside_its_folder(
    handlens: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracking = pytest.importorskip("mlflow.tracking")
    run, both = tmp_path / "runs" / "tracked", "train.track=[tensorboard, mlflow]"
    words = ("train", pictures, "--recipe", "quick", *SMALL, "--set", both, "--out", run, "--json")
    done = handlens(*words, cwd=tmp_path, MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    figures = json.loads(done.stdout)["metrics"]["sides"]["test"]["figures"]
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]

    kept = reader.EventAccumulator(str(run.parent / "tracking" / "tensorboard" / "tracked")).Reload()
    assert [(each.step, each.value) for each in kept.Scalars("train/loss")] == [
        (row["epoch"], pytest.approx(row["train_loss"])) for row in rows
    ]
    client = tracking.MlflowClient(f"sqlite:///{run.parent / 'tracking' / 'mlflow' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("handlens").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["train.epochs"] == "4"
    assert found.data.metrics["train/loss"] == pytest.approx(rows[-1]["train_loss"])
    for name, figure in figures.items():
        assert found.data.metrics[f"figures/test/{name}"] == pytest.approx(figure["value"])
    # The run folder holds what it always does, and the same predictions.
    names = {path.relative_to(run) for path in run.rglob("*")}
    assert names == {path.relative_to(trained) for path in trained.rglob("*")}
    predictions = "predictions/test.parquet"
    assert (run / predictions).read_bytes() == (trained / predictions).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
