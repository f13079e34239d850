"""The story of a study: cells that fail, cells that are there already, and several processes."""

import json
import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from studied import draw_photos, parsed
from typer.testing import CliRunner

from handlens.base.errors import HandlensError
from handlens.cli.study import app
from handlens.compare_runs import compare_runs, groups_of
from handlens.data.samples import Samples
from handlens.run import RunFolder
from handlens.study import work
from handlens.study.effects import effects_of
from handlens.study.places import PLACES
from handlens.study.study import open_study, run_study
from handlens.study.table import lines_of, narrow, reasons_of, table_of, write_tables

AXES = {
    "head": {"linear": {}, "layers": {"model.head.kind": "layers"}},
    "network": {
        "nano": {},
        "missing": {"model.backbone": "torchvision/resnet18", "model.weights": "pretrained"},
    },
}


def test_a_failing_cell_is_a_row_and_the_others_go_on(photos, tmp_path):
    study = run_study(parsed(axes=AXES), lambda _: photos, tmp_path / "study")
    states = {cell.name: study.outcome(cell).state for cell in study.cells}
    assert states == {
        "linear + nano, seed 0": "done",
        "linear + missing, seed 0": "failed",
        "layers + nano, seed 0": "done",
        "layers + missing, seed 0": "failed",
    }
    (reason,) = reasons_of(study)
    assert (
        "“linear + missing, seed 0” and “layers + missing, seed 0” failed. The pretrained weights" in reason
    )
    lines = {line.cell: line for line in lines_of(study)}
    told = json.loads(study.run(study.cells[0]).metrics_path.read_text())["sides"]["test"]["figures"]
    figure = lines["linear + nano, seed 0"].figures["accuracy"]
    assert figure.model_dump() == told["accuracy"]
    assert lines["linear + missing, seed 0"].figures == {}
    # The folder alone tells the same.
    again = open_study(tmp_path / "study")
    assert {cell.name: again.outcome(cell) for cell in again.cells} == dict(study.outcomes)
    assert lines_of(again) == lines_of(study)


def test_the_table_of_a_study_is_that_of_a_comparison(photos, tmp_path):
    axes = {"head": AXES["head"], "network": {"nano": {}, "missing": AXES["network"]["missing"]}}
    study = run_study(parsed(axes=axes, seeds=2), lambda _: photos, tmp_path / "study")
    told = table_of(study, timed=False)
    by_cell = {line.cell: line.figures for line in lines_of(study)}
    seeds = {
        row: [by_cell[f"{row}, seed {seed}"]["accuracy"].value for seed in range(2)]
        for row in ("linear + nano", "layers + nano")
    }
    rows = {row.name: row for row in told.comparison.judged}
    assert {name: list(row.by_training["accuracy"]) for name, row in rows.items()} == seeds
    assert told.comparison.reference == "linear + nano"
    runs = [[str(study.run(cell).path) for cell in study.cells if cell.row == name] for name in seeds]
    named = [f"{name}={run}" for name, of_row in zip(seeds, runs, strict=True) for run in of_row]
    alone = compare_runs(groups_of(named), timed=False).comparison
    assert told.comparison.judged == alone.rows
    failed = [row for row in told.comparison.rows if row.standing == "failed"]
    assert [row.name for row in failed] == ["linear + missing", "layers + missing"]
    assert failed[0].problem.endswith("and downloads are switched off.")
    assert [row.problem for row in narrow(told).comparison.rows] == ["", "", "why: below", "why: below"]
    write_tables(study, told, "handlens study report")
    written = pl.read_csv(study.folder.table_path("csv"))
    assert written["row"].to_list() == [row.name for row in told.comparison.rows]
    assert written["problem"].to_list()[2:] == [row.problem for row in failed]
    assert all(study.folder.table_path(form).stat().st_size for form in ("html", "md", "tex"))
    # In one process only the first can tell what it needed of memory.
    peaks = [study.run(cell).read_provenance()["peak_mib"] for cell in study.cells if cell.row in rows]
    assert peaks[1:] == [None] * 3


