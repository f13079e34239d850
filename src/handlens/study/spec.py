"""The study: a base recipe, and the named ways in which its runs differ."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.spec import Spec, read_yaml_file, write_yaml
from handlens.recipe import Recipe, starters

RECIPE = "recipe"
"""Among the settings of a value: another recipe in the place of the study's own."""
PLAIN = "plain"
"""The row in which all parts of an ablation are left out."""

Settings = dict[str, Any]
Values = dict[str, Settings]
"""The settings of each value of an axis, by the value's name; a name may be empty, to be left out."""


def _seeds(value: Any) -> Any:
    """A number of seeds, from 0, or the seeds themselves."""
    if type(value) is int and value > 0:
        return list(range(value))
    if isinstance(value, list | tuple):
        return value
    raise ValueError("give how many, such as 3, or a list of them, such as [0, 1, 2]")


class StudySpec(Spec):
    """Runs that differ in named ways: every combination of values of all axes, with every seed and fold."""

    name: str = Field("study", pattern=r"^[\w.-]+$")
    """A short name; it becomes part of the study's folder."""
    description: str = ""
    """What the study asks, in a sentence."""
    pictures: str | None = None
    """The pictures, where the command does not name them; a path counts from the study's file."""
    recipe: str | dict[str, Any] = "careful"
    """What all runs have in common: a recipe in the package, a YAML file, or a recipe itself."""
    settings: Settings = Field(default={})
    """Laid over the recipe of every run, such as {train.epochs: 20}."""
    axes: dict[str, Values] = Field(default={})
    """By name, what runs differ in: the settings of each value by its name, or a list of values for a key."""
    ablate: dict[str, Values] = Field(default={})
    """Parts that runs have or have not, whose effects and interactions are told: the settings that a part
    stands for, or several of them by name, of which the first is what the others are compared with."""
    skip: tuple[dict[str, str | tuple[str, ...]], ...] = ()
    """Combinations to leave out, such as {attention: none, heads: [4, 16]}."""
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds)] = Field((0,), min_length=1)
    """How many seeds, or a list of them: each is a training of its own."""
    folds: int | None = Field(None, ge=2)
    """Cross-validation: so many runs of each training, each judging another part of the pictures."""

    @field_validator("axes", mode="before")
    @classmethod
    def _values_of_axes(cls, axes: Any) -> Any:
        return {name: _values(str(name), of) for name, of in axes.items()} if isinstance(axes, dict) else axes

    @field_validator("ablate", mode="before")
    @classmethod
    def _values_of_parts(cls, parts: Any) -> Any:
        if not isinstance(parts, dict):
            return parts
        return {
            # One set of settings is a part that a run has or has not.
            name: {"": {}, str(name): of} if _are_settings(of) else _values(str(name), of)
            for name, of in parts.items()
        }

    @field_validator("skip", mode="before")
    @classmethod
    def _names_in_skip(cls, skip: Any) -> Any:
        """A value that is called 4 is a name like any other."""
        if not isinstance(skip, list) or not all(isinstance(each, dict) for each in skip):
            return skip
        return [
            {name: [str(one) for one in of] if isinstance(of, list) else str(of) for name, of in each.items()}
            for each in skip
        ]

    @model_validator(mode="after")
    def _rows_can_be_told_apart(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        both = sorted(set(self.axes) & set(self.ablate))
        if both:
            yield f"{both[0]!r} is both an axis and a part of the ablation: keep one"
        yield from (f"the axis {name!r} has no values" for name, values in self.axes.items() if not values)
        for name, values in self.ablate.items():
            if len(values) < 2:
                yield f"the part {name!r} has one value only: there is nothing to compare it with"
        for combination in self.skip:
            for name, left_out in combination.items():
                known = self.differing.get(name)
                if known is None:
                    yield f"skip: there is no axis {name!r}.{suggestion(name, self.differing)}"
                    continue
                strange = [value for value in _several(left_out) if value not in known]
                if strange:
                    yield f"skip: {name} has no value {strange[0]!r}.{suggestion(strange[0], known)}"
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            yield "seeds: give each of them once, from 0 on"

    @property
    def differing(self) -> dict[str, Values]:
        """All that runs differ in: the axes, then the parts of the ablation."""
        return {**self.axes, **self.ablate}

    @property
    def combinations(self) -> list[dict[str, str]]:
        """The names of the values of each row, by axis."""
        names = list(self.differing)
        every = (dict(zip(names, chosen, strict=True)) for chosen in product(*self.differing.values()))
        return [each for each in every if not any(_is_meant(each, by) for by in self.skip)]

    @classmethod
    def load(cls, path: Path) -> "StudySpec":
        """A study from its file; what it names beside itself is found from wherever the command is given."""
        values = read_yaml_file(path)
        if not isinstance(values, dict):
            raise HandlensError(f"{path} is not a study: it must hold 'key: value' lines.")
        if "axes" not in values and "ablate" not in values and set(values) & {"model", "train", "views"}:
            raise HandlensError(
                f"{path} is a recipe, not a study. Train it with 'handlens train DATA --recipe {path}', or "
                "name it as the recipe of a study."
            )
        values.setdefault("name", re.sub(r"[^\w.-]+", "-", path.stem))
        return cls.parse(values, str(path)).beside(path.resolve().parent)

    @classmethod
    def of_recipes(cls, recipes: Iterable[str], seeds: int = 1, folds: int | None = None) -> "StudySpec":
        """The simple case: some recipes beside each other."""
        given = {"name": "recipes", "axes": {RECIPE: list(recipes)}, "seeds": seeds, "folds": folds}
        return cls.parse(given, "The study")

    def changed(self, seeds: int | None, folds: int | None) -> "StudySpec":
        """The same with other seeds or folds, where they are given."""
        given = {"seeds": seeds, "folds": folds}
        values = self.model_dump() | {key: value for key, value in given.items() if value is not None}
        return type(self).parse(values, "The study")

    def beside(self, folder: Path) -> "StudySpec":
        """The same, with the files that lie beside the study's own named in full."""
        found = self.model_copy(
            update={
                "recipe": _found(self.recipe, folder),
                "pictures": _found(self.pictures, folder),
                "axes": {name: _beside(values, folder) for name, values in self.axes.items()},
                "ablate": {name: _beside(values, folder) for name, values in self.ablate.items()},
            }
        )
        assert isinstance(found, StudySpec)
        return found

    def to_yaml(self) -> str:
        """The study as text."""
        return write_yaml(self.model_dump(mode="json"))


def _values(name: str, given: Any) -> Any:
    """The values of an axis by their names; a list has the values that a key of the recipe takes."""
    if not isinstance(given, list):
        return {str(value): settings or {} for value, settings in given.items()} if _named(given) else given
    if name == RECIPE:
        recipes = [Path(str(value)).stem if _is_file(value) else str(value) for value in given]
        return _by_name(recipes, given, name)
    if not _is_place(name):
        raise ValueError(
            f"{name!r} has a list, which is for keys of the recipe such as train.epochs: give each value a "
            "name and its settings"
        )
    return _by_name([f"{name.rpartition('.')[2]} {value}" for value in given], given, name)


def _by_name(names: Sequence[str], given: Sequence[Any], key: str) -> Values:
    """The settings of each value of a list; two of one name would silently be one row."""
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise ValueError(f"two values of {key!r} are called {twice[0]!r}: leave one out or rename it")
    return {name: {key: value} for name, value in zip(names, given, strict=True)}


def _named(given: Any) -> bool:
    return isinstance(given, dict) and all(isinstance(each, dict | None) for each in given.values())


def _are_settings(given: Any) -> bool:
    """Whether a mapping has settings rather than values by name."""
    return isinstance(given, dict) and bool(given) and all(_is_place(str(key)) for key in given)


def _is_place(key: str) -> bool:
    return key == RECIPE or ("." in key and key.partition(".")[0] in Recipe.model_fields)


def _is_file(value: Any) -> bool:
    return str(value).endswith((".yaml", ".yml"))


def _is_meant(combination: Mapping[str, str], by: Mapping[str, str | tuple[str, ...]]) -> bool:
    return all(combination[name] in _several(values) for name, values in by.items())


def _several(values: str | tuple[str, ...]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values


def _beside(values: Values, folder: Path) -> Values:
    return {
        name: {**settings, RECIPE: _found(settings[RECIPE], folder)} if RECIPE in settings else settings
        for name, settings in values.items()
    }


def _found(name: Any, folder: Path) -> Any:
    """A path in full where it lies beside the study's file; anything else as it is."""
    is_name = not isinstance(name, str) or name in starters()
    return name if is_name or not (folder / name).exists() else str(folder / name)
