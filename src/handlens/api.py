"""The Python way: `train` and `load_run`."""

from pathlib import Path

from handlens.data.samples import Samples
from handlens.pipeline import run_recipe
from handlens.recipe import Recipe
from handlens.run import RunFolder
from handlens.trained import TrainedRun
from handlens.training import distributed


def train(
    samples: Samples | Path | str, recipe: Recipe | Path | str = "careful", out: Path | str | None = None
) -> TrainedRun:
    """Train on pictures and give back the finished run.

    `samples` may be a folder or a table, `recipe` a name or a file. Without `out` the run goes to
    `runs/<name>-<n>`; an unfinished run of the same recipe and pictures is gone on with. Called by several
    processes that torchrun started together, it trains with all of them.
    """
    with distributed.joined():
        recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
        samples = samples if isinstance(samples, Samples) else Samples.read(samples, tasks=recipe.data.tasks)
        folder = Path(out) if out is not None else distributed.from_main(run_folder_for(samples, recipe))
        run, main = run_recipe(recipe, samples, folder), distributed.is_main()
    return with_maps(run) if main else TrainedRun(run.path)


def with_maps(run: RunFolder) -> TrainedRun:
    """A finished run, whose report shows what misled it.

    One process alone draws that: where several still work together, the report stays without.
    """
    from handlens.explain.gallery import map_mistakes

    trained = TrainedRun(run.path)
    if distributed.world() == 1:
        map_mistakes(trained)
    return trained


def load_run(folder: Path | str) -> TrainedRun:
    """Take up a finished run again."""
    return TrainedRun(folder)


def run_folder_for(samples: Samples, recipe: Recipe, runs: Path = Path("runs")) -> Path:
    """`runs/<data>-<recipe>-<n>`: an unfinished one of the same recipe and pictures, else the next."""
    name = f"{samples.root.stem if samples.root.suffix else samples.root.name}-{recipe.name}"
    number = 1
    while True:
        run = RunFolder(runs / f"{name}-{number}")
        if not run.path.exists():
            return run.path
        if not run.done and goes_on(run, samples, recipe):
            return run.path
        number += 1


def goes_on(run: RunFolder, samples: Samples, recipe: Recipe) -> bool:
    """Whether an unfinished run was begun with this recipe and these pictures."""
    if not run.recipe_path.is_file() or run.read_recipe() != recipe.resolved():
        return False
    # Without its samples it was stopped before there was anything to lose.
    return not run.samples_path.is_file() or Samples.from_manifest(run.samples_path).root == samples.root