def test_the_page_of_a_study_tells_the_command_that_ran_it(photos, tmp_path):
    def page(seeds: int, command: str, out: Path) -> str:
        heads = {"head": AXES["head"]}
        study = run_study(parsed(axes=heads, seeds=seeds), lambda _: photos, out, command=command)
        write_tables(study, table_of(study, timed=False), "handlens study report x")
        return study.folder.table_path("html").read_text(encoding="utf-8")

    assert ">handlens study report x</code>" in page(1, "", tmp_path / "untold")
    page(1, "handlens study a", tmp_path / "told")
    # The one that was given last found what the first had done.
    last = page(2, "handlens study a --seeds 2", tmp_path / "told")
    assert ">handlens study a --seeds 2\nhandlens study report x</code>" in last


def test_a_table_of_a_study_that_is_not_finished(photos, tmp_path):
    axes = {"head": AXES["head"] | {"cosine": {"model.head.kind": "cosine"}}}
    whole = run_study(parsed(axes=axes, folds=2, seeds=2), lambda _: photos, tmp_path / "study")
    late = [f"layers, seed 1, fold {fold}" for fold in range(2)] + ["linear, seed 1, fold 1"]
    late += [cell.name for cell in whole.cells if cell.row == "cosine"]
    outcomes = {name: told for name, told in whole.outcomes.items() if name not in late}
    told = table_of(replace(whole, outcomes=outcomes), timed=False)
    # Of a training that lacks a fold, the others judged other pictures.
    assert [(row.name, row.num_trainings) for row in told.comparison.rows] == [("linear", 1), ("layers", 1)]
    assert told.comparison.n == 20
    assert told.missing == (
        "“linear” rests on 2 of its 4 runs: the rest failed or is not finished.",
        "“layers” rests on 2 of its 4 runs: the rest failed or is not finished.",
        "Not finished yet: “cosine”.",
    )


def test_finished_cells_stay_new_ones_are_added_and_changed_ones_refused(photos, tmp_path):
    out = tmp_path / "study"
    first = run_study(parsed(axes={"head": AXES["head"]}), lambda _: photos, out)
    before = {cell.name: first.run(cell).done_path.stat().st_mtime_ns for cell in first.cells}
    heads = {"linear": {}, "layers": {"model.head.kind": "layers", "train.epochs": 3}}
    heads["cosine"] = {"model.head.kind": "cosine"}
    second = run_study(parsed(axes={"head": heads}), lambda _: photos, out)
    states = {cell.row: second.outcome(cell) for cell in second.cells}
    assert {row: outcome.state for row, outcome in states.items()} == {
        "linear": "done",
        "layers": "failed",
        "cosine": "done",
    }
    assert "begun with another recipe" in states["layers"].why
    assert "train.epochs: 2 there, 3 here" in states["layers"].why
    assert before == {cell.name: second.run(cell).done_path.stat().st_mtime_ns for cell in first.cells}
    begun = [line["cell"] for line in second.folder.read_log() if line["event"] == "begun"]
    assert begun == ["linear, seed 0", "layers, seed 0", "cosine, seed 0"]


def test_other_pictures_in_the_same_folder_are_refused(photos, tmp_path):
    study = parsed(axes={"head": AXES["head"]})
    run_study(study, lambda _: photos, tmp_path / "study")
    others = Samples.read(draw_photos(tmp_path / "others", seed=1))
    again = run_study(study, lambda _: others, tmp_path / "study")
    assert again.num("failed") == 2
    assert "trained on other pictures" in reasons_of(again)[0]


