"""Pictures in a form that other programs read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from handlens.base.writable import require_file, require_folder
from handlens.cli.app import app
from handlens.cli.options import Data, Json
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options


@app.command()
@reading_options()
def convert(
    data: Data,
    to: Annotated[
        Literal["folder", "table"],
        typer.Option("--to", help="One folder a class, below the sides if there are any; or a plain table."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A new folder, or a new .csv or .parquet file for a table.")
    ],
    link: Annotated[
        bool, typer.Option("--link", help="Link to the pictures instead of copying them, for a folder.")
    ] = False,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Write pictures of any form as class folders, or as a table. Originals are never touched."""
    (require_folder if to == "folder" else require_file)(out)
    from handlens import terminal
    from handlens.data.formats.writing import convert as write
    from handlens.data.groups import assign_groups

    samples = reading.samples(data)
    groups = reading.group_spec()
    if groups is not None:
        samples = assign_groups(samples, groups)
    path, notes = write(samples, to, out, "link" if link else "copy")
    if as_json:
        terminal.print_json({"written": str(path), "pictures": len(samples), "notes": notes})
        return
    for note in notes:
        terminal.print_line(note)
    terminal.print_line(f"{len(samples):,} pictures written to {path}")
