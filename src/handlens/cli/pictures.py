"""What is done with pictures before training."""

from pathlib import Path
from typing import Annotated

import typer

from handlens.base.writable import require_file
from handlens.cli.app import app
from handlens.cli.options import Data, Json, RecipeName, Settings
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options


@app.command()
@reading_options()
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
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Divide pictures into sides, whole groups together, and write a manifest to train from."""
    require_file(out)
    from handlens import terminal
    from handlens.data.check import DataSpec, check
    from handlens.data.groups import GroupSpec
    from handlens.data.split import SplitSpec
    from handlens.data.split import split as divide

    spec = SplitSpec.parse(
        {"ratios": ratios, "folds": folds, "fold": fold, "seed": seed, "keep_given": False}, "The split"
    )
    groups = reading.group_spec() or GroupSpec()
    samples = reading.samples(data)
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
@reading_options(groups=False)
def views(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the picture, .jpg or .png.")],
    recipe: RecipeName = "careful",
    settings: Settings = None,
    reading: ReadingOptions = AS_FOUND,
) -> None:
    """Draw what the network sees: pictures as they are, as judged, and as trained on."""
    require_file(out)
    from handlens import terminal
    from handlens.report.views import write_preview

    chosen, samples = reading.recipe_and_samples(data, recipe, settings)
    write_preview(samples, chosen.views, out)
    terminal.print_line(f"Views: {out}")
