"""The papers: every row's recipe loads and builds its network, and what the paper prints is all there."""

import csv
from importlib import resources

import pytest
from torch import nn

from handlens.models.build import build
from handlens.models.figures import num_parameters, size_mib
from handlens.reproduce.measured import FIGURES
from handlens.reproduce.paper import COLUMNS, PAPERS, Paper, papers
from handlens.reproduce.protocols import PROTOCOLS
from handlens.study.cells import cells_of

NAMES = ["burrs", "defects", "garbage", "graphite", "minerals"]
NUM_ROWS = {"graphite": 9, "minerals": 8, "garbage": 3, "burrs": 14, "defects": 3}
# Rows of ours that the papers do not have.
NUM_OWN = {"graphite": 3, "minerals": 4, "garbage": 1, "burrs": 0, "defects": 3}
# The minerals paper has four tables, and rows of ours stand in that of its ablation.
HAS_NONE_OF_OURS = {"minerals": ("validation", "networks", "classes")}
# Rows of each table, and figures of each row, as they stand in the papers.
TABLES = {
    "graphite": {"networks": (9, 3)},
    "minerals": {"validation": (6, 1), "networks": (6, 3), "ablation": (4, 5), "classes": (1, 1)},
    "garbage": {"networks": (3, 5)},
    "burrs": {"networks": (8, 6), "ablation": (7, 6), "before": (5, 3), "after": (5, 3)},
    "defects": {"ways": (3, 3)},
}
CONVNEXT = 27_840_122  # with 26 outputs: 27.84 M


def graphite_head(features):
    return (features + 1) * 1024 + 1025 * 2048 + 2049 * 4


# Row, classes, weights: what the papers print where it is right, otherwise hand arithmetic.
WEIGHTS = {
    "graphite": [
        ("VGG16", 1000, 138_357_544),
        ("ResNet34", 1000, 21_797_672),
        ("MobileNetV2", 1000, 3_504_872),
        ("ResNet34 + new head", 4, 21_797_672 - 513 * 1000 + graphite_head(512)),
        ("MobileNetV2 + new head + focal loss", 4, 3_504_872 - 1281 * 1000 + graphite_head(1280)),
    ],
    "minerals": [
        ("VGG19", 26, 139_676_762),
        ("GoogLeNet", 26, 5_626_554),
        ("ResNet50", 26, 23_561_306),
        ("ResNeXt50", 26, 23_033_178),
        ("ConvNeXt", 26, CONVNEXT),
        ("ConvNeXt + ECA + transfer", 26, CONVNEXT + 84),
    ],
    "garbage": [
        ("GoogLeNet", 40, 5_640_904),
        ("ResNet18", 40, 11_689_512 - 513 * 960),
        ("MobileNetV2", 40, 3_504_872 - 1281 * 960),
    ],
    "defects": [("feature extraction", 2, 25_557_032 - 2049 * 998)],
}
# The sizes that the burr paper prints and that are right, in MiB for 5 classes.
MIB = {
    "AlexNet": 217.53,
    "VGG16": 512.24,
    "MobileNet_V3_small": 5.81,
    "ShuffleNet_V2_x1_0": 4.80,
    "ResNet18": 42.64,
    "ResNet34": 81.20,
    "ResNet18 + SE": 42.98,
}


@pytest.fixture
def no_first_weights(monkeypatch):
    """Drawing first weights takes seconds, and any weights will do."""
    for name in (
        "kaiming_normal_",
        "kaiming_uniform_",
        "normal_",
        "trunc_normal_",
        "uniform_",
        "xavier_uniform_",
    ):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


def recipes_of(name):
    return {cell.row: cell.recipe for cell in cells_of(Paper.load(name).study)}


def network(recipe, classes):
    return build(recipe.model.model_copy(update={"weights": "none"}), (classes,))


def test_these_are_the_papers():
    assert papers() == NAMES
    for name in NAMES:
        there = {file.name for file in (PAPERS / name).iterdir()}
        assert there == {"README.md", "study.yaml", "paper.yaml", "expected.csv"}
        text = (PAPERS / name / "README.md").read_text(encoding="utf-8")
        for heading in ("## What the paper did", "## What it left unsaid, and what we chose", "## Doubts"):
            assert heading in text


