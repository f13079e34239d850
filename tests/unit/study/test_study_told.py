"""What a person is told while a study runs, and what is refused before anything does."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from unittest.mock import ANY

import pytest
from studied import TINY, draw_photos, parsed
from typer.testing import CliRunner

from handlens.base.errors import HandlensError
from handlens.base.spec import write_yaml
from handlens.cli import app
from handlens.cli.study import _data_name as data_name
from handlens.data.samples import Samples
from handlens.evaluate.predictions import Predictions
from handlens.run import RunFolder
from handlens.study import study as story
from handlens.study import work
from handlens.study.cells import cells_of
from handlens.study.places import PLACES, undisturbed
from handlens.study.study import run_study
from handlens.study.table import lines_of

HEADS = {"linear": {}, "layers": {"model.head.kind": "layers"}}
MISSING = {"model.backbone": "torchvision/resnet18", "model.weights": "pretrained"}


def test_a_log_shows_how_far_a_study_is(photos, tmp_path, capsys):
    study = run_study(
        parsed(axes={"network": {"nano": {}, "missing": MISSING}}), lambda _: photos, tmp_path / "study"
    )
    shown = capsys.readouterr()
    assert shown.out == ""
    first, *lines = shown.err.splitlines()
    assert first == "2 runs to do, 0 done already."
    accuracy = lines_of(study)[0].figures["accuracy"].value
    seconds = study.outcome(study.cells[0]).seconds
    assert lines[:3] == [
        "nano, seed 0: begun",
        f"1 of 2: nano, seed 0: accuracy {100 * accuracy:.1f} % in {seconds:.0f} s",
        "missing, seed 0: begun",
    ]
    (last,) = lines[3:]
    assert last.startswith("2 of 2: missing, seed 0: failed. The pretrained weights")
    assert last.endswith("downloads are switched off.")
    # What failed is tried again; what is done is not.
    run_study(parsed(axes={"network": {"nano": {}}}), lambda _: photos, tmp_path / "study")
    assert capsys.readouterr().err == ""


def test_a_class_that_cannot_be_divided_is_refused_once_and_nothing_is_written(photos, tmp_path, monkeypatch):
    root = draw_photos(tmp_path / "rare")
    (root / "lone").mkdir()
    (draw_photos(tmp_path / "more", num=1, seed=5) / "dark" / "0.png").rename(root / "lone" / "0.png")
    looked: list[object] = []
    look = story.check
    monkeypatch.setattr(story, "check", lambda *given: looked.append(given) or look(*given))
    out = tmp_path / "study"
    with pytest.raises(HandlensError, match="'lone' has 1 pictures in 1 groups"):
        run_study(parsed(axes={"head": HEADS}, seeds=4), lambda _: Samples.read(root), out)
    assert len(looked) == 1
    assert not out.exists()
    # Where some rows can be learned, those that cannot are rows that say why.
    folds = {"eleven folds": {"split.folds": 11}, "two sides": {}}
    done = run_study(parsed(axes={"split": folds}), lambda _: photos, out)
    assert [done.outcome(cell).state for cell in done.cells] == ["failed", "done"]
    assert "at least 11 groups" in done.outcome(done.cells[0]).why


@pytest.fixture
def listening():
    """Ctrl-C is heard: what a script runs in the background is born deaf to it, and so are its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tasks(photos, tmp_path):
    """Two cells for a place to run."""
    return [
        work.Task(cell.name, cell.recipe, photos, tmp_path / cell.word, tmp_path / "log.jsonl")
        for cell in cells_of(parsed(axes={"head": HEADS}))
    ]


def test_a_process_that_still_starts_is_ended_at_once(tasks):
    with PLACES["processes"](2) as place:
        others = set(active_children())
        place.begin(tasks[0], alone=False)
        (process,) = set(active_children()) - others
    # By itself it would end with 1, after it has imported all that it needs.
    assert process.exitcode < 0


@pytest.mark.skipif(os.name == "nt", reason="sends itself what Ctrl-C sends")
def test_ctrl_c_waits_for_a_process_to_be_started_whichever_thread_hears_it(listening):
    over = threading.Event()
    listener = threading.Thread(target=over.wait)
    listener.start()
    whole = False
    try:
        with pytest.raises(KeyboardInterrupt), undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
            whole = True
    finally:
        over.set()
        listener.join()
    assert whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_that_is_lost_between_cells_is_replaced(tasks):
    with PLACES["processes"](2) as place:
        others = set(active_children())
        place.begin(tasks[0], alone=False)
        (process,) = set(active_children()) - others
        assert place.ended()[1].state == "done"
        process.kill()
        process.join()
        place.begin(tasks[1], alone=False)
        assert place.ended() == (tasks[1].cell, work.Outcome("done", seconds=ANY))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C reaches a group of processes")
def test_ctrl_c_is_answered_and_leaves_no_process_behind(listening, photos, tmp_path):
    file, out = tmp_path / "heads.yaml", tmp_path / "study"
    file.write_text(
        write_yaml({"recipe": TINY, "axes": {"head": HEADS}, "settings": {"train.epochs": 10**6}})
    )
    words = ["study", file, photos.root, "--out", out, "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "handlens", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert [process.stderr.readline() for _ in range(2)] == [
        "2 runs to do, 0 done already.\n",
        "linear, seed 0: begun\n",
    ]
    os.killpg(process.pid, signal.SIGINT)
    try:
        shown, told = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert (process.returncode, shown) == (130, "")
    assert told.split("\n") == [
        "",
        "Stopping what runs; what it has saved stays.",
        "",
        "Stopped. Give the same command again and it goes on.",
        "",
    ]
    with suppress(ProcessLookupError):
        # The system takes a moment to clear away the last of them.
        for _ in range(1000):
            os.killpg(process.pid, 0)
            time.sleep(0.01)
        pytest.fail("A process of the study still runs.")


def test_reports_carry_maps_of_mistakes_and_a_study_is_done_without_them(photos, tmp_path, monkeypatch):
    file, out = tmp_path / "heads.yaml", tmp_path / "study"
    file.write_text(write_yaml({"recipe": TINY, "axes": {"head": HEADS}, "seeds": 2}))

    def given(*words: str) -> str:
        result = CliRunner().invoke(app, ["study", *map(str, (file, photos.root, "--out", out)), *words])
        assert result.exit_code == 0, result.output
        return result.stderr

    def none_drawn(run: RunFolder) -> None:
        raise HandlensError("The weights are gone.\nGet them.")

    given("--no-time", "--no-maps")
    assert not list(out.glob("runs/*/figures/mistakes"))
    with monkeypatch.context() as without_weights:
        without_weights.setattr("handlens.api.with_maps", none_drawn)
        assert "No maps in the report of layers, seed 1: The weights are gone.\n" in given("--no-time")
    given("--no-time")
    maps = {run: len(list(run.glob("figures/mistakes/*"))) for run in out.glob("runs/*")}
    assert len(maps) == 4 and any(maps.values())
    for run, number in maps.items():
        said = Predictions.read(run / "predictions" / "test.parquet")
        assert number == (~said.correct).sum()
        assert (run / "report.html").read_text(encoding="utf-8").count("Where it saw") == number


def test_the_folder_of_a_study_is_called_after_its_data_and_tells_no_password():
    assert data_name("photos.v2/") == "photos"
    assert data_name("tables/ores.csv") == "ores"
    assert data_name(".") == Path.cwd().name
    assert data_name("https://someone:hush@host/ores.csv?token=secret") == "ores"
