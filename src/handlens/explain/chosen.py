"""Which pictures are explained: given ones, a run's mistakes, or some of each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from handlens.base.errors import HandlensError
from handlens.data.samples import Samples
from handlens.data.scan import none_readable, scan
from handlens.data.sides import Shot
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import judged_side
from handlens.explain.network import Trained
from handlens.report.mistakes import mistakes_of

MOST = 240
"""More pictures would make a page that no browser likes, and nobody looks at."""


@dataclass(frozen=True)
class Subject:
    """A picture that is explained."""

    id: str
    shot: Shot
    group: str
    true: str | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Chosen:
    """Pictures to be explained, and those that could not be read."""

    subjects: tuple[Subject, ...]
    words: str
    """Which ones they are."""
    bad: tuple[tuple[str, str], ...] = ()
    mistakes: bool = False
    """Whether they are the run's own mistakes, whose maps its report shows."""


def choose(trained: Trained, pictures: Sequence[Path], mistakes: bool, per_class: int | None) -> Chosen:
    """What was asked for, in exactly one of three ways; `pictures` are files."""
    asked = [bool(pictures), mistakes, per_class is not None]
    if sum(asked) != 1:
        raise HandlensError(
            "Say in one way what to explain: pictures or folders, --mistakes, or --per-class 2."
            if not any(asked)
            else "Pictures, --mistakes and --per-class exclude each other: give one of them."
        )
    if mistakes:
        chosen = its_mistakes(trained)
    elif per_class is not None:
        chosen = of_each_class(trained, per_class)
    else:
        chosen = given(trained, pictures)
    if len(chosen.subjects) > MOST:
        raise _too_many(len(chosen.subjects))
    return chosen


def _too_many(number: int) -> HandlensError:
    return HandlensError(
        f"{number} pictures are more than fit on a page: {MOST} at most. Give fewer of them."
    )


def given(trained: Trained, pictures: Sequence[Path]) -> Chosen:
    """Pictures from anywhere; of the run's own ones the true class is known."""
    if len(pictures) > MOST:
        raise _too_many(len(pictures))
    facts = scan(pictures, pixel_limit=trained.recipe.data.pixel_limit)
    own = {row["digest"]: row for row in _rows(trained).iter_rows(named=True)}
    root = _samples(trained).root
    bad = tuple((str(fact.path), fact.problem) for fact in facts if fact.problem)
    subjects = []
    for fact in facts:
        if fact.problem is None:
            row = own.get(fact.digest, {})
            subjects.append(
                Subject(
                    str(fact.path),
                    Shot(fact.path, fact.digest),
                    row.get("group", str(fact.path)),
                    row.get("label"),
                    _mask(root, row),
                )
            )
    if not subjects:
        raise none_readable(bad, "Give other pictures.")
    return Chosen(tuple(subjects), "the pictures that were given", bad)


def its_mistakes(trained: Trained) -> Chosen:
    """The run's surest mistakes, as in its report."""
    side, said = _judged(trained)
    found = [mistake.id for mistake in mistakes_of(said)]
    if not found:
        raise HandlensError(
            f"{trained.folder.path} made no mistake on its {side} side. Give pictures, or --per-class 2."
        )
    return Chosen(_own(trained, found), f"the surest mistakes on the {side} side", mistakes=True)


def of_each_class(trained: Trained, number: int) -> Chosen:
    """So many pictures of each class from the judged side: of different groups, and from all over it."""
    if number < 1:
        raise HandlensError("--per-class is a number of pictures: give 1 or more.")
    side, said = _judged(trained)
    found: list[str] = []
    for target in range(len(said.classes)):
        rows = np.flatnonzero(said.targets == target) if said.targets is not None else np.array([], int)
        firsts = {said.groups[row]: row for row in reversed(rows.tolist())}
        once = sorted(firsts.values())
        # Further pictures of a group come after one of each.
        more = [row for row in rows.tolist() if row not in once]
        at = np.unique(np.linspace(0, max(len(once) - 1, 0), number).round().astype(int)).tolist()
        kept = [once[place] for place in at] if len(once) >= number else [*once, *more][:number]
        found += [said.ids[row] for row in kept]
    words = f"{number} of each class" if number > 1 else "one of each class"
    return Chosen(_own(trained, found), f"{words} from the {side} side")


def further(trained: Trained, subjects: Sequence[Subject], number: int) -> tuple[Subject, ...]:
    """So many more of the run's own pictures, from all classes and none of these, as far as it has them."""
    known = {subject.shot.digest for subject in subjects}
    each = -(-(number + len(subjects)) // max(1, len(trained.facts.classes)))
    own = [each for each in of_each_class(trained, each).subjects if each.shot.digest not in known]
    places = np.linspace(0, max(len(own) - 1, 0), min(number, len(own))).round().astype(int)
    return tuple(own[place] for place in dict.fromkeys(places.tolist()))


def _judged(trained: Trained) -> tuple[str, Predictions]:
    side = judged_side(trained.metrics)
    return side, Predictions.read(trained.folder.predictions_path(side))


def _own(trained: Trained, ids: Sequence[str]) -> tuple[Subject, ...]:
    """Pictures of the run by their names, in this order."""
    root = _samples(trained).root
    rows = {row["id"]: row for row in _rows(trained).filter(pl.col("id").is_in(ids)).iter_rows(named=True)}
    return tuple(
        Subject(
            id_,
            Shot(Path(rows[id_]["path"]), rows[id_]["digest"]),
            rows[id_]["group"],
            rows[id_]["label"],
            _mask(root, rows[id_]),
        )
        for id_ in ids
    )


def _samples(trained: Trained) -> Samples:
    return Samples.from_manifest(trained.folder.samples_path)


def _rows(trained: Trained) -> pl.DataFrame:
    table = _samples(trained).table
    wanted = [name for name in ("id", "path", "digest", "label", "group", "mask") if name in table.columns]
    return table.select(wanted)


def _mask(root: Path, row: dict[str, str | None]) -> Path | None:
    """The file of a picture's mask, where the table names one."""
    mask = row.get("mask")
    path = root / mask if mask else None
    return path if path and path.is_file() else None
