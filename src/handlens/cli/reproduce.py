"""The papers' tables on one's own pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handlens.base.errors import HandlensError
from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Json, Settings, pictures_not_run
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options
from handlens.cli.runs import command_line

if TYPE_CHECKING:
    from handlens.reproduce.paper import Paper
    from handlens.reproduce.reproduce import Reproduced


@app.command()
@reading_options()
def reproduce(
    paper: Annotated[str, typer.Argument(help="graphite, minerals, garbage, burrs or defects.")],
    data: Annotated[
        str | None,
        typer.Argument(
            callback=pictures_not_run,
            help="The pictures, as for 'handlens train'. Without them, and without --quick, the paper's "
            "tables are shown with what was measured for Handlens itself.",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Small pictures, random weights, few epochs; without DATA on drawn pictures."
        ),
    ] = False,
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", help="Only rows with such a name, as 'MobileNetV2*'; may be repeated."),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            help="Only this way of dividing: honest, paper or without; may be repeated.",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Trainings of each row.")] = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A folder for all of it; without it reproduced/<paper>."),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, help="Runs at once, which share the cores.")
    ] = 1,
    timed: Annotated[
        bool, typer.Option("--time/--no-time", help="Measure how long each network takes for a picture.")
    ] = True,
    site_column: Annotated[
        str | None,
        typer.Option(
            "--site-column",
            help="For defects: the column that names the factory, line, camera or day to leave out.",
        ),
    ] = None,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Repeat a paper's study on your pictures: its own tables, with your figures below the paper's.

    Where the paper expands pictures before it divides them, both are run: its way and the honest one. What
    the first claims beyond the second is the leakage gap. Given again after a stop, the command goes on.
    """
    require_folder(out)
    from handlens.reproduce.paper import Paper
    from handlens.reproduce.reproduce import Asked
    from handlens.reproduce.reproduce import reproduce as run
    from handlens.trained import TrainedRun

    known = Paper.load(paper)
    if data is None and not quick:
        if any((rows, protocol, seeds, settings, out, processes > 1, not timed, site_column, reading.given)):
            raise HandlensError(
                "There is nothing to run: options were given, but no pictures. Give DATA, or --quick for "
                "drawn ones."
            )
        _show_known(known, as_json)
        return
    folder = out or Path("reproduced") / known.name
    asked = Asked(
        out=folder,
        quick=quick,
        rows=tuple(rows or ()),
        protocols=tuple(protocol or ()),
        seeds=seeds,
        settings=tuple(settings or ()),
        processes=processes,
        timed=timed,
        site_column=site_column,
        command=command_line(folder),
    )
    samples = None
    if data is not None:
        samples = reading.samples(data)
    elif reading.given:
        raise HandlensError("Options that say how pictures are read need DATA. Give it, or leave them out.")
    spec = reading.group_spec()
    _show(run(known, samples, data or "", asked, TrainedRun, spec), as_json)


def _show_known(paper: "Paper", as_json: bool) -> None:
    """The paper's tables, and what was measured for the package."""
    from dataclasses import asdict

    from handlens import terminal
    from handlens.reproduce.tables import known_table, measured_on, own_rows

    if as_json:
        terminal.print_json({"paper": paper.name, "figures": [asdict(cell) for cell in paper.cells]})
        return
    terminal.print_line(f"{paper.spec.title}.")
    for name in paper.spec.tables:
        table, cells = known_table(paper, name), paper.of_table(name)
        terminal.print_table(table.columns, table.rows, table.title)
        for line in (*own_rows(paper, cells), *measured_on(cells)):
            terminal.print_line(line)
    terminal.print_line(f"Repeat it: handlens reproduce {paper.name} DATA, or --quick to try it.")


def _show(done: "Reproduced", as_json: bool) -> None:
    """The tables, and where the pages are; 2 where a run failed."""
    from dataclasses import asdict

    from handlens import terminal

    if as_json:
        figures = [
            asdict(each.cell) | {"ours": {name: value and asdict(value) for name, value in each.ours.items()}}
            for each in done.figures
        ]
        gaps = [{"row": gap.row, "gap": gap.value, "low": gap.low, "high": gap.high} for gap in done.gaps]
        told = {"page": str(done.page), "figures": figures, "leakage_gap": gaps, "notes": list(done.notes)}
        terminal.print_json(told)
    else:
        for table in done.tables:
            terminal.print_table(table.columns, table.rows, table.title)
        for note in done.notes:
            terminal.print_line(f"- {note}")
        for page in (done.page, *done.pages):
            terminal.print_line(f"Page: {page}")
    if done.num_failed:
        raise typer.Exit(2)
