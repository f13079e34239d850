"""Networks that train, the whole way: the files they leave, and the same judgment ever after."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from drawn import Command, draw_folder
from test_commands import RUN_FILES, files_in

import handlens as library
from handlens.data.samples import Samples
from handlens.evaluate.calibration import apply_temperature
from handlens.recipe import Recipe
from handlens.report.html import write_report
from handlens.run import RunFolder
from handlens.training.checkpoint import load_head

VIEW = {"name": "drawn", "rotate": 10, "crop": 0.7}
BESIDE = {"head_first": {"epochs": 2}, "beside_head": "always"}
LABELS = ("stripes", "spots", "石墨 noise")
KINDS = {"drawn": ("stripes", "spots"), "random": ("石墨 noise",)}

RUNS: dict[str, dict[str, dict[str, Any]]] = {
    "all of it, fresh views": {
        "model": {"freeze": "none", "head": {"members": 2}},
        "views": {"train": [VIEW], "fresh": True},
        "train": {"mixup": 0.4, "cutmix": 1.0, "average": 0.9, "gather": 2},
    },
    "a share, mean over views": {
        "model": {"freeze": {"share": 0.7}},
        "views": {"train": [VIEW], "count": 2, "average": "always"},
    },
    "edits": {
        "model": {
            "edits": [
                {"insert": "eca", "after": "stage2"},
                {"replace": "conv3x3", "with": "gsconv", "in": "stage4"},
            ]
        }
    },
    "own rows of names": {
        "model": {"backbone": "torchvision/mobilenet_v3_small", "weights": "none", "pool": "own"}
        | {"freeze": {"names": ["features"]}}
    },
    "timm": {"model": {"backbone": "timm/resnet10t", "weights": "none", "freeze": {"stages": 3}}},
    "beside itself, thawing": {
        "model": {"freeze": {"thaw_every": 1}, "pool": "average_and_maximum"},
        "train": BESIDE | {"epochs": 3},
    },
    "beside itself, nothing decides": {"model": {"freeze": {"stages": 3}}, "train": BESIDE | {"folds": 0}},
    "tasks": {
        "data": {"tasks": ["size"]},
        "model": {"freeze": {"stages": 3}, "head": {"kind": "layers", "hidden": 16, "members": 2}},
        "train": BESIDE | {"mixup": 0.3, "task_weights": {"size": 0.5}},
    },
    "tasks on kept features": {"data": {"tasks": ["size"]}, "train": {"mixup": 0.3}},
    "kinds": {
        "data": {"kinds": KINDS},
        "model": {"freeze": {"stages": 3}},
        "train": {"loss": {"kinds_weight": 0.5}},
    },
}


def recipe_of(values: Mapping[str, Mapping[str, Any]]) -> Recipe:
    base: dict[str, Any] = {
        "views": {"judge": {"size": 32}},
        "model": {"backbone": "handlens/nano", "weights": "bundled"},
        "train": {"epochs": 2, "folds": 2, "batch_size": 8, "precision": "float32"},
    }
    parts = {part: base.get(part, {}) | dict(values.get(part, {})) for part in ("data", *base)}
    return Recipe.parse({"name": "small", **parts}, "The recipe")


@pytest.fixture(scope="module", autouse=True)
def at_hand(environment: dict[str, str]) -> Any:
    """No weights at hand, one thread, and a cache of their own, for runs in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("HANDLENS_WEIGHTS", raising=False)
        patched.setenv("HANDLENS_CACHE", environment["HANDLENS_CACHE"])
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with two columns of labels, of which some are missing, and pictures beside it."""
    folder = draw_folder(tmp_path_factory.mktemp("table"), 10, LABELS)
    paths = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    rows = pl.DataFrame(
        {
            "path": paths,
            "label": [path.split("/")[0] for path in paths],
            "size": [("large", "small", None)[number % 3] for number in range(len(paths))],
        }
    )
    out = folder / "labels.csv"
    rows.write_csv(out)
    return out


@pytest.mark.parametrize("name", list(RUNS))
def test_a_run_judges_as_it_was_judged(name: str, table: Path, tmp_path: Path) -> None:
    recipe = recipe_of(RUNS[name])
    run = library.train(table, recipe, tmp_path / "run")
    folder = tmp_path / "run"
    tasks = recipe.data.tasks
    there = {path for path in files_in(folder) if "size" not in path}
    validated = {"predictions/val.parquet", "figures/reliability.svg"} if not recipe.train.folds else set()
    assert there >= RUN_FILES - validated
    assert {path for path in there - RUN_FILES if not path.startswith("figures/")} == set()
    assert not list(folder.rglob("*.partial*"))

    again = library.load_run(folder)
    given = Samples.from_manifest(RunFolder(folder).samples_path).table.filter(pl.col("split") == "test")
    judged = again.predict(given["path"].to_list())
    figures = again.metrics
    of_task = {None: (judged.predictions, figures.temperature)}
    of_task |= {task: (judged.further[task], figures.tasks[task].temperature) for task in tasks}
    for task, (said, temperature) in of_task.items():
        kept = run.predictions("test", task)
        expected = kept.probabilities
        if temperature is not None:
            expected = apply_temperature(expected, temperature)
        row = {Path(path).name + Path(path).parent.name: at for at, path in enumerate(said.ids)}
        found = said.probabilities[[row[Path(one).name + Path(one).parent.name] for one in kept.ids]]
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert again.recompute().model_dump() == figures.model_dump()
    # The file of the last epoch fits the network too, and differs from the best one where it should.
    best, facts = load_head(RunFolder(folder).best_path)
    last, facts_of_last = load_head(RunFolder(folder).last_path)
    assert facts == facts_of_last
    assert {key: value.shape for key, value in best.items()} == {
        key: value.shape for key, value in last.items()
    }
    assert (facts.twin_begins is not None) == (recipe.train.beside_head == "always")


def test_weights_from_elsewhere_are_needed_in_training_only(
    handlens: Command, pictures: Path, tmp_path: Path
) -> None:
    import torchvision

    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    network = torchvision.models.get_model("mobilenet_v3_small", weights=None)
    torch.save(network.state_dict(), folder / "mobilenet_v3_small.pth")
    model = {"backbone": "torchvision/mobilenet_v3_small", "weights": "pretrained", "freeze": {"share": 0.8}}
    recipe = recipe_of({"model": model, "train": {"epochs": 1, "folds": 0}})
    with pytest.raises(library.HandlensError, match="are not on this machine"):
        library.train(pictures, recipe, tmp_path / "run")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HANDLENS_WEIGHTS", str(folder))
        library.train(pictures, recipe, tmp_path / "run")
    again = library.load_run(tmp_path / "run")
    assert len(again.predict(pictures).predictions.ids) == 36
    told = handlens("evaluate", tmp_path / "run", "--data", pictures, "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["sides"]["data"]["n"] == 36
    write_report(again.folder)


MISTAKES: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "fresh views for a head": ({"views": {"train": [VIEW], "fresh": True}}, "only the head trains here"),
    "cutmix for a head": ({"train": {"cutmix": 1.0}}, r"train\.cutmix.*only the head trains here"),
    "cutmix for a first head": (
        {"model": {"freeze": "none"}, "train": {"head_first": {"cutmix": 1.0}}},
        r"head_first\.cutmix",
    ),
    "a head before a head": ({"train": {"head_first": {}}}, r"train\.head_first.*only the head"),
    "beside what": ({"model": {"freeze": "none"}, "train": {"beside_head": "auto"}}, "give head_first"),
    "means of fresh views": (
        {
            "model": {"freeze": "none"},
            "views": {"train": [VIEW], "fresh": True, "count": 2, "average": "auto"},
        },
        r"views\.average.*views\.fresh",
    ),
    "several kinds, nothing chooses": (
        {"model": {"freeze": "none"}, "views": {"train": [VIEW, {"name": "b"}], "count": 2}},
        r"several kinds \(drawn, b\)",
    ),
    "a glob that matches nothing": ({"model": {"freeze": {"names": ["stge1"]}}}, "nearest: stage1"),
    "too many stages": ({"model": {"freeze": {"stages": 7}}}, "this network has 4"),
    "a batch of one": ({"model": {"freeze": "none"}, "train": {"batch_size": 1}}, r"batch_size.*2"),
    "a task that is none": ({"train": {"task_weights": {"colour": 2}}}, "no task 'colour'"),
    "cutmix of rows": (
        {"model": {"freeze": {"share": 1.0}, "pool": "own"}, "train": {"cutmix": 1.0}},
        r"train\.cutmix cuts boxes out of maps",
    ),
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_a_mistake_is_told_in_a_sentence(name: str, pictures: Path, tmp_path: Path) -> None:
    values, told = MISTAKES[name]
    with pytest.raises(library.HandlensError, match=told):
        library.train(pictures, recipe_of(values), tmp_path / "run")
