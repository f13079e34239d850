"""The options that say how pictures are read, which many commands share."""

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from handlens.data.groups import GroupSpec
    from handlens.data.samples import Samples
    from handlens.recipe import Recipe

Command = Callable[..., None]


@dataclass(frozen=True)
class ReadingOptions:
    """How pictures are read: what was said of it, in the order of a command's help."""

    group: Annotated[
        str | None,
        typer.Option(
            "--group", help=r"What pictures came from, captured from their names, for example 'video(\d+)'."
        ),
    ] = None
    group_level: Annotated[
        int | None,
        typer.Option(
            "--group-level",
            help="What pictures came from, as a folder level: 1 is the first below the class.",
        ),
    ] = None
    group_column: Annotated[
        str | None, typer.Option("--group-column", help="What pictures came from, as a column.")
    ] = None
    label: Annotated[
        str | None, typer.Option("--label", help="The column to judge, where a table has several.")
    ] = None
    class_names: Annotated[
        Path | None,
        typer.Option("--class-names", help="With label files: a file with the names of the classes."),
    ] = None
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="What DATA is, where it is not to be recognised: folder, table, label_files, manifest, "
            "huawei, mvtec, dagm, severstal, coco or yolo_cls.",
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return any(vars(self).values())

    def samples(self, data: str, tasks: Sequence[str] = ()) -> "Samples":
        """The pictures, read so; with labels for each of `tasks`."""
        from handlens.data.samples import Samples

        return Samples.read(
            data, format=self.form, label=self.label, class_names=self.class_names, tasks=tasks
        )

    def recipe_and_samples(
        self, data: str, recipe: str, settings: Sequence[str] | None
    ) -> "tuple[Recipe, Samples]":
        """The recipe with its settings and groups, and the pictures with the labels that it asks for."""
        from handlens.recipe import Recipe

        chosen = Recipe.load(recipe, [*(settings or []), *self.group_settings()])
        return chosen, self.samples(data, chosen.data.tasks)

    def group_spec(self) -> "GroupSpec | None":
        """The group options as a spec; none where none was given."""
        from handlens.data.groups import GroupSpec

        given = self._grouping()
        return GroupSpec.parse(given, "The grouping") if any(given.values()) else None

    def group_settings(self) -> list[str]:
        """The group options as settings of the recipe."""
        given = self._grouping().items()
        return [f"data.group.{key}={json.dumps(value)}" for key, value in given if value is not None]

    def _grouping(self) -> dict[str, str | int | None]:
        """The group options by the names that they have in a recipe."""
        return {"pattern": self.group, "level": self.group_level, "column": self.group_column}


AS_FOUND = ReadingOptions()
"""Nothing was said."""


def reading_options(groups: bool = True) -> Callable[[Command], Command]:
    """Let a command's parameter `reading` stand for all of these options; without `groups`, not for those.

    Typer learns of options from a function's signature, so they are put there in the parameter's place.
    """
    known = inspect.signature(ReadingOptions).parameters.values()
    options = [option for option in known if groups or not option.name.startswith("group")]

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        shown = [
            parameter
            for own in signature.parameters.values()
            for parameter in (options if own.name == "reading" else [own])
        ]

        @functools.wraps(command)
        def called(**given: Any) -> None:
            reading = ReadingOptions(**{option.name: given.pop(option.name) for option in options})
            command(**given, reading=reading)

        called.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        return called

    return decorate
