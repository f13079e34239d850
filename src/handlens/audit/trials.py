"""Trials: how well the class, or the split, can be told without looking at the subject.

A small forest of decision trees learns from one family of clues at a time, and from all those together that
a network sees. It is judged by cross-validation that keeps every group together, by balanced accuracy: how
often it is right, every class counting the same. Chance is then one by the number of classes, whatever their
sizes are, and the figure has an interval by drawing the groups again.

A shortcut is told if the whole interval, widened for the number of trials, lies above chance by a margin,
which is a share of the way from chance to certainty: the same bar for two classes as for forty. A margin and
not chance alone, because with thousands of pictures a difference is certain long before any network would
rather learn it than the subject.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlens.audit.clues import Clue, Columns, Family, families, forbidden_words
from handlens.audit.drawn import drawn, of_names
from handlens.audit.finding import Subject
from handlens.audit.looks import Look
from handlens.audit.spec import ShortcutsSpec
from handlens.base.progress import progress
from handlens.data.derived import derived_rows
from handlens.evaluate.intervals import Basis, Grouping, as_figure, interval, spreads
from handlens.evaluate.metrics import Judged, Values, Weights, balanced_accuracy
from handlens.evaluate.results import Figure

FEWEST_GROUPS = 5
"""Classes of fewer groups are left out: a cross-validation would hardly see them."""
FEWEST_DRAWN = 2
"""Of large groups not as many may be drawn: with so many, one can be learned from and another one judged."""
EXAMPLES = 2
"""Pictures shown of a class."""
EXAMPLE_CLASSES = 6

TREES, DEPTH, LEAF = 50, 8, 2

ROUNDS = 3
"""Divisions into folds over which what seems to tell is averaged."""

SURER = 1.55
"""Some twenty trials are made of each set. So much wider an interval covers all of them nineteen times in
twenty: 3.05 in the place of 1.96 standard deviations (Bonferroni)."""

TOGETHER = "together"


def way(low: float, start: float) -> float:
    """How far the lower end of an interval lies on the way from a start (0) to certainty (1)."""
    return (low - start) / (1 - start) if start < 1 else 0.0


@dataclass(frozen=True)
class Known:
    """One of several classes, told from all the others."""

    name: str
    figure: Figure
    """Balanced accuracy of telling it from the others; chance is a half."""
    found: float
    """The share of its pictures that are called so."""
    mistaken: float
    """The share of the others that are called so."""


@dataclass(frozen=True)
class Shortcut:
    """How well one family of clues tells something."""

    of: str
    """What is told: "class" or "split"."""
    key: str
    title: str
    seen: bool
    of_subject: bool
    figure: Figure
    """Balanced accuracy."""
    chance: float
    control: float
    """What the subject tells in the same way, or chance: the figure counts from here."""
    varies: bool
    """Whether the clues differ between the pictures at all."""
    best: str
    """The clue that alone tells most; empty where nothing is told."""
    best_figure: float
    examples: tuple[tuple[str, str, float, str], ...]
    """Pictures that are told rightly: id, what it is told to be, how surely, and by what."""
    known: Known | None = None
    """Of three classes or more the one that is told best."""
    names: tuple[str, ...] = ()
    """What there was to tell apart."""
    not_drawn: int = 0
    """Pictures of a large set that were not looked at."""

    @property
    def way(self) -> float:
        """How far the figure surely lies on the way from the control to certainty."""
        return way(self.figure.low, self.control)

    @property
    def sure(self) -> float:
        """The same, with an interval that allows for all the other trials: what is told has to be sure."""
        value = self.figure.value
        return way(value - SURER * (value - self.figure.low), self.control)

    @property
    def certainty(self) -> float:
        """The same, or that of the class that is told best: a frame around one class of ten is as bad."""
        return max(self.way, way(self.known.figure.low, 0.5)) if self.known else self.way


@dataclass(frozen=True)
class Question:
    """What is to be told of which pictures."""

    of: str
    rows: NDArray[np.int64]
    """The pictures' places in the subject."""
    names: tuple[str, ...]
    """What there is to tell apart."""
    targets: NDArray[np.int64]
    """The name of each picture, as a number."""
    groups: NDArray[np.int64]
    folds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]
    """Of each fold the places, in `rows`, of the pictures to learn from and to judge."""
    not_drawn: int = 0
    """Further pictures of these names, which are not looked at because there are so many."""


def measure(subject: Subject, looks: Sequence[Look | None], spec: ShortcutsSpec) -> list[Shortcut]:
    """How well each family of clues tells the class and, where there is one, the split."""
    asked = [
        question
        for question in (_about_class(subject, looks, spec), _about_split(subject, looks, spec))
        if question is not None
    ]
    tasks = [task for question in asked for task in _tasks(question, subject, looks)]
    measured = []
    with progress("Trying shortcuts", len(tasks), "trials") as advance:
        # One after the other: scikit-learn changes Python's warnings while it works, for all threads.
        for question, family in tasks:
            measured.append(_measured(question, family, subject, spec))
            advance(1)
    return measured


