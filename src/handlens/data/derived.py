"""Derived samples: pictures made from others, which stay in their parents' group and can only be in training.

They are known by a column of their manifest, so that every table that holds them is treated the same.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.data.samples import Samples

MADE_BY = "made_by"
"""The column that says by which command a picture was made; empty for one that was taken."""

PARENT_DIGEST = "parent_digest"
"""The column with the hash of the file that a picture was made from: it is found by it wherever it lies."""

FACTS = (MADE_BY, "parent", PARENT_DIGEST, "operation", "parameters", "number", "seed")
"""The columns that say how a picture was made."""

CAME_FROM = "came_from"
"""Where the groups are kept that the papers' protocol does not heed."""

ONLY_TRAINING = ("expand", "synthesize")
"""The commands whose pictures can only be in training. Frames of a video are pictures like any other."""

ONE_PARENT = ("augment",)
"""The ways of `synthesize`, in the column `operation`, that change one picture and show nothing of others."""

PAPER_PROTOCOL = "leaking: paper-protocol"
"""The mark of samples that were expanded before any split, as papers do it: copies stand on every side."""


def own_columns_aside(samples: Samples) -> Samples:
    """Columns of a table that happen to be called like ours move aside."""
    if MADE_BY in samples.table.columns:
        return samples
    aside = {name: f"table_{name}" for name in (*FACTS, CAME_FROM) if name in samples.table.columns}
    notes = [f"The column {name!r} of the table is kept as {new!r}." for name, new in aside.items()]
    return samples.with_table(samples.table.rename(aside), *notes)


def derived_rows(samples: Samples) -> NDArray[np.bool_]:
    """Which pictures can only be in training; none under the papers' protocol, which leaks by that."""
    if MADE_BY not in samples.table.columns or PAPER_PROTOCOL in samples.marks:
        return np.zeros(len(samples), dtype=np.bool_)
    made_by = samples.table[MADE_BY].cast(pl.String)
    return made_by.is_in(ONLY_TRAINING).fill_null(False).to_numpy().astype(np.bool_)


def mixed_rows(samples: Samples) -> NDArray[np.bool_]:
    """Which pictures show something of pictures outside their group, where all are known to stand.

    A blend shows another picture's defect, and a generative model has learned from all of the training side;
    so does what was made from these in turn.
    """
    mixed = derived_rows(samples)
    if not mixed.any():
        return mixed
    mixed &= (samples.table[MADE_BY].cast(pl.String) == "synthesize").fill_null(False).to_numpy()
    if "operation" in samples.table.columns:
        operation = samples.table["operation"].cast(pl.String)
        mixed &= ~operation.is_in(ONE_PARENT).fill_null(False).to_numpy()
    return np.array([any(mixed[row] for row in line) for line in _lines(samples)], dtype=np.bool_)


def without_derived(samples: Samples) -> Samples:
    """The pictures that were taken: nothing is judged on those that were made from them."""
    derived = derived_rows(samples)
    if not derived.any():
        return samples
    if derived.all():
        raise HandlensError(
            f"All {len(samples)} pictures were made from others, and figures on these would mean nothing. "
            "Judge pictures that were taken."
        )
    note = f"{derived.sum()} pictures that were made from others are not judged."
    return samples.with_table(samples.table.filter(~derived), note)


def parents_of(samples: Samples) -> list[tuple[int, ...]]:
    """Where the parent of each derived picture stands: several rows where its file is there several times.

    It is found by its hash, which is in the column `digest`. Of identical files those that were taken are
    parents, if there are any: what an operation leaves as it was is not the parent of all that is made.
    """
    derived = derived_rows(samples)
    above: list[tuple[int, ...]] = [()] * len(samples)
    if not derived.any() or not {PARENT_DIGEST, "digest"} <= set(samples.table.columns):
        return above
    taken: dict[str, list[int]] = defaultdict(list)
    made: dict[str, list[int]] = defaultdict(list)
    for row, content in enumerate(samples.table["digest"]):
        (made if derived[row] else taken)[content].append(row)
    parent = samples.table[PARENT_DIGEST].to_list()
    for row in np.flatnonzero(derived).tolist():
        same = taken.get(parent[row]) or made.get(parent[row], [])
        above[row] = tuple(each for each in same if each != row)
    return above


def follow_parents(samples: Samples, groups: Sequence[str]) -> list[str]:
    """The groups, those of derived pictures taken from their parents, whose hash is in the column `digest`.

    Where the parent is not among the pictures, the group stays the one that the manifest tells.
    """
    derived = derived_rows(samples)
    if not derived.any() or not {PARENT_DIGEST, "digest"} <= set(samples.table.columns):
        return list(groups)
    told = samples.table["group"].to_list()
    # The last one is the picture that was taken, which may be the parent's parent.
    lasts = [line[-1] for line in _lines(samples)]
    return [told[row] if derived[last] else groups[last] for row, last in enumerate(lasts)]


def _lines(samples: Samples) -> Iterator[list[int]]:
    """For each picture its row, that of its parent, that of the parent's parent, as far as they are there."""
    parents = parents_of(samples)
    for row in range(len(samples)):
        line = [row]
        # Of identical pictures any will do: their groups are about to become one.
        while (above := next(iter(parents[line[-1]]), None)) is not None and above not in line:
            line.append(above)
        yield line
