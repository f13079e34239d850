"""The story of a search for a learning rate: a recipe and pictures in, a rate and a picture out.

Nothing is trained for keeps, only pictures of the training side are looked at, and no run is written.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlens.base.errors import HandlensError
from handlens.base.files import whole_file
from handlens.base.progress import progress
from handlens.data.check import check, kinds_of
from handlens.data.samples import Samples
from handlens.data.sides import Sides
from handlens.data.split import split
from handlens.learn import aims_of, begin_with_head, new_head
from handlens.recipe import Recipe
from handlens.report.rates import draw_rates, rates_page
from handlens.training.aims import Aims
from handlens.training.device import a_core_a_batch, choose_device
from handlens.training.extract import Extractor
from handlens.training.finder import NUM_STEPS, Suggestion, Sweep, suggest, sweep
from handlens.training.lesson import Lesson
from handlens.training.train_head import head_lesson

WRITTEN = (".svg", ".html")


@dataclass(frozen=True)
class FoundRate:
    """A learning rate for a recipe, and what it was found by."""

    sweep: Sweep
    suggestion: Suggestion
    learner: str
    """What learned, in words."""
    recipe_rate: float
    """The rate that the recipe has."""

    @property
    def headline(self) -> str:
        """What was found."""
        return f"Learning rate {self.suggestion.rate:g}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What for, why, and what else was seen, for people."""
        best = self.suggestion
        told = [
            f"It is for {self.learner}; the recipe has {self.recipe_rate:g}.",
            f"Taken because {best.why}.",
        ]
        if best.steepest is not None and best.lowest is not None:
            told.append(f"The loss falls most around {best.steepest:.2g} and is least at {best.lowest:.2g}.")
        return tuple(told)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        best, swept = self.suggestion, self.sweep
        return {
            "learning_rate": best.rate,
            "setting": best.setting,
            "point": best.point,
            "why": best.why,
            "steepest": best.steepest,
            "lowest": best.lowest,
            "recipe_learning_rate": self.recipe_rate,
            "learner": self.learner,
            "ended": swept.ended,
            "rates": swept.rates,
            "losses": swept.losses,
            "smoothed": swept.smoothed,
        }

    def write(self, path: Path) -> None:
        """Draw the loss at each rate, as a picture or as a page."""
        refuse_other_ending(path)
        best, swept = self.suggestion, self.sweep
        svg = draw_rates(swept.rates, swept.losses, swept.smoothed, best.rate, best.steepest, best.lowest)
        content = svg if path.suffix.lower() == ".svg" else self._page(svg).encode()
        with whole_file(path) as partial:
            partial.write_bytes(content)

    def _page(self, svg: bytes) -> str:
        return rates_page(svg, self.headline, self.sentences, f"--set {self.suggestion.setting}")


def refuse_other_ending(path: Path) -> None:
    """A picture or a page can be written, nothing else."""
    if path.suffix.lower() not in WRITTEN:
        raise HandlensError(f"--out {path}: the name must end in {' or '.join(WRITTEN)}.")


def find_rate(recipe: Recipe, samples: Samples) -> FoundRate:
    """Find a learning rate for what a recipe trains: a head on kept features, or a network."""
    checked = check(samples, recipe.data)
    kinds = kinds_of(checked.samples, recipe.data)
    divided, _ = split(checked.samples, recipe.split)
    learning = Sides.of(divided, checked.tasks).only("train")
    extractor = Extractor(
        recipe.model, recipe.views, choose_device(recipe.train.precision), recipe.data.pixel_limit
    )
    aims = aims_of(recipe, learning, kinds)
    head_only = recipe.model.only_head_trains
    with a_core_a_batch() if head_only else nullcontext():
        lesson, learner = (of_head if head_only else of_network)(recipe, learning, extractor, aims)
        with progress("Trying learning rates", NUM_STEPS, "steps") as advance:
            swept = sweep(lesson, recipe.train, recipe.train.seed, advance)
    return FoundRate(swept, suggest(swept), learner, recipe.train.optimiser.learning_rate)


def of_head(recipe: Recipe, learning: Sides, extractor: Extractor, aims: Aims) -> tuple[Lesson, str]:
    """A new head, with the first kind of views."""
    table = extractor.table(learning.shots, next(iter(recipe.views.kinds)))
    head = new_head(recipe, table, aims)
    places = learning.places("train")
    lesson = head_lesson(head, table, learning.all_targets, places, None, recipe.train, aims)
    return lesson, "the head on kept features"


def of_network(recipe: Recipe, learning: Sides, extractor: Extractor, aims: Aims) -> tuple[Lesson, str]:
    """A network as its training begins: with the head trained first, where the recipe says so."""
    from handlens.training.finetune import NetworkTrainer

    _, choice, head = begin_with_head(recipe, learning, extractor, [], aims)
    trainer = NetworkTrainer(extractor, recipe.train, learning, aims, choice.kind)
    lesson = trainer.lesson(trainer.network(head), learning.places("train"), None)
    return lesson, "the network" if head is None else "the network, its head trained first"