def _tasks(
    question: Question, subject: Subject, looks: Sequence[Look | None]
) -> list[tuple[Question, Family]]:
    """Every family whose clues differ between the pictures, and all that a network sees as one more."""
    table = subject.samples.table
    seen_looks = [looks[row] for row in question.rows]
    ids = table["id"].gather(question.rows).to_list()
    facts = [subject.facts[row] for row in question.rows]
    known = [look for look in seen_looks if look is not None]
    found = families(ids, facts, known, forbidden_words(subject.samples.classes))
    together = [family for family in found if family.seen and not family.of_subject and not family.control]
    clues = tuple(clue for family in together for clue in family.clues)
    return [
        *((question, family) for family in found),
        (question, Family(TOGETHER, "size, format, mode, compression and frame together", clues, seen=True)),
    ]


def _about_class(subject: Subject, looks: Sequence[Look | None], spec: ShortcutsSpec) -> Question | None:
    labels = subject.samples.table["label"].to_list()
    return _question("class", labels, subject, looks, spec)


def _about_split(subject: Subject, looks: Sequence[Look | None], spec: ShortcutsSpec) -> Question | None:
    """Training against test pictures, or validation ones where there are none; none without two sides."""
    if not subject.samples.is_split:
        return None
    sides = subject.samples.table["split"].to_list()
    other = "test" if "test" in sides else "val"
    # Derived pictures can only be in training, and mostly look it: that is no shortcut but what they are.
    derived = derived_rows(subject.samples)
    told = [
        side if side in ("train", other) and not made else None
        for side, made in zip(sides, derived, strict=True)
    ]
    return _question("split", told, subject, looks, spec)


def _question(
    of: str,
    told: Sequence[str | None],
    subject: Subject,
    looks: Sequence[Look | None],
    spec: ShortcutsSpec,
) -> Question | None:
    """The pictures whose answer is known, as many as are needed, in folds; none without anything to tell."""
    groups = subject.samples.table["group"].to_list()
    rows = [row for row, name in enumerate(told) if name is not None and looks[row] is not None]
    known = of_names(rows, told, groups, FEWEST_GROUPS)
    rows = drawn(known, told, groups, spec.most_pictures, subject.seed)
    rows = of_names(rows, told, groups, FEWEST_DRAWN)
    names = tuple(sorted({str(told[row]) for row in rows}))
    if len(names) < 2:
        return None
    number = {name: at for at, name in enumerate(names)}
    targets = np.array([number[str(told[row])] for row in rows], dtype=np.int64)
    grouping = Grouping.of([groups[row] for row in rows])
    num_folds = min(spec.folds, *(grouping.among(targets == at) for at in range(len(names))))
    return Question(
        of,
        np.array(rows, dtype=np.int64),
        names,
        targets,
        grouping.index,
        tuple(_folds(targets, grouping.index, num_folds, subject.seed)),
        sum(told[row] in names for row in known) - len(rows),
    )


