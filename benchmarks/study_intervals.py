"""Whether the intervals of a comparison hold, and how often it calls a row better that is not.

    python benchmarks/study.py intervals --out intervals.json

Simulated experiments: pictures of groups (specimens, videos) that are hard or easy together, judged by rows
of networks that find the same pictures hard, in part. The true accuracy of each row is known, because a
picture is right where the sum of what it is to all, to this row and to this training lies above a threshold.

Told is, for each kind of experiment, how often the 95 % interval of a row's accuracy and of the difference to
the first row holds the truth (asked: 93 to 97 in a hundred), how often a row is marked better, or worse,
where none is (asked: 5 at most, whatever the number of rows), and beside it how often McNemar's exact test
would have said so of the first two rows, each picture being a witness of its own.

The same is asked of the leakage gap, where one protocol judges new specimens, and the other pictures whose
copies were learned from: how often its interval holds the truth, and how often it is called clear.

With 500 experiments a share is itself known to two in a hundred (twice its standard error): what lies
outside by less is told as within chance.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binomtest

from handlens.evaluate.comparison import Comparison, Entry, compare
from handlens.evaluate.predictions import Predictions
from handlens.reproduce.gap import Gap, figures_over_groups, gap_of, in_common
from stamped import write_stamped

ASKED = (0.93, 0.97)
WRONG = 0.05
CLASSES = ("right", "wrong")
# Shares of the variance of how hard a picture is: to all rows, to one row, and to one training of it.
TO_ALL, TO_ROW, TO_TRAINING = 0.7, 0.09, 0.21


@dataclass(frozen=True)
class Kind:
    """One kind of experiment."""

    name: str
    num_groups: int
    size: int
    """Pictures of a group, or on average where groups are uneven."""
    right: float
    """The true accuracy of the first row."""
    together: float = 0.0
    """Correlation of what is hard within a group."""
    gain: float = 0.0
    """By how much the other rows are truly better."""
    rows: int = 2
    trainings: int = 1
    seed_spread: float = 0.0
    """What another seed changes, in units of the spread of how hard pictures are."""
    uneven: bool = False
    to: str = "first"


KINDS = (
    Kind("100 pictures", 100, 1, 0.85),
    Kind("500 pictures, a row 5 points better", 500, 1, 0.85, gain=0.05),
    Kind("500 pictures, few errors", 500, 1, 0.97),
    Kind("25 groups of 8", 25, 8, 0.85, 0.3),
    Kind("25 groups of 8, 8 points better", 25, 8, 0.85, 0.3, gain=0.08),
    Kind("60 groups of 8, few errors", 60, 8, 0.95, 0.3),
    Kind("40 uneven groups", 40, 5, 0.85, 0.3, uneven=True),
    Kind("12 groups of 6", 12, 6, 0.80, 0.3),
    Kind("25 groups of 8, near copies", 25, 8, 0.85, 0.8),
    Kind("20 videos of 40 frames", 20, 40, 0.85, 0.8),
    Kind("three seeds that change nothing", 200, 1, 0.85, trainings=3),
    Kind("three seeds", 200, 1, 0.85, trainings=3, seed_spread=0.1),
    Kind("three seeds, groups", 25, 8, 0.85, 0.3, gain=0.05, trainings=3, seed_spread=0.1),
    Kind("nine rows", 200, 1, 0.85, rows=9),
    Kind("nine rows, groups, three seeds", 25, 8, 0.85, 0.3, rows=9, trainings=3, seed_spread=0.1),
    Kind("nine rows, to the best", 200, 1, 0.85, rows=9, to="best"),
    Kind("nine rows, groups, to the best", 25, 8, 0.85, 0.3, rows=9, to="best"),
)


@dataclass(frozen=True)
class Leaking:
    """One kind of experiment with two protocols, on specimens of which there are so many pictures each."""

    name: str
    num_specimens: int
    copies: int
    claimed: float
    honest: float
    together: float = 0.8


LEAKING = (
    Leaking("gap: all remembered", 120, 8, 1.0, 0.75),
    Leaking("gap: nearly all remembered", 120, 8, 0.98, 0.75),
    Leaking("gap: some remembered", 120, 8, 0.9, 0.75),
    Leaking("gap: many specimens", 600, 5, 0.97, 0.9),
    Leaking("gap: none", 120, 8, 0.85, 0.85),
    Leaking("gap: none, single pictures", 500, 1, 0.85, 0.85, 0.0),
)


def experiment(kind: Kind, rng: np.random.Generator) -> list[Entry]:
    """The judgments of every training of every row of one experiment."""
    sizes = rng.geometric(1 / kind.size, kind.num_groups) if kind.uneven else kind.size
    group = np.repeat(np.arange(kind.num_groups), sizes)

    def hard(share: float, own: bool = True) -> NDArray[np.float64]:
        """How hard the pictures are, in part by their groups."""
        by_group = sqrt(kind.together) * rng.normal(size=kind.num_groups)[group] if own else 0.0
        alone = sqrt(1 - kind.together * own) * rng.normal(size=len(group))
        return np.asarray(sqrt(share) * (by_group + alone))

    to_all, entries = hard(TO_ALL), []
    for row in range(kind.rows):
        threshold = ndtri(1 - kind.right - kind.gain * (row > 0)) * sqrt(1 + kind.seed_spread**2)
        to_row = to_all + hard(TO_ROW)
        trainings = [
            to_row + hard(TO_TRAINING, own=False) + kind.seed_spread * rng.normal() > threshold
            for _ in range(kind.trainings)
        ]
        entries.append(Entry(f"row {row + 1}", tuple(judgments(each, group) for each in trainings)))
    return entries


def judgments(right: NDArray[np.bool_], group: NDArray[np.int64]) -> Predictions:
    names = tuple(map(str, range(len(right))))
    said = np.eye(2, dtype=np.float32)[np.where(right, 0, 1)]
    return Predictions(names, tuple(map(str, group)), np.zeros(len(right), np.int64), CLASSES, said)


def mcnemar(first: Predictions, second: Predictions) -> float:
    """The exact test of who is right where only one is, each picture being a witness of its own."""
    only_first = int((first.correct & ~second.correct).sum())
    apart = only_first + int((~first.correct & second.correct).sum())
    return float(binomtest(only_first, apart).pvalue) if apart else 1.0


def true_accuracy(kind: Kind, name: str) -> float:
    return kind.right + kind.gain * (name != "row 1")


def measured(kind: Kind, experiments: int) -> dict[str, float | None]:
    """How often intervals hold and marks are wrong in experiments of one kind."""
    rows, gaps, marks, classic = [], [], [], []
    for number in range(experiments):
        entries = experiment(kind, np.random.default_rng([number, len(kind.name)]))
        found = compare(entries, also=(), to=kind.to, seed=number)
        rows += list(held_by_rows(kind, found))
        gaps.append(list(held_by_differences(kind, found)))
        marks.append(any(row.standing in ("better", "worse") for row in found.rows))
        if not kind.gain:
            classic.append(mcnemar(*(entry.trainings[0] for entry in entries[:2])) <= 0.05)
    truly_even = not kind.gain
    return {
        "row_covered": share(rows),
        # To the best row all intervals have to hold at once.
        "difference_covered": share(
            [all(each) for each in gaps] if kind.to == "best" else [held for each in gaps for held in each]
        ),
        "marked": share(marks),
        "wrongly_marked": share(marks) if truly_even else None,
        "mcnemar_wrong": share(classic) if truly_even and kind.trainings == 1 else None,
    }


def held_by_rows(kind: Kind, found: Comparison) -> Iterator[bool]:
    for row in found.rows:
        figure = row.figures["accuracy"]
        yield figure.low <= true_accuracy(kind, row.name) <= figure.high


def held_by_differences(kind: Kind, found: Comparison) -> Iterator[bool]:
    for row in found.rows:
        if row.difference is not None:
            true = true_accuracy(kind, row.name) - true_accuracy(kind, found.reference)
            yield row.difference.low <= true <= row.difference.high


def leaked(kind: Leaking, rng: np.random.Generator) -> Gap:
    """What is told of one experiment: specimens are hard under both protocols, or under neither."""
    specimen = np.repeat(np.arange(kind.num_specimens), kind.copies)
    hard = sqrt(kind.together) * rng.normal(size=kind.num_specimens)[specimen]

    def judged(pictures: NDArray[np.bool_], accuracy: float) -> list[Predictions]:
        alone = sqrt(1 - kind.together) * rng.normal(size=len(specimen))
        right = hard + alone > ndtri(1 - accuracy)
        return [judgments(right[pictures], specimen[pictures])]

    # A fifth of the specimens, and a fifth of the pictures.
    new = (rng.permutation(kind.num_specimens) < kind.num_specimens / 5)[specimen]
    anyhow = rng.permutation(len(specimen)) < len(specimen) / 5
    claimed, honest = judged(anyhow, kind.claimed), judged(new, kind.honest)
    figures = (figures_over_groups(each, ["accuracy"])["accuracy"] for each in (claimed, honest))
    return gap_of(kind.name, *figures, together=in_common(claimed, honest))


def measured_gap(kind: Leaking, experiments: int) -> dict[str, float | None]:
    """How often the interval of a leakage gap holds it, and how often one is seen that is none."""
    rngs = (np.random.default_rng([number, len(kind.name)]) for number in range(experiments))
    found, true = [leaked(kind, rng) for rng in rngs], kind.claimed - kind.honest
    clear = share([gap.clear for gap in found])
    return {
        "row_covered": share([gap.honest.low <= kind.honest <= gap.honest.high for gap in found]),
        "difference_covered": share([gap.low <= true <= gap.high for gap in found]),
        "marked": clear,
        "wrongly_marked": None if true else clear,
        "mcnemar_wrong": None,
    }


def share(of: Sequence[bool]) -> float:
    return round(float(np.mean(of)), 4)


def verdict(found: dict[str, float | None], experiments: int) -> str:
    """What of it is not as asked; what chance alone explains, twice its standard error, is told as such."""
    wrong = []
    for name in ("row_covered", "difference_covered"):
        value = found[name]
        if value is not None and not ASKED[0] <= value <= ASKED[1]:
            off = max(ASKED[0] - value, value - ASKED[1])
            side = "too often" if value > ASKED[1] else "too rarely"
            wrong.append(f"{name} {side}{by_chance(off, value, experiments)}")
    if (value := found["wrongly_marked"] or 0) > WRONG:
        wrong.append(f"marked too often{by_chance(value - WRONG, value, experiments)}")
    return ", ".join(wrong) or "as asked"


def by_chance(off: float, value: float, experiments: int) -> str:
    return " (within chance)" if off <= 2 * sqrt(value * (1 - value) / experiments) else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiments", type=int, default=500)
    parser.add_argument("--only", help="The kinds with this in their names.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    columns = ("row_covered", "difference_covered", "marked", "wrongly_marked", "mcnemar_wrong")
    print(f"| experiment | {' | '.join(columns)} | |\n|---{'|---' * len(columns)}|---|")
    told = []
    for kind in (*KINDS, *LEAKING):
        if given.only and given.only not in kind.name:
            continue
        started = time.monotonic()
        measure = measured_gap if isinstance(kind, Leaking) else measured
        found = measure(kind, given.experiments)
        cells = ["" if found[name] is None else f"{100 * found[name]:.1f}" for name in columns]
        print(f"| {kind.name} | {' | '.join(cells)} | {verdict(found, given.experiments)} |", flush=True)
        told.append({**asdict(kind), **found, "seconds": round(time.monotonic() - started, 1)})
    write_stamped(given.out, experiments=given.experiments, kinds=told)


if __name__ == "__main__":
    main()
