"""Reasons not to take a run's figures at face value, each with what would mend it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from handlens.data.derived import PAPER_PROTOCOL
from handlens.data.leak import ALLOWED_LEAK
from handlens.evaluate.beside import Compared
from handlens.evaluate.leaked import Leaked
from handlens.evaluate.results import ClassResult, Metrics, SideResult, judged_side
from handlens.provenance import Provenance
from handlens.report.words import count, listed, percent, percent_interval, points_interval

Severity = Literal["serious", "caution", "note"]
SEVERITIES: tuple[Severity, ...] = ("serious", "caution", "note")

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


def about_tasks(metrics: Metrics) -> Iterator[Doubt]:
    """The same doubts about each further task, under its name."""
    for name, result in metrics.tasks.items():
        side = result.sides[judged_side(result)]
        # That there is no test side was said of the run.
        for doubt in (*about_size("test", side), *about_classes(result.classes, side)):
            yield replace(doubt, title=f"“{name}”: {doubt.title}")


def about_protocol(provenance: Provenance) -> Iterator[Doubt]:
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


def about_copies(provenance: Provenance, leaked: Leaked | None) -> Iterator[Doubt]:
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


def about_near_copies(provenance: Provenance, leaked: Leaked | None) -> Iterator[Doubt]:
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


def about_data(provenance: Provenance, summary: SamplesSummary) -> Iterator[Doubt]:
    """What the pictures, their groups and their split leave open."""
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


def about_size(name: str, side: SideResult) -> Iterator[Doubt]:
    """Too little to judge on."""
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


def about_classes(classes: Sequence[str], side: SideResult) -> Iterator[Doubt]:
    """Classes that nothing is known about, or that fare badly."""
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


def about_training(
    metrics: Metrics, side: SideResult, provenance: Provenance, history: Sequence[Mapping[str, Any]]
) -> Iterator[Doubt]:
    """What the course of the training gives to think about."""
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


def about_transfer(compared: Compared | None) -> Iterator[Doubt]:
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
