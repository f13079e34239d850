"""Trying Handlens out on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import (
    Json,
)
from handlens.cli.runs import command_line, show_run


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
    require_folder(out)
    from handlens.api import with_maps
    from handlens.demo import run_demo
    from handlens.training import distributed

    with distributed.joined():
        run = run_demo(out, seed, command_line())
        main = distributed.is_main()
        if main:
            show_run(run.path, as_json)
    if main:
        with_maps(run)


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
