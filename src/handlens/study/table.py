"""The table of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from handlens.evaluate.results import Figure, Metrics
from handlens.report.words import listed
from handlens.study.study import Study
from handlens.study.work import Outcome

SHOWN = ("accuracy", "f1_macro")
"""The figures of each cell."""


@dataclass(frozen=True)
class CellLine:
    """How one cell fared, and its figures with their intervals; none where it has not ended well."""

    cell: str
    outcome: Outcome
    figures: Mapping[str, Figure]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        figures = {name: figure.model_dump(mode="json") for name, figure in self.figures.items()}
        return {"cell": self.cell, **asdict(self.outcome), "figures": figures}

    def words(self, figures: Sequence[str]) -> list[str]:
        """For people, with these figures."""
        cells = [self.cell, self.outcome.state]
        for name in figures:
            told = self.figures.get(name)
            cells += [f"{told.value:.3f}", f"{told.low:.3f} to {told.high:.3f}"] if told else ["", ""]
        return cells


def table_of(study: Study) -> list[CellLine]:
    """A line for each cell, in the order of the study."""
    lines = []
    for cell in study.cells:
        outcome, run = study.outcome(cell), study.run(cell)
        figures: dict[str, Figure] = {}
        if outcome.state == "done":
            metrics = Metrics.parse(run.read_json(run.metrics_path), str(run.metrics_path))
            side = metrics.sides.get("test") or next(iter(metrics.sides.values()))
            figures = {name: side.figures[name] for name in SHOWN if name in side.figures}
        lines.append(CellLine(cell.name, outcome, figures))
    return lines


def reasons_of(study: Study) -> list[str]:
    """Why cells failed, each reason once with the cells that it is about."""
    cells: dict[str, list[str]] = {}
    for cell in study.cells:
        outcome = study.outcome(cell)
        if outcome.state == "failed":
            cells.setdefault(outcome.why, []).append(cell.name)
    return [f"{listed(names)} failed. {why}" for why, names in cells.items()]
