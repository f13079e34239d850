"""Options that several commands share, and what they come to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handlens.base.errors import HandlensError

if TYPE_CHECKING:
    from handlens.data.groups import GroupSpec
    from handlens.data.samples import Samples
    from handlens.recipe import Recipe


def pictures_not_run(data: str | None) -> str | None:
    """What is to be read, unless it is a run: a folder of its drawings would be read as a class."""
    from handlens.run import RunFolder

    run = RunFolder(Path(data or ""))
    # A recipe alone may lie among somebody's pictures.
    if data and run.recipe_path.is_file() and run.best_path.parent.is_dir():
        raise HandlensError(
            f"{data} is a run, not pictures. Give the pictures, or {run.samples_path}, which names those "
            "that the run was trained and tested on."
        )
    return data


# Text, because a path would lose one of the slashes of an address.
Data = Annotated[
    str,
    typer.Argument(
        callback=pictures_not_run,
        help="A folder with one folder a class (or train/val/test with these inside), a .csv or .parquet "
        "table with columns path and label, a folder with a label file beside each picture, a manifest, a "
        "published collection in its own form, or the address of one of these (s3://..., https://...).",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="What DATA is, where it is not to be recognised: folder, table, label_files, manifest, huawei, "
        "mvtec, dagm, severstal, coco or yolo_cls.",
    ),
]
Run = Annotated[Path, typer.Argument(help="A run folder that 'handlens train' wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON, on standard output.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="A recipe in the package ('handlens recipes') or a YAML file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="a.b=c", help="Change one value of the recipe; may be repeated."),
]
GroupPattern = Annotated[
    str | None,
    typer.Option(
        "--group", help=r"What pictures came from, captured from their names, for example 'video(\d+)'."
    ),
]
GroupLevel = Annotated[
    int | None,
    typer.Option(
        "--group-level", help="What pictures came from, as a folder level: 1 is the first below the class."
    ),
]
GroupColumn = Annotated[
    str | None, typer.Option("--group-column", help="What pictures came from, as a column.")
]
Label = Annotated[str | None, typer.Option("--label", help="The column to judge, where a table has several.")]
ClassNames = Annotated[
    Path | None, typer.Option("--class-names", help="With label files: a file with the names of the classes.")
]


def recipe_and_samples(
    recipe: str,
    settings: list[str] | None,
    extra: list[str],
    data: str,
    label: str | None = None,
    class_names: Path | None = None,
    form: str | None = None,
) -> "tuple[Recipe, Samples]":
    """The recipe with its settings, and the pictures with the labels that it asks for."""
    from handlens.data.samples import Samples
    from handlens.recipe import Recipe

    chosen = Recipe.load(recipe, [*(settings or []), *extra])
    tasks = chosen.data.tasks
    samples = Samples.read(data, format=form, label=label, class_names=class_names, tasks=tasks)
    return chosen, samples


def group_spec(pattern: str | None, level: int | None, column: str | None) -> "GroupSpec | None":
    """The group options as a spec; none where none was given."""
    from handlens.data.groups import GroupSpec

    given = {"pattern": pattern, "level": level, "column": column}
    return GroupSpec.parse(given, "The grouping") if any(given.values()) else None


def group_settings(pattern: str | None, level: int | None, column: str | None) -> list[str]:
    """The group options as settings of the recipe."""
    import json

    given = {"pattern": pattern, "level": level, "column": column}
    return [f"data.group.{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
