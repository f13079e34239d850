"""Labels that are likely wrong: what has not seen a picture's label says that it is something else.

Two are asked, heads that learned from other pictures, and the labels of the pictures most like it. Measured
with swapped labels, their mean ranks better than either, and than cleanlab does (benchmarks/data.py labels).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import binomtest

from handlens.audit.alike import judged_by_neighbours
from handlens.audit.confident import likely_others, num_wrong, shares
from handlens.audit.finding import Finding, Row, Subject
from handlens.audit.quick_head import features_of, judged_by_head
from handlens.base.errors import HandlensError
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.base.spec import Spec
from handlens.data.samples import join_names
from handlens.data.sides import Rows
from handlens.data.split import fold_sides
from handlens.data.tasks import TaskLabels
from handlens.training.device import a_core_a_batch, on_one_core
from handlens.training.extract import Extractor
from handlens.training.table import FeatureTable

CHECK = "labels"

CHANCE = 0.01
"""Labels are judged only by what tells classes better than chance would, but for one time in so many."""

LEAST_GROUPS = 3
"""Groups that a class needs, so that two thirds of it at least are learned when the rest is judged."""


class LabelsSpec(Spec):
    """How labels are judged that may be wrong."""

    folds: int = Field(default=5, ge=2)
    """Into how many parts the pictures are divided: heads that learned from the others judge each part."""
    rounds: int = Field(default=3, ge=1)
    """How often the parts are drawn anew; the judgments are averaged."""


@dataclass(frozen=True, eq=False)
class Suspects:
    """All pictures whose label could be judged, the likeliest to be labelled wrong first."""

    rows: Rows
    """Where they stand among the samples."""
    likely: NDArray[np.int64]
    """The likeliest class that is not the label of each, as an index into the classes."""
    shares: NDArray[np.float64]
    """How probable the label is beside the likely class, from 0 (surely wrong) to 1: the order is by this."""
    num_wrong: int
    """How many of them confident learning reckons to be wrong: so many of the first are suspects."""
    agreed: float
    """The share that is judged to be what it is labelled as."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def first(self) -> "Suspects":
        """The suspects alone."""
        kept = slice(0, self.num_wrong)
        return replace(self, rows=self.rows[kept], likely=self.likely[kept], shares=self.shares[kept])

    @property
    def trusted(self) -> Rows:
        """Where the others stand."""
        return self.rows[self.num_wrong :]


def labels(subject: Subject, extractor: Extractor, spec: LabelsSpec | None = None) -> list[Finding]:
    """The pictures whose labels are worth a second look, by what a frozen network sees."""
    spec = spec or LabelsSpec()
    task = TaskLabels.of(subject.samples, "label")
    groups = subject.samples.table["group"].to_list()
    judgeable, few = _judgeable(task, groups)
    if len(np.unique(task.targets[judgeable])) < 2:
        told = f"Fewer than two classes have {LEAST_GROUPS} groups, so no label can be judged by the others."
        return [Finding(CHECK, "note", "Labels could not be judged", told)]
    table = features_of(subject.samples, extractor)
    try:
        found = suspects(table, task.targets, judgeable, groups, len(task.classes), spec, subject.seed)
    except HandlensError as error:
        # Where groups hold several classes there may be no way to divide them.
        return [Finding(CHECK, "note", "Labels could not be judged", str(error))]
    if is_by_chance(found.agreed, task.targets[judgeable], len({groups[row] for row in judgeable})):
        told = (
            f"The network takes {found.agreed:.0%} of the pictures for what they are labelled as, and always "
            "naming the most frequent class would do as well. That of another --recipe may see more."
        )
        return [Finding(CHECK, "note", "Labels could not be judged", told)]
    findings = [_told(subject, task, table, found)]
    if few:
        left_out = int(task.known.sum()) - len(judgeable)
        findings.append(
            Finding(
                CHECK,
                "note",
                f"Labels of {len(few)} of {len(task.classes)} classes could not be judged",
                f"{join_names(few)}: too few groups to judge one by the others ({left_out} pictures).",
            )
        )
    return findings


def suspects(
    table: FeatureTable,
    targets: NDArray[np.int64],
    places: Rows,
    groups: Sequence[str],
    num_classes: int,
    spec: LabelsSpec,
    seed: int,
) -> Suspects:
    """Rank the labelled pictures at some places of a table by how likely their labels are wrong."""
    by_heads = out_of_fold(table, targets, places, groups, num_classes, spec, seed)
    by_neighbours = judged_by_neighbours(table, targets, places, groups, num_classes)
    judged = (by_heads + by_neighbours) / np.float32(2)
    given = targets[places]
    share = shares(judged, given)
    order = np.argsort(share, kind="stable")
    likely, num = likely_others(judged, given)[order], round(num_wrong(judged, given))
    agreed = float(np.mean(judged.argmax(axis=1) == given))
    return Suspects(places[order], likely, share[order], num, agreed)


