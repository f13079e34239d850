"""What a careful person would look at before believing any number."""

from pathlib import Path
from typing import Annotated

import typer

from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Data, Json
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options
from handlens.cli.runs import command_line

MUST_BE_MENDED = 3


@app.command()
@reading_options()
def audit(
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The folder for audit.html, actions.csv and audit.json; else audits/<data>."
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Without a network: no search for wrong labels, and copies in doubt do not count."
        ),
    ] = False,
    split: Annotated[
        Path | None,
        typer.Option("--split", help="A manifest or table with the split to audit, where DATA has no sides."),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            "--apply",
            metavar="MANIFEST",
            help="Write a new .csv or .parquet manifest in which the table of actions is done: the one in "
            "the folder if you have changed it, else a fresh one. Pictures are never touched.",
        ),
    ] = None,
    actions: Annotated[
        Path | None, typer.Option("--actions", help="With --apply: the table, where it lies elsewhere.")
    ] = None,
    relabel: Annotated[
        bool,
        typer.Option("--relabel", help="With --apply: take over all labels that are proposed as 'relabel?'."),
    ] = False,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help="Take the network, the view and the labels of this recipe."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="The network that looks for wrong labels; else handlens/nano."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="a.b=c", help="Change a threshold, such as files.most_blurred=0.7."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other folds.")] = 0,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Look for what makes figures wrong: broken files, copies, leaks, wrong labels, shortcuts, small classes.

    Nothing that is there is changed. Exit code 3 says that something has to be mended.
    """
    require_folder(out)
    from handlens import terminal
    from handlens.audit.audit import audit_folder
    from handlens.audit.given_split import with_split_of
    from handlens.audit.mend import audit_or_mend
    from handlens.audit.spec import AuditSpec, backbone_settings

    extra = [*backbone_settings(backbone), *reading.group_settings()]
    extra += [f"seed={seed}", f"quick={quick}".lower()]
    spec = AuditSpec.load(recipe, [*extra, *(settings or [])])
    samples = reading.samples(data, spec.data.tasks)
    samples = with_split_of(samples, split) if split else samples
    folder = out or audit_folder(data)
    done = audit_or_mend(
        samples, spec, folder, command_line(folder), apply=apply, table=actions, relabel=relabel
    )
    if as_json:
        terminal.print_json(done.as_json())
    else:
        for line in done.lines():
            terminal.print_line(line)
    if done.must:
        raise typer.Exit(MUST_BE_MENDED)
