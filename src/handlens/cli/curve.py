"""Whether more pictures would help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from handlens.base.errors import HandlensError
from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Data, Json, RecipeName, Settings
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options
from handlens.cli.runs import command_line


@app.command()
@reading_options()
def curve(
    data: Data,
    recipe: RecipeName = "quick",
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The folder for curve.html and curve.json; else curves/<data>-<recipe>."
        ),
    ] = None,
    steps: Annotated[
        str, typer.Option("--steps", help="Pictures a class; half of them and all of them always follow.")
    ] = "1,2,5,10,20",
    draws: Annotated[int, typer.Option("--draws", min=2, help="How many times pictures are drawn.")] = 10,
    methods: Annotated[
        str, typer.Option("--methods", help="What learns; the first one gives the answer.")
    ] = "head,prototypes,cosine,ridge",
    figure: Annotated[
        Literal["accuracy", "balanced_accuracy"],
        typer.Option("--figure", help="balanced_accuracy where every class weighs the same."),
    ] = "accuracy",
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other pictures.")] = 0,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Learn from few and from many of the pictures: do I need more of them?

    Given again after a stop, or with more steps or draws, the same command goes on.
    """
    require_folder(out)
    numbers = _numbers(steps)
    from handlens import terminal
    from handlens.data.names import name_of_data
    from handlens.study.curve import PAGE, draw_curve
    from handlens.study.curve_page import table_of
    from handlens.study.curve_results import CurveSpec

    given = {"steps": numbers, "methods": methods.split(","), "draws": draws, "figure": figure, "seed": seed}
    spec = CurveSpec.parse(given, "The learning curve")
    chosen, samples = reading.recipe_and_samples(data, recipe, settings)
    name = name_of_data(data)
    folder = out or Path("curves") / f"{name}-{chosen.name}"
    told = draw_curve(chosen, samples, folder, spec, command_line(folder), name)
    if as_json:
        terminal.print_json(told.model_dump(mode="json"))
        return
    terminal.print_line(told.answer)
    terminal.print_table(*table_of(told))
    for note in told.notes:
        terminal.print_line(f"- {note}")
    terminal.print_line(f"Page: {folder / PAGE}")


def _numbers(steps: str) -> list[int]:
    """The steps as they were given."""
    try:
        numbers = [int(word) for word in steps.split(",") if word.strip()]
    except ValueError:
        numbers = [0]
    if min(numbers, default=1) < 1:
        raise HandlensError(
            f"--steps {steps} are no numbers of pictures. Give whole numbers from 1 on with commas between "
            "them, such as --steps 1,2,5,10."
        )
    return numbers
