"""What a run's weights were worth: its figures beside those of the same run on random weights."""

from dataclasses import dataclass
from typing import Literal

from handlens.evaluate.beside import Compared
from handlens.evaluate.results import Figure, Metrics
from handlens.provenance import Provenance
from handlens.report.words import points, points_interval


@dataclass(frozen=True)
class Row:
    """One of the two runs."""

    weights: str
    """Where its weights came from, in words."""
    accuracy: Figure
    f1_macro: Figure | None


@dataclass(frozen=True)
class Transfer:
    """Two runs that differ in the network's weights alone, on the same pictures."""

    own: Row
    other: Row
    other_run: str
    """The folder of the other run, by its name."""
    side: str
    """The side of the split that both judged."""
    difference: Figure
    """Accuracy of this run less that of the other."""

    @property
    def outcome(self) -> Literal["better", "unclear", "worse"]:
        """What the interval of the difference allows to say."""
        return outcome_of(self.difference)

    @property
    def verdict(self) -> str:
        """What it comes to, in a plain sentence."""
        value = self.difference.value
        change = f"{points(abs(value))} {'higher' if value > 0 else 'lower'}" if value else "the same"
        start = f"with its weights the network's accuracy on the same pictures is {change}"
        within = f"95 % interval of the difference {points_interval(self.difference)}"
        if self.outcome == "better":
            return f"Clearly better: {start} ({within}). The transfer was worth it."
        if self.outcome == "worse":
            return f"Clearly worse: {start} ({within}). The transfer does harm here."
        return (
            f"No clear difference: {start} ({within}, which includes 0). "
            "The transfer is not shown to be worth anything here."
        )


def outcome_of(difference: Figure) -> Literal["better", "unclear", "worse"]:
    """Better or worse only where the whole interval says so."""
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "unclear"


def transfer_of(metrics: Metrics, provenance: Provenance, compared: Compared) -> Transfer:
    """The two runs side by side."""
    own = metrics.sides[compared.side].figures
    return Transfer(
        Row(provenance.weights.source, own["accuracy"], own.get("f1_macro")),
        Row(compared.weights, compared.figures["accuracy"], compared.figures.get("f1_macro")),
        compared.run,
        compared.side,
        compared.difference,
    )
