"""The paper's own tables, with our figures below the paper's; a cell without a figure says so."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from handlens.report.tables import NOT_MEASURED, Table
from handlens.reproduce.gap import Gap
from handlens.reproduce.measured import FIGURES, ON_TEST, Measured, RowRuns
from handlens.reproduce.paper import Cell, Paper, ProtocolName, in_order
from handlens.reproduce.protocols import WORDS

RowsOf = Mapping[ProtocolName, Mapping[str, RowRuns]]
"""The rows of each protocol's study, by the study's names."""

NOT_PRINTED = "not printed"
"""In the paper's own line: it gives no such figure."""


@dataclass(frozen=True)
class Compared:
    """One figure of the paper's, and ours under each protocol."""

    cell: Cell
    ours: Mapping[ProtocolName, Measured | None]


def compared(paper: Paper, rows: RowsOf) -> list[Compared]:
    """Every figure of the paper beside ours, and those of rows and classes that only we have."""
    run = {name for found in rows.values() for name in found}
    cells = [cell for cell in paper.cells if cell.run in run or not paper.is_own(cell.run)]
    cells += _own_classes(paper, rows)
    order = list(paper.spec.tables)
    cells.sort(key=lambda cell: order.index(cell.table))

    def ours(cell: Cell, protocol: ProtocolName) -> Measured | None:
        row = rows[protocol].get(cell.run)
        return FIGURES[cell.figure].measure(row, cell.row) if row else None

    return [Compared(cell, {protocol: ours(cell, protocol) for protocol in rows}) for cell in cells]


def _own_classes(paper: Paper, rows: RowsOf) -> Iterator[Cell]:
    """Tables of classes go on with the classes of these pictures that the paper has not."""
    for table in paper.spec.tables:
        cells = paper.of_table(table)
        if not cells or not FIGURES[cells[0].figure].of_class:
            continue
        known = {cell.row.casefold() for cell in cells}
        run = cells[0].run
        there = next((found[run] for found in rows.values() if run in found), None)
        labels = there.metrics[0].sides["test"].per_class if there else ()
        for label in labels:
            if label.casefold() not in known:
                for figure in in_order([cell.figure for cell in cells]):
                    yield Cell(table, label, run, figure, None)


def table_of(paper: Paper, table: str, told: Sequence[Compared]) -> Table:
    """One table: for each row the paper's line, and below it a line of ours a protocol."""
    here = [each for each in told if each.cell.table == table]
    figures = in_order([each.cell.figure for each in here])
    lines = []
    for row in in_order([each.cell.row for each in here]):
        of_row = {each.cell.figure: each for each in here if each.cell.row == row}
        first = next(iter(of_row.values()))
        theirs = [FIGURES[name].words(of_row[name].cell.paper) if name in of_row else "" for name in figures]
        ours = [
            (
                f"ours, {protocol}",
                *(
                    words_of(name, of_row[name].ours[protocol] if name in of_row else None)
                    for name in figures
                ),
            )
            for protocol in first.ours
        ]
        lines += _lines(row, None if paper.is_own(first.cell.run) else theirs, ours)
    return Table(
        paper.spec.tables[table], ("row", "whose", *(FIGURES[name].title for name in figures)), tuple(lines)
    )


