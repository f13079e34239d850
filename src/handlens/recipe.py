"""The recipe: everything that a run needs but the pictures.

It only composes the specs that each package owns, and reads and writes them as YAML.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError, Problems
from handlens.base.spec import Spec, read_yaml, read_yaml_file, write_yaml
from handlens.data.check import DataSpec
from handlens.data.split import SplitSpec
from handlens.data.views import ViewsSpec
from handlens.models.build import ModelSpec
from handlens.run import RunFolder
from handlens.training.spec import TrainSpec

STARTERS = resources.files("handlens") / "recipes"


class Recipe(Spec):
    """Everything that a run needs but the pictures."""

    name: str = Field("recipe", pattern=r"^[\w.-]+$")
    """A short name; it becomes part of the run's folder."""
    description: str = ""
    """What it is good for, in a sentence."""
    data: DataSpec = DataSpec()
    """How the pictures are read, checked and grouped."""
    split: SplitSpec = SplitSpec()
    """How the pictures are divided into training, validation and test."""
    views: ViewsSpec = ViewsSpec()
    """How a picture becomes what the network sees."""
    model: ModelSpec = ModelSpec()
    """The network."""
    train: TrainSpec = TrainSpec()
    """How what trains is trained: the head, or more of the network."""

    @model_validator(mode="after")
    def _every_word_counts(self) -> Self:
        problems = [*(self._only_for_networks() if self.model.only_head_trains else self._not_for_networks())]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _only_for_networks(self) -> Iterator[str]:
        """What a head on kept features would leave unheard."""
        mend = "only the head trains here: let more of the network train (model.freeze), or leave it out"
        if self.views.fresh:
            yield f"views.fresh draws new views for a network that trains, and {mend}"
        if self.train.cutmix:
            yield f"train.cutmix cuts boxes out of maps where a network trains, and {mend}"
        if self.train.head_first is not None:
            yield f"train.head_first trains a head before a network, and {mend}"
        if self.train.compile:
            yield f"train.compile is for a network that trains, and {mend}"

    def _not_for_networks(self) -> Iterator[str]:
        """What a network that trains would leave unheard."""
        if self.views.fresh and self.views.average != "never":
            yield "views.average takes the mean over kept views, and views.fresh keeps none: leave one out"
        if len(self.views.kinds) > 1 and self.train.head_first is None:
            kinds = ", ".join(self.views.kinds)
            yield (
                f"views.train has several kinds ({kinds}), and where a network trains the head of "
                "train.head_first chooses among them: give it, or keep one kind"
            )

    @classmethod
    def load(cls, name: str | Path = "careful", settings: Iterable[str] = ()) -> Self:
        """A starter recipe by name, or a YAML file, with `a.b=c` settings laid over it."""
        values = read_recipe_file(name)
        for setting in settings:
            lay_over(values, setting)
        return cls.parse(values, f"The recipe {name}")

    def resolved(self) -> dict[str, Any]:
        """All values, defaults included, as plain data."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self) -> str:
        """The fully resolved recipe as text."""
        return write_yaml(self.resolved())


def starters() -> list[str]:
    """The names of the recipes inside the package."""
    return sorted(
        path.name.removesuffix(".yaml") for path in STARTERS.iterdir() if path.name.endswith(".yaml")
    )


def read_recipe_file(name: str | Path) -> dict[str, Any]:
    """The values of a starter or a file, unchecked."""
    if str(name) in starters():
        values = read_yaml((STARTERS / f"{name}.yaml").read_text(encoding="utf-8"), f"recipe {name}")
    elif Path(name).is_file():
        values = read_yaml_file(Path(name))
    else:
        known = starters()
        raise HandlensError(
            f"There is no recipe called {str(name)!r}, and no file of that name."
            f"{suggestion(str(name), known)} Recipes in the package: {', '.join(known)}."
        )
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise HandlensError(f"{name} is not a recipe: it must hold 'key: value' lines.")
    return values


def lay_over(values: dict[str, Any], setting: str) -> None:
    """Put one `a.b=c` into nested values; the right side is read as YAML."""
    place, equals, text = setting.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise HandlensError(f"--set {setting}: write it as key=value, for example --set train.epochs=20.")
    inner = values
    for key in keys[:-1]:
        if not isinstance(inner.get(key), dict):
            inner[key] = {}
        inner = inner[key]
    inner[keys[-1]] = read_yaml(text, f"--set {setting}")


def refuse_other_recipe(recipe: Recipe, run: RunFolder) -> None:
    """A run that goes on must go on with the same recipe."""
    if run.recipe_path.is_file():
        differ = differences(recipe.resolved(), run.read_recipe())
        if differ:
            raise Problems(
                f"{run.path} was begun with another recipe. Give the same one, or choose another folder with "
                "--out. They differ in:",
                differ,
            )
    elif run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
        raise HandlensError(
            f"{run.path} exists but is not a run folder. Choose a new or an empty one with --out."
        )


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], place: str = "") -> list[str]:
    """The fields in which two resolved recipes differ, as 'train.epochs: 10 there, 20 here'."""
    told = []
    for key in dict.fromkeys([*ours, *theirs]):
        here, there = ours.get(key), theirs.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            told += differences(here, there, f"{place}{key}.")
        elif here != there:
            told.append(f"{place}{key}: {there!r} there, {here!r} here")
    return told
