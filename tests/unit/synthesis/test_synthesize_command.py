"""The command `handlens synthesize`, as it is given in a terminal."""

import json
import sys
from pathlib import Path

import pytest
from spotted import SPOTTED, draw_folder
from typer.testing import CliRunner, Result

from handlens import cli
from handlens.base.errors import HandlensError
from handlens.cli import synthesize as command

NO_MEASURE = ("--recipe", "handlens.yaml", "--repeats", "0", "--beside", "none")
RECIPE = """
name: toy
views: {judge: {size: 32}}
model: {backbone: handlens/nano, weights: bundled}
train: {epochs: 2, folds: 0, precision: float32}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures in class folders, beside them a recipe; the command is given there."""
    draw_folder(tmp_path / "my pictures", num_spotted=6, num_plain=8)
    (tmp_path / "handlens.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(*words: object) -> Result:
    """What the command comes to, for the spotted class unless told otherwise."""
    start = ["synthesize", "my pictures", "--class", SPOTTED, "--out", "新 out"]
    return CliRunner().invoke(cli.app, [*start, *map(str, words)])


def test_it_tells_people_the_verdict_with_figures(place) -> None:
    words = ("--recipe", "handlens.yaml", "--repeats", 1, "--way", "augment", "--beside", "blend")
    result = given("--count", 3, *words, "--ratios", "6:4", "--split-seed", 3)
    assert result.exception is None, result.exception
    told = " ".join(result.stdout.split())
    assert "Helps clearly" in told or "Does not help" in told
    assert f"F1 of {SPOTTED} alone is" in told
    for row in ("real alone", "and augment", "and blend"):
        assert row in told
    assert "synthesis.html" in told
    assert ("handlens train" in told) == ("Helps clearly" in told.partition("F1 of")[0])
    assert command.__name__ == "handlens.cli.synthesize"


def test_it_tells_programs_all_there_is(place) -> None:
    result = given("--count", 2, "--way", "blend", "--json", *NO_MEASURE, "--set", "turn=true", "--seed", 4)
    assert result.exception is None, result.exception
    told = json.loads(result.stdout)
    for name in ("folder", "manifest", "page", "grid"):
        assert Path(told[name]).exists()
    assert told["verdict"].endswith("was not measured.")
    assert (told["settings"]["turn"], told["settings"]["seed"]) == (True, 4)
    assert list(told["ways"]) == ["blend"] and told["ways"]["blend"]["num_made"] == 2
    # Given again it is complete, and says the same.
    again = given("--count", 2, "--way", "blend", "--json", *NO_MEASURE, "--set", "turn=true", "--seed", 4)
    assert json.loads(again.stdout) == told


def test_groups_are_kept_together_and_inherited(place) -> None:
    pattern = ("--group", r"bild (\d)")
    result = given("--count", 4, "--way", "augment", "--json", *NO_MEASURE, *pattern)
    assert result.exception is None, result.exception
    from handlens.data.samples import Samples

    rows = Samples.read(place / "新 out").table.rows(named=True)
    group_of = {row["id"]: row["group"] for row in rows}
    assert len(set(group_of.values())) == 10
    for row in rows:
        if row["made_by"] == "synthesize":
            assert row["group"] == group_of[row["parent"]] and row["split"] == "train"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--count", 0), "--count is how many pictures to make"),
        (("--count", 2, "--class", "spots"), "There is no class 'spots'. Did you mean"),
        (("--count", 2, "--beside", "blend,gan"), "'gan' is not one of diffusion, blend, augment"),
        (("--count", 2, "--size", 30), "multiple of 8"),
        (("--count", 2, "--set", "diffusion.depth=3"), "diffusion.depth: there is no such key"),
        (("--count", 2, "--set", "train.epoch=3"), "train.epoch: there is no such key"),
        (("--count", 2, "--ratios", "8"), "split.ratios"),
    ],
)
def test_wrong_wishes_are_told_before_anything_is_made(words, told, place) -> None:
    result = given("--way", "augment", *NO_MEASURE, *words)
    assert isinstance(result.exception, HandlensError)
    assert told in str(result.exception)
    assert not (place / "新 out").exists()


def test_without_diffusers_it_says_what_to_install_at_once(place, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    result = given("--count", 2, *NO_MEASURE)
    assert isinstance(result.exception, HandlensError)
    assert "pip install 'handlens[synth]'" in str(result.exception)
    assert not (place / "新 out").exists()
    # As one of the others it is left out, and said.
    beside = ("--recipe", "handlens.yaml", "--repeats", 0, "--way", "augment", "--beside", "diffusion")
    result = given("--count", 2, *beside)
    assert result.exception is None, result.exception
    assert "There are no pictures by a generative model: A generative model needs" in result.stdout


def test_a_split_that_leaks_is_refused_or_told_first(place) -> None:
    from handlens.data.samples import Samples

    table = draw_folder(place / "my pictures", num_spotted=6, num_plain=8).table
    one, other = table.filter(label=SPOTTED, split="test")["path"][0], table.filter(split="train")["path"][0]
    Path(one).write_bytes(Path(other).read_bytes())
    Samples(table, place / "my pictures").save(place / "sides.csv")
    words = ["synthesize", "sides.csv", "--class", SPOTTED, "--out", "out", "--count", "2"]
    words += ["--way", "augment", *NO_MEASURE]
    refused = CliRunner().invoke(cli.app, words)
    assert "--allow-leak" in str(refused.exception) and not (place / "out").exists()
    result = CliRunner().invoke(cli.app, [*words, "--allow-leak"])
    assert result.exception is None, result.exception
    assert "1 of the 8 test pictures" in " ".join(result.stdout.split())
    assert "1 of the 8 test pictures" in (place / "out" / "synthesis.html").read_text(encoding="utf-8")
