"""The table of kinds, where a paper's classes fall under some: no figure of the paper's, but its question."""

from collections.abc import Sequence

from handlens.base.errors import HandlensError
from handlens.data.kinds import Kinds
from handlens.data.samples import Samples
from handlens.report.tables import Table
from handlens.reproduce.measured import FIGURES, Measured
from handlens.reproduce.paper import Cell, Paper, ProtocolName, in_order
from handlens.reproduce.tables import Compared, RowsOf, words_of

KINDS = "kinds"
COLUMN = "kind"
"""Where samples tell the kind of each picture's class."""
FIGURES_OF_KINDS = ("right_in_kind", "kind_right")
ALL_KINDS = "all kinds"
HOW_TO_TELL = (
    f"--set 'data.kinds={{metal: [can, foil], ...}}' names the classes of each, and so does a column "
    f"{COLUMN!r} of a table; --set data.kind_folders=true reads pictures in kind/class/ folders."
)


def settings_of_kinds(samples: Samples, given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings by which runs judge kinds too, and what to say where the pictures tell none.

    What the user has set about kinds stands.
    """
    if any(setting.startswith("data.kind") for setting in given):
        return [], []
    if COLUMN not in samples.table.columns:
        return [], [f"No kinds of classes were judged: these pictures tell none. {HOW_TO_TELL}"]
    try:
        Kinds.from_column(samples, COLUMN)
    except HandlensError as error:
        # Other formats have a column of that name too, and every row would fail of it.
        return [], [f"No kinds of classes were judged. {error} {HOW_TO_TELL}"]
    return [f"data.kind_column={COLUMN}"], []


def compared_kinds(paper: Paper, rows: RowsOf) -> list[Compared]:
    """What each network tells of all kinds together and of each; empty where the paper has none."""
    if not paper.spec.kinds:
        return []
    run = {name: row for found in rows.values() for name, row in found.items()}
    told = []
    for name in in_order([cell.run for cell in paper.cells]):
        if name not in run and paper.is_own(name):
            continue
        kinds = run[name].kinds if name in run else None
        for kind in ("", *(kinds.names if kinds else ())):
            for figure in FIGURES_OF_KINDS:
                ours: dict[ProtocolName, Measured | None] = {
                    protocol: FIGURES[figure].measure(found[name], kind) if name in found else None
                    for protocol, found in rows.items()
                }
                told.append(Compared(Cell(KINDS, kind or ALL_KINDS, name, figure, None), ours))
    return told


def kinds_table(told: Sequence[Compared]) -> Table:
    """Lines of ours alone: for each network all kinds, then each."""
    titles = [FIGURES[name].title for name in FIGURES_OF_KINDS]
    here = [each for each in told if each.cell.table == KINDS]
    by_place = {(each.cell.run, each.cell.row, each.cell.figure): each.ours for each in here}
    lines = [
        (
            run if row == ALL_KINDS else "",
            f"ours, {protocol}, {row}",
            *(words_of(name, by_place[run, row, name][protocol]) for name in FIGURES_OF_KINDS),
        )
        for run, row in dict.fromkeys((run, row) for run, row, _ in by_place)
        for protocol in by_place[run, row, FIGURES_OF_KINDS[0]]
    ]
    title = "Kinds of classes: how often a picture's class is right, and its kind"
    return Table(title, ("row", "whose", *titles), tuple(lines))
