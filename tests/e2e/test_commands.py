"""The whole way through the command line, with the good and the bad that people give it."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from drawn import SMALL, Command, draw, draw_folder

RUN_FILES = {
    "recipe.yaml",
    "provenance.json",
    "samples.parquet",
    "history.jsonl",
    "checkpoints/last.safetensors",
    "checkpoints/best.safetensors",
    "checkpoints/state.pt",
    "predictions/val.parquet",
    "predictions/test.parquet",
    "metrics.json",
    "figures/classes.svg",
    "figures/confusion.svg",
    "figures/curves.svg",
    "figures/reliability.svg",
    "figures/views.jpg",
    "report.html",
    "DONE",
}


def files_in(run: Path) -> set[str]:
    """The files of a run, but for the maps of its mistakes."""
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    return {name for name in files if not name.startswith("figures/mistakes/")}


def assert_a_map_for_each_mistake(run: Path) -> None:
    table = pl.read_parquet(run / "predictions" / "test.parquet")
    classes = [name for name in table.columns if name.startswith("p:")]
    said = [classes[row.index(max(row))] for row in table.select(classes).iter_rows()]
    mistakes = sum(a != f"p:{b}" for a, b in zip(said, table["target"], strict=True))
    assert mistakes <= 24
    assert len(list((run / "figures" / "mistakes").glob("*.jpg"))) == mistakes
    assert (run / "report.html").read_text().count('alt="Where it saw ') == mistakes


def test_a_run_leaves_exactly_these_files(trained: Path) -> None:
    assert files_in(trained) == RUN_FILES
    assert_a_map_for_each_mistake(trained)
    assert not list(trained.parent.glob(".*"))


def test_the_figures_agree_with_the_predictions(trained: Path) -> None:
    table = pl.read_parquet(trained / "predictions" / "test.parquet")
    classes = [name[2:] for name in table.columns if name.startswith("p:")]
    assert classes == sorted(["stripes", "spots", "石墨 noise"])
    said = [classes[row.index(max(row))] for row in table.select(pl.col("^p:.*$")).iter_rows()]
    right = sum(a == b for a, b in zip(said, table["target"], strict=True)) / len(table)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["sides"]["test"]["figures"]["accuracy"]["value"] == pytest.approx(right)
    assert metrics["sides"]["test"]["n"] == len(table) == 7


def test_training_again_finds_the_run_complete(handlens: Command, pictures: Path, trained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    again = handlens("train", pictures, "--recipe", "quick", *SMALL, "--out", trained)
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


def test_another_recipe_is_refused_naming_the_fields(
    handlens: Command, pictures: Path, trained: Path
) -> None:
    other = [*SMALL, "--set", "train.seed=7", "--set", "model.head.kind=layers"]
    refused = handlens("train", pictures, "--recipe", "quick", *other, "--out", trained)
    assert refused.returncode == 2
    assert "train.seed: 0 there, 7 here" in refused.stderr
    assert "model.head.kind: 'linear' there, 'layers' here" in refused.stderr


def test_runs_are_numbered_and_the_same_bytes_come_out(
    handlens: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        assert handlens("train", pictures, "--recipe", "quick", *SMALL, cwd=tmp_path).returncode == 0
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert runs == ["photos-quick-1", "photos-quick-2"]
    expected = (trained / "predictions" / "test.parquet").read_bytes()
    for run in runs:
        assert (tmp_path / "runs" / run / "predictions" / "test.parquet").read_bytes() == expected


def test_json_alone_is_printed(handlens: Command, pictures: Path, trained: Path, tmp_path: Path) -> None:
    for words in (
        ("train", pictures, "--recipe", "quick", *SMALL, "--out", trained),
        ("evaluate", trained),
        ("predict", trained, pictures),
        ("report", trained),
        ("split", pictures, "--out", tmp_path / "manifest.csv"),
        ("recipes",),
        ("recipes", "careful"),
        ("backbones", "nano"),
    ):
        told = handlens(*words, "--json")
        assert told.returncode == 0, told.stderr
        json.loads(told.stdout)


def test_predict_names_the_broken_and_judges_the_rest(
    handlens: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    shutil.copytree(pictures / "spots", folder / "deep")
    (folder / "broken.jpg").write_bytes(b"no picture")
    for ending in ("csv", "parquet", "json"):
        out = tmp_path / f"judged.{ending}"
        told = handlens("predict", trained, folder, "--out", out)
        assert told.returncode == 0, told.stderr
        assert "broken.jpg: this is not a picture" in told.stderr
    table = pl.read_csv(tmp_path / "judged.csv")
    assert len(table) == len(pl.read_parquet(tmp_path / "judged.parquet")) == 12
    assert table.columns[:3] == ["picture", "prediction", "confidence"]
    rows = table.select(pl.col("^p:.*$")).sum_horizontal()
    assert (abs(rows - 1) < 1e-5).all()


def test_a_prediction_is_the_judgment_of_the_run(handlens: Command, pictures: Path, trained: Path) -> None:
    """One preprocessing: what predict says of a test picture is what the run said, calibrated."""
    test = pl.read_parquet(trained / "predictions" / "test.parquet")
    told = json.loads(handlens("predict", trained, pictures, "--json").stdout)
    said = {Path(row["picture"]).relative_to(pictures).as_posix(): row for row in told}
    temperature = json.loads((trained / "metrics.json").read_text())["temperature"]
    for row in test.to_dicts():
        scores = {name: value ** (1 / temperature) for name, value in row.items() if name.startswith("p:")}
        for name, value in scores.items():
            assert said[row["id"]][name] == pytest.approx(value / sum(scores.values()), abs=1e-4)


def test_evaluate_on_other_pictures(handlens: Command, trained: Path, tmp_path: Path) -> None:
    other = draw_folder(tmp_path / "other", num=4)
    told = handlens("evaluate", trained, "--data", other, "--json", "--out", tmp_path / "said.csv")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["sides"]["data"]["n"] == 12
    assert len(pl.read_csv(tmp_path / "said.csv")) == 12
    unknown = draw_folder(tmp_path / "unknown", num=2, names=("stripes", "moss"))
    told = handlens("evaluate", trained, "--data", unknown)
    assert told.returncode == 2
    assert "does not know 'moss'" in told.stderr


def test_split_writes_a_manifest_that_trains(handlens: Command, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "manifest.parquet"
    assert handlens("split", pictures, "--out", out, "--ratios", "6:2:2").returncode == 0
    run = tmp_path / "run"
    done = handlens("train", out, "--recipe", "quick", *SMALL, "--set", "train.patience=2", "--out", run)
    assert done.returncode == 0, done.stderr
    judged = {
        side: pl.read_parquet(run / "predictions" / f"{side}.parquet")["id"] for side in ("val", "test")
    }
    given = pl.read_parquet(run / "samples.parquet")
    assert {side: len(ids) for side, ids in judged.items()} == {
        side: int((given["split"] == side).sum()) for side in ("val", "test")
    }


def test_groups_from_names_stay_together(handlens: Command, tmp_path: Path) -> None:
    root = tmp_path / "frames"
    for kind, name in enumerate(("ore", "slag")):
        for number in range(24):
            draw(root / name / f"{name}-video{number // 3}-frame{number % 3}.png", kind, 100 * kind + number)
    out = tmp_path / "manifest.csv"
    told = handlens("split", root, "--out", out, "--group", r"(\w+-video\d+)")
    assert told.returncode == 0, told.stderr
    table = pl.read_csv(out, skip_rows=1)
    assert table.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert table["group"].n_unique() == 16


def bad_input(tmp_path: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    one_class = draw_folder(tmp_path / "one", 3, ("only",))
    single = draw_folder(tmp_path / "single", 4, ("many", "few"))
    for path in sorted((single / "few").iterdir())[1:]:
        path.unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "no recipe.yaml").write_text("train: {epoch: 3, loss: {name: focl}}\nmodle: 1\nname: a b\n")
    rotten = draw_folder(tmp_path / "rotten", 6, ("a", "b"))
    for path in sorted((rotten / "a").iterdir())[:3]:
        path.write_bytes(path.read_bytes()[:60])
    fine = draw_folder(tmp_path / "fine", 4, ("a", "b"))
    ruined = draw_folder(tmp_path / "ruined", 2, ("a", "b"))
    for path in ruined.rglob("*.png"):
        path.write_bytes(b"")
    return {
        "no such folder": (("train", tmp_path / "nowhere"), "There is no folder"),
        "a file": (("train", fine / "a" / "picture 00.png"), "file"),
        "one class": (("train", one_class), "only"),
        "a class with one picture": (("train", single, *SMALL), "few"),
        "an empty folder": (("train", tmp_path / "empty"), "no picture"),
        "a bad recipe": (("train", fine, "--recipe", tmp_path / "no recipe.yaml"), "Did you mean"),
        "an unknown recipe": (("train", fine, "--recipe", "carefull"), "'careful'"),
        "a bad setting": (("train", fine, "--set", "train.epochs"), "--set train.epochs"),
        "rotten data": (("train", rotten, *SMALL), "data.max_bad"),
        "nothing but rot": (("train", ruined, *SMALL, "--set", "data.max_bad=1"), "None of the 4 pictures"),
        "no run": (("predict", fine, fine), "not a run folder"),
        "no run at all": (("report", tmp_path / "nowhere"), "There is no folder"),
        "no such backbone": (("train", fine, "--set", "model.backbone=torchvision/resnet19"), "resnet1"),
        "no weights": (
            ("train", fine, "--set", "model.backbone=torchvision/resnet18"),
            "Three ways to mend it",
        ),
        "a full folder": (("train", fine, *SMALL, "--out", fine), "not a run folder"),
    }


def test_bad_input_gets_a_sentence_and_exit_code_2(handlens: Command, tmp_path: Path) -> None:
    for name, (words, expected) in bad_input(tmp_path).items():
        told = handlens(*words, cwd=tmp_path)
        assert told.returncode == 2, (name, told.stderr)
        assert expected in told.stderr, (name, told.stderr)
        assert "Traceback" not in told.stderr, name
    recipe = handlens("train", tmp_path / "fine", "--recipe", tmp_path / "no recipe.yaml").stderr
    for problem in ("train.epoch:", "train.loss.name:", "modle:", "name:"):
        assert problem in recipe, recipe


def test_a_truncated_checkpoint_is_told_and_mended(
    handlens: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    best = run / "checkpoints" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:500])
    told = handlens("predict", run, pictures)
    assert told.returncode == 2
    assert "damaged" in told.stderr
    shutil.rmtree(run / "checkpoints")
    (run / "DONE").unlink()
    assert handlens("train", pictures, "--recipe", "quick", *SMALL, "--out", run).returncode == 0
    assert handlens("predict", run, pictures).returncode == 0


def test_changed_pictures_are_refused_on_resuming(
    handlens: Command, trained: Path, pictures: Path, tmp_path: Path
) -> None:
    run, photos = tmp_path / "run", tmp_path / "photos"
    shutil.copytree(trained, run)
    shutil.copytree(pictures, photos)
    (run / "DONE").unlink()
    (photos / "spots" / "picture 00.png").unlink()
    told = handlens("train", photos, "--recipe", "quick", *SMALL, "--out", run)
    assert told.returncode == 2
    assert "The pictures have changed" in told.stderr
    assert "spots/picture 00.png" in told.stderr


def test_the_demo_needs_nothing_and_says_what_the_transfer_was_worth(
    handlens: Command, tmp_path: Path
) -> None:
    demo = tmp_path / "demo <b>石墨"
    told = handlens("demo", "--out", demo, "--json")
    assert told.returncode == 0, told.stderr
    shown = json.loads(told.stdout)
    test = shown["metrics"]["sides"]["test"]
    assert test["n_groups"] == 15 < test["n"]
    run, beside = demo / "run-0", demo / "run-0-random-weights"
    assert files_in(run) == RUN_FILES | {"compared.json"}
    assert_a_map_for_each_mistake(run)
    assert files_in(beside) == RUN_FILES
    # Both divide the same pictures alike, and differ in the weights alone.
    facts = [json.loads((each / "provenance.json").read_text()) for each in (run, beside)]
    assert facts[0]["data"]["split_digest"] == facts[1]["data"]["split_digest"]
    assert [each["weights"]["pretrained"] for each in facts] == [True, False]
    recipes = [(each / "recipe.yaml").read_text().splitlines() for each in (run, beside)]
    assert [lines for lines in zip(*recipes, strict=True) if len(set(lines)) > 1] == [
        ("  weights: bundled", "  weights: none")
    ]
    other = json.loads((beside / "metrics.json").read_text())["sides"]["test"]["figures"]
    compared = shown["compared"]
    assert compared == json.loads((run / "compared.json").read_text())
    assert compared["figures"] == other
    gain = test["figures"]["accuracy"]["value"] - other["accuracy"]["value"]
    assert compared["difference"]["value"] == pytest.approx(gain)

    page = (run / "report.html").read_text()
    assert "What the transfer was worth" in page
    (run / "report.html").unlink()
    assert handlens("report", run).returncode == 0
    assert (run / "report.html").read_text() == page

    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    again = handlens("demo", "--out", demo)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before
    end = again.stdout[again.stdout.index("What the transfer was worth") :]
    for words, figures in (("with its weights", test["figures"]), ("with random weights", other)):
        (line,) = [line for line in end.splitlines() if line.strip().startswith(words)]
        assert f"{100 * figures['accuracy']['value']:.1f} % right" in line

    # Stopped at the end of the first training, it goes on and ends with the same.
    kept = ("metrics.json", "compared.json", "recipe.yaml", "predictions/test.parquet")
    whole = {name: (run / name).read_bytes() for name in kept}
    shutil.rmtree(run)
    (beside / "DONE").unlink()
    assert handlens("demo", "--out", demo).returncode == 0
    assert {name: (run / name).read_bytes() for name in kept} == whole


@pytest.mark.parametrize("backbone", ["torchvision/mobilenet_v2", "timm/resnet10t"])
def test_without_weights_the_package_offers_its_own_and_never_takes_them_unasked(
    handlens: Command, pictures: Path, tmp_path: Path, backbone: str
) -> None:
    out = tmp_path / "run"
    told = handlens(
        "train", pictures, "--recipe", "quick", "--set", f"model.backbone={backbone}", "--out", out,
        HF_HOME=str(tmp_path / "hub"),
    )  # fmt: skip
    assert told.returncode == 2
    assert f"The pretrained weights of {backbone} are not on this machine" in told.stderr
    assert "--set model.backbone=handlens/nano --set model.weights=bundled" in told.stderr
    assert not (out / "DONE").exists()
    assert not (out / "predictions").exists()


def test_doctor_says_what_is_missing(handlens: Command, tmp_path: Path) -> None:
    told = handlens("doctor", "--json", HANDLENS_WEIGHTS=str(tmp_path))
    found = {row["what"]: row for row in json.loads(told.stdout)}
    assert told.returncode == 2
    assert found["torch"]["state"] == "good"
    assert found["HANDLENS_WEIGHTS"]["state"] == "bad"
    assert found["HANDLENS_WEIGHTS"]["mend"]


def test_views_are_drawn(handlens: Command, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "views.png"
    assert handlens("views", pictures, "--out", out).returncode == 0
    assert out.stat().st_size > 10_000
