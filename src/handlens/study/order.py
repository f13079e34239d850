"""Which cell is next: features that several cells need are computed by one of them, and the others wait."""

from collections.abc import Collection, Sequence

from handlens.study.cells import Cell


def next_cell(waiting: Sequence[Cell], running: Collection[Cell], known: Collection[str]) -> Cell | None:
    """The first cell that need not wait for features that a running one is computing; none if all must.

    `known` are features that some cell has computed already.
    """
    coming = {cell.features for cell in running if cell.features and cell.features not in known}
    return next((cell for cell in waiting if cell.features not in coming), None)


def is_alone(cell: Cell, waiting: Sequence[Cell], running: Collection[Cell], known: Collection[str]) -> bool:
    """Whether nothing can run beside a cell before it has ended."""
    others = [each for each in waiting if each is not cell]
    return not running and next_cell(others, [cell], known) is None
