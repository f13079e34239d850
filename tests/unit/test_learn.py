"""What a run learns: its aims, the ways of judging, and the names of what is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handlens.base.errors import HandlensError
from handlens.data.kinds import Kinds
from handlens.data.sides import Shot, Sides
from handlens.data.tasks import TaskLabels
from handlens.learn import aims_of, ways_of, whole_state
from handlens.recipe import Recipe

VIEWS = {"count": 2, "train": [{"name": "drawn"}]}
NETWORK = {"freeze": "none"}


def recipe(**parts: object) -> Recipe:
    return Recipe.parse({"name": "test", **parts}, "The recipe")


def sides() -> Sides:
    names = ("0", "1", "2")
    further = TaskLabels("size", ("large", "small"), np.array([0, 1, -1]))
    shots = tuple(Shot(Path(name), name) for name in names)
    targets = np.arange(3)
    return Sides(("a", "b", "c"), names, names, shots, targets, ("train",) * 3, "fault", (further,))


def test_aims_name_each_task_its_weight_and_the_kinds() -> None:
    kinds = Kinds.of(("a", "b", "c"), {"x": ("a", "c"), "y": ("b",)}, "here")
    aims = aims_of(recipe(train={"task_weights": {"size": 0.5}}), sides(), kinds)
    assert aims.widths == (3, 2)
    assert aims.weights == (1.0, 0.5)
    assert aims.kind_of is not None
    assert aims.kind_of[0] == aims.kind_of[2] != aims.kind_of[1]
    assert aims_of(recipe(), sides(), None).kind_of is None


def test_the_weight_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(HandlensError, match=r"no task 'sise'. The tasks are fault, size"):
        aims_of(recipe(train={"task_weights": {"sise": 2.0}}), sides(), None)


@pytest.mark.parametrize(
    ("average", "beside", "expected"),
    [
        ("never", "never", [(False, False)]),
        ("always", "never", [(True, False)]),
        ("auto", "never", [(False, False), (True, False)]),
        ("never", "always", [(False, True)]),
        ("auto", "auto", [(False, False), (True, False), (False, True), (True, True)]),
    ],
)
def test_the_ways_of_judging_are_those_of_the_recipe(
    average: str, beside: str, expected: list[tuple[bool, bool]]
) -> None:
    train = {"head_first": {}, "beside_head": beside}
    ways = ways_of(recipe(views=VIEWS | {"average": average}, model=NETWORK, train=train), "drawn")
    assert [(way.average, way.beside) for way in ways] == expected
    assert {way.kind for way in ways} == {"drawn"}


def test_the_names_of_trunk_and_head_are_told_apart() -> None:
    state = whole_state(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 1)))
    assert set(state) == {"trunk.weight", "trunk.bias", "head.0.weight", "head.0.bias"}
    assert isinstance(state["trunk.weight"], torch.Tensor)
