"""Runs beside each other."""

from pathlib import Path
from typing import Annotated

import typer

from handlens.base.writable import require_file
from handlens.cli.app import app
from handlens.cli.options import Json
from handlens.cli.runs import command_line


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Run folders. Runs that differ in nothing but their seeds, or in their fold, are one row; "
            "NAME=RUN names a row, and runs of one name are one row.",
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", help="The row to compare the others with: first, best, or its name.")
    ] = "first",
    figure: Annotated[
        str, typer.Option("--figure", help="The figure to compare in: accuracy, f1_macro, log_loss, ...")
    ] = "accuracy",
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="A further figure to show; may be repeated. Without it, f1_macro."),
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out", "-o", help="Also write a page (.html) or a table (.csv, .md, .tex); may be repeated."
        ),
    ] = None,
    common: Annotated[
        bool,
        typer.Option("--common", help="Where runs judged other pictures: compare on those that all judged."),
    ] = False,
    each: Annotated[bool, typer.Option("--each", help="Every run is a row of its own.")] = False,
    timed: Annotated[
        bool, typer.Option("--time/--no-time", help="Measure how long each network takes for a picture.")
    ] = True,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads that each network uses while it is timed.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Put runs beside each other: which are better, which tie, and what they cost.

    Each row has its figures with intervals over groups, and its difference to the first row, or to the best
    one, on the same pictures. A row is called better only where the interval and a corrected test say so.
    """
    for path in out or []:
        require_file(path)
    from handlens import terminal
    from handlens.base.choices import look_up
    from handlens.report.comparison import WRITERS, ending, write_comparison
    from handlens.report.tables import costs_table, figures_table, notes_of

    for path in out or []:
        look_up(WRITERS, ending(path), "ending for a comparison")
    from handlens.compare_runs import compare_runs, groups_of

    further = ["f1_macro"] if also is None else also
    told = compare_runs(
        groups_of(runs, each), figure, also=further, to=to, common=common, timed=timed, threads=threads
    )
    for path in out or []:
        write_comparison(told, path, command_line())
    if as_json:
        terminal.print_json({**told.as_json(), "written": [str(path) for path in out or []]})
        return
    for table in (figures_table(told), costs_table(told)):
        terminal.print_table(table.columns, table.rows, table.title)
    for note in notes_of(told):
        terminal.print_line(f"- {note}")
    for path in out or []:
        terminal.print_line(f"Written: {path}")
