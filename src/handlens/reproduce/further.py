"""Where a paper says that the field must go: few pictures a class, and sites that were never seen."""

from dataclasses import dataclass
from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.data.names import name_of_data
from handlens.data.samples import Samples
from handlens.recipe import Recipe
from handlens.study.curve import PAGE as CURVE_PAGE
from handlens.study.curve import draw_curve
from handlens.study.curve_results import CurveSpec
from handlens.study.sites import PAGE as SITES_PAGE
from handlens.study.sites import across_sites
from handlens.study.sites_results import SitesSpec
from handlens.study.study import Study

QUICK_STEPS, QUICK_DRAWS = (1, 2, 5), 3
NO_SITE_COLUMN = (
    "No page about other sites: --site-column tells which column names the factory, line, camera or day."
)


@dataclass(frozen=True)
class Further:
    """The pages, and what they answer or why there is none."""

    pages: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Further") -> "Further":
        return Further((*self.pages, *other.pages), (*self.notes, *other.notes))


def further_pages(
    study: Study, samples: Samples, source: str, out: Path, column: str | None, quick: bool, command: str
) -> Further:
    """A learning curve from few pictures, and each site left out, with the first row whose head alone trains.

    Both learn heads from its features, which are there already.
    """
    cell = next(
        (
            cell
            for cell in study.cells
            if study.outcome(cell).state == "done"
            and cell.only_head
            and cell.recipe
            and not cell.recipe.data.tasks
        ),
        None,
    )
    if cell is None or cell.recipe is None:
        return Further(
            notes=(
                "No pages about few pictures and other sites: they need a finished row in which the head "
                "alone trains.",
            )
        )
    which = Further(notes=(f"Few pictures and other sites are of the row “{cell.row}”.",))
    data = name_of_data(source)
    few = few_pictures(cell.recipe, samples, data, out / "few-pictures", quick, command)
    return which + few + other_sites(cell.recipe, samples, data, out / "sites", column, command)


def few_pictures(
    recipe: Recipe, samples: Samples, data: str, folder: Path, quick: bool, command: str
) -> Further:
    """By number of pictures a class: the row's head, prototypes, cosine head and ridge beside each other."""
    spec = CurveSpec(steps=QUICK_STEPS, draws=QUICK_DRAWS) if quick else CurveSpec()
    try:
        told = draw_curve(recipe, samples, folder, spec, command, data)
    except HandlensError as error:
        return Further(notes=(f"No page about few pictures. {error}",))
    return Further((folder / CURVE_PAGE,), (f"Few pictures a class: {told.answer}",))


def other_sites(
    recipe: Recipe, samples: Samples, data: str, folder: Path, column: str | None, command: str
) -> Further:
    """Each site of the column left out in turn."""
    if column is None:
        return Further(notes=(NO_SITE_COLUMN,))
    try:
        told = across_sites(recipe, samples, folder, SitesSpec(column=column), command, data)
    except HandlensError as error:
        return Further(notes=(f"No page about other sites. {error}",))
    return Further((folder / SITES_PAGE,), tuple(f"Other sites: {sentence}" for sentence in told.answer))
