"""The predictions table: one row a picture, and all that any figure is ever computed from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.base.files import whole_file
from handlens.data.kinds import Kinds

PROBABILITY = "p:"
"""What stands in front of the class in the name of a column of probabilities."""

_MEND = "Give a file that 'handlens train' or 'handlens evaluate' wrote, such as predictions/test.parquet."


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about pictures, beside what they are."""

    ids: tuple[str, ...]
    """One name a picture."""
    groups: tuple[str, ...]
    """What each picture came from."""
    targets: NDArray[np.int64] | None
    """The true class as an index into `classes`, -1 where it is not known; none where no picture has one."""
    classes: tuple[str, ...]
    """The classes in the order of the probabilities."""
    probabilities: NDArray[np.float32]
    """One row a picture, one column a class; a row adds up to one."""

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.classes))
        if self.probabilities.shape != shape or len(self.groups) != shape[0]:
            raise HandlensError(
                f"Predictions of {shape[0]} pictures over {shape[1]} classes do not fit probabilities "
                f"of shape {self.probabilities.shape} and {len(self.groups)} groups."
            )
        if self.targets is not None and self.targets.shape != shape[:1]:
            raise HandlensError(f"{shape[0]} pictures do not fit {len(self.targets)} targets.")

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class that each picture is called, as an index; the first one where two are level."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the class that each picture is called."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float32)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which pictures have a true class."""
        if self.targets is None:
            return np.zeros(len(self.ids), dtype=np.bool_)
        return np.asarray(self.targets >= 0)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Which pictures are called what they are; an unlabelled picture never is."""
        if self.targets is None:
            return self.known
        return np.asarray(self.targets == self.predicted)

    def labelled(self) -> "Predictions":
        """The pictures whose true class is known."""
        return self if self.known.all() else self.only(np.flatnonzero(self.known))

    def in_kinds(self, kinds: Kinds) -> "Predictions":
        """The same judgments of kinds of classes: a kind is as probable as its classes together."""
        if self.classes != kinds.classes:
            raise HandlensError(
                f"The kinds are those of the classes {', '.join(kinds.classes)}, and the predictions are "
                f"over {', '.join(self.classes)}."
            )
        # In double precision, so that the order of the classes is no matter.
        fine = self.probabilities.astype(np.float64)
        coarse = [fine[:, kinds.of_class == kind].sum(axis=1) for kind in range(len(kinds.names))]
        # The last place stands for what is not known.
        targets = None if self.targets is None else np.append(kinds.of_class, -1)[self.targets]
        return replace(
            self,
            classes=kinds.names,
            targets=targets,
            probabilities=np.stack(coarse, axis=1).astype(np.float32),
        )

    def only(self, rows: NDArray[np.int64]) -> "Predictions":
        """Some of the pictures, in the order of `rows`."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            targets=None if self.targets is None else self.targets[rows],
            probabilities=self.probabilities[rows],
        )

    def to_table(self) -> pl.DataFrame:
        """The table: id, group, target (a class or null), then `p:<class>` for each class."""
        names = [None] * len(self.ids)
        if self.targets is not None:
            names = [self.classes[target] if target >= 0 else None for target in self.targets.tolist()]
        return pl.DataFrame(
            [
                pl.Series("id", self.ids, dtype=pl.String),
                pl.Series("group", self.groups, dtype=pl.String),
                pl.Series("target", names, dtype=pl.String),
                *(
                    pl.Series(f"{PROBABILITY}{name}", np.ascontiguousarray(column, dtype=np.float32))
                    for name, column in zip(self.classes, self.probabilities.T, strict=True)
                ),
            ]
        )

    @classmethod
    def from_table(cls, table: pl.DataFrame, where: str = "The table") -> "Predictions":
        """Read a table back; `where` opens the sentence that says what is wrong with it."""
        columns = [name for name in table.columns if name.startswith(PROBABILITY)]
        missing = [name for name in ("id", "group", "target") if name not in table.columns]
        if missing or not columns:
            lacking = " and ".join([*missing, *([] if columns else [f"{PROBABILITY}<class>"])])
            raise HandlensError(f"{where} is no predictions table: it has no column {lacking}. {_MEND}")
        classes = tuple(name.removeprefix(PROBABILITY) for name in columns)
        ids = _words(table, "id", where)
        if len(set(ids)) < len(ids):
            raise HandlensError(f"{where} names a picture twice in its column id; each may stand there once.")
        return cls(
            ids=ids,
            groups=_words(table, "group", where),
            targets=_targets(table["target"], classes, where),
            classes=classes,
            probabilities=_probabilities(table.select(columns), where),
        )

    def write(self, path: Path) -> None:
        """Write the table as Parquet, whole or not at all."""
        with whole_file(path) as partial:
            self.to_table().write_parquet(partial)

    @classmethod
    def read(cls, path: Path) -> "Predictions":
        """Read what `write` wrote."""
        try:
            table = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise HandlensError(f"{path} cannot be read as a predictions table ({reason}). {_MEND}") from None
        return cls.from_table(table, str(path))


def _words(table: pl.DataFrame, column: str, where: str) -> tuple[str, ...]:
    words: Sequence[str | None] = table[column].cast(pl.String).to_list()
    if None in words:
        raise HandlensError(f"{where} has an empty {column} in row {words.index(None) + 1}.")
    return tuple(word for word in words if word is not None)


def _targets(column: pl.Series, classes: tuple[str, ...], where: str) -> NDArray[np.int64] | None:
    if column.null_count() == len(column):
        return None
    index: dict[str | None, int] = {None: -1} | {name: at for at, name in enumerate(classes)}
    names: list[str | None] = column.cast(pl.String).to_list()
    strange = sorted({str(name) for name in names if name not in index})
    if strange:
        raise HandlensError(
            f"{where} has targets without a column of probabilities: {', '.join(strange)}. "
            f"There are: {', '.join(classes)}."
        )
    return np.array([index[name] for name in names], dtype=np.int64)


def _probabilities(table: pl.DataFrame, where: str) -> NDArray[np.float32]:
    try:
        values = table.select(pl.all().cast(pl.Float32)).to_numpy()
    except pl.exceptions.PolarsError:
        raise HandlensError(f"{where} has probabilities that are not numbers. {_MEND}") from None
    # The tolerance lets half-precision models pass and stops logits and per cent.
    bad = ~((values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 0.02))
    if bad.any():
        raise HandlensError(
            f"{where} has probabilities that are below zero, missing or do not add up to one in "
            f"{int(bad.sum())} of {len(values)} rows, the first in row {int(bad.argmax()) + 1}. "
            "Logits have to go through a softmax first."
        )
    return np.ascontiguousarray(values, dtype=np.float32)
