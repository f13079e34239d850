"""The shape of synthesis.json: what was made, how near it is to real pictures, and what it is worth."""

from typing import Any, Literal

from handlens.base.spec import Spec
from handlens.evaluate.results import Figure
from handlens.report.words import count, percent, points, points_interval
from handlens.synthesis.spec import WAYS, WayName

Outcome = Literal["helps", "unclear", "harms"]

OUTCOMES: dict[Outcome, str] = {
    "helps": "helps clearly",
    "unclear": "does not help, as far as can be told",
    "harms": "does harm",
}

_NOT_MEASURED = ("-",) * 3


class Neighbour(Spec):
    """A picture that was made, and the training picture that it is to be seen beside."""

    picture: str
    """The file, from the way's folder on; for one that was dropped, its number."""
    nearest: str
    """The training picture, by its id; where it was made from one, that one."""
    label: str
    """The class of the training picture with the nearest features."""
    distance: float
    """Between their features, as a share of the mean distance to the training pictures that come next."""
    correlation: float
    """The largest correlation of its pixels with those of a training picture of the class."""
    copy_because: str = ""
    """Why it was dropped as a copy; empty where it was kept."""


class Worth(Spec):
    """What the recipe comes to on real test pictures with the synthetic ones, and without."""

    macro_f1: float
    """With them, mean over the trainings."""
    macro_f1_without: float
    """Without them."""
    difference: Figure
    """Macro F1 with less that without, picture by picture."""
    class_f1: float
    """F1 of the rare class with them."""
    class_f1_without: float
    """Without them."""
    class_difference: Figure
    """The difference of these."""
    trainings: int
    """Trainings of each kind, from different seeds."""

    @property
    def outcome(self) -> Outcome:
        """Only what the whole interval says counts."""
        return "helps" if self.difference.low > 0 else "harms" if self.difference.high < 0 else "unclear"

    def sentence(self, made: int, label: str, way: WayName) -> str:
        """What it comes to, in plain words."""
        start = (
            f"with {count(made, 'picture')} of {label} by {WAYS[way]} in training, macro F1 on "
            f"{count(self.difference.n, 'real test picture')} is {self._change}"
        )
        within = f"95 % interval of the difference {points_interval(self.difference)}"
        if self.outcome == "helps":
            return f"Helps clearly: {start} ({within})."
        if self.outcome == "harms":
            return f"Does not help but harm: {start} ({within}). Do not train with them."
        return f"Does not help, as far as can be told: {start} ({within}, which includes 0)."

    def short_sentence(self, way: WayName) -> str:
        """The same of a way beside the chosen one."""
        return (
            f"{WAYS[way].capitalize()} {OUTCOMES[self.outcome]}: macro F1 is {self._change} "
            f"({points_interval(self.difference)})."
        )

    @property
    def _change(self) -> str:
        value = self.difference.value
        return f"{points(abs(value))} {'higher' if value > 0 else 'lower'}" if value else "the same"

    def class_sentence(self, label: str) -> str:
        """What it comes to for the class alone."""
        difference = self.class_difference
        return (
            f"F1 of {label} alone is {percent(self.class_f1)} with them and {percent(self.class_f1_without)} "
            f"without, a difference of {points(difference.value)} ({points_interval(difference)})."
        )


class WayResult(Spec):
    """What came of one way of making pictures."""

    folder: str
    """Where its pictures and their manifest are, from the folder on; empty for the folder itself."""
    num_made: int
    """Pictures in the manifest."""
    num_drafts: int
    """Pictures that were drawn for them."""
    num_copies: int
    """Those that were dropped, because they are training pictures again."""
    has_parents: bool
    """Whether each picture is a changed training picture, and is meant to be like it."""
    other_class: float
    """The share of the pictures whose nearest training picture is of another class."""
    kid: Figure | None
    """Kernel inception distance to held-out real pictures of the class; none where these are too few."""
    worth: Worth | None
    """What they are worth; none where it was not measured."""
    sentences: tuple[str, ...]
    """How it works on these pictures, and what it assumes."""
    neighbours: tuple[Neighbour, ...]
    """Its pictures, beside what they are nearest to."""
    dropped: tuple[Neighbour, ...]
    """The copies."""


