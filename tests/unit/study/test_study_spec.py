"""A study's file: what it says, what it refuses, and the cells that follow from it."""

import re
from pathlib import Path

import pytest
from studied import TINY, parsed

from handlens.base.errors import HandlensError
from handlens.base.spec import read_yaml
from handlens.recipe import Recipe
from handlens.study.cells import Cell, cells_of, named_cells
from handlens.study.settings import laid_over
from handlens.study.spec import StudySpec

DOCS = Path(__file__).parents[3] / "docs"
HEADS = {"linear": {}, "layers": {"model.head.kind": "layers"}}


def recipe(cell: Cell) -> Recipe:
    assert cell.recipe is not None
    return cell.recipe


def test_settings_replace_add_and_count_the_items_of_lists():
    values = {"model": {"edits": [{"insert": "eca", "after": "blocks"}], "freeze": "all"}, "views": None}
    changed = laid_over(
        values,
        {
            "model.edits+": [{"insert": "multi_se", "after": "blocks"}],
            "model.edits.1.heads": 4,
            "model.freeze.stages": 3,
            "views.count": 2,
        },
    )
    assert changed["model"]["edits"] == [
        {"insert": "eca", "after": "blocks"},
        {"insert": "multi_se", "after": "blocks", "heads": 4},
    ]
    assert changed["model"]["freeze"] == {"stages": 3}
    assert changed["views"] == {"count": 2}
    # What it was laid over stays.
    assert len(values["model"]["edits"]) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model.edits.1.heads": 4}, "list of 1"),
        ({"model..heads": 4}, "no place in a recipe"),
        ({"model.edits+": 4}, "adds a list to a list"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, told):
    with pytest.raises(HandlensError, match=told):
        laid_over({"model": {"edits": [{}]}}, settings)


def test_every_combination_has_every_seed_and_fold():
    study = parsed(
        axes={"head": HEADS, "train.epochs": [1, 3]},
        settings={"train.batch_size": 8},
        seeds=[4, 2],
        folds=2,
    )
    cells = cells_of(study)
    assert len(cells) == 2 * 2 * 2 * 2
    # The whole table of the first seed and fold comes first.
    assert [cell.name for cell in cells[:5]] == [
        "linear + epochs 1, seed 4, fold 0",
        "linear + epochs 3, seed 4, fold 0",
        "layers + epochs 1, seed 4, fold 0",
        "layers + epochs 3, seed 4, fold 0",
        "linear + epochs 1, seed 4, fold 1",
    ]
    assert len({cell.word for cell in cells}) == len(cells)
    last = recipe(cells[-1])
    assert (last.model.head.kind, last.train.epochs, last.train.seed, last.model.seed) == ("layers", 3, 2, 2)
    assert (last.split.folds, last.split.fold, last.train.batch_size) == (2, 1, 8)


def test_parts_are_there_or_not_and_combinations_are_left_out():
    study = parsed(
        ablate={
            "attention": {
                "none": {},
                "SE": {"model.edits+": [{"insert": "se", "after": "blocks"}]},
                "MSE": {"model.edits+": [{"insert": "multi_se", "after": "blocks"}]},
            },
            "heads": {"8 heads": None, "4 heads": {"model.edits.0.heads": 4}},
            "GSConv": {"model.edits+": [{"replace": "conv3x3", "with": "gsconv", "in": "blocks"}]},
        },
        skip=[{"heads": "4 heads", "attention": ["none", "SE"]}],
        settings={"model.freeze": "none"},
    )
    rows = {cell.row: recipe(cell) for cell in cells_of(study)}
    assert list(rows) == [
        "none + 8 heads",
        "none + 8 heads + GSConv",
        "SE + 8 heads",
        "SE + 8 heads + GSConv",
        "MSE + 8 heads",
        "MSE + 8 heads + GSConv",
        "MSE + 4 heads",
        "MSE + 4 heads + GSConv",
    ]
    edits = rows["MSE + 4 heads + GSConv"].model.edits
    assert [type(edit).__name__ for edit in edits] == ["Insert", "Replace"]
    assert edits[0].heads == 4


def test_a_row_of_nothing_is_plain_and_names_stay_when_more_is_added():
    small = parsed(ablate={"mixup": {"train.mixup": 0.4}})
    large = parsed(ablate={"mixup": {"train.mixup": 0.4}}, seeds=3)
    assert [cell.row for cell in named_cells(small)] == ["plain", "mixup"]
    assert {cell.word for cell in named_cells(small)} < {cell.word for cell in named_cells(large)}


