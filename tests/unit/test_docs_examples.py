"""Every YAML example of the documentation is a recipe that loads, of a run or for expanding."""

import re
from pathlib import Path

import pytest

from handlens.base.spec import read_yaml
from handlens.data.expand_plan import ExpandSpec
from handlens.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EXAMPLES = [
    pytest.param(found[1], id=f"{page.name}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    if page.name != "expand.md"
    for number, found in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), start=1)
]


def test_the_pages_about_networks_and_training_have_examples():
    pages = [str(example.id) for example in EXAMPLES]
    assert sum(page.startswith("networks.md") for page in pages) >= 8
    assert sum(page.startswith("training.md") for page in pages) >= 15


def test_examples_for_expanding_load():
    found = BLOCK.findall((DOCS / "expand.md").read_text(encoding="utf-8"))
    assert found
    for text in found:
        values = read_yaml(text, "the example")
        assert isinstance(values, dict)
        assert set(values) == ExpandSpec.parse(values, "the example").model_fields_set


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_loads_and_says_something(text):
    values = read_yaml(text, "the example") or {}
    recipe = Recipe.parse(values, "the example")
    for key, value in values.items():
        if isinstance(value, dict):
            # What it says is kept, and is more than nothing.
            assert value
            assert set(value) <= set(type(getattr(recipe, key)).model_fields)
