"""The commands. Each is short and holds no logic; what it needs is imported when it runs."""

import gc
import os
import shlex
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handlens import __version__
from handlens.base.errors import HandlensError, ToldAlready

if TYPE_CHECKING:
    from handlens.data.groups import GroupSpec
    from handlens.data.samples import Samples
    from handlens.recipe import Recipe

app = typer.Typer(
    name="handlens",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning for pictures of materials and parts: a folder of photographs in, a report out.",
)

STOPPED = 130

Data = Annotated[
    Path,
    typer.Argument(
        help="A folder with one folder a class (or train/val/test with these inside), a .csv or .parquet "
        "table with columns path and label, a folder with a label file beside each picture, or a manifest."
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


@app.callback(invoke_without_command=True)
def handlens(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Transfer learning for pictures of materials and parts: a folder of photographs in, a report out."""
    if version:
        sys.stdout.write(f"handlens {__version__}\n")
        raise typer.Exit


@app.command()
def train(
    data: Data,
    recipe: RecipeName = "careful",
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder; without it runs/<data>-<recipe>-<n>.")
    ] = None,
    group: GroupPattern = None,
    group_level: GroupLevel = None,
    group_column: GroupColumn = None,
    label: Label = None,
    class_names: ClassNames = None,
    as_json: Json = False,
) -> None:
    """Train on pictures and report how good the result is.

    Given again after a stop, the same command goes on where it stopped.
    """
    from handlens.api import run_folder_for
    from handlens.pipeline import run_recipe
    from handlens.training import distributed

    extra = group_settings(group, group_level, group_column)
    with distributed.joined():
        chosen, samples = recipe_and_samples(recipe, settings, extra, data, label, class_names)
        folder = out or distributed.from_main(run_folder_for(samples, chosen))
        run = run_recipe(chosen, samples, folder, command_line(folder))
        if distributed.is_main():
            show_run(run.path, as_json)


@app.command()
def evaluate(
    run: Run,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Other labelled pictures to judge; without it, the run's own."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the judgments, to a .parquet or .csv file.")
    ] = None,
    group: GroupPattern = None,
    group_level: GroupLevel = None,
    group_column: GroupColumn = None,
    label: Label = None,
    class_names: ClassNames = None,
    as_json: Json = False,
) -> None:
    """Show how good a run is, on its own test side or on other labelled pictures."""
    from handlens import terminal
    from handlens.data.samples import Samples
    from handlens.trained import TrainedRun

    trained = TrainedRun(run)
    if data is None:
        metrics = trained.recompute()
    else:
        tasks = trained.recipe.data.tasks
        samples = Samples.read(data, label=label, class_names=class_names, tasks=tasks)
        metrics, judged = trained.evaluate(samples, group_spec(group, group_level, group_column))
        terminal.print_bad(judged.bad)
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
def split(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the manifest, .parquet or .csv.")],
    ratios: Annotated[
        str, typer.Option("--ratios", help="train:test or train:val:test, for example 8:2 or 6:2:2.")
    ] = "8:2",
    folds: Annotated[
        int | None, typer.Option("--folds", help="Cross-validation: into how many parts.")
    ] = None,
    fold: Annotated[int, typer.Option("--fold", help="Which part is the test side, from 0.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives another split.")] = 0,
    group: GroupPattern = None,
    group_level: GroupLevel = None,
    group_column: GroupColumn = None,
    label: Label = None,
    class_names: ClassNames = None,
    as_json: Json = False,
) -> None:
    """Divide pictures into sides, whole groups together, and write a manifest to train from."""
    from handlens import terminal
    from handlens.data.check import DataSpec, check
    from handlens.data.groups import GroupSpec
    from handlens.data.samples import Samples
    from handlens.data.split import SplitSpec
    from handlens.data.split import split as divide

    spec = SplitSpec.parse(
        {"ratios": ratios, "folds": folds, "fold": fold, "seed": seed, "keep_given": False}, "The split"
    )
    groups = group_spec(group, group_level, group_column) or GroupSpec()
    samples = Samples.read(data, label=label, class_names=class_names)
    checked = check(samples, DataSpec(group=groups))
    divided, told = divide(checked.samples, spec)
    divided.save(out)
    terminal.print_bad(checked.bad)
    if as_json:
        terminal.print_json({"manifest": str(out), **told.model_dump(mode="json")})
    else:
        for sentence in (*told.sentences(), *checked.conflicts, *checked.notes):
            terminal.print_line(sentence)
        terminal.print_line(f"Manifest: {out}")


@app.command()
def views(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the picture, .jpg or .png.")],
    recipe: RecipeName = "careful",
    settings: Settings = None,
) -> None:
    """Draw what the network sees: pictures as they are, as judged, and as trained on."""
    from handlens import terminal
    from handlens.report.views import write_preview

    chosen, samples = recipe_and_samples(recipe, settings, [], data)
    write_preview(samples, chosen.views, out)
    terminal.print_line(f"Views: {out}")


@app.command()
def find_rate(
    data: Data,
    recipe: RecipeName = "careful",
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Draw the loss at each rate, to a .svg or .html file.")
    ] = None,
    group: GroupPattern = None,
    group_level: GroupLevel = None,
    group_column: GroupColumn = None,
    label: Label = None,
    class_names: ClassNames = None,
    as_json: Json = False,
) -> None:
    """Find a learning rate for a recipe: a sweep from far too small to far too large, on training pictures.

    No run is written.
    """
    from handlens import find_rate as story
    from handlens import terminal

    if out:
        story.refuse_other_ending(out)
    extra = group_settings(group, group_level, group_column)
    found = story.find_rate(*recipe_and_samples(recipe, settings, extra, data, label, class_names))
    if out:
        found.write(out)
    if as_json:
        terminal.print_json(found.as_json() | ({"picture": str(out)} if out else {}))
    else:
        terminal.print_rate(found, out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to put the pictures and the run.")] = Path(
        "handlens-demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other pictures.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw pictures of five materials, train on them, and report: no network, no data, two minutes.

    The report also says what the weights in the package were worth, beside the same with random ones.
    """
    from handlens.demo import run_demo
    from handlens.training import distributed

    with distributed.joined():
        run = run_demo(out, seed, command_line())
        if distributed.is_main():
            show_run(run.path, as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine has, what is missing, and how to mend it."""
    from dataclasses import asdict

    from handlens import terminal
    from handlens.doctor import examine

    findings = examine()
    if as_json:
        terminal.print_json([asdict(finding) for finding in findings])
    else:
        rows = [(found.what, found.state, found.found, found.mend) for found in findings]
        terminal.print_table(("what", "state", "found", "how to mend it"), rows)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(2)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe, fully resolved.")] = None,
    as_json: Json = False,
) -> None:
    """List the recipes in the package, or print one to start from."""
    from handlens import terminal
    from handlens.recipe import Recipe, starters

    if name:
        chosen = Recipe.load(name)
        terminal.print_json(chosen.resolved()) if as_json else terminal.print_line(chosen.to_yaml())
        return
    told = [(starter, Recipe.load(starter).description) for starter in starters()]
    if as_json:
        terminal.print_json([{"name": starter, "description": text} for starter, text in told])
    else:
        terminal.print_table(("recipe", "what it is good for"), told)


@app.command()
def backbones(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern such as 'timm/resnet*'.")] = "",
    as_json: Json = False,
) -> None:
    """List the backbones whose names match."""
    from handlens import terminal
    from handlens.models.backbones import matching

    found = matching(pattern)
    if as_json:
        terminal.print_json([{"name": name, "weights": where} for name, where in found])
    else:
        terminal.print_table(("backbone", "weights at hand"), found)


@app.command()
def modules(
    backbone: Annotated[
        str, typer.Argument(help="A backbone, for example torchvision/resnet18 ('handlens backbones').")
    ],
    edit: Annotated[
        list[str] | None,
        typer.Option(
            "--edit",
            metavar="{...}",
            help="Also show what an edit would touch, for example '{insert: eca, after: blocks}'; may be "
            "repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the parts of a network by the names and roles that edits and freezing call them by."""
    from dataclasses import asdict

    from handlens import terminal
    from handlens.base.spec import read_yaml
    from handlens.models.build import ModelSpec
    from handlens.models.figures import modules_of

    edits = [read_yaml(text, "--edit") for text in edit or []]
    spec = ModelSpec.parse({"backbone": backbone, "edits": edits}, "The command")
    rows = modules_of(spec)
    if as_json:
        terminal.print_json([asdict(row) for row in rows])
    else:
        terminal.print_modules(rows)


@app.command()
def model(
    recipe: Annotated[str, typer.Argument(help="A recipe in the package or a YAML file.")],
    settings: Settings = None,
    classes: Annotated[
        list[int] | None,
        typer.Option(
            "--classes",
            min=1,
            help="The number of classes; once for each task. Without it 1000, as networks are published.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a recipe's network is made of: weights, size, arithmetic, shapes, what its edits touch.

    No weights are read or downloaded for it.
    """
    from dataclasses import asdict

    from handlens import terminal
    from handlens.models.figures import figures_of
    from handlens.recipe import Recipe

    chosen = Recipe.load(recipe, settings or [])
    side = chosen.views.judge.size
    figures, touched = figures_of(chosen.model, classes or [1000], side)
    if as_json:
        edits = [{"edit": str(each.edit), "modules": each.names} for each in touched]
        terminal.print_json({**asdict(figures), "edits": edits})
    else:
        terminal.print_model(figures, touched, side)


def recipe_and_samples(
    recipe: str,
    settings: list[str] | None,
    extra: list[str],
    data: Path,
    label: str | None = None,
    class_names: Path | None = None,
) -> "tuple[Recipe, Samples]":
    """The recipe with its settings, and the pictures with the labels that it asks for."""
    from handlens.data.samples import Samples
    from handlens.recipe import Recipe

    chosen = Recipe.load(recipe, [*(settings or []), *extra])
    samples = Samples.read(data, label=label, class_names=class_names, tasks=chosen.data.tasks)
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


def command_line(folder: Path | None = None) -> str:
    """The command as it was given, with the run folder that it chose."""
    given = ["handlens", *sys.argv[1:]]
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


def main() -> None:
    """Run a command and end the process.

    Ended at once, because PyTorch takes half a second or more to leave in good order; what was to be
    written is written by then.
    """
    # Collecting garbage while thousands of modules are imported finds none and takes a tenth of the time.
    gc.set_threshold(100_000, 50, 50)
    code = run_command()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # whoever read the output has gone
        code = code or 1
    os._exit(code)


def run_command() -> int:
    """The exit code: 2 with a sentence for what the user can mend, 1 for a mistake of ours."""
    debug = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        app()
    except HandlensError as error:
        if debug:
            traceback.print_exc()
        elif not isinstance(error, ToldAlready):
            sys.stderr.write(f"handlens: {error}\n")
        return 2
    except SystemExit as ended:
        if ended.code == STOPPED:
            sys.stderr.write("\nStopped. Give the same command again and it goes on.\n")
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            sys.stderr.write(
                f"handlens: this is a mistake in Handlens, not yours: {type(error).__name__}: {error}\n"
                "Give the command again with --debug to see where, and report it.\n"
            )
        return 1
    return 0


if __name__ == "__main__":
    main()
