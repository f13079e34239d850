"""Recipes: read from names and files, changed by --set, refused with all their problems."""

from pathlib import Path
from typing import Any

import pytest

from handlens.base.errors import HandlensError, Problems
from handlens.recipe import Recipe, differences, lay_over, refuse_other_recipe
from handlens.run import RunFolder


def keep(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_starter_is_found_by_its_name() -> None:
    assert Recipe.load("quick").name == "quick"
    assert Recipe.load() == Recipe.load("careful")


def test_a_file_is_found_by_its_path(tmp_path: Path) -> None:
    path = keep(tmp_path, "name: mine\ntrain: {epochs: 3}\n")
    recipe = Recipe.load(path)
    assert (recipe.name, recipe.train.epochs) == ("mine", 3)
    assert Recipe.load(str(path)) == recipe


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert Recipe.load(keep(tmp_path, "# nothing yet\n")) == Recipe()


def test_an_unknown_name_names_the_nearest_and_all() -> None:
    with pytest.raises(HandlensError) as caught:
        Recipe.load("carefull")
    assert str(caught.value).startswith(
        "There is no recipe called 'carefull', and no file of that name. Did you mean 'careful'? "
        "Recipes in the package: best, careful, "
    )


@pytest.mark.parametrize("text", ["- name: mine\n", "mine\n", "3\n"])
def test_what_is_no_mapping_is_no_recipe(tmp_path: Path, text: str) -> None:
    with pytest.raises(HandlensError, match=r"mine\.yaml is not a recipe: it must hold 'key: value' lines"):
        Recipe.load(keep(tmp_path, text))


def test_all_problems_are_told_at_once_with_the_nearest_names(tmp_path: Path) -> None:
    path = keep(
        tmp_path,
        """
        nmae: mine
        split: {ratios: 8:x}
        model: {weights: pretraind, head: {hiden: 3}}
        train: {epochs: 0, loss: {smoothing: 2}}
        """,
    )
    with pytest.raises(Problems) as caught:
        Recipe.load(path, ["views.judge.fitt=crop"])
    assert str(caught.value).startswith(f"The recipe {path} has 7 problems:\n  - ")
    told = {problem.partition(":")[0]: problem for problem in caught.value.problems}
    assert set(told) == {
        "nmae",
        "split.ratios",
        "model.weights",
        "model.head.hiden",
        "train.epochs",
        "train.loss.smoothing",
        "views.judge.fitt",
    }
    assert "Did you mean 'name'?" in told["nmae"]
    assert "Did you mean 'pretrained'?" in told["model.weights"]
    assert "Did you mean 'hidden'?" in told["model.head.hiden"]
    assert "Did you mean 'fit'?" in told["views.judge.fitt"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("train.epochs=20", {"train": {"epochs": 20}}),
        ("train.optimiser.learning_rate=1e-4", {"train": {"optimiser": {"learning_rate": 1e-4}}}),
        ("split.ratios=8:2", {"split": {"ratios": "8:2"}}),
        ("split.ratios=[0.6, 0.2, 0.2]", {"split": {"ratios": [0.6, 0.2, 0.2]}}),
        ("split.keep_given=false", {"split": {"keep_given": False}}),
        ("train.patience=null", {"train": {"patience": None}}),
        ("train.patience=", {"train": {"patience": None}}),
        ("data.label=no", {"data": {"label": "no"}}),
        ("data.group={level: 1}", {"data": {"group": {"level": 1}}}),
        (r'data.group.pattern="a=(\\d+)"', {"data": {"group": {"pattern": r"a=(\d+)"}}}),
        (" name =mine", {"name": "mine"}),
    ],
)
def test_a_setting_is_laid_over(setting: str, expected: dict[str, Any]) -> None:
    values: dict[str, Any] = {}
    lay_over(values, setting)
    assert values == expected


def test_a_setting_changes_only_its_own_value() -> None:
    plain = Recipe.load("careful")
    changed = Recipe.load("careful", ["train.epochs=7", "train.epochs=8", "model.head.hidden=9"])
    assert differences(plain.resolved(), changed.resolved()) == [
        f"model.head.hidden: 9 there, {plain.model.head.hidden} here",
        f"train.epochs: 8 there, {plain.train.epochs} here",
    ]


@pytest.mark.parametrize("setting", ["train.epochs", "=3", "train..epochs=3", ".name=a", "train.=3", ""])
def test_a_setting_of_another_form_is_told_with_an_example(setting: str) -> None:
    with pytest.raises(HandlensError, match=r"write it as key=value, for example --set train\.epochs=20"):
        Recipe.load("quick", [setting])


def test_a_setting_that_is_no_yaml_is_told() -> None:
    with pytest.raises(HandlensError, match=r"^--set split\.ratios=\[1, 2, line 1: this is not valid YAML"):
        Recipe.load("quick", ["split.ratios=[1, 2"])


def test_a_setting_of_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(Problems, match=r"train\.epocs: there is no such key\. Did you mean 'epochs'\?"):
        Recipe.load("quick", ["train.epocs=3"])


def test_differences_name_the_fields_in_their_order() -> None:
    ours = {"a": 1, "b": {"c": [1], "d": 2}, "e": None}
    theirs = {"a": 1, "b": {"c": [1, 2], "d": 3}, "f": 4}
    assert differences(ours, theirs) == [
        "b.c: [1, 2] there, [1] here",
        "b.d: 3 there, 2 here",
        "f: 4 there, None here",
    ]
    assert differences(ours, ours) == []


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    recipe = Recipe.load(
        "careful",
        ["description='no: 石墨 # 8:2'", "train.optimiser.learning_rate=1e-7", "data.group.pattern='(\\d+)'"],
    )
    assert Recipe.load(keep(tmp_path, recipe.to_yaml())) == recipe


def test_a_run_goes_on_only_with_its_own_recipe(tmp_path: Path) -> None:
    recipe = Recipe.load("quick")
    run = RunFolder(tmp_path / "run")
    refuse_other_recipe(recipe, run)
    run.path.mkdir()
    refuse_other_recipe(recipe, run)
    run.recipe_path.write_text(recipe.to_yaml(), encoding="utf-8")
    refuse_other_recipe(recipe, run)
    with pytest.raises(Problems, match=rf"train\.epochs: {recipe.train.epochs} there, 3 here"):
        refuse_other_recipe(Recipe.load("quick", ["train.epochs=3"]), run)


def test_a_folder_of_something_else_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    for path in (tmp_path, tmp_path / "thesis.doc"):
        with pytest.raises(HandlensError, match="exists but is not a run folder"):
            refuse_other_recipe(Recipe(), RunFolder(path))
