"""Where a network looked, and whether that deserves belief."""

from pathlib import Path
from typing import Annotated

import typer

from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Json, Run
from handlens.cli.runs import command_line


@app.command()
def explain(
    run: Run,
    pictures: Annotated[list[Path] | None, typer.Argument(help="Pictures, or folders of pictures.")] = None,
    mistakes: Annotated[
        bool,
        typer.Option("--mistakes", help="Explain the run's surest mistakes; its report shows the maps too."),
    ] = False,
    per_class: Annotated[
        int | None,
        typer.Option(
            "--per-class", metavar="N", help="Explain so many pictures of each class it was tested on."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method", help="gradcam, gradcam++, integrated_gradients or occlusion; the last two are slow."
        ),
    ] = "gradcam",
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="RUN", help="Another run beside it, as a grid; may be repeated."),
    ] = None,
    check: Annotated[
        int, typer.Option("--check", metavar="N", help="On how many pictures belief is checked; 0 for none.")
    ] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other random maps.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The folder for explain.html; without it explanations/<run>."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where a network saw what it said, and check whether such maps deserve belief."""
    require_folder(out)
    from handlens import terminal
    from handlens.explain.chosen import choose
    from handlens.explain.explain import explain as make
    from handlens.explain.spec import ExplainSpec
    from handlens.trained import TrainedRun, pictures_in

    spec = ExplainSpec.parse({"method": method, "checked": check, "seed": seed}, "The command")
    runs = [TrainedRun(folder) for folder in (run, *(against or []))]
    files = pictures_in(pictures) if pictures else []
    chosen = choose(runs[0], files, mistakes, per_class)
    folder = out or Path("explanations") / runs[0].folder.name
    made = make(runs, chosen, folder, spec, command_line(folder))
    terminal.print_bad(made.result.bad)
    if as_json:
        terminal.print_json({"page": str(made.page), **made.result.model_dump(mode="json")})
        return
    for line in made.lines():
        terminal.print_line(line)
