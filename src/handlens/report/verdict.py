"""What a run shows, in words: how good, how sure, and what to distrust.

Nothing here claims more than an interval supports: a model is called better than guessing only
where the lower end of its interval says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from handlens.data.derived import PAPER_PROTOCOL
from handlens.data.leak import ALLOWED_LEAK
from handlens.evaluate.compare import Compared
from handlens.evaluate.leaked import Leaked
from handlens.evaluate.results import ClassResult, KindsResult, Metrics, SideResult, TaskResult
from handlens.provenance import Provenance
from handlens.report.words import count, listed, percent, percent_interval, points_interval

Severity = Literal["serious", "caution", "note"]
_ORDER: tuple[Severity, ...] = ("serious", "caution", "note")

FEW_PICTURES = 100
FEW_GROUPS = 30
FEW_GROUPS_OF_A_CLASS = 10
WIDE = 0.10
VERY_WIDE = 0.20
BADLY_CALIBRATED = 0.05
WIDE_GAP = 0.10
MANY_LEFT_OUT = 0.01
MANY_COPIES = 0.05


@dataclass(frozen=True)
class SamplesSummary:
    """What the verdict has to know about the table of pictures."""

    pictures: Mapping[str, Mapping[str, int]]
    """Pictures by class and side of the split."""
    groups: Mapping[str, Mapping[str, int]]
    """Groups by class and side of the split."""
    each_its_own_group: bool
    """Whether nothing was told about which pictures show the same thing."""

    def most_frequent(self) -> str:
        """The class that one would guess without looking: the most frequent one in training."""
        return max(self.pictures, key=lambda label: self.pictures[label].get("train", 0))


@dataclass(frozen=True)
class Doubt:
    """One reason not to take the figures at face value."""

    severity: Severity
    title: str
    """The reason in a few words."""
    detail: str
    """What follows from it, and what would mend it."""


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


def judged_side(metrics: TaskResult | KindsResult) -> str:
    """The side that the verdict rests on: test, or validation where nothing else was judged."""
    return "test" if "test" in metrics.sides else next(iter(metrics.sides))


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
    marked = [*_doubts_about_protocol(provenance), *_doubts_about_copies(provenance, leaked)]
    doubts = [
        *marked,
        *_doubts_about_near_copies(provenance, leaked),
        *_doubts_about_data(provenance, summary),
        *_doubts_about_size(name, side),
        *_doubts_about_classes(metrics.classes, side),
        *_doubts_about_training(metrics, side, provenance, history),
        *_doubts_about_transfer(compared),
        *_doubts_about_tasks(metrics),
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
        warnings=tuple(sorted(doubts, key=lambda doubt: _ORDER.index(doubt.severity))),
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


def _doubts_about_tasks(metrics: Metrics) -> Iterator[Doubt]:
    """The same doubts about each further task, under its name."""
    for name, result in metrics.tasks.items():
        side = result.sides[judged_side(result)]
        # That there is no test side was said of the run.
        for doubt in (*_doubts_about_size("test", side), *_doubts_about_classes(result.classes, side)):
            yield replace(doubt, title=f"“{name}”: {doubt.title}")


def _doubts_about_protocol(provenance: Provenance) -> Iterator[Doubt]:
    """Where the pictures bear a mark, the figures are no estimate of anything."""
    if PAPER_PROTOCOL in provenance.data.marks:
        yield Doubt(
            "serious",
            "This run leaks: its pictures were expanded before they were split",
            "Copies of one picture stand in training and in test, so the figures say how well copies are "
            "recognised, not how well new pictures are. This is the protocol of some papers "
            "(handlens expand --paper-protocol), good for repeating them and for nothing else. Without that "
            "option only the training side is expanded.",
        )


def _doubts_about_copies(provenance: Provenance, leaked: Leaked | None) -> Iterator[Doubt]:
    """Where copies across a split that came with the pictures were found and allowed: what they are worth."""
    if ALLOWED_LEAK not in provenance.data.marks:
        return
    told = "What is learned by heart is judged, so the figures are too good."
    how_many = "test pictures have copies in training"
    if leaked is not None:
        how_many = _how_many(leaked, "copies")
        told = _with_and_without(leaked)
    yield Doubt(
        "serious",
        f"This run leaks: {how_many}",
        f"{told} The split came with the pictures, and --allow-leak let it pass. 'handlens audit DATA "
        "--apply mended.csv' shows them side by side and writes a table without those in training; train on "
        "mended.csv.",
    )


def _doubts_about_near_copies(provenance: Provenance, leaked: Leaked | None) -> Iterator[Doubt]:
    """Where a split that Handlens made tears near copies apart."""
    if leaked is None or ALLOWED_LEAK in provenance.data.marks:
        return
    yield Doubt(
        "serious" if len(leaked.copied) > MANY_COPIES * leaked.with_copies.n else "caution",
        _how_many(leaked, "near copies"),
        f"Nearly the same as {listed([each.id for each in leaked.copied])} was learned from. "
        f"{_with_and_without(leaked)} Nothing said that these belong together, so the split tore them apart. "
        "'handlens audit DATA --apply grouped.csv' (DATA and its options as they were given here) shows them "
        "side by side and makes each set of copies one group; then train on grouped.csv.",
    )


def _how_many(leaked: Leaked, what: str) -> str:
    number = len(leaked.copied)
    return f"{count(number, f'{leaked.side} picture has', f'{leaked.side} pictures have')} {what} in training"


def _with_and_without(leaked: Leaked) -> str:
    told = f"It is right on {percent(leaked.on_copies.value)} of these"
    if leaked.without_copies is None:
        return f"{told}, and there are no others: nothing is known about pictures that it has not seen."
    return (
        f"{told} and on {percent(leaked.without_copies.value)} of the others (95 % interval "
        f"{percent_interval(leaked.without_copies)}), which is the figure to believe."
    )


def _doubts_about_data(provenance: Provenance, summary: SamplesSummary) -> Iterator[Doubt]:
    data = provenance.data
    if data.leaks:
        yield Doubt(
            "serious",
            f"The given split leaks: {count(len(data.leaks), 'group stands', 'groups stand')} on two sides",
            f"What stands on two sides is both learned from and judged, so the figures are too good: "
            f"{listed(data.leaks)}. Let Handlens make the split, or keep each group on one side.",
        )
    if summary.each_its_own_group:
        yield Doubt(
            "caution",
            "Every picture counts as independent",
            "No group was told. If several pictures show the same specimen, part or video, they may stand "
            "on both sides of the split, and then the figures are too good. Say what each picture came from, "
            "with a column called group in a table of pictures, or with data.group.level (folders) or "
            "data.group.pattern (names) in the recipe, and train again.",
        )
    if data.conflicts:
        yield Doubt(
            "caution",
            f"{count(len(data.conflicts), 'picture stands', 'pictures stand')} under different labels",
            f"{' '.join(data.conflicts[:3])} No model can be right on both. Mend the labels; the list under "
            "Data names them all.",
        )
    if data.problems:
        rotten = len(data.problems) / (len(data.problems) + data.num_pictures) > MANY_LEFT_OUT
        yield Doubt(
            "caution" if rotten else "note",
            f"{count(len(data.problems), 'picture was', 'pictures were')} left out",
            "They could not be used; each is named with its reason under Data. If they are mostly of one "
            "kind, the figures do not speak for that kind.",
        )


def _doubts_about_size(name: str, side: SideResult) -> Iterator[Doubt]:
    accuracy = side.figures["accuracy"]
    if name != "test":
        yield Doubt(
            "serious",
            "There is no test side",
            "These pictures also chose the settings, so the figures are too good by an unknown amount. "
            "Keep some groups aside for a test.",
        )
    if side.n_groups < FEW_GROUPS:
        yield Doubt(
            "serious",
            f"Judged on only {count(side.n_groups, 'group')}",
            "Pictures of one group resemble each other, so what counts is the number of groups. With fewer "
            f"than {FEW_GROUPS}, even the intervals are rough.",
        )
    elif side.n < FEW_PICTURES:
        yield Doubt(
            "caution",
            f"Judged on only {count(side.n, 'picture')}",
            "One picture more or less that is right moves the accuracy by "
            f"{percent(1 / side.n).removesuffix(' %')} points.",
        )
    width = accuracy.high - accuracy.low
    if width > WIDE:
        yield Doubt(
            "serious" if width > VERY_WIDE else "caution",
            f"The interval is wide: {100 * width:.0f} points",
            f"The true accuracy may well be {percent(accuracy.low)} or {percent(accuracy.high)}. "
            "About four times as many test groups would halve the interval.",
        )


def _doubts_about_classes(classes: Sequence[str], side: SideResult) -> Iterator[Doubt]:
    unseen = [name for name in classes if name not in side.per_class or side.per_class[name].n == 0]
    if unseen:
        yield Doubt(
            "serious",
            f"{count(len(unseen), 'class has', 'classes have')} no picture to be judged on",
            f"Nothing is known about {listed(unseen)}.",
        )
    judged = {name: result for name, result in side.per_class.items() if result.n}
    yield from _weakest_class(judged)
    yield from _worst_confusion(classes, side)
    few = [name for name, result in judged.items() if result.n_groups < FEW_GROUPS_OF_A_CLASS]
    if few:
        yield Doubt(
            "caution",
            f"{count(len(few), 'class rests', 'classes rest')} on fewer than {FEW_GROUPS_OF_A_CLASS} groups",
            f"The figures for {listed(few)} can change a lot with other pictures.",
        )


def _weakest_class(judged: Mapping[str, ClassResult]) -> Iterator[Doubt]:
    if len(judged) < 2:
        return
    weakest = min(judged, key=lambda name: judged[name].recall.value)
    recall = judged[weakest].recall
    if recall.value == 1.0:
        return
    yield Doubt(
        "serious" if recall.value < 0.5 else "caution" if recall.low < 0.5 else "note",
        f"Weakest class: “{weakest}”",
        f"It finds {percent(recall.value)} of the {count(judged[weakest].n, 'picture')} "
        f"(95 % interval {percent_interval(recall)}).",
    )


def _worst_confusion(classes: Sequence[str], side: SideResult) -> Iterator[Doubt]:
    mistakes = [
        (number, true, said)
        for true, row in enumerate(side.confusion)
        for said, number in enumerate(row)
        if true != said and number
    ]
    if not mistakes:
        return
    # Of equally frequent ones the first in the order of the classes, so that a page stays the same.
    number, true, said = max(mistakes, key=lambda mistake: (mistake[0], -mistake[1], -mistake[2]))
    yield Doubt(
        "note",
        f"Most frequent confusion: “{classes[true]}” taken for “{classes[said]}”",
        f"{number} of {count(sum(side.confusion[true]), 'picture')} of “{classes[true]}”.",
    )


def _doubts_about_training(
    metrics: Metrics, side: SideResult, provenance: Provenance, history: Sequence[Mapping[str, Any]]
) -> Iterator[Doubt]:
    if not provenance.weights.pretrained:
        yield Doubt(
            "serious",
            "The network started from random weights",
            f"“{provenance.weights.backbone}” was not pretrained, so nothing was transferred. These figures "
            "do not show what transfer learning can do on these pictures.",
        )
    if metrics.temperature is None:
        yield Doubt(
            "caution",
            "The probabilities are not calibrated",
            "There was no validation side to calibrate them on. Read a confidence of 90 % as an order, "
            "not as a chance.",
        )
    ece = side.figures.get("ece_calibrated", side.figures.get("ece"))
    if ece is not None and ece.low > BADLY_CALIBRATED:
        yield Doubt(
            "caution",
            "The confidences are off",
            f"They miss the share that is right by {100 * ece.value:.1f} points on average "
            f"(expected calibration error, {100 * ece.low:.1f} to {100 * ece.high:.1f}). "
            "Do not set a threshold without checking it on pictures of your own.",
        )
    gap = _gap(history)
    if gap is not None and gap[0] - gap[1] > WIDE_GAP:
        yield Doubt(
            "caution",
            "It knows its training pictures better than new ones",
            f"After the last epoch it was right on {percent(gap[0])} of the training pictures and on "
            f"{percent(gap[1])} of the validation pictures. More pictures, or more varied ones, may help.",
        )


def _doubts_about_transfer(compared: Compared | None) -> Iterator[Doubt]:
    """Where the same on random weights is not clearly worse."""
    if compared is None or compared.difference.low > 0:
        return
    difference = compared.difference
    clear = difference.high < 0
    yield Doubt(
        "serious" if clear else "caution",
        "Random weights do better" if clear else "Random weights do about as well",
        f"The same head on random weights is right on {percent(compared.figures['accuracy'].value)} of the "
        f"same pictures (95 % interval of the difference {points_interval(difference)}). What the network "
        "learned before is not shown to help on these pictures.",
    )


def _gap(history: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Training and validation accuracy of the last epoch that tells both."""
    for row in reversed(history):
        train, val = row.get("train_accuracy"), row.get("val_accuracy")
        if train is not None and val is not None:
            return float(train), float(val)
    return None