@pytest.mark.parametrize("name", NAMES)
def test_a_study_has_the_papers_rows_and_all_recipes_load(name):
    recipes = recipes_of(name)
    paper = Paper.load(name)
    own = [row for row in recipes if paper.is_own(row)]
    assert len(recipes) - len(own) == NUM_ROWS[name]
    assert len(own) == NUM_OWN[name]
    assert all(recipes[row].model.backbone == "handlens/nano" for row in own)
    assert all(recipes[row].model.backbone != "handlens/nano" for row in set(recipes) - set(own))
    assert {cell.run for cell in paper.cells if paper.is_own(cell.run)} == set(own)
    assert paper.spec.compare_with in recipes
    assert set(paper.spec.protocols) <= set(PROTOCOLS)
    assert {cell.run for cell in paper.cells} <= set(recipes)


@pytest.mark.parametrize("name", NAMES)
def test_the_tables_are_whole(name):
    paper = Paper.load(name)
    assert list(paper.spec.tables) == list(TABLES[name])
    for table, (num_rows, num_figures) in TABLES[name].items():
        every = paper.of_table(table)
        cells = [cell for cell in every if not paper.is_own(cell.run)]
        # The paper's rows come first, and ours say in their names whose they are.
        assert every[: len(cells)] == cells
        own = every[len(cells) :]
        assert all(cell.paper is None and "handlens/nano" in cell.row for cell in own)
        num_own = 0 if table in HAS_NONE_OF_OURS.get(name, ()) else NUM_OWN[name]
        assert len(own) == num_own * num_figures
        assert len(cells) == num_rows * num_figures
        assert len({(cell.row, cell.figure) for cell in cells}) == len(cells)
        assert {cell.figure for cell in cells} <= set(FIGURES)
        assert all(cell.paper is not None for cell in cells) == (name != "defects")
    with resources.as_file(PAPERS / name / "expected.csv") as path, path.open() as file:
        assert next(csv.reader(file)) == list(COLUMNS)
    # A figure of ours says when, of which commit and on what it was measured.
    for cell in paper.cells:
        assert (cell.ours is not None or cell.ours_paper_protocol is not None) == bool(cell.date)
        assert bool(cell.date) == bool(cell.commit) == bool(cell.data)


@pytest.mark.parametrize("name", list(WEIGHTS))
@pytest.mark.usefixtures("no_first_weights")
def test_a_row_builds_the_network_that_arithmetic_says(name):
    recipes = recipes_of(name)
    for row, classes, weights in WEIGHTS[name]:
        assert (row, num_parameters(network(recipes[row], classes))) == (row, weights)


@pytest.mark.usefixtures("no_first_weights")
def test_every_row_of_the_burr_paper_builds_and_sizes_are_the_papers_where_these_are_right():
    sizes = [cell for cell in Paper.load("burrs").cells if cell.figure == "size_mib"]
    printed, ours = {cell.run: cell.paper for cell in sizes}, {cell.run: cell.ours for cell in sizes}
    for row, recipe in recipes_of("burrs").items():
        size = round(size_mib(network(recipe, 5)), 2)
        assert (row, size == printed[row]) == (row, row in MIB)
        assert size == MIB.get(row, size)
        assert size == ours[row]


def test_the_first_minerals_rows_start_from_nothing_and_transfer_from_what_imagenet_taught():
    recipes = recipes_of("minerals")
    taught = [row for row, recipe in recipes.items() if recipe.model.weights == "pretrained"]
    assert taught == ["ConvNeXt + transfer", "ConvNeXt + ECA + transfer"]
    assert all(not recipe.model.only_head_trains for recipe in recipes.values())
    graphite = recipes_of("graphite")
    assert all(recipe.model.only_head_trains for recipe in graphite.values())
    focal = {recipe.train.loss.gamma for recipe in graphite.values() if recipe.train.loss.name == "focal"}
    assert focal == {0.25}
