"""Many runs that differ in named ways."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from handlens.base.choices import look_up, suggestion
from handlens.base.errors import HandlensError
from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Json, Settings, pictures_not_run
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options
from handlens.cli.runs import command_line

if TYPE_CHECKING:
    from handlens.report.tables import SideBySide
    from handlens.study.effects import Effects
    from handlens.study.spec import StudySpec
    from handlens.study.study import Study
    from handlens.study.table import CellLine

REPORT = "report"
GIVEN = "[FILE] [DATA] | report FOLDER"


@app.command()
@reading_options()
def study(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar=GIVEN,
            help="A study's YAML file and the pictures; the pictures alone with --recipes; or the word "
            "'report' and the folder of a study, which shows its table again.",
        ),
    ],
    recipes: Annotated[
        str | None,
        typer.Option("--recipes", help="Without a file: recipes to put beside each other, as quick,careful."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Trainings of each row, with seeds from 0.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="Cross-validation with so many parts.")
    ] = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The study's folder; without it studies/<data>-<study>."),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, help="Runs at once, which share the cores.")
    ] = 1,
    on: Annotated[
        Literal["local", "ray"],
        typer.Option("--on", help="This machine, or the Ray cluster that RAY_ADDRESS names."),
    ] = "local",
    to: Annotated[
        str, typer.Option("--to", help="The row to compare the others with: first, best, or its name.")
    ] = "first",
    figure: Annotated[
        str, typer.Option("--figure", help="The figure to compare rows in, and to tell effects in.")
    ] = "accuracy",
    timed: Annotated[
        bool, typer.Option("--time/--no-time", help="Measure how long each network takes for a picture.")
    ] = True,
    maps: Annotated[
        bool,
        typer.Option(
            "--maps/--no-maps", help="At last, draw into each run's report what misled its network."
        ),
    ] = True,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Run a recipe in many named ways, or several recipes, and put the results into one table.

    Every run is a folder as 'handlens train' leaves it. Given again after a stop, or with more in the file,
    the same command runs what is missing. A run that fails is a row that says why; the others go on.
    """
    require_folder(out)
    if given[0] != REPORT:
        _refuse_no_study(given, recipes)
    from handlens.study.study import run_study

    shown = Shown(figure, to, timed, as_json)
    if given[0] == REPORT:
        _show_again(given[1:], shown)
        return
    spec, data = _spec_and_data(given, recipes, seeds, folds)
    shown.refuse_unknown(spec)
    extra = [*(settings or []), *reading.group_settings()]
    folder = out or Path("studies") / f"{_data_name(data)}-{spec.name}"
    done = run_study(
        spec,
        lambda tasks: reading.samples(data, tasks),
        folder,
        on=on if on == "ray" else "here" if processes == 1 else "processes",
        processes=processes,
        settings=extra,
        command=command_line(folder),
    )
    _show(done, shown)
    if maps:
        # Told is told: whoever does not want to wait for them can stop here.
        _draw_maps(done)
    _end(done)


def _data_name(data: str) -> str:
    """What the folder of a study of the data is called."""
    from handlens.data.addresses import is_address
    from handlens.data.names import name_of_data

    # A dot, for the folder that one is in, has no stem; and the end of an address may be a password.
    return name_of_data(data) if is_address(data) else Path(data).stem or name_of_data(data)


def _draw_maps(done: "Study") -> None:
    """What misled the networks, into the reports of finished runs that do not show it yet."""
    from handlens.api import with_maps
    from handlens.base.progress import tell

    for cell in done.cells:
        if done.outcome(cell).state == "done":
            try:
                with_maps(done.run(cell))
            except HandlensError as error:
                # Weights that are gone, say: the study is done all the same.
                tell(f"No maps in the report of {cell.name}: {str(error).splitlines()[0]}")


def _refuse_no_study(given: list[str], recipes: str | None) -> None:
    """What can be told of the words alone, before all that a study needs is imported."""
    pictures_not_run(given[-1])
    if recipes is not None:
        if len(given) != 1:
            raise HandlensError(
                "With --recipes, give the pictures and nothing else: a file has recipes of its own."
            )
        return
    if len(given) > 2:
        raise HandlensError(f"Give a study's file and the pictures, not {len(given)} things.")
    path = Path(given[0])
    if path.is_file():
        return
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    wrong = (
        f"{path} is not a study's file."
        if path.exists()
        else f"There is no file {path}.{suggestion(path.name, beside)}"
    )
    raise HandlensError(
        f"{wrong} Give a study's file; or the pictures alone, with --recipes quick,careful, to put recipes "
        "beside each other."
    )