def test_another_folder_is_not_written_into(photos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(HandlensError, match="not the folder of a study"):
        run_study(parsed(), lambda _: photos, tmp_path / "mine")
    with pytest.raises(HandlensError, match="not the folder of a study"):
        open_study(tmp_path / "mine")


def test_effects_of_a_finished_study(photos, tmp_path):
    study = parsed(ablate={"layers": {"model.head.kind": "layers"}, "mixup": {"train.mixup": 0.4}})
    done = run_study(study, lambda _: photos, tmp_path / "study")
    told = effects_of(done, "f1_macro")
    assert [each.of for each in told.effects] == ["layers", "mixup", "layers × mixup"]
    figures = {line.cell: line.figures["f1_macro"].value for line in lines_of(done)}
    layers, mixup, both, plain = (
        figures[f"{name}, seed 0"] for name in ("layers", "mixup", "layers + mixup", "plain")
    )
    assert [each.value for each in told.effects] == pytest.approx(
        [
            (layers + both - plain - mixup) / 2,
            (mixup + both - plain - layers) / 2,
            both + plain - layers - mixup,
        ]
    )


def test_a_process_that_is_lost_costs_its_own_cell_only(photos, tmp_path):
    class Deadly(work.Recipe):
        """Ends the process that unpacks it, as the system does where memory runs out."""

        def __reduce__(self):
            return os._exit, (9,)

    study = parsed(axes={"head": AXES["head"]}, seeds=2)
    place = PLACES["processes"](2)
    from handlens.study.cells import cells_of

    cells = cells_of(study)
    tasks = [
        work.Task(cell.name, cell.recipe, photos, tmp_path / cell.word, tmp_path / "log.jsonl")
        for cell in cells
    ]
    deadly = work.Task("deadly", Deadly(), photos, tmp_path / "deadly", tmp_path / "log.jsonl")
    with place:
        place.begin(deadly, alone=False)
        place.begin(tasks[0], alone=False)
        ended = dict(place.ended() for _ in range(2))
        place.begin(tasks[1], alone=False)
        ended |= dict([place.ended()])
    assert ended["deadly"].state == "failed"
    assert "ended from outside" in ended["deadly"].why
    assert ended[tasks[0].cell].state == ended[tasks[1].cell].state == "done"


def test_a_cell_waits_for_a_process_that_still_writes_its_folder(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    monkeypatch.setattr(work, "LOOK_EVERY_S", 0.01)
    with run.only_writer(), pytest.raises(HandlensError, match="Another process is writing"):
        work.wait_for_writer(run, patience_s=0.05)
    work.wait_for_writer(run, patience_s=0.0)


def test_a_mistake_of_ours_is_told_with_its_kind(photos, tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("handlens.pipeline.run_recipe", broken)
    study = run_study(parsed(seeds=2), lambda _: photos, Path(tmp_path / "study"))
    assert study.num("failed") == 2
    assert "A mistake in Handlens, not yours: ZeroDivisionError: division by zero" in reasons_of(study)[0]


def test_ray_that_is_not_there_is_told(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(HandlensError, match=r"pip install 'handlens\[ray\]'"):
        run_study(parsed(), lambda _: photos, tmp_path / "study", on="ray")


def test_what_the_command_cannot_do_is_told(photos, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("train: {epochs: 3}")
    study = tmp_path / "study.yaml"
    study.write_text("seeds: 2")
    for words, told in (
        ([photos.root], "with --recipes quick,careful"),
        ([recipe, photos.root], "is a recipe, not a study"),
        ([study, photos.root, "more"], "not 3 things"),
        ([study], "does not name its pictures"),
        ([study, photos.root, "--recipes", "quick"], "give the pictures"),
        (["report", photos.root], "not the folder of a study"),
        ([study, photos.root, "--figure", "acuracy"], "Did you mean 'accuracy'?"),
        ([study, photos.root, "--to", "linear"], "row to compare with"),
        (["report"], "the folder of one study"),
    ):
        result = CliRunner().invoke(app, ["study", *map(str, words)])
        assert isinstance(result.exception, HandlensError)
        assert told in str(result.exception)
