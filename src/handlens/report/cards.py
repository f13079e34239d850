"""The headline figures, each with a line that says what it is."""

from dataclasses import dataclass
from typing import Literal

from handlens.evaluate.results import Figure, KindsResult, TaskResult, judged_side
from handlens.report.words import percent, percent_interval

AFTER = "_calibrated"


@dataclass(frozen=True)
class Words:
    """How a figure is told."""

    title: str
    meaning: str
    kind: Literal["share", "number"] = "share"
    headline: bool = True
    """Whether it stands large on the page, or in the table of further ones."""


FIGURES = {
    "accuracy": Words("Accuracy", "Share of the pictures that are judged right."),
    "balanced_accuracy": Words(
        "Balanced accuracy", "Mean of the shares found in each class: rare classes count the same."
    ),
    "f1_macro": Words("Macro F1", "Balance of precision and recall, averaged over the classes."),
    "top_3": Words("Top 3", "Share whose true class is among the three likeliest."),
    "top_5": Words("Top 5", "Share whose true class is among the five likeliest."),
    "roc_auc": Words(
        "ROC AUC",
        "Chance that a picture of a class scores higher for it than one of another class.",
        "number",
    ),
    "log_loss": Words("Log loss", "How surprised it is by the truth; lower is better.", "number"),
    "ece": Words(
        "Calibration error (ECE)", "How far its confidence is from the share that is right; lower is better."
    ),
    "mse": Words(
        "Mean squared error",
        "Squared error of the probabilities, a class at a time; lower is better.",
        "number",
    ),
}


@dataclass(frozen=True)
class Told:
    """One value with its interval, as it is printed."""

    value: str
    interval: str


@dataclass(frozen=True)
class Card:
    """One headline figure of the judged side, with what stands beside it."""

    title: str
    meaning: str
    headline: bool
    main: Told
    bar: Figure | None
    """For the drawn interval; only shares have a scale."""
    after: Told | None
    """The same after temperature scaling."""
    validation: Told | None
    """The same on validation, where the judged side is another."""


def cards(metrics: TaskResult | KindsResult) -> list[Card]:
    """The headline figures in the order of `FIGURES`; unknown ones last, under their own name."""
    side = judged_side(metrics)
    figures = metrics.sides[side].figures
    other = metrics.sides["val"].figures if side != "val" and "val" in metrics.sides else {}
    main = [name for name in figures if not (name.endswith(AFTER) and name.removesuffix(AFTER) in figures)]
    order = list(FIGURES)
    main.sort(key=lambda name: order.index(name) if name in order else len(order))
    made = []
    for name in main:
        words = FIGURES.get(name, Words(name.replace("_", " ").capitalize(), "", "number", headline=False))
        made.append(
            Card(
                title=words.title,
                meaning=words.meaning,
                headline=words.headline,
                main=_told(words, figures[name]),
                bar=figures[name] if words.kind == "share" else None,
                after=_told(words, figures[name + AFTER]) if name + AFTER in figures else None,
                validation=_told(words, other[name]) if name in other else None,
            )
        )
    return made


def _told(words: Words, figure: Figure) -> Told:
    if words.kind == "share":
        return Told(percent(figure.value), percent_interval(figure))
    return Told(f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
