"""Derived samples: pictures made from others, which stay in their parents' group and can only be in training.

They are known by a column of their manifest, so that every table that holds them is treated the same.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.data.samples import Samples

MADE_BY = "made_by"
"""The column that says by which command a picture was made; empty for one that was taken."""

PARENT_DIGEST = "parent_digest"
"""The column with the hash of the file that a picture was made from: it is found by it wherever it lies."""

ONLY_TRAINING = ("expand", "synthesize")
"""The commands whose pictures can only be in training. Frames of a video are pictures like any other."""

PAPER_PROTOCOL = "leaking: paper-protocol"
"""The mark of samples that were expanded before any split, as papers do it: copies stand on every side."""


def derived_rows(samples: Samples) -> NDArray[np.bool_]:
    """Which pictures can only be in training; none under the papers' protocol, which leaks by that."""
    if MADE_BY not in samples.table.columns or PAPER_PROTOCOL in samples.marks:
        return np.zeros(len(samples), dtype=np.bool_)
    made_by = samples.table[MADE_BY].cast(pl.String)
    return made_by.is_in(ONLY_TRAINING).fill_null(False).to_numpy().astype(np.bool_)


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


def follow_parents(samples: Samples, groups: Sequence[str]) -> list[str]:
    """The groups, those of derived pictures taken from their parents, whose hash is in the column `digest`.

    Where the parent is not among the pictures, the group stays the one that the manifest tells.
    """
    derived = derived_rows(samples)
    if not derived.any() or not {PARENT_DIGEST, "digest"} <= set(samples.table.columns):
        return list(groups)
    # Of identical pictures any will do, their groups are about to become one; but rather one that was taken.
    rows = [*np.flatnonzero(derived).tolist(), *np.flatnonzero(~derived).tolist()]
    row_of = dict(zip(samples.table["digest"].gather(rows), rows, strict=True))
    parent_of = samples.table[PARENT_DIGEST].to_list()

    def origin(row: int) -> int | None:
        """The picture at the beginning of the line, which may be the parent's parent."""
        passed = {row}
        while derived[row]:
            above = row_of.get(parent_of[row])
            if above is None or above in passed:
                return None
            passed.add(above)
            row = above
        return row

    origins = [origin(row) for row in range(len(samples))]
    told = samples.table["group"].to_list()
    return [told[row] if at is None else groups[at] for row, at in enumerate(origins)]
