"""What a study comes to: its rows beside each other, and how each cell fared."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from handlens.compare_runs import Group, compare_runs
from handlens.evaluate.comparison import Entry
from handlens.evaluate.results import Figure
from handlens.report.comparison import WRITERS, write_comparison
from handlens.report.tables import SideBySide
from handlens.report.words import count, listed
from handlens.run import RunFolder
from handlens.study.cells import Cell
from handlens.study.study import Study, judged_figures
from handlens.study.work import Outcome

SHOWN = ("accuracy", "f1_macro")
"""The figures of each cell."""


def table_of(study: Study, figure: str = "accuracy", to: str = "first", timed: bool = True) -> SideBySide:
    """The rows that are done beside each other, as `handlens compare` puts them, and those that failed."""
    groups = rows_of(study)
    done = {group.name for group in groups}
    failed: dict[str, Entry] = {}
    for cell in study.cells:
        outcome = study.outcome(cell)
        if outcome.state == "failed" and cell.row not in done:
            # `reasons_of` tells the rest.
            failed.setdefault(cell.row, Entry(cell.row, (), problem=outcome.first_reason))
    told = compare_runs(groups, figure, to=to, timed=timed, failed=list(failed.values()))
    return replace(told, missing=(*told.missing, *_unfinished(study, groups)))


def rows_of(study: Study) -> list[Group]:
    """The rows of which some training is done, with the runs of those trainings: all folds of each."""
    runs: dict[str, list[RunFolder]] = {}
    for cells in finished_trainings(study):
        runs.setdefault(cells[0].row, []).extend(map(study.run, cells))
    return [Group(row, tuple(of_row)) for row, of_row in runs.items()]


def narrow(told: SideBySide) -> SideBySide:
    """The same for a terminal, which has no room for why a row failed: it stands below the table there."""
    rows = (row.model_copy(update={"problem": "why: below"}) for row in told.comparison.rows if row.problem)
    by_name = {row.name: row for row in rows}
    shown = tuple(by_name.get(row.name, row) for row in told.comparison.rows)
    return replace(told, comparison=told.comparison.model_copy(update={"rows": shown}))


def write_tables(study: Study, told: SideBySide, command: str) -> None:
    """Write the table into the study's folder in every form; `command` shows it again."""
    made = made_by(study)
    repeated = f"{made}\n{command}" if made else command
    for form in WRITERS:
        write_comparison(told, study.folder.table_path(form), repeated)


def made_by(study: Study) -> str:
    """The command that ran the study, as its runs keep it; empty where none was told.

    Of several it is that of the run that began last: it found the others done.
    """
    begun = [line["cell"] for line in study.folder.read_log() if line["event"] == "begun"]
    last_begun = {cell: place for place, cell in enumerate(begun)}
    done = [cell for cell in study.cells if study.outcome(cell).state == "done"]
    if not done:
        return ""
    last = max(done, key=lambda cell: last_begun.get(cell.name, -1))
    return str(study.run(last).read_provenance()["command"])


def finished_trainings(study: Study) -> list[list[Cell]]:
    """The cells of each row and seed, one or one a fold, where all of them are done."""
    found: dict[tuple[str, int], list[Cell]] = {}
    for cell in study.cells:
        found.setdefault((cell.row, cell.seed), []).append(cell)
    return [cells for cells in found.values() if all(study.outcome(cell).state == "done" for cell in cells)]


def _unfinished(study: Study, groups: Sequence[Group]) -> list[str]:
    """What is missing of rows that have some of their trainings, and which rows have none yet."""
    of_row: dict[str, list[Cell]] = {}
    for cell in study.cells:
        of_row.setdefault(cell.row, []).append(cell)
    done = {group.name: len(group.runs) for group in groups}
    told = [
        f"“{row}” rests on {done[row]} of its {count(len(cells), 'run')}: the rest failed or is not finished."
        for row, cells in of_row.items()
        if 0 < done.get(row, 0) < len(cells)
    ]
    waiting = [
        row
        for row, cells in of_row.items()
        if row not in done and not any(study.outcome(cell).state == "failed" for cell in cells)
    ]
    return [*told, *([f"Not finished yet: {listed(waiting)}."] if waiting else [])]


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


def lines_of(study: Study) -> list[CellLine]:
    """A line for each cell, in the order of the study."""
    lines = []
    for cell in study.cells:
        outcome, run = study.outcome(cell), study.run(cell)
        figures: dict[str, Figure] = {}
        if outcome.state == "done":
            found = judged_figures(run)
            figures = {name: found[name] for name in SHOWN if name in found}
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
