"""What a run shows, in words: how good, how sure, and what to distrust.

Nothing here claims more than an interval supports: a model is called better than guessing only
where the lower end of its interval says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handlens.data.derived import PAPER_PROTOCOL
from handlens.data.leak import ALLOWED_LEAK
from handlens.evaluate.beside import Compared
from handlens.evaluate.leaked import Leaked
from handlens.evaluate.results import Metrics, SideResult, judged_side
from handlens.provenance import Provenance
from handlens.report import doubts
from handlens.report.doubts import SEVERITIES, Doubt, SamplesSummary
from handlens.report.words import count, percent, percent_interval


@dataclass(frozen=True)
class Verdict:
    """What the top of the report says."""

    claim: str
    """How good, without the full stop."""
    basis: str
    """How sure, and on what it rests."""
    sentences: tuple[str, ...]
    """What puts the claim into proportion."""
    warnings: tuple[Doubt, ...]
    """What to distrust, the worst first."""
    alarm: str | None = None
    """What has to be said before anything else: that the figures cannot be believed at all."""

    @property
    def headline(self) -> str:
        """Claim and basis as one sentence, behind the alarm."""
        alarm = f"{self.alarm} " if self.alarm else ""
        return f"{alarm}{self.claim} ({self.basis})."


def judge(
    metrics: Metrics,
    provenance: Provenance,
    summary: SamplesSummary,
    history: Sequence[Mapping[str, Any]] = (),
    compared: Compared | None = None,
    leaked: Leaked | None = None,
) -> Verdict:
    """Say how good, how sure, and what to distrust."""
    name = judged_side(metrics)
    side = metrics.sides[name]
    accuracy = side.figures["accuracy"]
    marked = [*doubts.about_protocol(provenance), *doubts.about_copies(provenance, leaked)]
    found = [
        *marked,
        *doubts.about_near_copies(provenance, leaked),
        *doubts.about_data(provenance, summary),
        *doubts.about_size(name, side),
        *doubts.about_classes(metrics.classes, side),
        *doubts.about_training(metrics, side, provenance, history),
        *doubts.about_transfer(compared),
        *doubts.about_tasks(metrics),
    ]
    return Verdict(
        claim=f"Right on {percent(accuracy.value)} of {_which_pictures(name, provenance, leaked)}",
        basis=f"95 % interval {percent_interval(accuracy)}, {rests_on(side, summary)}",
        sentences=(
            *_sentences(side, summary),
            *_sentences_about_kinds(metrics),
            *_sentences_about_tasks(metrics),
        ),
        # Sorting is stable, so that within a severity the order above stays.
        warnings=tuple(sorted(found, key=lambda doubt: SEVERITIES.index(doubt.severity))),
        alarm=f"{marked[0].title}." if marked else None,
    )


def rests_on(side: SideResult, summary: SamplesSummary) -> str:
    """How many pictures and groups figures rest on; picture by picture where no group was told."""
    if summary.each_its_own_group and side.n == side.n_groups:
        return f"{count(side.n, 'picture')}, each its own group"
    return f"{count(side.n, 'picture')} from {count(side.n_groups, 'group')}"


def _which_pictures(side: str, provenance: Provenance, leaked: Leaked | None) -> str:
    if {PAPER_PROTOCOL, ALLOWED_LEAK} & set(provenance.data.marks):
        return f"its {side} pictures, but copies of them were learned from: do not quote this figure"
    if provenance.data.leaks:
        return f"its {side} pictures, but the split leaks: do not quote this figure"
    if leaked is not None:
        near = count(len(leaked.copied), "has a near copy", "have near copies")
        return f"its {side} pictures, of which {near} in training"
    if side == "test":
        return "pictures it had never seen"
    return "the validation pictures, which also chose its settings"


def _sentences(side: SideResult, summary: SamplesSummary) -> Iterator[str]:
    accuracy = side.figures["accuracy"]
    guess = summary.most_frequent()
    guessed = side.share_of(guess)
    start = (
        f"Always saying “{guess}”, the most frequent class in training, would be right on {percent(guessed)}"
    )
    if accuracy.low > guessed:
        yield f"{start}; the model is better than that, and its whole interval lies above it."
    elif accuracy.high < guessed:
        yield f"{start}; the model is worse than that."
    else:
        yield f"{start}; the interval includes that, so the model is not shown to be better than guessing."
    balanced = side.figures.get("balanced_accuracy")
    if balanced is not None:
        yield (
            f"With each class counting the same, however rare, it finds {percent(balanced.value)} "
            f"(balanced accuracy, {percent_interval(balanced)})."
        )
    wrong = side.n - sum(side.confusion[i][i] for i in range(len(side.confusion)))
    if wrong:
        yield f"It was wrong on {count(wrong, 'picture')}; look at the most confident mistakes first."
    else:
        yield (
            f"It made no mistake on {count(side.n, 'picture')}. That does not mean that it never errs: "
            f"up to {percent(1 - accuracy.low)} mistakes would still agree with this result."
        )


def _sentences_about_kinds(metrics: Metrics) -> Iterator[str]:
    if metrics.kinds is None:
        return
    accuracy = metrics.kinds.sides[judged_side(metrics)].figures["accuracy"]
    kind_of = {label: kind for kind, members in metrics.kinds.members.items() for label in members}
    mistakes = [
        (number, kind_of[true] == kind_of[said])
        for true, row in zip(metrics.classes, metrics.sides[judged_side(metrics)].confusion, strict=True)
        for said, number in zip(metrics.classes, row, strict=True)
        if true != said
    ]
    wrong = sum(number for number, _ in mistakes)
    within = sum(number for number, is_within in mistakes if is_within)
    stay = f"; of {count(wrong, 'mistake')} about the class, {within:,} stay within the kind" if wrong else ""
    yield (
        f"It tells the {len(metrics.kinds.members)} kinds of classes apart on {percent(accuracy.value)} "
        f"({percent_interval(accuracy)}){stay}."
    )


def _sentences_about_tasks(metrics: Metrics) -> Iterator[str]:
    if metrics.tasks:
        yield f"All this is about the main task, “{metrics.label}”."
    for name, result in metrics.tasks.items():
        side = result.sides[judged_side(result)]
        accuracy = side.figures["accuracy"]
        yield (
            f"Of “{name}” it is right on {percent(accuracy.value)} "
            f"(95 % interval {percent_interval(accuracy)}, {count(side.n, 'picture')} from "
            f"{count(side.n_groups, 'group')})."
        )
