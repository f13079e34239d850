"""The demo: pictures that Handlens draws itself, a run on them, and its report. No network, no data."""

from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.base.progress import say
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
    """Draw pictures into `folder`, once, and train on them: with random weights, then with the package's."""
    if folder.exists() and not folder.is_dir():
        raise HandlensError(f"{folder} is a file. Choose a folder with --out.")
    pictures = folder / f"pictures-{seed}"
    drawn = folder / f".pictures-{seed}-are-complete"
    with distributed.main_first():
        if not drawn.is_file():
            draw_samples(pictures, NUM_SPECIMENS, SHOTS, SIZE, seed)
            drawn.touch()
    samples = Samples.from_folder(pictures)
    settings = [f"split.seed={seed}"]
    run, beside = RunFolder(folder / f"run-{seed}"), RunFolder(folder / f"run-{seed}-random-weights")
    if not distributed.from_main(run.done):
        say("First, for comparison, the same with random weights.")
        run_recipe(Recipe.load("demo", [*settings, "model.weights=none"]), samples, beside.path, command)
        say("Now with the weights in the package.")
    return run_recipe(Recipe.load("demo", settings), samples, run.path, command, beside)
