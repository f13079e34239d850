"""The story of a comparison: run folders in, one table out.

Runs whose recipes differ in nothing but their seeds, on the same pictures, are one row; so are those that a
person gives one name. Runs on the folds of one division are put together first: they judged other pictures,
each those that it did not learn from.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import polars as pl

from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.base.spec import write_yaml
from handlens.data.samples import Samples
from handlens.evaluate.comparison import Entry, compare
from handlens.evaluate.cost import Cost, Session, training_of
from handlens.evaluate.judged_alike import joined
from handlens.evaluate.leaked import Leaked
from handlens.evaluate.measuring import Contender, measure
from handlens.evaluate.predictions import Predictions
from handlens.learned_file import LearnedFile
from handlens.models import backbones
from handlens.models.edits import apply_edits
from handlens.provenance import Provenance
from handlens.recipe import Recipe
from handlens.report.tables import SideBySide
from handlens.report.words import count
from handlens.run import RunFolder

SEEDS = (("train", "seed"), ("model", "seed"), ("split", "fold"))
"""The keys of a recipe in which runs of one row may differ."""


@dataclass(frozen=True)
class Group:
    """The runs of one row."""

    name: str
    runs: tuple[RunFolder, ...]

    @cached_property
    def provenances(self) -> list[Provenance]:
        """Where each run comes from."""
        return [Provenance.parse(run.read_provenance(), str(run.provenance_path)) for run in self.runs]

    def entry(self, side: str) -> Entry:
        """The judgments of each training; those of its folds are put together."""
        trainings = tuple(
            joined([Predictions.read(run.predictions_path(side)) for run in folds], self.name)
            for folds in self.by_training.values()
        )
        return Entry(self.name, trainings, notes=tuple(self._notes()))

    @cached_property
    def by_training(self) -> dict[str, list[RunFolder]]:
        """The folds of each training; where a run is no fold, itself.

        A run with the seeds of one before it is that training again, and tells nothing of what others change.
        """
        found: dict[str, list[RunFolder]] = {}
        for run in self.runs:
            folds = found.setdefault(_training_of(run), [])
            if not folds or _is_fold(run):
                folds.append(run)
        return found

    def _notes(self) -> Iterator[str]:
        """What the reader has to know of it: what makes its figures too good, and which runs tell nothing."""
        again = len(self.runs) - sum(map(len, self.by_training.values()))
        if again:
            yield f"{count(again, 'run')} left out, of the same seeds as one before"
        yield from sorted({mark for each in self.provenances for mark in each.data.marks})
        copied = {
            copy.id
            for run in self.runs
            if (values := run.read_leak()) is not None
            for copy in Leaked.parse(values, str(run.leak_path)).copied
        }
        if copied:
            number = count(len(copied), "test picture has a near copy", "test pictures have near copies")
            yield f"{number} in training"

    @property
    def contender(self) -> Contender:
        """The network of its first run, as it judges."""
        run = self.runs[0]
        recipe = Recipe.parse(run.read_recipe(), str(run.recipe_path))
        model, learned = recipe.model, LearnedFile(run.best_path, recipe.model)
        if learned.facts.whole:
            trunk = learned.trunk()
        else:
            trunk = backbones.create(model.backbone, model.weights, model.seed, model.own_rows).trunk
            apply_edits(trunk, model.edits, model.seed)
        return Contender(
            trunk.eval(),
            learned.head(),
            model.pool,
            recipe.views.judge.normalise,
            recipe.views.judge.size,
            recipe.views.count if learned.facts.average else 1,
            recipe.train.precision,
        )


def compare_runs(
    groups: Sequence[Group],
    figure: str = "accuracy",
    *,
    also: Sequence[str] = ("f1_macro",),
    to: str = "first",
    common: bool = False,
    timed: bool = True,
    threads: int = 1,
    failed: Sequence[Entry] = (),
) -> SideBySide:
    """Compare rows of runs: what may be said of their figures, and what they cost.

    `failed` are rows without figures, which the table names.
    """
    side = common_side(groups)
    refuse_other_contents(groups)
    entries = [*(group.entry(side) for group in groups), *failed]
    comparison = compare(entries, figure, also=also, to=to, common=common)
    costs, session, missing = costs_of(groups, timed, threads)
    return SideBySide(
        comparison,
        side,
        costs,
        {group.name: training_of(group.provenances) for group in groups},
        session,
        {group.name: [run.read_history() for run in group.runs] for group in groups},
        missing,
    )


def groups_of(named: Iterable[str], each: bool = False) -> list[Group]:
    """The rows that are meant by RUN and NAME=RUN, in their order; with `each`, every run is one."""
    given: dict[str, list[RunFolder]] = {}
    unnamed: dict[str, list[RunFolder]] = {}
    order: list[tuple[str, bool]] = []
    for words in named:
        name, path = _name_and_path(words)
        run = RunFolder.open(path)
        if not run.done:
            raise HandlensError(
                f"The run {path} is not finished. Give its 'handlens train' command again and it goes on, or "
                "leave it out."
            )
        key, where = (name, given) if name else (str(run.path) if each else _kind_of(run), unnamed)
        if key not in where:
            order.append((key, where is given))
        where.setdefault(key, []).append(run)
    groups = [
        Group(key if is_named else _name_of(unnamed[key]), tuple((given if is_named else unnamed)[key]))
        for key, is_named in order
    ]
    return _told_apart(groups)


def common_side(groups: Sequence[Group]) -> str:
    """The side of the split that all runs judged: test, or validation where no run has a test side."""
    runs = [run for group in groups for run in group.runs]
    for side in ("test", "val"):
        with_it = [run for run in runs if run.predictions_path(side).is_file()]
        if len(with_it) == len(runs):
            return side
        if with_it and side == "test":
            without = next(run for run in runs if run not in with_it)
            raise HandlensError(
                f"{with_it[0].path} judged a test side and {without.path} has none. Leave out the runs of "
                "one of the two kinds."
            )
    raise HandlensError("These runs judged no pictures, so there is nothing to compare. Train again.")


def refuse_other_contents(groups: Sequence[Group]) -> None:
    """Pictures of one name must be one picture: runs on two sets may use the same names."""
    known: dict[str, tuple[str, RunFolder]] = {}
    for run in (run for group in groups for run in group.runs):
        table = Samples.from_manifest(run.samples_path).table
        if "digest" not in table.columns:
            continue
        for name, content in table.filter(pl.col("split") != "train").select("id", "digest").iter_rows():
            before, first = known.setdefault(name, (content, run))
            if before != content:
                raise HandlensError(
                    f"{name} is another picture in {run.path} than in {first.path}: the runs are of two "
                    "sets of pictures. Compare runs of one set."
                )


def costs_of(
    groups: Sequence[Group], timed: bool, threads: int
) -> tuple[dict[str, Cost], Session | None, tuple[str, ...]]:
    """What each row's network takes; a row whose network is not at hand is named with the reason."""
    contenders: dict[str, Contender] = {}
    missing = []
    for group in groups:
        try:
            contenders[group.name] = group.contender
        except HandlensError as error:
            missing.append(f"Not measured what {group.name} costs: {str(error).splitlines()[0]}")
    costs, session = measure(contenders, timed=timed, threads=threads)
    return costs, session, tuple(missing)


