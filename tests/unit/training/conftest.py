"""One thread, no weights of this machine's owner, no network; made features and sides."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alone import nothing_at_hand, one_thread
from handlens.data.sides import Shot, Sides
from handlens.training.store import RowStore
from handlens.training.table import FeatureTable

__all__ = ["MakeSides", "MakeTable", "nothing_at_hand", "one_thread", "sides_of", "table_of"]

MakeTable = Callable[..., FeatureTable]
MakeSides = Callable[..., Sides]


@pytest.fixture
def table_of(tmp_path: Path) -> MakeTable:
    """A table of made features: one (pictures, width) array a view, kept in real stores."""
    count = itertools.count()

    def make(*views: NDArray[np.float32]) -> FeatureTable:
        digests = [f"{number:032x}" for number in range(len(views[0]))]
        stores = []
        for view in views:
            store = RowStore(tmp_path / "made" / str(next(count)))
            with store.writing():
                store.append(digests, np.asarray(view, dtype=np.float32))
            stores.append(store)
        return FeatureTable(stores, digests)

    return make


@pytest.fixture
def sides_of() -> MakeSides:
    """Sides with the given targets, groups and side names."""

    def make(
        targets: Sequence[int],
        names: Sequence[str],
        groups: Sequence[str] | None = None,
        num_classes: int = 2,
    ) -> Sides:
        ids = tuple(f"{number}.png" for number in range(len(targets)))
        return Sides(
            classes=tuple(f"class {number}" for number in range(num_classes)),
            ids=ids,
            groups=tuple(groups or ids),
            shots=tuple(Shot(Path(name), f"{number:032x}") for number, name in enumerate(ids)),
            targets=np.array(targets, dtype=np.int64),
            names=tuple(names),
        )

    return make