def _spec_and_data(
    given: list[str], recipes: str | None, seeds: int | None, folds: int | None
) -> "tuple[StudySpec, str]":
    """The study, and where its pictures are."""
    from handlens.study.spec import StudySpec

    if recipes is not None:
        names = [name for name in recipes.split(",") if name]
        return StudySpec.of_recipes(names, seeds or 1, folds), given[0]
    spec = StudySpec.load(Path(given[0])).changed(seeds, folds)
    data = given[1] if len(given) == 2 else spec.pictures
    if data is None:
        raise HandlensError(
            f"{given[0]} does not name its pictures. Give them behind it, or write 'pictures:' into it."
        )
    return spec, data


def _show_again(given: list[str], shown: "Shown") -> None:
    """The table of a study as it is."""
    from handlens.study.study import open_study

    if len(given) != 1:
        raise HandlensError("Behind 'report', give the folder of one study.")
    done = open_study(Path(given[0]))
    shown.refuse_unknown(done.spec)
    _show(done, shown)
    _end(done)


def _end(done: "Study") -> None:
    """With exit code 2 where a run failed."""
    if done.num("failed"):
        raise typer.Exit(2)


@dataclass(frozen=True)
class Shown:
    """How the table is asked for."""

    figure: str
    to: str
    timed: bool
    as_json: bool

    def refuse_unknown(self, spec: "StudySpec") -> None:
        """What no table has is told before hours of work, not after them."""
        from handlens.evaluate.metrics import METRICS
        from handlens.study.cells import named_cells

        look_up(METRICS, self.figure, "figure")
        if self.to not in ("first", "best"):
            look_up({cell.row: cell for cell in named_cells(spec)}, self.to, "row to compare with")


def _show(done: "Study", shown: Shown) -> None:
    """The table, the effects where parts are ablated, and how the study stands."""
    from handlens import terminal
    from handlens.study.effects import effects_of
    from handlens.study.table import lines_of, rows_of, table_of, write_tables

    notes, table, effects = list[str](), None, None
    try:
        if len(rows_of(done)) > 1:
            table = table_of(done, shown.figure, shown.to, shown.timed)
            write_tables(done, table, shlex.join(["handlens", "study", REPORT, str(done.folder.path)]))
    except HandlensError as error:
        # The runs are there, whatever stands between them and one table.
        notes.append(f"No table of rows: {error}")
    try:
        effects = effects_of(done, shown.figure) if done.spec.ablate and done.num("done") else None
    except HandlensError as error:
        notes.append(str(error))
    if shown.as_json:
        values: dict[str, Any] = {
            "study": str(done.folder.path),
            "cells": [line.as_json() for line in lines_of(done)],
            "table": table.as_json() if table else None,
            "notes": notes,
        }
        terminal.print_json(values | ({"effects": effects.model_dump(mode="json")} if effects else {}))
    else:
        _print(done, table, effects, notes)


def _print(
    done: "Study", table: "SideBySide | None", effects: "Effects | None", notes: Sequence[str]
) -> None:
    """All of it for people."""
    from handlens import terminal
    from handlens.evaluate.significance import TEST
    from handlens.report.tables import costs_table, figures_table, notes_of
    from handlens.study.table import lines_of, narrow, reasons_of

    if table:
        for each in (figures_table(narrow(table)), costs_table(table)):
            terminal.print_table(each.columns, each.rows, each.title)
        notes = [*notes, *notes_of(table)]
    else:
        terminal.print_table(*_cells_table(lines_of(done)))
    if effects:
        columns = ("effect on " + effects.figure, "value", "95 % interval", "p, Holm", "verdict")
        terminal.print_table(columns, [each.words for each in effects.effects])
        terminal.print_line(f"Intervals and p values: {TEST}.")
        notes = [*notes, *effects.notes]
    for note in (*notes, *reasons_of(done)):
        terminal.print_line(f"- {note}")
    terminal.print_line(_standing(done))
    if table:
        terminal.print_line(f"Page: {done.folder.table_path('html')} (also as .csv, .md and .tex)")


def _cells_table(lines: "Sequence[CellLine]") -> tuple[tuple[str, ...], list[list[str]]]:
    """How each run fared, where there are no two rows to compare."""
    figures = list(dict.fromkeys(name for line in lines for name in line.figures))
    columns = ("run", "state", *(words for name in figures for words in (name, "95 % interval")))
    return columns, [line.words(figures) for line in lines]


def _standing(done: "Study") -> str:
    """How far the study is."""
    counted = [f"{done.num(state)} {state}" for state in ("done", "failed", "waiting") if done.num(state)]
    return f"{', '.join(counted)} of {len(done.cells)} runs. Study: {done.folder.path}"