def _lines(row: str, theirs: Sequence[str] | None, ours: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """A row of the paper's: its line and ours below it. A row that it does not have is ours alone."""
    told = [] if theirs is None else [("paper", *(words or NOT_PRINTED for words in theirs))]
    return [(row if at == 0 else "", *line) for at, line in enumerate((*told, *ours))]


def known_table(paper: Paper, table: str) -> Table:
    """One table with our figures as they were measured for the package."""
    cells = paper.of_table(table)
    figures = in_order([cell.figure for cell in cells])
    lines = []
    for row in in_order([cell.row for cell in cells]):
        of_row = {cell.figure: cell for cell in cells if cell.row == row}
        theirs = [FIGURES[name].words(of_row[name].paper) for name in figures]
        honest = [
            Measured(cell.ours, cell.low, cell.high) if (cell := of_row[name]).ours is not None else None
            for name in figures
        ]
        ours = [("ours, honest", *map(words_of, figures, honest))]
        leaking = [of_row[name].ours_paper_protocol for name in figures]
        if any(value is not None for value in leaking):
            told = [None if value is None else Measured(value) for value in leaking]
            ours.append(("ours, paper", *map(words_of, figures, told)))
            ours.append(("leakage gap", *(_known_gap(of_row[name]) for name in figures)))
        lines += _lines(row, None if paper.is_own(next(iter(of_row.values())).run) else theirs, ours)
    return Table(
        paper.spec.tables[table], ("row", "whose", *(FIGURES[name].title for name in figures)), tuple(lines)
    )


def _known_gap(cell: Cell) -> str:
    """What the paper's protocol claims less what the honest one finds, of figures on test pictures."""
    if cell.ours is None or cell.ours_paper_protocol is None or cell.figure not in ON_TEST:
        return ""
    gap = f"{cell.ours_paper_protocol - cell.ours:+.{FIGURES[cell.figure].places}f}"
    return gap.replace("-", "\N{MINUS SIGN}")


def measured_on(cells: Sequence[Cell]) -> list[str]:
    """On what the package's own figures of a table were measured, when, and by which commit."""
    told: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.date:
            told.setdefault(f"{cell.data} ({cell.date}, {cell.commit})", []).append(cell)
    figures = {of: {cell.figure for cell in some} for of, some in told.items()}
    notes = []
    for of, some in told.items():
        words = f"({'; '.join(in_order([FIGURES[cell.figure].title for cell in some]))})"
        # Where another row has this figure of other pictures, the rows are named too.
        if any(figures[of] & figures[other] for other in told if other != of):
            words += f" of {'; '.join(in_order([cell.row for cell in some]))}"
        notes.append(f"Ours {words}: {of}.")
    return notes


def own_rows(paper: Paper, cells: Sequence[Cell]) -> list[str]:
    """Which rows the paper does not have."""
    names = in_order([cell.row for cell in cells if paper.is_own(cell.run)])
    return [f"Rows of ours, which the paper does not have: {'; '.join(names)}."] if names else []


def words_of(figure: str, value: Measured | None) -> str:
    """A figure of ours as it stands in a table, with its interval."""
    if value is None:
        return NOT_MEASURED
    words = FIGURES[figure].words
    if value.low is None or value.high is None:
        return words(value.value)
    return f"{words(value.value)} ({words(value.low)} to {words(value.high)})"


def gaps_table(gaps: Sequence[Gap]) -> Table:
    """The leakage gap of every row."""
    rows = tuple(
        (
            gap.row,
            f"{100 * gap.claimed.value:.2f}",
            f"{100 * gap.honest.value:.2f}",
            gap.words,
            "clear" if gap.clear else "not to be told from none",
        )
        for gap in gaps
    )
    columns = ("row", "accuracy, paper's protocol, %", "honest, %", "leakage gap", "verdict")
    return Table("The leakage gap: what the paper's protocol claims beyond the honest one", columns, rows)


def as_csv(told: Sequence[Compared]) -> str:
    """All figures as plain numbers, a row a figure and protocol; an empty cell was not measured."""
    rows = [
        {
            "table": each.cell.table,
            "row": each.cell.row,
            "run": each.cell.run,
            "figure": each.cell.figure,
            "paper": each.cell.paper,
            "protocol": protocol,
            "ours": value.value if value else None,
            "low": value.low if value else None,
            "high": value.high if value else None,
        }
        for each in told
        for protocol, value in each.ours.items()
    ]
    text = io.StringIO()
    pl.DataFrame(rows, infer_schema_length=None).write_csv(text)
    return text.getvalue()


def legend(protocols: Sequence[ProtocolName]) -> list[str]:
    """What the lines of ours are."""
    return [f"“ours, {name}”: {WORDS[name]}." for name in protocols]
