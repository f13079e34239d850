"""Dividing groups of pictures over sides: no group is torn apart, and every class is spread evenly.

The division must be the same on every machine and with every version of every library. Groups are
therefore ordered by a hash of their names, and all arithmetic is in whole numbers or fractions: sums of
floating-point numbers depend on the order in which a library adds them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from handlens.base.errors import HandlensError, Problems
from handlens.base.files import digest

Ints = NDArray[np.int64]

# Among few groups every exchange of two is tried; among many, moving one at a time comes as close.
MOST_GROUPS_TO_SWAP = 400
MOST_STEPS = 400
# A step looks at every group on every side; this many looks take a few seconds.
MOST_WORK = 40_000_000

# Numbers of pictures are counted in sixteenths, because a share of a class is seldom a whole number.
SCALE = 16


@dataclass(frozen=True)
class Division:
    """What is to be divided: the groups in the order of their hashes, and how much each side should get.

    The last column of `counts` and the last row of `wanted` stand for all classes together.
    """

    classes: tuple[str, ...]
    counts: csr_array
    shares: tuple[Fraction, ...]
    wanted: Ints
    weights: Ints
    factors: Ints

    @property
    def sizes(self) -> Ints:
        """The number of pictures of each group."""
        return np.asarray(self.counts[:, [-1]].todense(), dtype=np.int64).ravel()

    @property
    def members(self) -> csr_array:
        """Which classes each group holds, as ones."""
        return (self.counts[:, :-1] > 0).astype(np.int64)

    def present(self, side: Ints) -> Ints:
        """How many groups with a class each side has: classes by sides."""
        return np.asarray(self.members.T @ _one_hot(side, len(self.shares)), dtype=np.int64)

    def deviation(self, side: Ints) -> Ints:
        """How much more each side has than it should, in sixteenths of a picture: classes by sides."""
        return SCALE * np.asarray(self.counts.T @ _one_hot(side, len(self.shares))) - self.wanted


def divide(labels: Sequence[str], groups: Sequence[str], shares: Sequence[Fraction], seed: int) -> Ints:
    """The side (an index into `shares`, which sum to one) of every picture; no group is on two sides."""
    ordered = sorted(set(groups), key=lambda group: (digest(str(seed), group, length=8), group))
    place = {group: index for index, group in enumerate(ordered)}
    group_of_row = np.array([place[group] for group in groups], dtype=np.int64)
    division = _division(labels, group_of_row, tuple(shares))
    _require_enough_groups(division)

    side = np.full(len(ordered), -1, dtype=np.int64)
    _place_large(division, side)
    _place_single(division, side)
    if division.sizes.max() > 1:
        _improve(division, side)
    _require_presence(division, side)
    return side[group_of_row]


def _division(labels: Sequence[str], group_of_row: Ints, shares: tuple[Fraction, ...]) -> Division:
    classes = tuple(sorted(set(labels)))
    column = {label: index for index, label in enumerate(classes)}
    class_of_row = np.array([column[label] for label in labels], dtype=np.int64)
    everything = np.full(len(labels), len(classes))
    counts = csr_array(
        (
            np.ones(2 * len(labels), dtype=np.int64),
            (np.tile(group_of_row, 2), np.concatenate([class_of_row, everything])),
        ),
        shape=(int(group_of_row.max()) + 1, len(classes) + 1),
    )
    counts.sum_duplicates()
    totals = [int(total) for total in counts.sum(axis=0)]
    wanted = [[round(SCALE * total * share) for share in shares] for total in totals]
    return Division(
        classes,
        counts,
        shares,
        np.array(wanted, dtype=np.int64),
        # Deviations count relative to the size of the class, and of the side: chi-square, in effect.
        np.array([max(1, 2**34 // total**2) for total in totals], dtype=np.int64),
        np.array([round(8 / share) for share in shares], dtype=np.int64),
    )


def _require_enough_groups(division: Division) -> None:
    num_sides = len(division.shares)
    num_groups = division.members.sum(axis=0)
    num_pictures = division.counts.sum(axis=0)
    small = [
        f"{label!r} has {num_pictures[index]} pictures in {num_groups[index]} groups."
        for index, label in enumerate(division.classes)
        if num_groups[index] < num_sides
    ]
    if small:
        raise Problems(
            f"Each class needs at least {num_sides} groups for {num_sides} sides, and these have fewer. "
            "Add pictures of other specimens, merge the class with another, drop it, or ask for fewer sides:",
            small,
        )


def _require_presence(division: Division, side: Ints) -> None:
    absent = (division.present(side) == 0).any(axis=1)
    names = [repr(label) for label, is_absent in zip(division.classes, absent, strict=True) if is_absent]
    if names:
        raise HandlensError(
            f"No way was found to put {', '.join(names)} on every side and yet keep groups together, because "
            "groups hold several classes. Ask for fewer sides, try another seed, or make the groups smaller."
        )


def _place_large(division: Division, side: Ints) -> None:
    """Place groups of several pictures, large before small, where they are missed most."""
    sizes = division.sizes
    # Bands of doubling size, so that within a band the order is the seed's.
    large = sorted(np.flatnonzero(sizes > 1).tolist(), key=lambda group: -int(sizes[group]).bit_length())
    sides = range(len(division.shares))
    counts, weights, factors = division.counts, division.weights.tolist(), division.factors.tolist()
    deviation = (-division.wanted).tolist()
    total = len(division.classes)
    unplaced = [int(number) for number in division.members.sum(axis=0)]
    lacking = [set(sides) for _ in division.classes]
    for group in large:
        start, end = counts.indptr[group], counts.indptr[group + 1]
        held = list(
            zip(counts.indices[start:end].tolist(), (SCALE * counts.data[start:end]).tolist(), strict=True)
        )
        # A class with no more groups left than sides that lack it has no choice.
        urgent = [lacking[each] for each, _ in held if each != total and unplaced[each] <= len(lacking[each])]

        def cost(
            s: int, held: list[tuple[int, int]] = held, urgent: list[set[int]] = urgent
        ) -> tuple[int, int, int]:
            satisfied = sum(s in sides_lacking for sides_lacking in urgent)
            added = sum(weights[each] * count * (2 * deviation[each][s] + count) for each, count in held)
            return -satisfied, factors[s] * added, s

        best = min(sides, key=cost)
        side[group] = best
        for each, count in held:
            deviation[each][best] += count
            if each != total:
                unplaced[each] -= 1
                lacking[each].discard(best)


def _place_single(division: Division, side: Ints) -> None:
    """Fill up every class with its single pictures, exactly; where all are single this is stratification."""
    members = division.members
    of_class = members.indices
    first = members.indptr[:-1]
    waiting: list[list[int]] = [[] for _ in division.classes]
    for group in np.flatnonzero(side < 0).tolist():
        waiting[of_class[first[group]]].append(group)
    placed = side >= 0
    got = division.counts[placed].T @ _one_hot(side[placed], len(division.shares))
    totals = division.counts.sum(axis=0)
    targets = []
    for index, groups in enumerate(waiting):
        gaps = [share * int(totals[index]) - int(got[index, s]) for s, share in enumerate(division.shares)]
        absent = [bool(got[index, s] == 0) for s in range(len(division.shares))]
        targets.append(_filled(len(groups), gaps, division.shares, absent))
    for groups, numbers in zip(waiting, _rounded(targets), strict=True):
        side[groups] = np.repeat(np.arange(len(numbers)), numbers)


def _filled(
    count: int, gaps: Sequence[Fraction], shares: Sequence[Fraction], absent: Sequence[bool]
) -> list[Fraction]:
    """Divide a number so that it fills the gaps, and so that every absent side gets at least one."""
    least = [Fraction(int(each)) if sum(absent) <= count else Fraction(0) for each in absent]
    given: dict[int, Fraction] = {}
    while True:
        free = [s for s in range(len(shares)) if s not in given]
        if not free:
            return [given[s] for s in range(len(shares))]
        rest = count - sum(given.values(), Fraction(0)) - sum((gaps[s] for s in free), Fraction(0))
        level = rest / sum((shares[s] for s in free), Fraction(0))
        filled = {s: gaps[s] + level * shares[s] for s in free}
        # A side that is too full already takes only what it must; the others share the rest anew.
        short = {s: least[s] for s in free if filled[s] < least[s]}
        if not short:
            return [{**given, **filled}[s] for s in range(len(shares))]
        given.update(short)


def _rounded(targets: list[list[Fraction]]) -> list[list[int]]:
    """Round a table whose rows have whole sums so that no cell and no column sum moves by one or more."""
    columns = [sum(column, Fraction(0)) for column in zip(*targets, strict=True)]
    # Where each row is rounded up; the column that is owed most comes first.
    raised: list[set[int]] = []
    owed = [Fraction(0) for _ in columns]
    for row in targets:
        parts = [target - floor(target) for target in row]
        owed = [debt + part for debt, part in zip(owed, parts, strict=True)]
        chosen = sorted((s for s, part in enumerate(parts) if part), key=lambda s: (-owed[s], s))
        raised.append(set(chosen[: int(sum(parts))]))
        for s in raised[-1]:
            owed[s] -= 1
    while max(map(abs, owed)) >= 1:
        for row_index, source, target in _way(targets, raised, owed):
            raised[row_index].remove(source)
            raised[row_index].add(target)
            owed[source] += 1
            owed[target] -= 1
    return [
        [floor(target) + (s in up) for s, target in enumerate(row)]
        for row, up in zip(targets, raised, strict=True)
    ]


def _way(
    targets: list[list[Fraction]], raised: list[set[int]], owed: list[Fraction]
) -> list[tuple[int, int, int]]:
    """The shortest chain of exchanges (row, from, to) that mends a column which is off by one or more.

    There is one: the table before rounding is itself a flow with these bounds, so a whole one exists.
    """
    over = [s for s, debt in enumerate(owed) if debt <= -1]
    starts = over or [s for s, debt in enumerate(owed) if debt < 0]
    ends = [s for s, debt in enumerate(owed) if (debt > 0 if over else debt >= 1)]
    came_by: dict[int, tuple[int, int, int] | None] = dict.fromkeys(starts)
    waiting = deque(starts)
    while waiting:
        source = waiting.popleft()
        if source in ends:
            break
        for row_index, up in enumerate(raised):
            if source not in up:
                continue
            for target, value in enumerate(targets[row_index]):
                if target not in came_by and target not in up and value.denominator > 1:
                    came_by[target] = (row_index, source, target)
                    waiting.append(target)
    way = []
    step = came_by[source]
    while step is not None:
        way.append(step)
        step = came_by[step[1]]
    return way


def _improve(division: Division, side: Ints) -> None:
    """Move or exchange groups, the best step first, for as long as the sides come closer to their shares."""
    everyone = np.arange(len(side))
    values = SCALE * division.counts
    weighted = csr_array(values * division.weights)
    norms = np.asarray((weighted * values).sum(axis=1), dtype=np.int64)
    few = len(side) <= MOST_GROUPS_TO_SWAP
    products = np.asarray((weighted @ values.T).todense(), dtype=np.int64) if few else None
    members, factors = division.members, division.factors
    for _ in range(min(MOST_STEPS, MOST_WORK // (len(side) * len(factors)))):
        present = division.present(side)
        lonely, lacking = members @ (present == 1), members @ (present == 0)
        pulls = factors * (weighted @ division.deviation(side))
        own, leaves = pulls[everyone, side], lonely[everyone, side]

        # Squared deviations change by this much if a group (row) moves to a side (column).
        change = (factors[side][:, None] + factors) * norms[:, None] + 2 * (pulls - own[:, None])
        loss = leaves[:, None] - lacking
        elsewhere = side[:, None] != np.arange(len(factors))
        step = _best(loss, change, elsewhere)
        if products is not None:
            alone = csr_array(members * (present == 1)[:, side].T)
            kept = (alone @ members.T).todense()
            change_swap = (factors[side][:, None] + factors[side]) * (norms[:, None] + norms - 2 * products)
            across = pulls[:, side] - own[:, None]
            change_swap += 2 * (across + across.T)
            gain = lacking[:, side]
            loss_swap = leaves[:, None] + leaves - kept - kept.T - gain - gain.T
            swap = _best(loss_swap, change_swap, side[:, None] != side)
            if swap[:2] < step[:2]:
                if swap[:2] >= (0, 0):
                    return
                _, _, one, other = swap
                side[one], side[other] = side[other], side[one]
                continue
        if step[:2] >= (0, 0):
            return
        side[step[2]] = step[3]


def _best(loss: Ints, change: Ints, allowed: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The step that keeps most classes on all sides, and among these the one that evens out most."""
    least = int(loss[allowed].min(initial=np.iinfo(np.int64).max))
    candidates = allowed & (loss == least)
    at = int(np.where(candidates, change, np.iinfo(np.int64).max).argmin())
    row, column = divmod(at, change.shape[1])
    return least, int(change[row, column]), row, column


def _one_hot(side: Ints, num_sides: int) -> Ints:
    return np.asarray(side[:, None] == np.arange(num_sides), dtype=np.int64)
