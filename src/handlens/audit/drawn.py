"""Drawing from large sets: enough pictures to try shortcuts on, whole groups at a time."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from handlens.base.files import digest


def of_names(
    rows: Sequence[int], told: Sequence[str | None], groups: Sequence[str], fewest: int
) -> list[int]:
    """The rows of those names that have so many groups at least."""
    of_name: dict[str | None, set[str]] = defaultdict(set)
    for row in rows:
        of_name[told[row]].add(groups[row])
    return [row for row in rows if len(of_name[told[row]]) >= fewest]


def drawn(
    rows: Sequence[int], told: Sequence[str | None], groups: Sequence[str], most: int, seed: int
) -> list[int]:
    """At most so many rows, whole groups at a time, drawn by the groups' names alone.

    Each name has one of its groups drawn in turn: by chance alone, rare names would have hardly any.
    """
    if len(rows) <= most:
        return list(rows)
    size = Counter(groups[row] for row in rows)
    names: dict[str, set[str | None]] = defaultdict(set)
    for row in rows:
        names[groups[row]].add(told[row])
    turn: dict[str, int] = {}
    before: Counter[str | None] = Counter()
    for group in sorted(size, key=lambda name: digest(str(seed), name)):
        turn[group] = min(before[name] for name in names[group])
        before.update(names[group])
    taken, total = set(), 0
    for group in sorted(turn, key=turn.__getitem__):
        if total + size[group] <= most:
            taken.add(group)
            total += size[group]
    return [row for row in rows if groups[row] in taken]