def _name_and_path(words: str) -> tuple[str, Path]:
    """`NAME=RUN`, or a path, which may hold the sign itself."""
    name, sign, path = words.partition("=")
    if sign and name and not Path(words).exists():
        return name, Path(path)
    return "", Path(words)


def _kind_of(run: RunFolder) -> str:
    """What runs of one row have in common: the pictures and the recipe, all but its seeds."""
    recipe = run.read_recipe()
    data = Provenance.parse(run.read_provenance(), str(run.provenance_path)).data
    # Each fold is another split of the same pictures.
    return digest(write_yaml(_without_seeds(recipe)), data.digest, "" if _is_fold(run) else data.split_digest)


def _training_of(run: RunFolder) -> str:
    """What the folds of one training have in common, its seeds; of a run that is no fold, all that it is."""
    recipe = run.read_recipe()
    seeds = "/".join(str(_at(recipe, key)) for key in SEEDS if key != ("split", "fold"))
    return seeds if _is_fold(run) else f"{_kind_of(run)}/{seeds}"


def _is_fold(run: RunFolder) -> bool:
    """Whether it judged one part of a division into folds."""
    return _at(run.read_recipe(), ("split", "folds")) is not None


def _without_seeds(recipe: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}
    for part, key in SEEDS:
        plain.get(part, {}).pop(key, None)
    return plain


def _at(recipe: Mapping[str, Any], key: tuple[str, str]) -> Any:
    return recipe.get(key[0], {}).get(key[1])


def _name_of(runs: Sequence[RunFolder]) -> str:
    """The run's own name, or what the names of several begin with."""
    names = [run.name for run in runs]
    # A number is one sign: resnet50-10 and resnet50-11 begin with resnet50.
    signs = [re.findall(r"\d+|\D", name) for name in names]
    alike = takewhile(lambda each: len(set(each)) == 1, zip(*signs, strict=False))
    shared = "".join(each[0] for each in alike).rstrip("-_. ")
    return shared if len(names) > 1 and shared else names[0]


def _told_apart(groups: Sequence[Group]) -> list[Group]:
    """Folders of one name lie in different places: then the place is part of the name."""
    names = [group.name for group in groups]
    return [
        Group(str(group.runs[0].path), group.runs) if names.count(group.name) > 1 else group
        for group in groups
    ]