def is_by_chance(agreed: float, targets: NDArray[np.int64], num_groups: int) -> bool:
    """Whether judging so well could be chance: pictures of one group are not independent of each other."""
    chance = float(np.bincount(targets).max() / len(targets))
    right = round(agreed * num_groups)
    return bool(binomtest(right, num_groups, chance, alternative="greater").pvalue > CHANCE)


def out_of_fold(
    table: FeatureTable,
    targets: NDArray[np.int64],
    places: Rows,
    groups: Sequence[str],
    num_classes: int,
    spec: LabelsSpec,
    seed: int,
) -> NDArray[np.float32]:
    """What heads say that learned neither from a picture nor from its group: (places, classes)."""
    jobs = []
    for number in range(spec.rounds):
        own_groups = [groups[place] for place in places]
        fold_of = _folds(targets[places].tolist(), own_groups, spec.folds, seed + number)
        jobs += [(fold_of == fold, seed + number) for fold in range(fold_of.max() + 1)]
    total = np.zeros((len(places), num_classes), np.float32)

    def judged(job: tuple[NDArray[np.bool_], int]) -> NDArray[np.float32]:
        held, own_seed = job
        return judged_by_head(table, targets, num_classes, places[~held], places[held], own_seed)

    with progress("Judging labels", len(jobs), "heads") as advance, a_core_a_batch():
        for (held, _), found in zip(jobs, in_order(judged, jobs, on_one_core), strict=True):
            total[held] += found / np.float32(spec.rounds)
            advance(1)
    return total


def _told(subject: Subject, task: TaskLabels, table: FeatureTable, found: Suspects) -> Finding:
    first = found.first
    if not len(first):
        told = f"{len(found)} labels were judged by the other pictures."
        return Finding(CHECK, "note", "No label is likely wrong", told)
    ids = subject.samples.table["id"].to_list()
    given = [task.classes[target] for target in task.targets[first.rows]]
    likely = [task.classes[target] for target in first.likely]
    pairs = Counter(zip(given, likely, strict=True)).most_common(3)
    often = join_names([f"{label} that looks like {other} ({times})" for (label, other), times in pairs])
    rows = tuple(
        Row(
            ids[row],
            "relabel?",
            other,
            tuple(ids[each] for each in beside),
            figure=round(share, 4),
            why=f"labelled {label}, looks like {other}",
        )
        for row, label, other, share, beside in zip(
            first.rows, given, likely, first.shares.tolist(), _beside(task, table, found), strict=True
        )
    )
    return Finding(
        CHECK,
        "should",
        f"{len(first)} of {len(found)} labels are worth a second look",
        "Judged by other pictures, they are not what they are labelled as; the likeliest mistakes come "
        f"first. Most often: {often}. Where classes are hard to tell, most of them are right: look before "
        "you change a label.",
        rows,
    )


def _beside(task: TaskLabels, table: FeatureTable, found: Suspects) -> list[list[int]]:
    """Of the trusted pictures those most like each suspect: one with its label, one of the likely class."""
    suspects, trusted = found.first, found.trusted
    asked = _directions(table, suspects.rows)
    beside: list[list[int]] = [[] for _ in suspects.rows]
    for classes in (task.targets[suspects.rows], suspects.likely):
        for number in np.unique(classes):
            examples = trusted[task.targets[trusted] == number]
            mine = np.flatnonzero(classes == number)
            if len(examples):
                nearest = (asked[mine] @ _directions(table, examples).T).argmax(axis=1)
                for at, example in zip(mine.tolist(), examples[nearest].tolist(), strict=True):
                    beside[at].append(example)
    return beside


def _directions(table: FeatureTable, rows: Rows) -> NDArray[np.float32]:
    features = table.rows(rows, 0).numpy()
    directions: NDArray[np.float32] = features / np.maximum(
        np.linalg.norm(features, axis=1, keepdims=True), 1e-12
    )
    return directions


def _judgeable(task: TaskLabels, groups: Sequence[str]) -> tuple[Rows, list[str]]:
    """Where the pictures stand whose class has groups enough to be judged by; and the other classes."""
    known = np.flatnonzero(task.known)
    pairs = {(groups[row], target) for row, target in enumerate(task.targets.tolist())}
    times = Counter(target for _, target in pairs)
    enough = np.array([times[target] >= LEAST_GROUPS for target in range(len(task.classes))], dtype=np.bool_)
    few = [name for name, kept in zip(task.classes, enough, strict=True) if not kept]
    return known[enough[task.targets[known]]], few


def _folds(targets: Sequence[int], groups: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    """The part of every picture, groups whole; fewer parts where some class cannot be in so many."""
    names = [str(target) for target in targets]
    for number in range(folds, 2, -1):
        try:
            return fold_sides(names, groups, number, seed)
        except HandlensError:
            continue
    return fold_sides(names, groups, 2, seed)
