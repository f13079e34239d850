"""Every recipe in the package loads and says what it is good for."""

import pytest

from handlens.recipe import STARTERS, Recipe, starters

STARTER_NAMES = ["best", "careful", "demo", "quick"]


def test_these_are_the_starters() -> None:
    files = [path.name for path in STARTERS.iterdir() if path.name.endswith(".yaml")]
    assert starters() == STARTER_NAMES
    assert len(files) == len(STARTER_NAMES)


@pytest.mark.parametrize("name", STARTER_NAMES)
def test_a_starter_loads_and_is_described(name: str) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.description.endswith(".")
    assert recipe.split.keep_given


@pytest.mark.parametrize("name", STARTER_NAMES)
def test_a_starter_stays_itself_when_written_out(name: str) -> None:
    recipe = Recipe.load(name)
    assert Recipe.parse(recipe.resolved(), name) == recipe
