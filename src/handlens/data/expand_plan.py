"""What is made of which pictures: so many of each class, by which operations, with which chance.

It follows from the pictures' contents and the seed: their order and their names change nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.base.spec import Spec, read_yaml, read_yaml_file
from handlens.data.operations import Drawn, Operation, chance_of

RECIPES = resources.files("handlens") / "recipes" / "expand"

MUCH = 10
"""From this factor on, the pictures of a class say little that a few did not say before."""


class ExpandSpec(Spec):
    """What is made of the pictures, and of how many."""

    description: str = ""
    """What it is good for, in a sentence."""
    operations: tuple[Operation, ...] = Field(min_length=1)
    """What is done, one operation for each new picture, in turn."""
    factor: float = Field(2.0, ge=1, le=1000)
    """How many times as many pictures each class has afterwards, the originals included."""
    factors: dict[str, float] = Field(default_factory=dict)
    """The same for single classes, by their names."""
    balance: bool = False
    """Bring every class level with the one that is largest after its factor."""
    most: float | None = Field(None, ge=1, le=1000)
    """The largest factor that balance gives a class; none: as large as it takes."""
    seed: int = 0
    """Another seed draws other pictures."""
    format: Literal["like", "jpg", "png"] = "like"
    """`like`: .jpg where the original is one, otherwise .png, which loses nothing; or one of them for all."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        fixed = [operation.operation for operation in self.operations if operation.fixed]
        twice = sorted({name for name in fixed if fixed.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} always makes the same of a picture, so name it once")
        small = [f"{name} ({factor})" for name, factor in self.factors.items() if not 1 <= factor <= 1000]
        if small:
            raise ValueError(f"factors count the originals too and go from 1 to 1000: not {', '.join(small)}")
        if self.most is not None and not self.balance:
            raise ValueError("most limits balance, which is off: set balance, or leave most out")
        return self

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """A recipe of the package by name, or a YAML file."""
        if str(name) in expand_recipes():
            values = read_yaml((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"), f"recipe {name}")
        elif Path(name).is_file():
            values = read_yaml_file(Path(name))
        else:
            known = expand_recipes()
            raise HandlensError(
                f"There is no recipe for expanding called {str(name)!r}, and no file of that name."
                f"{suggestion(str(name), known)} Those in the package: {', '.join(known)}."
            )
        if not isinstance(values, dict):
            raise HandlensError(f"{name} is not a recipe: it must hold 'key: value' lines.")
        return cls.parse(values, f"The recipe {name}")

    def changed(
        self,
        factors: Sequence[str] = (),
        balance: bool = False,
        seed: int | None = None,
        format: str | None = None,  # noqa: A002 (the name of the option)
    ) -> Self:
        """With what was said besides: factors such as `5` and `pyrite=8`, and all classes brought level."""
        values = self.model_dump(mode="json")
        for text in factors:
            label, equals, number = text.rpartition("=")
            try:
                factor = float(number)
            except ValueError:
                raise HandlensError(
                    f"--factor {text}: write a number, or a class and a number as in pyrite=8."
                ) from None
            if equals:
                values["factors"][label] = factor
            else:
                values["factor"] = factor
        if balance:
            # All the way, whatever limit the recipe has.
            values |= {"balance": True, "most": None}
        values |= {"seed": self.seed if seed is None else seed, "format": format or self.format}
        return self.parse(values, "The expansion")


@dataclass(frozen=True)
class Expansion:
    """One picture to be made: of which row, by which operation, and what that drew."""

    row: int
    number: int
    """Counted from 1 for each original."""
    operation: Operation
    drawn: Drawn


def expand_recipes() -> list[str]:
    """The names of the recipes for expanding inside the package."""
    return sorted(
        path.name.removesuffix(".yaml") for path in RECIPES.iterdir() if path.name.endswith(".yaml")
    )


def plan(
    labels: Sequence[str], contents: Sequence[str], rows: Sequence[int], spec: ExpandSpec
) -> tuple[list[Expansion], list[str]]:
    """What is made of some rows of a table, in its order, and what there is to say of it.

    `labels` and `contents`, the hashes of the files, are those of all rows.
    """
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        rows_of[labels[row]].append(row)
    counts = {label: len(rows_of[label]) for label in sorted(rows_of)}
    targets = _targets(counts, spec)
    planned: list[Expansion] = []
    for label, count in _counts_of_rows(rows_of, targets, contents, spec.seed):
        _require_different(label, max(count.values()), spec)
        planned += [
            Expansion(row, number, operation, operation.draw(generator))
            for row in rows_of[label]
            for number, operation, generator in _in_turn(spec, contents[row], count[row])
        ]
    if not planned:
        raise HandlensError("A factor of 1 makes nothing. Give a larger --factor, or --balance.")
    planned.sort(key=lambda expansion: (expansion.row, expansion.number))
    became = ", ".join(f"{label} from {n} to {targets[label]}" for label, n in counts.items())
    return planned, [f"Expanded: {became} pictures.", *_much(counts, targets)]


def _counts_of_rows(
    rows_of: Mapping[str, Sequence[int]], targets: Mapping[str, int], contents: Sequence[str], seed: int
) -> Iterator[tuple[str, dict[int, int]]]:
    """For each class, how many new pictures each of its rows gives: as nearly as possible the same."""
    for label, rows in rows_of.items():
        each, more = divmod(targets[label] - len(rows), len(rows))
        # Who gives one more than the others follows from the pictures, not from their names.
        order = sorted(rows, key=lambda row: (digest(contents[row], f"expand more {seed}"), row))
        yield label, dict.fromkeys(rows, each) | dict.fromkeys(order[:more], each + 1)


def _require_different(label: str, most: int, spec: ExpandSpec) -> None:
    """Operations that draw nothing make only so many different pictures of one."""
    num = len(spec.operations)
    if most > num and all(operation.fixed for operation in spec.operations):
        raise HandlensError(
            f"{label!r} needs {most} new pictures of one, and these operations always make the same {num}. "
            "Add one that draws, such as affine, or ask for fewer."
        )


def _much(counts: Mapping[str, int], targets: Mapping[str, int]) -> Iterator[str]:
    """What to think of classes that were expanded very much."""
    for label, n in counts.items():
        if targets[label] >= MUCH * n:
            yield (
                f"{label} was expanded {targets[label] / n:.0f}-fold: however many, these pictures show no "
                f"more than the {n} that they were made from."
            )


def _targets(counts: Mapping[str, int], spec: ExpandSpec) -> dict[str, int]:
    """How many training pictures each class has afterwards."""
    strange = [label for label in spec.factors if label not in counts]
    if strange:
        raise HandlensError(
            f"A factor is given for {strange[0]!r}, and there is no such class in training."
            f"{suggestion(strange[0], counts)} There are {', '.join(sorted(counts))}."
        )
    targets = {label: round(n * spec.factors.get(label, spec.factor)) for label, n in counts.items()}
    if not spec.balance:
        return targets
    level = max(targets.values())
    limits = {label: level if spec.most is None else int(n * spec.most) for label, n in counts.items()}
    return {label: max(targets[label], min(level, limits[label])) for label in counts}


def _in_turn(
    spec: ExpandSpec, content: str, count: int
) -> Iterator[tuple[int, Operation, np.random.Generator]]:
    """The operations for one picture, each with its number and its chance.

    All are used once before any is used again, which those are not that would make the same again. Where to
    begin differs from picture to picture, so that few new pictures are not all of the first operation.
    """
    num = len(spec.operations)
    start = int(digest(content, f"expand start {spec.seed}", length=8), 16) % num
    once = [*spec.operations[start:], *spec.operations[:start]]
    again = [operation for operation in once if not operation.fixed]

    def endless() -> Iterator[Operation]:
        yield from once
        while again:
            yield from again

    for number, operation in enumerate(islice(endless(), count), start=1):
        yield number, operation, chance_of(operation.operation, content, number, spec.seed)
