"""Train here, test there."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Data, Json, RecipeName, Settings
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options
from handlens.cli.runs import command_line


@app.command()
@reading_options()
def sites(
    data: Data,
    column: Annotated[
        str, typer.Option("--column", help="The column that names the site: factory, line, camera, day.")
    ],
    recipe: RecipeName = "quick",
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The folder for sites.html and sites.json; else sites/<data>-<column>."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each way.")] = 3,
    figure: Annotated[
        Literal["accuracy", "balanced_accuracy"],
        typer.Option("--figure", help="balanced_accuracy where every class weighs the same."),
    ] = "accuracy",
    seed: Annotated[int, typer.Option("--seed", help="Another seed divides sites otherwise.")] = 0,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Leave each site out in turn: is it as good where it has never been, and does adapting help?

    Batch norms and features are adapted to the new site without a label of it. Given again after a stop, the
    same command goes on.
    """
    require_folder(out)
    from handlens import terminal
    from handlens.data.names import name_of_data
    from handlens.study.sites import PAGE, across_sites, refuse_no_sites
    from handlens.study.sites_page import table_of
    from handlens.study.sites_results import SitesSpec

    given = {"column": column, "seeds": seeds, "figure": figure, "seed": seed}
    spec = SitesSpec.parse(given, "The comparison across sites")
    chosen, samples = reading.recipe_and_samples(data, recipe, settings)
    refuse_no_sites(samples, column)
    name = name_of_data(data)
    folder = out or Path("sites") / f"{name}-{column}"
    told = across_sites(chosen, samples, folder, spec, command_line(folder), name)
    if as_json:
        terminal.print_json(told.model_dump(mode="json"))
        return
    for sentence in told.answer:
        terminal.print_line(sentence)
    terminal.print_table(*table_of(told))
    for note in told.notes:
        terminal.print_line(f"- {note}")
    terminal.print_line(f"Page: {folder / PAGE}")
