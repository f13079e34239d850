"""More pictures from those that there are."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Data, Json
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options


@app.command()
@reading_options()
def expand(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A new folder for the pictures, beside their manifest.")
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="What is done: graphite, minerals, or a YAML file.")
    ] = "minerals",
    factor: Annotated[
        list[str] | None,
        typer.Option(
            "--factor",
            metavar="N|CLASS=N",
            help="How many times as many pictures in all, originals included; may be repeated for classes.",
        ),
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="Bring all classes level.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed draws other pictures.")] = None,
    picture_format: Annotated[
        Literal["like", "jpg", "png"] | None,
        typer.Option("--picture-format", help="How pictures are written: like the original, or all as one."),
    ] = None,
    paper_protocol: Annotated[
        bool,
        typer.Option(
            "--paper-protocol",
            help="Expand before any split, as the papers do. Every run on it leaks, and its report says so.",
        ),
    ] = False,
    ratios: Annotated[
        str, typer.Option("--ratios", help="Where pictures have no sides: train:test or train:val:test.")
    ] = "8:2",
    split_seed: Annotated[int, typer.Option("--split-seed", help="Another seed gives another split.")] = 0,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Make more pictures of those on the training side: flips, turns, crops, brightness, noise.

    The test side stays as it is. Given again after a stop, the same command goes on. Train on the folder that
    comes out: its manifest names the originals too.
    """
    require_folder(out)
    from handlens import terminal
    from handlens.data.expand import expand as make
    from handlens.data.expand_plan import ExpandSpec
    from handlens.data.split import SplitSpec

    spec = ExpandSpec.load(recipe).changed(factor or [], balance, seed, picture_format)
    made = make(
        reading.samples(data),
        data,
        out,
        spec,
        division=SplitSpec.parse({"ratios": ratios, "seed": split_seed}, "The split"),
        group=reading.group_spec(),
        paper_protocol=paper_protocol,
    )
    terminal.print_bad(made.bad)
    if as_json:
        told = {"folder": str(made.folder), "made": made.num_made, "pictures": len(made.samples)}
        terminal.print_json({**told, "notes": made.sentences})
        return
    for sentence in made.sentences:
        terminal.print_line(sentence)
    taken = len(made.samples) - made.num_made
    terminal.print_line(f"Made {made.num_made:,} pictures; the manifest names the {taken:,} originals too.")
    terminal.print_line(f"Train on it: handlens train {made.folder}")
