"""Judgments of several runs made comparable: the same pictures in the same order, one truth, one grouping."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from handlens.base.errors import HandlensError
from handlens.evaluate.predictions import Predictions

Rows = Mapping[str, Sequence[Predictions]]
"""What each training of each row said."""


def joined(folds: Sequence[Predictions], name: str) -> Predictions:
    """The judgments of all folds as one table: each picture was judged by the fold that did not learn it."""
    first, *others = [fold.labelled() for fold in folds]
    if not others:
        return first
    others = [_in_classes(each, first.classes, name) for each in others]
    ids = tuple(id_ for fold in (first, *others) for id_ in fold.ids)
    if len(set(ids)) < len(ids):
        raise HandlensError(
            f"Folds of {name!r} judged some of the same pictures, so they are no folds of one division. "
            "Give runs of the same division, or a name of its own to each."
        )
    return Predictions(
        ids,
        tuple(group for fold in (first, *others) for group in fold.groups),
        np.concatenate([_targets(fold) for fold in (first, *others)]),
        first.classes,
        np.concatenate([fold.probabilities for fold in (first, *others)]),
    )


def same_pictures(rows: Rows, common: bool) -> tuple[dict[str, list[Predictions]], list[str]]:
    """All judgments on the same pictures in the same order, and what is to be said of that.

    Pictures without a known class are left out. Where other pictures were judged, it is an error, or with
    `common` those that all judged are taken.
    """
    known = {name: [each.labelled() for each in trainings] for name, trainings in rows.items()}
    first_name, (first, *_) = next(iter(known.items()))
    shared = set(first.ids)
    for name, trainings in known.items():
        for said in trainings:
            if not common and set(said.ids) != set(first.ids):
                both = len(set(said.ids) & set(first.ids))
                raise HandlensError(
                    f"{name!r} was judged on other pictures than {first_name!r}: {both:,} of "
                    f"{len(said.ids):,} and {len(first.ids):,} are the same. Compare runs of one split, or "
                    "ask for the pictures that all judged (--common)."
                )
            shared &= set(said.ids)
    if not shared:
        raise HandlensError(
            "There is no picture of known class that all of these judged. Compare runs of one split."
        )
    order = [name for name in first.ids if name in shared]
    most = max(len(said.ids) for trainings in known.values() for said in trainings)
    notes = [] if len(order) == most else [f"Compared on the {len(order):,} pictures that all rows judged."]
    aligned = {
        name: [_in_order(_in_classes(said, first.classes, name), order) for said in trainings]
        for name, trainings in known.items()
    }
    _refuse_other_truth(aligned, first_name)
    return aligned, notes


def agreed(rows: Mapping[str, Sequence[Predictions]]) -> tuple[dict[str, list[Predictions]], list[str]]:
    """The same with one grouping: pictures that any of the runs held together stay together."""
    told = {said.groups for trainings in rows.values() for said in trainings}
    if len(told) == 1:
        return {name: list(trainings) for name, trainings in rows.items()}, []
    together = _held_together(sorted(told))
    notes = [
        "The runs group the pictures differently; pictures that any of them holds together count as one "
        f"group here, which leaves {len(set(together)):,}."
    ]
    return {
        name: [replace(said, groups=together) for said in trainings] for name, trainings in rows.items()
    }, notes


def _held_together(groupings: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """For each picture the number of what hangs together through any of the groupings."""
    pictures, groups, before = [], [], 0
    for grouping in groupings:
        names, index = np.unique(np.asarray(grouping, dtype=np.str_), return_inverse=True)
        pictures.append(np.arange(len(grouping)))
        groups.append(index + len(grouping) + before)
        before += len(names)
    size = len(groupings[0]) + before
    ends = (np.concatenate(pictures), np.concatenate(groups))
    links = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(size, size))
    _, part = connected_components(links, directed=False)
    return tuple(f"together {number}" for number in part[: len(groupings[0])].tolist())


def _in_order(said: Predictions, names: Sequence[str]) -> Predictions:
    place = {name: at for at, name in enumerate(said.ids)}
    return said.only(np.array([place[name] for name in names], dtype=np.int64))


def _in_classes(said: Predictions, classes: tuple[str, ...], name: str) -> Predictions:
    """The same judgments with the classes in another order."""
    if said.classes == classes:
        return said
    if set(said.classes) != set(classes):
        odd = sorted(set(said.classes) ^ set(classes))
        raise HandlensError(
            f"{name!r} tells other classes apart than the runs before it: {', '.join(odd[:5])} "
            "is not in both. Compare runs of the same classes."
        )
    place = [said.classes.index(each) for each in classes]
    turned = np.argsort(place)
    return replace(
        said, classes=classes, targets=turned[_targets(said)], probabilities=said.probabilities[:, place]
    )


def _refuse_other_truth(rows: Mapping[str, Sequence[Predictions]], first_name: str) -> None:
    first = rows[first_name][0]
    for name, trainings in rows.items():
        for said in trainings:
            other = np.flatnonzero(_targets(said) != _targets(first))
            if len(other):
                raise HandlensError(
                    f"{name!r} and {first_name!r} hold other labels for {len(other):,} of the same pictures, "
                    f"such as {first.ids[other[0]]}. Train both on the same labels."
                )


def _targets(said: Predictions) -> NDArray[np.int64]:
    assert said.targets is not None
    return said.targets
