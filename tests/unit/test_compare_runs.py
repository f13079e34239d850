"""Which runs are one row, and which cannot stand beside each other."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from handlens.base.errors import HandlensError
from handlens.compare_runs import compare_runs, groups_of
from handlens.data.samples import Samples
from handlens.evaluate.predictions import Predictions
from handlens.recipe import Recipe
from handlens.run import RunFolder

DATA = {"root": "/", "num_pictures": 60, "digest": "d", "split_digest": "s", "split_given": False}
WEIGHTS = {"backbone": "nano", "source": "bundled", "digest": "w", "pretrained": True}
PROVENANCE = {"handlens": "0", "command": "", "started": "", "versions": {}, "machine": {}, "commit": None}


def make(
    path: Path,
    recipe: dict[str, dict[str, Any]] | None = None,
    data: dict[str, Any] | None = None,
    judged: range = range(60),
    content: str = "content",
    side: str = "test",
    seed: int = 0,
) -> RunFolder:
    """A finished run by its files, without a network."""
    run = RunFolder(path)
    values = deepcopy(Recipe.load("quick").resolved())
    for part, changes in (recipe or {}).items():
        values[part] |= changes
    run.write_recipe(values)
    provenance = {**PROVENANCE, "precision": "float32", "data": DATA | (data or {}), "weights": WEIGHTS}
    run.write_provenance({**provenance, "seconds": {"training": 30.0}})
    rng = np.random.default_rng(seed)
    targets = np.arange(60) % 2
    said = np.eye(2, dtype=np.float32)[np.where(rng.random(60) < 0.8, targets, 1 - targets)]
    names = tuple(f"{number}.jpg" for number in range(60))
    table = Predictions(names, names, targets, ("a", "b"), said).only(np.array(judged))
    table.write(run.predictions_path(side))
    columns = {"id": names, "path": names, "label": ["ab"[at] for at in targets], "group": names}
    sides = [side if at in judged else "train" for at in range(60)]
    digests = [f"{content} {name}" for name in names]
    Samples(pl.DataFrame({**columns, "split": sides, "digest": digests}), path).save(run.samples_path)
    run.mark_done()
    return run


def seed_of(number: int) -> dict[str, dict[str, Any]]:
    return {"train": {"seed": number}}


def rows(*words: object, each: bool = False) -> dict[str, list[str]]:
    return {group.name: [run.name for run in group.runs] for group in groups_of(map(str, words), each)}


def test_runs_that_differ_in_seeds_alone_are_one_row(tmp_path: Path) -> None:
    paths = [make(tmp_path / f"plain-seed-{at}", seed_of(at)).path for at in range(3)]
    other = make(tmp_path / "other", {"train": {"epochs": 3}}).path
    grown = make(tmp_path / "grown", data={"digest": "more pictures"}).path
    assert rows(paths[0], other, *paths[1:], grown) == {
        "plain-seed": ["plain-seed-0", "plain-seed-1", "plain-seed-2"],
        "other": ["other"],
        "grown": ["grown"],
    }
    assert list(rows(*paths, each=True)) == ["plain-seed-0", "plain-seed-1", "plain-seed-2"]
    assert rows(f"mine={other}", paths[0], f"mine={grown}") == {
        "mine": ["other", "grown"],
        "plain-seed-0": ["plain-seed-0"],
    }


@pytest.mark.parametrize(
    ("names", "row"),
    [
        (("resnet50-1", "resnet50-2"), "resnet50"),
        (("resnet50-10", "resnet50-11"), "resnet50"),
        (("resnet50", "resnet50-2"), "resnet50"),
        (("run10", "run11"), "run"),
        (("plain-a", "plain-b"), "plain"),
        (("1", "2"), "1"),
    ],
)
def test_a_row_of_several_runs_has_the_name_that_they_share(names, row, tmp_path: Path) -> None:
    paths = [make(tmp_path / name, seed_of(at)).path for at, name in enumerate(names)]
    assert rows(*paths) == {row: list(names)}


def test_the_same_seed_again_is_no_further_training(tmp_path: Path) -> None:
    paths = [make(tmp_path / f"plain-{at}", seed_of(at % 2), seed=at % 2).path for at in range(3)]
    other = make(tmp_path / "other", {"train": {"epochs": 3}}, seed=9).path
    told = compare_runs(groups_of(map(str, [*paths, paths[0], other])), timed=False).comparison
    without = compare_runs(groups_of(map(str, [*paths[:2], other])), timed=False).comparison
    assert told.row("plain").notes == ("2 runs left out, of the same seeds as one before",)
    assert told.row("plain").num_trainings == 2
    assert told.row("other") == without.row("other")


def test_folders_of_one_name_are_told_by_their_place(tmp_path: Path) -> None:
    one = make(tmp_path / "x" / "run").path
    other = make(tmp_path / "y=z" / "run", {"train": {"epochs": 3}}).path
    assert list(rows(one, other)) == [str(one), str(other)]


def test_folds_of_one_seed_are_one_training(tmp_path: Path) -> None:
    paths = []
    for seed in range(2):
        for fold in range(3):
            recipe = {"train": {"seed": seed}, "split": {"folds": 3, "fold": fold}}
            judged = range(20 * fold, 20 * fold + 20)
            data = {"split_digest": f"fold {fold}"}
            paths.append(make(tmp_path / f"cv-{seed}-{fold}", recipe, data, judged, seed=seed).path)
    whole = make(tmp_path / "whole", {"train": {"epochs": 3}}, seed=9).path
    told = compare_runs(groups_of([*map(str, paths), str(whole)]), timed=False)
    assert [row.name for row in told.comparison.rows] == ["cv", "whole"]
    assert [row.num_trainings for row in told.comparison.rows] == [2, 1]
    assert told.comparison.n == 60


def test_what_costs_cannot_be_told_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    one, other = (
        make(tmp_path / name, {"train": {"epochs": at + 1}}, seed=at) for at, name in enumerate("ab")
    )
    told = compare_runs(groups_of([str(one.path), str(other.path)]))
    assert told.costs == {} and told.session is None
    starts = [f"Not measured what {name} costs: " for name in "ab"]
    assert all(words.startswith(start) for words, start in zip(told.missing, starts, strict=True))
    assert all("\n" not in words for words in told.missing)
    assert told.trainings["a"].minutes == 0.5
    assert told.side == "test"


def test_marks_and_copies_go_with_the_row(tmp_path: Path) -> None:
    leaking = make(tmp_path / "leaking", data={"marks": ["leaking: paper-protocol"]})
    copies = make(tmp_path / "copies", {"train": {"epochs": 3}}, seed=1)
    figure = {"value": 1.0, "low": 0.9, "high": 1.0, "method": "", "n": 1, "n_groups": 1}
    copied = [{"id": "0.jpg", "copies": ["elsewhere.jpg"]}]
    copies.write_leak(
        {"side": "test", "copied": copied, "with_copies": figure, "without_copies": None, "on_copies": figure}
    )
    told = compare_runs(groups_of([str(leaking.path), str(copies.path)]), timed=False).comparison
    assert told.row("leaking").notes == ("leaking: paper-protocol",)
    assert told.row("copies").notes == ("1 test picture has a near copy in training",)


def test_what_cannot_stand_beside_each_other_is_refused(tmp_path: Path) -> None:
    one = make(tmp_path / "one").path

    def refused(path: Path, words: str) -> None:
        with pytest.raises(HandlensError, match=words):
            compare_runs(groups_of([str(one), str(path)]), timed=False)

    refused(make(tmp_path / "set", seed_of(1), content="another").path, "0.jpg is another picture in")
    refused(make(tmp_path / "val", {"train": {"epochs": 3}}, side="val").path, "has none")
    unfinished = make(tmp_path / "unfinished", seed_of(2))
    unfinished.done_path.unlink()
    refused(unfinished.path, "not finished")
    refused(tmp_path / "nowhere", "There is no folder")
    both = [str(make(tmp_path / f"v{at}", {"train": {"epochs": at + 1}}, side="val").path) for at in range(2)]
    assert compare_runs(groups_of(both), timed=False).side == "val"
