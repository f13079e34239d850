"""The split of a manifest laid over the pictures that it names, to be audited with them."""

import os
from pathlib import Path

import polars as pl

from handlens.base.errors import HandlensError
from handlens.data.samples import Samples, join_names
from handlens.report.words import count


def with_split_of(samples: Samples, manifest: Path) -> Samples:
    """The pictures with the sides that a manifest, or a table, gives to the same files."""
    told = Samples.read(manifest)
    if not told.is_split:
        raise HandlensError(f"{manifest} has no sides. Give what 'handlens split' wrote.")
    sides = _by_file(told.table, "split")
    files = _by_file(samples.table, "id")
    given = {name: sides[file] for file, name in files.items() if file in sides}
    if not given:
        raise HandlensError(
            f"None of the {len(told)} pictures of {manifest} is among these {len(samples)}. Give the "
            "pictures that were split, or audit the manifest itself."
        )
    notes = [f"The split is that of {manifest}."]
    lacking = [name for name in files.values() if given.get(name) is None]
    if lacking:
        notes.append(f"{count(len(lacking), 'picture')} without a side there: {join_names(lacking, 3)}.")
    more = len(sides.keys() - files.keys())
    if more:
        notes.append(f"{count(more, 'picture')} of {manifest} not among these.")
    column = pl.Series([given.get(name) for name in samples.table["id"]], dtype=pl.String)
    return samples.with_table(samples.table.with_columns(split=column), *notes)


def _by_file(table: pl.DataFrame, column: str) -> dict[str, str]:
    """What stands in a column, by the file itself: the way to it may lead over links."""
    rows = table.select("path", column).iter_rows()
    return {os.path.realpath(path): value for path, value in rows}
