"""The cells of a study: which runs there are, what each is called, and the recipe of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handlens.base.errors import HandlensError, Problems
from handlens.base.files import digest
from handlens.recipe import Recipe, lay_over, read_recipe_file
from handlens.run import file_word
from handlens.study.settings import laid_over
from handlens.study.spec import PLAIN, RECIPE, StudySpec


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    row: str
    """What its row is called."""
    values: Mapping[str, str]
    """The name of its value on each axis."""
    seed: int
    fold: int | None
    recipe: Recipe | None = field(default=None, repr=False)
    """All that the run needs but the pictures; none where only the names are of interest."""

    @property
    def name(self) -> str:
        """What it is called: its row, seed and fold."""
        return f"{self.row}, seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold}")

    @property
    def word(self) -> str:
        """The name of its run folder, the same whatever else the study has."""
        words = [file_word(value) for value in self.values.values() if value] or [PLAIN]
        fold = "" if self.fold is None else f"-fold-{self.fold}"
        return f"{'-'.join(words)}-seed-{self.seed}{fold}"

    @property
    def only_head(self) -> bool:
        """Whether its network never changes, so that its features are kept for others."""
        return self.recipe is not None and self.recipe.model.only_head_trains

    @property
    def features(self) -> str | None:
        """What its features depend on besides the pictures; none where the network trains too.

        Of a network that trains, little is shared, and nobody waits for the end of its training.
        """
        if self.recipe is None or not self.only_head:
            return None
        model, views = self.recipe.model, self.recipe.views
        seed = str(model.seed) if model.weights == "none" else ""
        network = model.model_dump_json(exclude={"head", "freeze", "seed"})
        return digest(network, seed, views.model_dump_json(exclude={"average"}), self.recipe.train.precision)


def named_cells(study: StudySpec) -> list[Cell]:
    """All cells by name, in their order: every row once, then every row with the next fold, then seed.

    A study that is stopped early has so the whole table from its first trainings.
    """
    folds = range(study.folds) if study.folds else (None,)
    return [
        Cell(row_name(values), values, seed, fold)
        for seed in study.seeds
        for fold in folds
        for values in study.combinations
    ]


def cells_of(study: StudySpec, extra: Sequence[str] = ()) -> list[Cell]:
    """All cells with their recipes; `extra` are settings, as `a.b=c`, that are laid over each at the end.

    All that is wrong with any of them is told at once, before anything runs.
    """
    cells, problems = [], dict[str, str]()
    for cell in named_cells(study):
        try:
            cells.append(Cell(cell.row, cell.values, cell.seed, cell.fold, recipe_of(study, cell, extra)))
        except Problems as error:
            for problem in error.problems:
                problems.setdefault(problem, cell.row)
        except HandlensError as error:
            problems.setdefault(str(error), cell.row)
    if problems:
        told = (f"{problem} (in {row!r})" for problem, row in problems.items())
        raise Problems(f"The study {study.name} cannot be run:", told)
    if not cells:
        raise HandlensError("The study has no runs: 'skip' leaves out all of them. Take something out of it.")
    _refuse_twins(cells)
    return cells


def row_name(values: Mapping[str, str]) -> str:
    """What a row is called: the names of its values."""
    return " + ".join(filter(None, values.values())) or PLAIN


def recipe_of(study: StudySpec, cell: Cell, extra: Sequence[str] = ()) -> Recipe:
    """The recipe of a cell: the base, settings of the study, its values and by hand, then seed and fold."""
    chosen = [study.differing[axis][value] for axis, value in cell.values.items()]
    base: Any = next((each[RECIPE] for each in reversed(chosen) if RECIPE in each), study.recipe)
    values = dict(base) if isinstance(base, dict) else read_recipe_file(base)
    for settings in (study.settings, *chosen):
        values = laid_over(values, {key: value for key, value in settings.items() if key != RECIPE})
    for setting in extra:
        lay_over(values, setting)
    by_hand: dict[str, Any] = {"train.seed": cell.seed, "model.seed": cell.seed}
    if cell.fold is not None:
        by_hand |= {"split.folds": study.folds, "split.fold": cell.fold}
    return Recipe.parse(laid_over(values, by_hand), f"The recipe of {cell.row}")


def _refuse_twins(cells: Sequence[Cell]) -> None:
    """Two cells of one recipe would be the same run twice; two of one folder would be in each other's way."""
    rows: dict[str, str] = {}
    words: dict[str, str] = {}
    for cell in cells:
        assert cell.recipe is not None
        # The base's name and description change nothing in a run.
        plain = cell.recipe.model_dump_json(exclude={"name", "description"})
        other = rows.setdefault(plain, cell.row)
        if other != cell.row:
            raise HandlensError(
                f"{other!r} and {cell.row!r} have the same recipe, so they would be the same run. Leave one "
                "out with 'skip', or look whether a setting of one is undone by another."
            )
        # Some systems do not tell large letters from small ones.
        other = words.setdefault(cell.word.casefold(), cell.name)
        if other != cell.name:
            raise HandlensError(f"{other!r} and {cell.name!r} are called too much alike. Rename one.")
