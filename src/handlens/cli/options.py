"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from handlens.base.errors import HandlensError


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
Run = Annotated[Path, typer.Argument(help="A run folder that 'handlens train' wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON, on standard output.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", "-r", help="A recipe in the package ('handlens recipes') or a YAML file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="a.b=c", help="Change one value of the recipe; may be repeated."),
]
