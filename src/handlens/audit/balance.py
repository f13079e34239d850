"""Balance and coverage: pictures and groups a class, and classes too small to judge anything by.

Groups of unequal size are worth fewer equal ones: (sum of sizes)² / sum of squared sizes, as Kish (1965,
"Survey Sampling", section 8.2) counts unequal weights. A class of a thousand frames from one long video and
two short ones is worth little more than one group.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from handlens.audit.finding import Finding, Subject
from handlens.audit.spec import BalanceSpec
from handlens.data.derived import derived_rows
from handlens.data.samples import SIDES
from handlens.evaluate.intervals import student
from handlens.report.words import count, listed

TYPICAL_RECALL = 0.9
"""What the interval of a class is told for, before there is any model."""
NO_SIDE = ""


@dataclass(frozen=True)
class ClassCount:
    """What there is of one class; pictures that were made from others do not count."""

    label: str
    pictures: int
    groups: int
    effective: float
    """Equal groups that they are worth."""
    largest: float
    """The share of the pictures that comes from the largest group."""
    by_side: dict[str, int]
    """Pictures on each side of a split that came with them."""
    groups_by_side: dict[str, int]
    on_test: float
    """Equal groups that its test pictures are worth, or will be worth."""
    reach: float
    """How far its recall, 90 % say, can lie from the truth on these: half the 95 % interval."""


def counts(subject: Subject, spec: BalanceSpec) -> list[ClassCount]:
    """What there is of each class, in the order of the classes."""
    derived = derived_rows(subject.samples)
    rows = subject.samples.table.select("label", "group", "split").rows()
    taken = [row for row, made in zip(rows, derived, strict=True) if not made]
    return [
        _class(label, [(group, split) for of, group, split in taken if of == label], subject, spec)
        for label in subject.samples.classes
    ]


def _class(
    label: str, pictures: Sequence[tuple[str, str | None]], subject: Subject, spec: BalanceSpec
) -> ClassCount:
    sizes = Counter(group for group, _ in pictures)
    sides = set(subject.samples.table["split"].drop_nulls())
    effective = effective_number(list(sizes.values()))
    if "test" in sides:
        on_test = effective_number(
            list(Counter(group for group, side in pictures if side == "test").values())
        )
    else:
        on_test = effective * spec.test_share
    return ClassCount(
        label,
        len(pictures),
        len(sizes),
        effective,
        max(sizes.values(), default=0) / max(1, len(pictures)),
        {side: sum(own == side for _, own in pictures) for side in SIDES if side in sides},
        {side: len({group for group, own in pictures if own == side}) for side in SIDES if side in sides},
        on_test,
        reach(on_test),
    )


def effective_number(sizes: Sequence[int]) -> float:
    """How many groups of equal size these are worth."""
    return sum(sizes) ** 2 / sum(size**2 for size in sizes) if sizes else 0.0


def reach(groups: float, share: float = TYPICAL_RECALL) -> float:
    """Half of the 95 % interval of a share that so many independent groups show (Wilson 1927)."""
    if groups < 1:
        return 1.0
    quantile = student(max(1.0, groups - 1))
    widening = quantile**2 / groups
    return quantile * sqrt(share * (1 - share) / groups + widening / (4 * groups)) / (1 + widening)


def find(subject: Subject, counted: Sequence[ClassCount], spec: BalanceSpec) -> list[Finding]:
    """What is too little, too uneven or missing."""
    return [
        *_alone(counted),
        *_missing(subject, counted),
        *_small(counted, spec),
        *_uneven(counted, spec),
        *_of_one_group(counted),
        *_ungrouped(subject),
        *_unlabelled(subject),
    ]


def _alone(counted: Sequence[ClassCount]) -> Iterator[Finding]:
    """Classes that cannot be learned and judged, whatever the split is."""
    alone = [each.label for each in counted if each.groups < 2]
    if alone:
        yield Finding(
            "balance",
            "must",
            f"{count(len(alone), 'class', 'classes')} of a single group",
            f"All pictures of {listed(alone)} come from one thing. They cannot be learned from and judged on "
            "without judging what was learned by heart. Take pictures of other specimens, or leave it out.",
        )


def _missing(subject: Subject, counted: Sequence[ClassCount]) -> Iterator[Finding]:
    """Classes that a given split has on one side only."""
    if not subject.samples.is_split:
        return
    unlearned = [each.label for each in counted if not each.by_side.get("train") and each.pictures]
    if unlearned:
        yield Finding(
            "balance",
            "must",
            f"The training side lacks {count(len(unlearned), 'class', 'classes')}",
            f"Nothing can learn what {listed(unlearned)} looks like. Split the pictures anew.",
        )
    judged = "test" if any("test" in each.by_side for each in counted) else "val"
    unjudged = [each.label for each in counted if not each.by_side.get(judged) and each.by_side.get("train")]
    if unjudged:
        yield Finding(
            "balance",
            "should",
            f"The {judged} side lacks {count(len(unjudged), 'class', 'classes')}",
            f"No figure will say anything about {listed(unjudged)}. Split the pictures anew.",
        )


def _small(counted: Sequence[ClassCount], spec: BalanceSpec) -> Iterator[Finding]:
    small = [each for each in counted if each.groups >= 2 and each.on_test > 0 and each.reach > spec.widest]
    if not small:
        return
    worst = max(small, key=lambda each: each.reach)
    test = (
        "The test side holds" if worst.by_side.get("test") else f"A test side of {spec.test_share:.0%} holds"
    )
    yield Finding(
        "balance",
        "should",
        f"{count(len(small), 'class', 'classes')} too small to judge",
        f"{test} about {count(max(1, round(worst.on_test)), 'independent group')} of "
        f"{listed([worst.label])}. If a model finds {TYPICAL_RECALL:.0%} of them, the truth may lie "
        f"{100 * worst.reach:.0f} points off. "
        + (
            f"The same goes for {listed([each.label for each in small if each is not worst])}. "
            if small[1:]
            else ""
        )
        + "Add groups rather than pictures of the same groups, or judge with folds (split.folds).",
    )


def _uneven(counted: Sequence[ClassCount], spec: BalanceSpec) -> Iterator[Finding]:
    with_pictures = [each for each in counted if each.pictures]
    if len(with_pictures) < 2:
        return
    most = max(with_pictures, key=lambda each: each.pictures)
    least = min(with_pictures, key=lambda each: each.pictures)
    if most.pictures > spec.most_uneven * least.pictures:
        yield Finding(
            "balance",
            "should",
            f"The largest class is {most.pictures / least.pictures:.0f} times as large as the smallest",
            f"“{most.label}” has {most.pictures:,} pictures and “{least.label}” {least.pictures:,}. Accuracy "
            "then says little about the small one: read the balanced accuracy and the figures of each class.",
        )


def _of_one_group(counted: Sequence[ClassCount]) -> Iterator[Finding]:
    found = [
        each
        for each in counted
        if each.groups > 2 and each.effective < each.groups / 2 and each.largest > 0.3
    ]
    if found:
        worst = max(found, key=lambda each: each.largest)
        yield Finding(
            "balance",
            "note",
            f"{count(len(found), 'class', 'classes')} mostly of one group",
            f"{worst.largest:.0%} of the pictures of “{worst.label}” come from a single one of its "
            f"{worst.groups} groups, so that these are worth no more than {worst.effective:.1f} equal ones.",
        )


def _ungrouped(subject: Subject) -> Iterator[Finding]:
    table = subject.samples.table
    # Where nothing was told, a group bears the name of its picture, or of one of several identical ones.
    if bool(table["group"].is_in(table["id"].implode()).all()):
        yield Finding(
            "balance",
            "note",
            "Nothing was told about what the pictures came from",
            "Each picture counts as its own group. If several show one specimen, part, video or sitting, say "
            "so with --group, --group-level or --group-column: otherwise every figure promises too much.",
        )


def _unlabelled(subject: Subject) -> Iterator[Finding]:
    num = subject.samples.table["label"].null_count()
    if num:
        yield Finding(
            "balance",
            "note",
            f"{count(num, 'picture')} without a label of “{subject.samples.label_name}”",
            "They teach and judge further tasks only.",
        )


def as_json(counted: ClassCount) -> dict[str, Any]:
    """The counts of a class as a program reads them."""
    return asdict(counted)