def test_recipes_beside_each_other_and_files_beside_the_study(tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {epochs: 7}")
    (tmp_path / "both.yaml").write_text("axes: {recipe: [quick, mine.yaml]}\npictures: photos\nseeds: 2")
    (tmp_path / "photos").mkdir()
    study = StudySpec.load(tmp_path / "both.yaml")
    assert study.name == "both"
    assert study.pictures == str(tmp_path / "photos")
    cells = cells_of(study)
    assert [cell.row for cell in cells] == ["quick", "mine", "quick", "mine"]
    assert recipe(cells[1]).train.epochs == 7
    # Written and read again, it is the same study.
    (tmp_path / "again.yaml").write_text(study.to_yaml())
    assert StudySpec.load(tmp_path / "again.yaml") == study
    simple = StudySpec.of_recipes(["quick", "careful"], seeds=3)
    assert [cell.row for cell in named_cells(simple)] == ["quick", "careful"] * 3


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"axes": {"head": {}}}, "'head' has no values"),
        ({"axes": {"heads": [1, 2]}}, "give each value a name"),
        ({"ablate": {"head": {"one": {}}}}, "one value only"),
        ({"axes": {"head": HEADS}, "ablate": {"head": HEADS}}, "both an axis and a part"),
        ({"axes": {"head": HEADS}, "skip": [{"haed": "linear"}]}, "Did you mean 'head'"),
        ({"axes": {"head": HEADS}, "skip": [{"head": "liner"}]}, "Did you mean 'linear'"),
        ({"seeds": [1, 1]}, "each of them once"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": "three"}, "seeds: give how many, such as 3, or a list"),
        ({"axis": {}}, "Did you mean 'axes'"),
    ],
)
def test_what_a_study_cannot_say_is_told(values, told):
    with pytest.raises(HandlensError, match=told):
        parsed(**values)


def test_all_problems_of_all_cells_are_told_at_once():
    study = parsed(
        axes={"head": {"a": {"model.head.kind": "linea"}, "b": {"train.epochs": 0}, "c": {}}},
        settings={"train.loss.nam": "focal"},
    )
    with pytest.raises(HandlensError) as told:
        cells_of(study)
    text = str(told.value)
    assert "Did you mean 'linear'" in text and "train.epochs" in text
    # What is wrong with all of them is told once.
    assert text.count("train.loss.nam") == 1


def test_cells_that_would_be_the_same_run_are_refused():
    with pytest.raises(HandlensError, match="have the same recipe"):
        cells_of(parsed(axes={"head": {"a": {}, "b": {"train.epochs": 2}}}))
    with pytest.raises(HandlensError, match="too much alike"):
        cells_of(parsed(axes={"head": {"A": {}, "a": {"train.epochs": 3}}}))
    with pytest.raises(HandlensError, match="leaves out all"):
        cells_of(parsed(axes={"head": HEADS}, skip=[{"head": ["linear", "layers"]}]))


def test_a_recipe_in_the_place_of_a_study_is_told(tmp_path):
    (tmp_path / "recipe.yaml").write_text("train: {epochs: 3}")
    with pytest.raises(HandlensError, match="a recipe, not a study"):
        StudySpec.load(tmp_path / "recipe.yaml")


def test_cells_share_features_where_only_their_heads_differ():
    study = parsed(
        axes={
            "head": HEADS,
            "size": {"32": {}, "48": {"views.judge.size": 48}},
            "trains": {"head": {}, "all": {"model.freeze": "none"}},
        },
        seeds=2,
    )
    features = {cell.name: cell.features for cell in cells_of(study)}
    assert features["linear + 32 + head, seed 0"] == features["layers + 32 + head, seed 1"]
    assert features["linear + 32 + head, seed 0"] != features["linear + 48 + head, seed 0"]
    assert features["linear + 32 + all, seed 0"] is None
    # A random network is another one with every seed.
    other = cells_of(parsed(settings={"model.weights": "none"}, seeds=2))
    assert other[0].features != other[1].features


def test_the_studies_of_the_page_are_studies():
    text = (DOCS / "study.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```yaml study\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(examples) >= 4
    for example in examples:
        study = StudySpec.parse(read_yaml(example, "the example"), "The example")
        assert len(cells_of(study, ["model.backbone=handlens/nano"] if "recipe" in study.axes else [])) > 1


def test_tiny_is_a_recipe():
    assert Recipe.parse(TINY, "tiny").model.only_head_trains


def test_a_file_of_any_name_is_a_study(tmp_path):
    path = tmp_path / "two heads (new).yaml"
    path.write_text("axes: {recipe: [quick, careful]}")
    assert StudySpec.load(path).name == "two-heads-new-"


@pytest.mark.parametrize(
    ("key", "values"), [("recipe", ["a/own.yaml", "b/own.yaml"]), ("train.epochs", [5, 5, 6])]
)
def test_two_values_of_one_name_are_told(key, values):
    with pytest.raises(HandlensError, match=f"two values of '{key}' are called"):
        parsed(axes={key: values})
