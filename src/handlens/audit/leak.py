"""Leaks of an existing split: test pictures that have copies or their group in training, and their worth."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from handlens.audit.finding import Finding, Row, Subject
from handlens.audit.quick_head import features_of, judged_by_head
from handlens.data.copies import Copies
from handlens.data.leak import Leak, find_leak
from handlens.data.tasks import TaskLabels
from handlens.evaluate.leaked import Leaked, leaked
from handlens.evaluate.predictions import Predictions
from handlens.report.words import percent, percent_interval
from handlens.training.device import a_core_a_batch
from handlens.training.extract import Extractor

CHECK = "leak"

_MEND = "Take these out of training, as --apply does, or have the split made anew."


def leak(subject: Subject, found: Copies, extractor: Extractor | None = None) -> list[Finding]:
    """What the split that came with the pictures leaks; with an extractor, also what that is worth.

    Rows of `found` are rows of the samples.
    """
    if not subject.samples.is_split:
        return []
    ids = subject.samples.table["id"].to_list()
    sets = [[ids[row] for row in cluster.rows] for cluster in found.clusters]
    to_test = find_leak(subject.samples, sets)
    to_val = find_leak(subject.samples, sets, "val", ("train",))
    by_group = _by_group(subject, {each.id for each in to_test.copied})
    predictions = None
    if extractor is not None and (to_test.copied or by_group.copied):
        predictions = quick_predictions(subject, extractor)
    return [
        *_told(to_test, "copy", "copies", predictions, _to_drop(to_test, sets)),
        *_told(by_group, "picture of its group", "pictures of their groups", predictions, ()),
        *_told_of_validation(to_val, _to_drop(to_val, sets)),
    ]


def quick_predictions(subject: Subject, extractor: Extractor) -> Predictions | None:
    """The test side as a quick head on frozen features judges it; none where there is nothing to learn."""
    samples = subject.samples
    task = TaskLabels.of(samples, "label")
    side = samples.table["split"].to_numpy()
    learned = np.flatnonzero((side == "train") & task.known)
    asked = np.flatnonzero((side == "test") & task.known)
    if len(np.unique(task.targets[learned])) < 2 or not len(asked):
        return None
    table = features_of(samples, extractor)
    with a_core_a_batch():
        judged = judged_by_head(table, task.targets, len(task.classes), learned, asked, subject.seed)
    ids, groups = samples.table["id"].to_list(), samples.table["group"].to_list()
    return Predictions(
        tuple(ids[row] for row in asked),
        tuple(groups[row] for row in asked),
        task.targets[asked],
        task.classes,
        judged,
    )


def _by_group(subject: Subject, known: set[str]) -> Leak:
    """Test pictures that have others of their group in training, as far as copies do not tell it already."""
    sets = defaultdict(list)
    for name, group in subject.samples.table.select("id", "group").iter_rows():
        sets[group].append(name)
    found = find_leak(subject.samples, sets.values())
    return replace(found, copied=tuple(each for each in found.copied if each.id not in known))


def _told(
    found: Leak, one: str, many: str, predictions: Predictions | None, drop: Sequence[Row]
) -> Iterator[Finding]:
    if not found.copied:
        return
    have = f"has a {one}" if len(found.copied) == 1 else f"have {many}"
    worth = leaked(predictions, found.copied) if predictions else None
    mend = _MEND if drop else "Have the split made anew."
    yield Finding(
        CHECK,
        "must",
        f"The split leaks: {len(found.copied)} of {found.num_judged} test pictures {have} in training",
        " ".join(
            [
                "What is learned by heart is judged, so figures on the test side are too good.",
                *([_worth(worth)] if worth else []),
                mend,
            ]
        ),
        (*_judged(found, one), *drop),
    )


def _told_of_validation(found: Leak, drop: Sequence[Row]) -> Iterator[Finding]:
    if not found.copied:
        return
    have = "has a copy" if len(found.copied) == 1 else "have copies"
    yield Finding(
        CHECK,
        "should",
        f"{len(found.copied)} of {found.num_judged} validation pictures {have} in training",
        "Validation then prefers what learns by heart, and its figures are too good; those on the test side "
        f"are not concerned. {_MEND}",
        (*_judged(found, "copy"), *drop),
    )


def _worth(found: Leaked) -> str:
    told = f"A quick head is right on {percent(found.with_copies.value)} of the test side"
    if found.without_copies is None:
        return f"{told}, and all of it is concerned."
    return (
        f"{told}: on {percent(found.on_copies.value)} of the pictures that are concerned, and on "
        f"{percent(found.without_copies.value)} of the others (95 % interval "
        f"{percent_interval(found.without_copies)})."
    )


def _judged(found: Leak, what: str) -> Iterator[Row]:
    for each in found.copied:
        yield Row(each.id, beside=each.copies, why=f"a {what} is learned from")


def _to_drop(found: Leak, sets: Iterable[Sequence[str]]) -> tuple[Row, ...]:
    """What would have to leave training for the judged pictures to be new."""
    learned, judged = set(found.learned), {each.id for each in found.copied}
    rows = []
    for names in sets:
        its_judged = tuple(name for name in names if name in judged)
        why = f"a copy is on the {found.side} side"
        rows += [Row(name, "drop", beside=its_judged[:3], why=why) for name in names if name in learned]
    return tuple(rows)
