"""The demo: pictures that Handlens draws itself, a run on them, and its report. No network, no data."""

from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.data.samples import Samples
from handlens.data.surfaces import draw_samples
from handlens.pipeline import run_recipe
from handlens.recipe import Recipe
from handlens.run import RunFolder
from handlens.training import distributed

NUM_SPECIMENS = 16
SHOTS = 5
SIZE = 192


def run_demo(folder: Path, seed: int, command: str) -> RunFolder:
    """Draw `folder/pictures`, once, and train in `folder/run`."""
    if folder.exists() and not folder.is_dir():
        raise HandlensError(f"{folder} is a file. Choose a folder with --out.")
    pictures = folder / f"pictures-{seed}"
    drawn = folder / f".pictures-{seed}-are-complete"
    with distributed.main_first():
        if not drawn.is_file():
            draw_samples(pictures, NUM_SPECIMENS, SHOTS, SIZE, seed)
            drawn.touch()
    recipe = Recipe.load("demo", [f"split.seed={seed}"])
    return run_recipe(recipe, Samples.from_folder(pictures), folder / f"run-{seed}", command)
