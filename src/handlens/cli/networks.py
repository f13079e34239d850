"""What there is to choose from: recipes, backbones, and what is in them."""

from typing import Annotated

import typer

from handlens.cli.app import app
from handlens.cli.options import (
    Json,
    Settings,
)


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
