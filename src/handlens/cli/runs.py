"""Training, and what is done with a run."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from handlens.base.writable import require_file, require_folder
from handlens.cli.app import app
from handlens.cli.options import Data, Json, RecipeName, Run, Settings, pictures_not_run
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options


@app.command()
@reading_options()
def train(
    data: Data,
    recipe: RecipeName = "careful",
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder; without it runs/<data>-<recipe>-<n>.")
    ] = None,
    reading: ReadingOptions = AS_FOUND,
    allow_leak: Annotated[
        bool,
        typer.Option(
            "--allow-leak",
            help="Train although test pictures of the given split have copies in training. The run is marked "
            "as leaking, and its report says so first.",
        ),
    ] = False,
    maps: Annotated[
        bool,
        typer.Option("--maps/--no-maps", help="At last, draw into the report what misled the network."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Train on pictures and report how good the result is.

    Given again after a stop, the same command goes on where it stopped.
    """
    require_folder(out)
    from handlens.api import run_folder_for, with_maps
    from handlens.pipeline import run_recipe
    from handlens.training import distributed

    if allow_leak:
        settings = [*(settings or []), "split.allow_leak=true"]
    with distributed.joined():
        chosen, samples = reading.recipe_and_samples(data, recipe, settings)
        folder = out or distributed.from_main(run_folder_for(samples, chosen))
        run = run_recipe(chosen, samples, folder, command_line(folder), alone=True)
        main = distributed.is_main()
        if main:
            show_run(run.path, as_json)
    if maps and main:
        # Told is told: whoever does not want to wait for them can stop here.
        with_maps(run)


@app.command()
@reading_options()
def evaluate(
    run: Run,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            callback=pictures_not_run,
            help="Other labelled pictures to judge; without it, the run's own.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the judgments, to a .parquet or .csv file.")
    ] = None,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Show how good a run is, on its own test side or on other labelled pictures."""
    require_file(out)
    from handlens import terminal
    from handlens.trained import TrainedRun

    trained = TrainedRun(run)
    if data is None:
        metrics = trained.recompute()
    else:
        samples = reading.samples(data, trained.recipe.data.tasks)
        metrics, judged = trained.evaluate(samples, reading.group_spec())
        terminal.print_bad(judged.bad)
        terminal.print_notes(judged.notes)
        if out:
            judged.write(out)
    if as_json:
        terminal.print_json(metrics.model_dump(mode="json"))
    else:
        terminal.print_metrics(metrics)


@app.command()
def predict(
    run: Run,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the judgments to a .csv, .parquet or .json file."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge pictures: what each one shows, and how surely."""
    require_file(out)
    from handlens import terminal
    from handlens.trained import TrainedRun

    judged = TrainedRun(run).predict(pictures)
    table = judged.to_table()
    terminal.print_bad(judged.bad)
    if out:
        judged.write(out)
    if as_json:
        terminal.print_json(table.to_dicts())
    elif out:
        terminal.print_line(f"{len(table)} judgments written to {out}")
    else:
        terminal.print_judgments(table)


@app.command()
def report(run: Run, as_json: Json = False) -> None:
    """Write a run's report again."""
    from handlens import terminal
    from handlens.report.html import write_report
    from handlens.run import RunFolder

    path = write_report(RunFolder.open(run))
    if as_json:
        terminal.print_json({"report": str(path)})
    else:
        terminal.print_line(f"Report: {path}")


@app.command()
@reading_options()
def find_rate(
    data: Data,
    recipe: RecipeName = "careful",
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Draw the loss at each rate, to a .svg or .html file.")
    ] = None,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Find a learning rate for a recipe: a sweep from far too small to far too large, on training pictures.

    No run is written.
    """
    require_file(out)
    from handlens import find_rate as story
    from handlens import terminal

    if out:
        story.refuse_other_ending(out)
    found = story.find_rate(*reading.recipe_and_samples(data, recipe, settings))
    if out:
        found.write(out)
    if as_json:
        terminal.print_json(found.as_json() | ({"picture": str(out)} if out else {}))
    else:
        terminal.print_rate(found, out)


def command_line(folder: Path | None = None) -> str:
    """The command as it was given, with the run folder that it chose and without passwords and signatures."""
    from handlens.data.addresses import word_without_secrets

    given = ["handlens", *map(word_without_secrets, sys.argv[1:])]
    if folder is not None and not any(word in ("-o", "--out") or word.startswith("--out=") for word in given):
        given += ["--out", str(folder)]
    return shlex.join(given)


def show_run(folder: Path, as_json: bool) -> None:
    """The closing summary of a run."""
    from handlens import terminal
    from handlens.report.html import transfer_in, verdict_of
    from handlens.trained import TrainedRun

    trained = TrainedRun(folder)
    provenance = trained.folder.read_provenance()
    bad = [(problem["path"], problem["reason"]) for problem in provenance["data"]["problems"]]
    terminal.print_bad(bad)
    if as_json:
        told: dict[str, Any] = {"run": str(folder), "report": str(trained.report_path)}
        told["metrics"] = trained.metrics.model_dump(mode="json")
        compared = trained.folder.read_compared()
        terminal.print_json(told | ({"compared": compared} if compared else {}))
        return
    terminal.print_verdict(verdict_of(trained.folder))
    terminal.print_metrics(trained.metrics)
    transfer = transfer_in(trained.folder)
    if transfer:
        terminal.print_transfer(transfer)
    terminal.print_line(f"Took {sum(provenance['seconds'].values()):,.0f} s. Run: {folder}")
    terminal.print_line(f"Report: {trained.report_path}")