def _folds(
    targets: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return list(folds.split(np.zeros(len(targets)), targets, groups))


def _measured(question: Question, family: Family, subject: Subject, spec: ShortcutsSpec) -> Shortcut:
    """The figure of one family, and the clue in it that tells most."""
    shortcut, probabilities = _tried(question, family, subject.seed, 1)
    if shortcut.sure < spec.margin:
        return shortcut
    # What one division into folds tells by luck, several hardly do.
    shortcut, probabilities = _tried(question, family, subject.seed, ROUNDS)
    if shortcut.sure < spec.margin:
        return shortcut
    # One tree tells which clue it is; a forest for each would take as long as all the rest.
    singles = [_out_of_fold(question, clue.columns, lambda: _tree(subject.seed)) for clue in family.clues]
    shares = [_balanced(question, single) for single in singles]
    best = int(np.argmax(shares))
    clue = family.clues[best]
    return replace(
        shortcut,
        best=clue.name,
        best_figure=shares[best],
        examples=tuple(_examples(question, singles[best], clue.told, subject)),
        known=_known(question, probabilities, subject.seed) if len(question.names) > 2 else None,
    )


def _tried(
    question: Question, family: Family, seed: int, rounds: int
) -> tuple[Shortcut, NDArray[np.float64]]:
    """The figure of one family, and what its model says of each picture."""
    chance = 1 / len(question.names)
    probabilities = _told_by(question, family.clues, seed, rounds)
    figure = _figure(question, probabilities, seed)
    control = chance
    if family.control and figure.low > chance:
        control = max(chance, _balanced(question, _told_by(question, family.control, seed, rounds)))
    shortcut = Shortcut(
        question.of,
        family.key,
        family.title,
        family.seen,
        family.of_subject,
        figure,
        chance,
        control,
        any(_varies(clue.columns) for clue in family.clues),
        "",
        chance,
        (),
        names=question.names,
        not_drawn=question.not_drawn,
    )
    return shortcut, probabilities


def _known(question: Question, probabilities: NDArray[np.float64], seed: int) -> Known:
    """The class that is told best from all the others."""
    called = probabilities.argmax(axis=1)
    own = question.targets == np.arange(len(question.names))[:, None]
    so = called == np.arange(len(question.names))[:, None]
    found = (own & so).sum(axis=1) / own.sum(axis=1)
    mistaken = (~own & so).sum(axis=1) / (~own).sum(axis=1)
    best = int(np.argmax(found - mistaken))
    alone = replace(question, names=("other", question.names[best]), targets=own[best].astype(np.int64))
    figure = _figure(alone, np.stack([~so[best], so[best]], axis=1).astype(np.float64), seed)
    return Known(question.names[best], figure, float(found[best]), float(mistaken[best]))


def _out_of_fold(question: Question, columns: Columns, model: Callable[[], Any]) -> NDArray[np.float64]:
    """What models say of pictures whose groups they did not learn from: (pictures, names)."""
    num = len(question.names)
    probabilities = np.full((len(question.targets), num), 1 / num)
    # Where nothing differs there is nothing to learn; every picture is called by the first name then.
    if not _varies(columns):
        return probabilities
    for learned, judged in question.folds:
        fitted = model().fit(columns[learned], question.targets[learned])
        probabilities[judged] = 0
        probabilities[np.ix_(judged, fitted.classes_)] = fitted.predict_proba(columns[judged])
    return probabilities


def _varies(columns: Columns) -> bool:
    return bool(columns.shape[1] and np.ptp(columns, axis=0).any())


def _told_by(question: Question, clues: Sequence[Clue], seed: int, rounds: int = 1) -> NDArray[np.float64]:
    """What forests say of every picture: the mean over several divisions into folds."""
    columns = np.concatenate([clue.columns for clue in clues], axis=1)
    said = [_out_of_fold(question, columns, lambda: _forest(seed))]
    for number in range(1, rounds):
        folds = _folds(question.targets, question.groups, len(question.folds), seed + number)
        said.append(_out_of_fold(replace(question, folds=tuple(folds)), columns, lambda: _forest(seed)))
    return np.asarray(np.mean(said, axis=0))


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        TREES, max_depth=DEPTH, min_samples_leaf=LEAF, class_weight="balanced", random_state=seed
    )


def _tree(seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(
        max_depth=DEPTH, min_samples_leaf=2 * LEAF, class_weight="balanced", random_state=seed
    )


def _balanced(question: Question, probabilities: NDArray[np.float64]) -> float:
    return float(balanced_accuracy(Judged(question.targets, probabilities).weighed())[0])


def _figure(question: Question, probabilities: NDArray[np.float64], seed: int) -> Figure:
    """Balanced accuracy with its interval by drawing groups again."""
    judged = Judged(question.targets, probabilities)
    num_groups = int(question.groups.max()) + 1
    grouping = Grouping(question.groups, num_groups)

    def figures(weights: Weights) -> Values:
        return balanced_accuracy(judged.weighed(weights))[None]

    (spread,) = spreads(figures, grouping, np.random.default_rng(seed))
    worth = grouping.worth_by_class(question.targets)
    basis = Basis(len(question.targets), num_groups, worth, trials=len(question.targets))
    value = _balanced(question, probabilities)
    return as_figure(value, interval(value, spread, basis), basis)


def _examples(
    question: Question, probabilities: NDArray[np.float64], told: Callable[[int], str], subject: Subject
) -> list[tuple[str, str, float, str]]:
    """The pictures that are told most surely, of the names that are told best, from different groups."""
    ids = subject.samples.table["id"]
    right = probabilities.argmax(axis=1) == question.targets
    recalls = [float(right[question.targets == at].mean()) for at in range(len(question.names))]
    found = []
    for at in np.argsort(recalls, kind="stable")[::-1][:EXAMPLE_CLASSES].tolist():
        own = np.flatnonzero(right & (question.targets == at))
        surest = own[np.argsort(-probabilities[own, at], kind="stable")]
        _, first = np.unique(question.groups[surest], return_index=True)
        for place in surest[np.sort(first)][:EXAMPLES].tolist():
            id_ = str(ids[int(question.rows[place])])
            found.append((id_, question.names[at], float(probabilities[place, at]), told(place)))
    return found
