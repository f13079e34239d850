"""Reproducing the papers as users ask for it: rows of ours, further pages, and what cannot be done."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from studied import parsed
from typer.testing import CliRunner

import handlens.cli.reproduce  # noqa: F401 (the command is known once its file is imported)
from handlens.base.errors import HandlensError
from handlens.cli.app import app
from handlens.data.samples import Samples
from handlens.reproduce.paper import Cell, Paper
from handlens.reproduce.quick import SITE, quick_samples
from handlens.reproduce.reproduce import Asked, study_for, tell
from handlens.reproduce.tables import compared, known_table, measured_on, own_rows
from handlens.study.cells import named_cells
from handlens.study.study import run_study
from handlens.study.work import Outcome
from handlens.trained import TrainedRun

SMALL = ["--set", "views.judge.size=64", "--set", "train.epochs=1", "--no-time"]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "cache"))


def command(*words):
    return CliRunner().invoke(app, ["reproduce", *map(str, words)])


def pictures(root: Path, **classes: int) -> Path:
    rng = np.random.default_rng(0)
    for at, (name, number) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for each in range(number):
            pixels = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
            pixels[..., 0] = 60 + 120 * at
            Image.fromarray(pixels).save(root / name / f"{name}-{each}.png")
    return root


def test_rows_of_ours_are_shown_apart_from_the_papers():
    paper = Paper.load("graphite")
    table = known_table(paper, "networks")
    names = [row[0] for row in table.rows if row[0]]
    assert names[9:] == ["handlens/nano", "I-handlens/nano", "I-handlens/nano + FL"]
    whose = {row[0]: row[1] for row in table.rows if row[0]}
    assert set(list(whose.values())[:9]) == {"paper"}
    assert set(list(whose.values())[9:]) == {"ours, honest"}
    (note,) = own_rows(paper, paper.cells)
    assert note.endswith("does not have: handlens/nano; I-handlens/nano; I-handlens/nano + FL.")
    # On the user's pictures they are told only where they were run.
    assert all("nano" not in each.cell.run for each in compared(paper, {"honest": {}}))
    assert not own_rows(Paper.load("burrs"), Paper.load("burrs").cells)


def test_rows_of_ours_are_not_run_where_another_network_is_in_the_papers_place(tmp_path):
    samples = Samples(pl.DataFrame({"id": ["a"], "label": ["b"], "category": ["c"]}), tmp_path)

    def rows(name, **asked):
        study, _ = study_for(Paper.load(name), samples, Asked(tmp_path, **asked))
        return [cell.row for cell in named_cells(study)]

    assert len(rows("graphite")) == 12
    assert len(rows("graphite", quick=True)) == 9
    assert rows("graphite", rows=("handlens/nano",)) == ["handlens/nano"]
    ways = ["feature extraction", "fine-tuning", "several tasks"]
    assert rows("defects") == [*ways, *(f"handlens/nano + {way}" for way in ways)]
    assert rows("defects", settings=("model.backbone=torchvision/convnext_tiny",)) == ways


def test_a_figure_of_ours_says_below_its_table_on_what_it_was_measured():
    def cell(row, figure, data):
        return Cell("t", row, row, figure, 1.0, 2.0, date="2026-01-02", commit="abc", data=data)

    sized = [
        cell("A", "size_mib", "the network alone"),
        cell("A", "accuracy", "waste"),
        cell("B", "accuracy", "waste"),
    ]
    assert measured_on([*sized, Cell("t", "C", "C", "accuracy", 1.0)]) == [
        "Ours (MiB): the network alone (2026-01-02, abc).",
        "Ours (accuracy, %): waste (2026-01-02, abc).",
    ]
    told = measured_on([cell("A", "accuracy", "waste"), cell("B", "accuracy", "ore")])
    assert told == [
        "Ours (accuracy, %) of A: waste (2026-01-02, abc).",
        "Ours (accuracy, %) of B: ore (2026-01-02, abc).",
    ]


def test_the_leakage_gap_stands_below_rows_that_were_measured_both_ways():
    cell = Cell("networks", "A", "A", "accuracy", 90.0, 80.0, 75.0, 84.0, 92.5, "2026-01-02", "abc", "waste")
    loss = replace(cell, figure="mse_x100", ours=5.7, ours_paper_protocol=1.51)
    minutes = replace(cell, figure="minutes", ours=2.0, ours_paper_protocol=3.0)
    once = [replace(each, row="B", ours_paper_protocol=None) for each in (cell, loss, minutes)]
    paper = replace(Paper.load("graphite"), cells=(cell, loss, minutes, *once))
    rows = known_table(paper, "networks").rows
    assert [row[1] for row in rows] == [
        "paper",
        "ours, honest",
        "ours, paper",
        "leakage gap",
        "paper",
        "ours, honest",
    ]
    # By hand: 92.50 less 80.00, 1.51 less 5.70; minutes do not leak.
    assert rows[3] == ("", "leakage gap", "+12.50", "\N{MINUS SIGN}4.19", "")


def test_a_row_of_ours_on_ones_own_pictures(tmp_path):
    data = pictures(tmp_path / "data", a=8, b=8)
    shown = command("garbage", data, *SMALL, "--rows", "handlens/nano", "--out", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    assert "Rows of ours, which the paper does not have: handlens/nano." in shown.output
    with (tmp_path / "out/reproduced.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["row"] for row in rows if row["ours"]} == {"handlens/nano"}
    assert all(row["paper"] == "" for row in rows if row["row"] == "handlens/nano")
    # Another paper in the same folder would overwrite its tables.
    shown = command("graphite", data, *SMALL, "--rows", "handlens/nano", "--out", tmp_path / "out")
    assert (shown.exit_code, isinstance(shown.exception, HandlensError)) == (1, True)
    assert "holds garbage, not graphite" in str(shown.exception)
    assert "handlens/nano" in (tmp_path / "out/reproduced.csv").read_text()


def test_the_defects_have_pages_about_few_pictures_and_about_other_sites(tmp_path):
    out = tmp_path / "out"
    shown = command("defects", "--quick", "--rows", "feature*", "--no-time", "--out", out)
    assert shown.exit_code == 0, shown.output
    page = (out / "reproduced.html").read_text(encoding="utf-8")
    for name in ("few-pictures/curve.html", "sites/sites.html"):
        assert f'href="{name}"' in page
        assert (out / name).is_file()
    few = json.loads((out / "few-pictures/curve.json").read_text())
    assert few["spec"]["methods"] == ["head", "prototypes", "cosine", "ridge"]
    assert few["answer"] in page
    sites = json.loads((out / "sites/sites.json").read_text())
    assert [site["name"] for site in sites["sites"]] == ["line 1", "line 2", "line 3"]
    # Every line has specimens of every class, and no specimen is at two of them.
    table = quick_samples(out, Paper.load("defects").spec).table
    assert table.group_by(SITE).agg(pl.col("label").n_unique())["label"].to_list() == [5, 5, 5]
    specimens = table.with_columns(specimen=pl.col("id").str.extract(r"(.*)/"))
    assert specimens.group_by("specimen").agg(pl.col(SITE).n_unique())[SITE].unique().to_list() == [1]


def test_of_a_training_that_lacks_a_fold_nothing_is_told(tmp_path):
    data = Samples.read(pictures(tmp_path / "data", a=12, b=12))
    paper = Paper.load("garbage")
    heads = {"linear": {}, "layers": {"model.head.kind": "layers"}, "cosine": {"model.head.kind": "cosine"}}
    spec = parsed(axes={"head": heads}, folds=2)
    study = run_study(spec, lambda _: data, tmp_path / "out" / "honest")
    broken = {"layers, seed 0, fold 1": Outcome("failed", "It is broken. Mend it.")}
    study = replace(study, outcomes={**study.outcomes, **broken})
    paper, asked = replace(paper, study=spec, cells=()), Asked(tmp_path / "out", timed=False)
    done = tell(paper, {"honest": study}, asked, [], TrainedRun)
    page = (tmp_path / "out" / "honest.html").read_text(encoding="utf-8")
    # Its other fold judged half of the pictures, and no row is compared on half of them.
    assert "24 pictures" in page and "It is broken." in page
    assert [note for note in done.notes if "failed" in note] == [
        "“layers, seed 0, fold 1” failed. It is broken. Mend it."
    ]


def test_without_a_column_of_sites_the_way_to_give_one_is_told(tmp_path):
    data = pictures(tmp_path / "data", a=8, b=8)
    words = ["defects", data, *SMALL, "--rows", "handlens/nano + feature*", "--out", tmp_path / "out"]
    shown = command(*words)
    assert shown.exit_code == 0, shown.output
    assert "--site-column" in shown.output
    page = (tmp_path / "out/reproduced.html").read_text(encoding="utf-8")
    assert "few-pictures/curve.html" in page
    assert "sites/sites.html" not in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["grafite"], "no paper called 'grafite'"),
        (["graphite", "--rows", "MobileNetV2"], "nothing to run"),
        (["graphite", "nowhere"], "no folder"),
        (["graphite", "DATA", "--rows", "Mobilnet"], "Did you mean 'MobileNetV2'"),
        (["graphite", "DATA", "--rows", "VGG16", "--rows", "Mobilnet"], "There is no row 'Mobilnet'"),
        (["graphite", "DATA", "--protocol", "papr"], "Did you mean 'paper'"),
        (["graphite", "DATA", "--out", "DATA/a/a-0.png"], "is a file"),
        (["graphite", "ONE", "--rows", "handlens/nano"], "only one class"),
        (["minerals", "DATA", "--rows", "VGG19"], "at least 3 groups"),
        (["burrs", "DATA", "--protocol", "paper"], "None of these pictures were generated"),
        (["defects", "DATA", "--site-column", "line"], "no column 'line'"),
        (["garbage", "DATA", "--site-column", "line"], "no page about other sites"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(words, told, tmp_path):
    places = {"DATA": str(pictures(tmp_path / "data", a=2, b=2)), "ONE": str(pictures(tmp_path / "one", a=4))}
    out = ["--out", tmp_path / "out"] if {"DATA", "ONE"} & {*words} and "--out" not in words else []
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    shown = command(*words, *out)
    # The program's main turns it into a sentence and the exit code 2.
    assert isinstance(shown.exception, HandlensError), shown.output
    assert told in str(shown.exception)
    assert not list((tmp_path / "out").glob("*/runs/*/metrics.json"))
