"""More pictures of a class that there are too few of."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Data, Json, RecipeName
from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options


@app.command()
@reading_options()
def synthesize(
    data: Data,
    class_: Annotated[str, typer.Option("--class", help="The class that there are too few pictures of.")],
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures of it to make.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A new folder for the pictures, beside their manifest.")
    ],
    way: Annotated[
        Literal["diffusion", "blend", "augment"],
        typer.Option(
            "--way",
            help="diffusion: a generative model. blend: defects cut out and blended into other pictures of "
            "the class. augment: training pictures after strong changes. The manifest names the pictures of "
            "this way.",
        ),
    ] = "diffusion",
    beside: Annotated[
        str,
        typer.Option("--beside", help="Other ways to compare it with, with commas between them, or 'none'."),
    ] = "blend,augment",
    steps: Annotated[
        int | None, typer.Option("--steps", help="Training steps of the generative model; without it 3000.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", help="Side of the pictures that it draws, in pixels; without it 64."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other pictures.")] = 0,
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats",
            help="Trainings with the pictures and without, to tell what they are worth; 0: not measured.",
        ),
    ] = 3,
    recipe: RecipeName = "quick",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="a.b=c",
            help="Change one value of how pictures are made (diffusion.width=64, turn=true) or of the recipe "
            "(train.epochs=20); may be repeated.",
        ),
    ] = None,
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", help="Where pictures have no sides: train:test or train:val:test."),
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option("--split-seed", help="Another seed gives another split.")
    ] = None,
    allow_leak: Annotated[
        bool,
        typer.Option(
            "--allow-leak",
            help="Go on although test pictures have copies in training, and have the page say so.",
        ),
    ] = False,
    reading: ReadingOptions = AS_FOUND,
    as_json: Json = False,
) -> None:
    """Make more pictures of a rare class, drop those that are copies, and tell whether they help.

    Only the training side is learned from. Given again after a stop, the same command goes on. All three ways
    stand side by side on the page, judged on real test pictures.
    """
    require_folder(out)
    from handlens import terminal
    from handlens.recipe import Recipe
    from handlens.synthesis.spec import SynthesisSpec
    from handlens.synthesis.synthesize import synthesize as make

    own, others = SynthesisSpec.parted(settings or [])
    own += _settings("diffusion", steps=steps, size=size)
    others += _settings("split", ratios=ratios, seed=split_seed, allow_leak=allow_leak or None)
    spec = SynthesisSpec.of(own, way=way, beside=beside, seed=seed, repeats=repeats)
    chosen = Recipe.load(recipe, [*others, *reading.group_settings()])
    done = make(
        data,
        out,
        class_,
        count,
        spec,
        chosen,
        label_column=reading.label,
        class_names=reading.class_names,
        form=reading.form,
    )
    terminal.print_bad(done.bad)
    if as_json:
        terminal.print_json(done.as_json())
        return
    for sentence in (*done.notes, "", done.result.verdict, *done.result.sentences()):
        terminal.print_line(sentence)
    terminal.print_table(*done.result.table())
    terminal.print_line(f"Look at the pictures: {done.page}")
    if not done.result.discouraged:
        terminal.print_line(f"Train with them: handlens train {done.folder}")


def _settings(part: str, **values: object) -> list[str]:
    """Options as settings, those that were given."""
    import json

    return [f"{part}.{name}={json.dumps(value)}" for name, value in values.items() if value is not None]
