"""The story of a learning curve: would more pictures help?

The backbone is frozen, so its features are computed once; then heads learn from 1, 2, 5, ... pictures a
class, from half of them and from all, drawn several times. All judge the same test side.

Whole groups are drawn, one after the other, until there are enough pictures. Twice as many pictures then
means what it means for the person who takes them: twice as many specimens, not more photographs of the same
ones, after which a curve looks flat although other specimens would help. The draws are nested: those of ten
pictures hold those of five, so that each step is compared with the one before it on what was added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.base.files import digest, only_writer, write_json
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.check import Checked, check
from handlens.data.leak import split_without_leak
from handlens.data.made import refuse_among_classes
from handlens.data.samples import Samples, join_names
from handlens.data.sides import Rows, Sides
from handlens.recipe import Recipe
from handlens.report.words import count
from handlens.study.curve_page import write_page
from handlens.study.curve_results import ALL, HALF, Curve, CurveSpec, Step, measured
from handlens.study.fewshot import METHODS, SOLVED, Lesson
from handlens.study.hits import Said, Truth
from handlens.study.ledger import Key, Ledger
from handlens.training.device import a_core_a_batch, choose_device, on_one_core
from handlens.training.extract import FEATURES_VERSION, Extractor

PAGE, RECORD, CELLS = "curve.html", "curve.json", "cells.jsonl"
PARTS = ("data", "views", "model", "train")
"""The parts of a recipe that change a figure; what is about the split is told by the split."""


@dataclass(frozen=True, eq=False)
class Pool:
    """What may be learned from, class by class and draw by draw, in the order in which it is taken."""

    orders: tuple[tuple[Rows, ...], ...]
    """For each draw and each class the places of its pictures."""
    groups: Sequence[str]

    @classmethod
    def of(cls, sides: Sides, draws: int, seed: int) -> "Pool":
        """Groups in a random order, and the pictures of each in a random order."""
        places = sides.taken(sides.places("train"))
        orders = tuple(
            tuple(
                _ordered(sides, places[sides.targets[places] == each], [seed, draw, each])
                for each in range(len(sides.classes))
            )
            for draw in range(draws)
        )
        return cls(orders, sides.groups)

    @property
    def sizes(self) -> list[int]:
        """Pictures of each class."""
        return [len(order) for order in self.orders[0]]

    def steps(self, asked: Sequence[int]) -> dict[str, list[int]]:
        """How many pictures of each class every step has: the numbers below half, half, and all."""
        half, whole = [(size + 1) // 2 for size in self.sizes], self.sizes
        numbers = {str(each): [min(each, size) for size in whole] for each in sorted(set(asked))}
        kept = {name: taken for name, taken in numbers.items() if sum(taken) < sum(half)}
        return kept | ({HALF: half} if half != whole else {}) | {ALL: whole}

    def drawn(self, draw: int, taken: Sequence[int]) -> Rows:
        """The places that a draw learns from, in the order of the table."""
        parts = [order[:number] for order, number in zip(self.orders[draw], taken, strict=True)]
        return np.sort(np.concatenate(parts))

    def cell(self, method: str, taken: Sequence[int], draw: int) -> Key:
        """By what a training is known: its pictures by how many there are, whatever the step is called.

        Where a method without chance learns from all pictures, every draw is the same.
        """
        same = method in SOLVED and list(taken) == self.sizes
        return method, " ".join(map(str, taken)), 0 if same else draw

    def step(self, name: str, taken: Sequence[int]) -> Step:
        """The step in numbers."""
        groups = [
            len({self.groups[place] for place in self.drawn(draw, taken)}) for draw in range(len(self.orders))
        ]
        return Step(
            name=name,
            fewest=min(taken),
            most=max(taken),
            pictures=sum(taken),
            groups=float(np.mean(groups)),
        )


def _ordered(sides: Sides, places: Rows, seed: Sequence[int]) -> Rows:
    """Places group after group; drawn from names, so that the order of the table is no matter."""
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for place in sorted(places.tolist(), key=lambda place: sides.ids[place]):
        members.setdefault(sides.groups[place], []).append(place)
    names = sorted(members)
    parts = [rng.permutation(members[names[at]]) for at in rng.permutation(len(names))]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def draw_curve(
    recipe: Recipe,
    samples: Samples,
    folder: Path,
    spec: CurveSpec | None = None,
    command: str = "",
    data: str = "",
) -> Curve:
    """Draw a learning curve into a folder. Given again after a stop, or with more draws, it goes on.

    `data` is what the pictures are called, else as the folder that they are in.
    """
    spec = spec or CurveSpec()
    refuse_training_networks(recipe, "A learning curve")
    refuse_among_classes(folder, samples)
    with only_writer(folder):
        checked = check(samples, recipe.data)
        divided, _, leak = split_without_leak(checked, recipe.split, recipe.data.pixel_limit)
        sides = Sides.of(divided)
        pool = Pool.of(sides, spec.draws, spec.seed)
        test = sides.taken(sides.places("test"))
        test = test[sides.targets[test] >= 0]
        about = {
            "pictures": checked.digest,
            "split": digest(*sorted(map("\t".join, zip(sides.ids, sides.names, strict=True)))),
            "recipe": digest(*(str(recipe.resolved()[part]) for part in PARTS)),
            "seed": str(spec.seed),
            "features": str(FEATURES_VERSION),
        }
        ledger = Ledger(folder / CELLS, about)
        judge_cells(recipe, sides, pool, test, spec, ledger)
        notes = [*told_of(checked, divided.marks), *notes_of(sides, spec, pool)]
        notes += [leak.sentence()] if leak.copied else []
        truth = Truth(sides.targets[test], tuple(sides.groups[place] for place in test), spec.figure)
        taken = pool.steps(spec.steps)
        steps = tuple(pool.step(name, numbers) for name, numbers in taken.items())
        said: dict[tuple[str, str], Said] = {
            (method, name): np.stack([ledger[pool.cell(method, numbers, draw)] for draw in range(spec.draws)])
            for method in spec.methods
            for name, numbers in taken.items()
        }
        found = measured(said, truth, steps, spec.methods)
        told = Curve(
            data=data or samples.root.name,
            recipe=recipe.name,
            backbone=recipe.model.backbone,
            classes=sides.classes,
            notes=tuple(notes),
            spec=spec,
            n=truth.basis.n,
            n_groups=truth.basis.n_groups,
            steps=steps,
            points=found.points,
            gains=found.gains,
            verdict=found.verdict,
            answer=found.answer,
        )
        write_json(folder / RECORD, told.model_dump(mode="json"))
        write_page(told, folder / PAGE, command)
    return told


def refuse_training_networks(recipe: Recipe, what: str) -> None:
    """Only kept features make hundreds of trainings a matter of minutes."""
    if not recipe.model.only_head_trains:
        raise HandlensError(
            f"{what} is drawn from kept features, and in the recipe {recipe.name!r} more than the head "
            "trains. Choose a recipe with a frozen network and without edits, such as quick or careful."
        )


def judge_cells(
    recipe: Recipe, sides: Sides, pool: Pool, test: Rows, spec: CurveSpec, ledger: Ledger
) -> None:
    """Train and judge what is missing."""
    cells = {
        pool.cell(method, taken, draw): (method, taken, draw)
        for method in spec.methods
        for taken in pool.steps(spec.steps).values()
        for draw in range(spec.draws)
    }
    missing = ledger.missing(list(cells))
    if not missing:
        return
    extractor = Extractor(
        recipe.model, recipe.views, choose_device(recipe.train.precision), recipe.data.pixel_limit
    )
    extractor.fill(sides.shots)
    table = extractor.table(sides.shots, next(iter(recipe.views.kinds)))

    def said(key: Key) -> NDArray[np.int64]:
        method, taken, draw = cells[key]
        lesson = Lesson(
            table=table,
            classes=sides.targets,
            num_classes=len(sides.classes),
            learned=pool.drawn(draw, taken),
            asked=test,
            head=recipe.model.head,
            fit=recipe.train,
            average=recipe.views.averages[0],
            seed=recipe.train.seed + draw,
        )
        return METHODS[method](lesson)

    with a_core_a_batch(), progress("Learning curve", len(missing), "trainings") as advance:
        for key, judged in zip(missing, in_order(said, missing, on_one_core), strict=True):
            ledger.add(key, judged)
            advance(1)


def told_of(checked: Checked, marks: Sequence[str]) -> list[str]:
    """What is wrong with the pictures, whatever is made of them."""
    told = [f"These pictures are marked: {mark}. Figures on them are not to be believed." for mark in marks]
    if checked.bad:
        named = join_names([id_ for id_, _ in checked.bad], 3)
        told.append(f"{count(len(checked.bad), 'picture')} that cannot be read were left out: {named}.")
    return [*told, *checked.conflicts]


def notes_of(sides: Sides, spec: CurveSpec, pool: Pool) -> list[str]:
    """What a person has to know to read the figures."""
    told = [
        "Pictures are drawn group by group; half and all are of the training side. Each class gives what it "
        "has where it has less than the step asks for.",
        f"Intervals are over the groups of the test side and over {spec.draws} draws. All draws are from "
        "the same collection: another collection may lie somewhat beyond them.",
        "The larger a step, the more pictures its draws have in common. At all, every draw is the same "
        "pictures: there the interval tells what other test groups and another seed would change, not what "
        "other pictures to learn from would.",
        "The recipe's head learns as the recipe says, without choosing between kinds of views, because a "
        "few pictures leave none to choose by.",
    ]
    derived = int(np.sum(sides.derived)) if sides.derived else 0
    if derived:
        told.append(f"{count(derived, 'picture')} made from others were left out: they are no new pictures.")
    if sides.places("val").size:
        told.append("The validation side was neither learned from nor judged.")
    lowest, highest = min(pool.sizes), max(pool.sizes)
    if highest > 3 * lowest:
        told.append(f"Classes are uneven: {lowest} to {highest} pictures to learn from.")
    return told