class Synthesis(Spec):
    """All that is known of pictures that were made of a rare class."""

    label: str
    """The class."""
    asked: int
    """How many pictures of it were asked for."""
    way: WayName
    """The way whose pictures the folder is read by."""
    num_training: int
    """Real pictures of the class in training."""
    num_held_out: int
    """Real pictures of it that nothing was learned from."""
    num_test: int
    """Of these, the ones on the test side."""
    features: str
    """The network whose features pictures were compared by."""
    kid_of_real: Figure | None
    """The same distance between real training pictures and real held-out ones: what is to be reached."""
    ways: dict[WayName, WayResult]
    """What came of each way, the chosen one first."""
    ways_left_out: tuple[str, ...] = ()
    """Why there can be no pictures by some ways: their material is not enough."""
    ways_failed: tuple[str, ...] = ()
    """What went wrong with some ways; the same command tries these again."""
    leak: str = ""
    """What the split leaks, which makes all figures too good; empty if nothing."""
    losses: tuple[float, ...] = ()
    """The generative model's mean loss in each stretch of its training."""
    settings: dict[str, Any]
    """How the pictures were made and judged."""

    @property
    def chosen(self) -> WayResult:
        """The way whose pictures the folder is read by."""
        return self.ways[self.way]

    @property
    def discouraged(self) -> bool:
        """Whether it was measured that they do not help."""
        return self.chosen.worth is not None and self.chosen.worth.outcome != "helps"

    @property
    def verdict(self) -> str:
        """Whether it was worth it, in a sentence."""
        worth = self.chosen.worth
        if worth is None:
            made = count(self.chosen.num_made, "picture")
            return f"{made} of {self.label} by {WAYS[self.way]}. What they are worth was not measured."
        return worth.sentence(self.chosen.num_made, self.label, self.way)

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Columns and rows for the terminal: all ways, and real pictures alone."""
        columns = ("training", "macro F1", "difference, points", f"F1 of {self.label}", "KID x 1000")
        worth = self.chosen.worth
        alone = (percent(worth.macro_f1_without), "", percent(worth.class_f1_without)) if worth else None
        rows: list[tuple[str, ...]] = [("real alone", *(alone or _NOT_MEASURED), _kid_cell(self.kid_of_real))]
        for way, result in self.ways.items():
            cells = _worth_cells(result.worth) if result.worth else _NOT_MEASURED
            rows.append((f"and {way}", *cells, _kid_cell(result.kid)))
        return columns, rows

    def sentences(self) -> list[str]:
        """What else there is to know, for people."""
        told = [self.leak] if self.leak else []
        if self.chosen.worth is not None:
            told.append(self.chosen.worth.class_sentence(self.label))
        if self.chosen.num_made < self.asked:
            told.append(
                f"Only {self.chosen.num_made} of {self.asked} were made: of {self.chosen.num_drafts} "
                f"drawn ones {self.chosen.num_copies} are training pictures again. The model has learned its "
                "few pictures by heart; fewer steps or more real pictures would help."
            )
        elif self.chosen.num_copies:
            told.append(
                f"{self.chosen.num_copies} of {self.chosen.num_drafts} drawn pictures were dropped, because "
                "they are training pictures again."
            )
        for way, result in self.ways.items():
            if way != self.way and result.worth is not None:
                told.append(result.worth.short_sentence(way))
        told += [*self.ways_left_out, *self.ways_failed]
        helping = [
            way for way, result in self.ways.items() if result.worth and result.worth.outcome == "helps"
        ]
        if self.discouraged:
            told.append(
                f"Take {WAYS[helping[0]]} instead: its pictures are in {self.ways[helping[0]].folder}."
                if helping
                else "None of the ways is shown to help: more real pictures of the class would."
            )
        if self.num_test == 0:
            told.append(f"No test picture is of {self.label}: on it nothing here was measured.")
        elif self.chosen.worth is not None and self.num_test < 10:
            told.append(
                f"Only {count(self.num_test, 'test picture')} of {self.label}: what synthetic pictures do "
                "for the class is hardly to be seen on so few."
            )
        if self.chosen.other_class > 0.1:
            told.append(
                f"{percent(self.chosen.other_class)} of the pictures look more like another class than like "
                f"{self.label}."
            )
        return told


def kid_words(figure: Figure) -> str:
    """A distance as people write it: times 1000, with a proper minus."""
    return _thousandths(figure.value)


def kid_interval(figure: Figure) -> str:
    """Its interval."""
    return f"{_thousandths(figure.low)} to {_thousandths(figure.high)}"


def _thousandths(value: float) -> str:
    return f"{1000 * value:.2f}".replace("-", "\N{MINUS SIGN}")


def _kid_cell(figure: Figure | None) -> str:
    return "too few to say" if figure is None else f"{kid_words(figure)} ({kid_interval(figure)})"


def _worth_cells(worth: Worth) -> tuple[str, ...]:
    value = f"{100 * worth.difference.value:+.1f}".replace("-", "\N{MINUS SIGN}")
    within = points_interval(worth.difference).removesuffix(" points")
    return percent(worth.macro_f1), f"{value} ({within})", percent(worth.class_f1)
