"""Studies as a person would run them: from a file, from recipes, killed and given again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawn import Command

from handlens.run import RunFolder

STUDY = """
description: What a hidden layer and blending pictures are worth
recipe:
  views: {judge: {size: 64}}
  model: {backbone: handlens/nano, weights: bundled}
  train: {epochs: 4, folds: 0}
axes:
  network:
    nano: {}
    not there: {model.backbone: torchvision/resnet18, model.weights: pretrained}
ablate:
  a layer: {model.head.kind: layers}
  mixup: {train.mixup: 0.4}
skip: [{network: not there, mixup: mixup}, {network: not there, a layer: a layer}]
seeds: 2
"""


Shown = tuple[Path, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's file."""
    path = tmp_path_factory.mktemp("study") / "parts.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(handlens: Command, parts: Path, pictures: Path) -> Shown:
    """The study run from its beginning to its end, one cell after another."""
    folder = parts.parent / "whole"
    return folder, handlens("study", parts, pictures, "--out", folder)


def test_a_file_with_parts_and_a_network_that_is_not_there(handlens: Command, whole: Shown) -> None:
    out, shown = whole
    # A run that fails is told, and the rest is there.
    assert shown.returncode == 2, shown.stderr
    assert "8 done, 2 failed of 10 runs" in shown.stdout
    assert shown.stdout.count("downloads are switched off") == 1
    assert "a layer × mixup" in shown.stdout
    assert shown.stdout.count("why: below") == 1
    again = handlens("study", "report", out, "--json", "--no-time", "--to", "nano + mixup")
    assert again.returncode == 2
    told = json.loads(again.stdout)
    by_cell = {line["cell"]: line for line in told["cells"]}
    (metrics,) = (out / "runs").glob("nano-a_layer-*-mixup-seed-1/metrics.json")
    figures = json.loads(metrics.read_text(encoding="utf-8"))["sides"]["test"]["figures"]
    assert by_cell["nano + a layer + mixup, seed 1"]["figures"]["accuracy"] == figures["accuracy"]
    assert by_cell["not there, seed 0"]["state"] == "failed"
    rows = {row["name"]: row for row in told["table"]["rows"]}
    assert rows["nano + mixup"]["standing"] == "reference" and rows["nano + mixup"]["figures"]
    assert rows["not there"]["standing"] == "failed" and rows["nano"]["difference"]["value"] is not None
    assert {path.name for path in out.glob("table.*")} == {
        f"table.{form}" for form in ("html", "csv", "md", "tex")
    }
    assert [each["of"] for each in told["effects"]["effects"]] == ["a layer", "mixup", "a layer × mixup"]
    # An ordinary run folder, that every other command takes.
    assert handlens("evaluate", metrics.parent).returncode == 0


def test_recipes_beside_each_other(handlens: Command, pictures: Path, tmp_path: Path) -> None:
    for name, epochs in (("short", 2), ("long", 4)):
        recipe = f"views: {{judge: {{size: 64}}}}\ntrain: {{epochs: {epochs}, folds: 0}}\n"
        (tmp_path / f"{name}.yaml").write_text(recipe, encoding="utf-8")
    recipes = ",".join(str(tmp_path / f"{name}.yaml") for name in ("short", "long"))
    words = ("study", pictures, "--recipes", recipes, "--seeds", 2)
    words += ("--set", "model.backbone=handlens/nano", "--set", "model.weights=bundled", "--json")
    done = handlens(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert Path(told["study"]) == Path("studies") / "photos-recipes"
    assert [line["cell"] for line in told["cells"]] == [
        "short, seed 0",
        "long, seed 0",
        "short, seed 1",
        "long, seed 1",
    ]


def test_killed_a_study_goes_on_and_leaves_no_process_behind(
    handlens: Command, environment: dict[str, str], parts: Path, pictures: Path, whole: Shown, tmp_path: Path
) -> None:
    words = ["study", str(parts), str(pictures), "--out"]
    killed = tmp_path / "killed"
    mine = environment | {"HANDLENS_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "handlens", *words, str(killed), "--processes", "2"],
        env=mine,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not (killed / "study.yaml").is_file() and time.monotonic() < until:
        time.sleep(0.02)
    # However late the signal comes, there is something left to do: the last cell waits for its folder.
    (last,) = (whole[0] / "runs").glob("nano-a_layer-*-mixup-seed-1")
    with RunFolder(killed / "runs" / last.name).only_writer():
        while len(done := list(killed.glob("runs/*/DONE"))) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert 3 <= len(done) < 8
    log = killed / "log.jsonl"
    told = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    begun = {line["process"] for line in told}
    assert begun and process.pid not in begun
    while any(is_running(each) for each in begun) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [each for each in begun if is_running(each)]
    # The first on its network computed the features of all, with all cores; then they were shared out.
    first = [line for line in told if line["cell"].startswith("nano")]
    assert [line["event"] for line in first[:2]] == ["begun", "done"]
    before = {path: path.stat().st_mtime_ns for path in done}
    again = handlens(*words, killed, "--processes", 2, HANDLENS_CACHE=mine["HANDLENS_CACHE"])
    assert "8 done, 2 failed of 10 runs" in again.stdout, again.stdout + again.stderr
    # What was finished is as it was, and all is as it would have been.
    assert before == {path: path.stat().st_mtime_ns for path in done}
    for path in whole[0].glob("runs/*/predictions/*.parquet"):
        assert (killed / path.relative_to(whole[0])).read_bytes() == path.read_bytes()
    relative = [{path.relative_to(each) for path in each.rglob("*")} for each in (whole[0], killed)]
    assert relative[0] == relative[1]


def is_running(process: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
