"""One table of many rows, for every paper it may stand on: CSV, Markdown, LaTeX, terminal and page."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from handlens.base.choices import look_up
from handlens.base.files import write_text
from handlens.evaluate.comparison import Comparison, Difference, Row
from handlens.evaluate.cost import Cost, Session, Training
from handlens.evaluate.metrics import METRICS
from handlens.evaluate.results import Figure
from handlens.report.cards import FIGURES
from handlens.report.words import count

NOT_MEASURED = "not measured"
NOT_RECORDED = "not recorded"
LEADS = "*"
"""Behind the figure of the best row, and of those that cannot be told from it."""
STANDINGS = {"better": "better", "worse": "worse", "tie": "tie", "reference": "reference", "failed": "failed"}
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class SideBySide:
    """Rows beside each other: what may be said of their figures, and what they cost."""

    comparison: Comparison
    side: str
    """The side of the split that all judged."""
    costs: Mapping[str, Cost] = field(default_factory=dict)
    """By row, as far as the networks are at hand."""
    trainings: Mapping[str, Training] = field(default_factory=dict)
    """What training took, by row."""
    session: Session | None = None
    """Under what conditions the times were taken; none where nothing was timed."""
    histories: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]] = field(default_factory=dict)
    """The epochs of each training, by row."""
    missing: tuple[str, ...] = ()
    """What could not be measured, and why."""

    def as_json(self) -> dict[str, Any]:
        """All of it for programs, but for the epochs, which the run folders hold."""
        return {
            "side": self.side,
            **self.comparison.model_dump(mode="json"),
            "costs": {name: cost.model_dump(mode="json") for name, cost in self.costs.items()},
            "trainings": {name: each.model_dump(mode="json") for name, each in self.trainings.items()},
            "session": self.session.model_dump(mode="json") if self.session else None,
            "missing": list(self.missing),
        }


@dataclass(frozen=True)
class Table:
    """Words in rows and columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def title_of(figure: str) -> str:
    """What a figure is called."""
    return FIGURES[figure].title if figure in FIGURES else figure.replace("_", " ").capitalize()


def is_share(figure: str) -> bool:
    """Whether a figure is told in per cent, and its differences in points."""
    return FIGURES[figure].kind == "share" if figure in FIGURES else METRICS[figure].counted


def heading_of(figure: str) -> str:
    """What a column of its values is called."""
    return f"{title_of(figure)}, %" if is_share(figure) else title_of(figure)


def bare_words(figure: str, value: float) -> str:
    """A figure's value below its heading."""
    return f"{100 * value:.1f}" if is_share(figure) else f"{value:.4f}"


def value_words(figure: str, value: float) -> str:
    """A figure's value in a sentence."""
    return f"{100 * value:.1f} %" if is_share(figure) else f"{value:.4f}"


def interval_words(figure: str, told: Figure) -> str:
    """A figure's interval."""
    if is_share(figure):
        return f"{100 * told.low:.1f} to {100 * told.high:.1f}"
    return f"{told.low:.4f} to {told.high:.4f}"


def difference_words(figure: str, told: Difference) -> tuple[str, str]:
    """A difference and its interval."""
    scale, form = (100, "+.1f") if is_share(figure) else (1, "+.4f")
    value, low, high = (f"{scale * each:{form}}" for each in (told.value, told.low, told.high))
    return value.replace("-", MINUS), f"{low} to {high}".replace("-", MINUS)


def p_words(p: float) -> str:
    """A p value with as many places as it is worth."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def deviation_words(figure: str, row: Row) -> str:
    """How far trainings lie apart."""
    deviation = row.deviation(figure)
    if deviation is None:
        return "one only"
    shown = f"{100 * deviation:.1f}" if is_share(figure) else f"{deviation:.4f}"
    return f"±{shown} ({row.num_trainings})"


def figures_table(told: SideBySide) -> Table:
    """How good each row is, and what may be said of the differences."""
    comparison = told.comparison
    main = comparison.figure
    others = [name for name in comparison.judged[0].figures if name != main]
    columns: tuple[str, ...] = ("row", heading_of(main), "95 % interval", "seeds", *map(heading_of, others))
    columns += (f"to {comparison.reference}", "95 % interval", "p, Holm", "standing")
    title = (
        f"{told.side} side: {count(comparison.n, 'picture')} from {count(comparison.n_groups, 'group')}. "
        f"{LEADS} the best row, and those that cannot be told from it."
        + (" Differences are in points." if is_share(main) else "")
    )
    return Table(title, columns, tuple(_figures_row(comparison, row, others) for row in comparison.rows))


def _figures_row(comparison: Comparison, row: Row, others: Sequence[str]) -> tuple[str, ...]:
    main = comparison.figure
    if row.standing == "failed":
        return (row.name, "failed", row.problem, *[""] * (len(others) + 5))
    cells = [row.name, bare_words(main, row.figures[main].value) + LEADS * row.leads]
    cells += [interval_words(main, row.figures[main]), deviation_words(main, row)]
    cells += [bare_words(name, row.figures[name].value) for name in others]
    if row.difference is None:
        return (*cells, "", "", "", STANDINGS[row.standing])
    value, within = difference_words(main, row.difference)
    return (*cells, value, within, p_words(row.difference.p_corrected), STANDINGS[row.standing])


def costs_table(told: SideBySide) -> Table:
    """What each row costs."""
    many = f"pictures/s ({told.session.batch})" if told.session else "pictures/s"
    columns: tuple[str, ...] = ("row", "parameters, M", "MiB", "multiply-adds, M", "ms, median", "ms, 95th")
    columns += (many, "training, min", "peak, MiB")
    title = told.session.sentence if told.session else "Times were not measured."
    rows = tuple(
        _costs_row(row.name, told.costs.get(row.name), told.trainings.get(row.name, Training()))
        for row in told.comparison.judged
    )
    if not any_peak(told):
        columns, rows = columns[:-1], tuple(cells[:-1] for cells in rows)
    if told.session is None:
        # What the title says need not stand in every row.
        columns, rows = columns[:4] + columns[7:], tuple(cells[:4] + cells[7:] for cells in rows)
    return Table(title, columns, rows)


def any_peak(told: SideBySide) -> bool:
    """Whether any run tells how much memory its training held."""
    return any(each.peak_mib is not None for each in told.trainings.values())


def _costs_row(name: str, cost: Cost | None, training: Training) -> tuple[str, ...]:
    if cost is None:
        cells = [NOT_MEASURED] * 6
    else:
        cells = [
            f"{cost.num_parameters / 1e6:.2f}",
            f"{cost.size_mib:.1f}",
            f"{cost.multiply_adds / 1e6:.0f}",
        ]
        times = (cost.median_ms, cost.p95_ms, cost.pictures_a_second)
        cells += [NOT_MEASURED if value is None else f"{value:.1f}" for value in times]
    cells.append(NOT_RECORDED if training.minutes is None else f"{training.minutes:.2f}")
    cells.append(NOT_RECORDED if training.peak_mib is None else f"{training.peak_mib:.0f}")
    return (name, *cells)


def notes_of(told: SideBySide) -> list[str]:
    """What stands below the tables."""
    comparison = told.comparison
    chosen = " (chosen as the best by these same figures)" if comparison.to_best else ""
    test = comparison.test[0].upper() + comparison.test[1:]
    notes = [
        f"{test} over {count(comparison.num_differences, 'difference')}. Better or worse than "
        f"{comparison.reference}{chosen} is said only where the interval and the corrected test both say so; "
        "all else is a tie.",
        *comparison.notes,
        *filter(None, [of_seeds(comparison)]),
    ]
    by_note: dict[str, list[str]] = {}
    for row in comparison.rows:
        for note in row.notes:
            by_note.setdefault(note, []).append(row.name)
    notes += [f"{', '.join(names)}: {note}." for note, names in by_note.items()]
    if not any_peak(told):
        notes.append("Peak memory: not recorded in any of these run folders.")
    elif any(told.trainings.get(row.name, Training()).peak_mib is None for row in comparison.judged):
        notes.append(
            "Memory is recorded of runs that had a process to themselves. One that another run had used "
            "before still holds what that one needed."
        )
    return [*notes, *told.missing]


def of_seeds(comparison: Comparison) -> str:
    """What rows that were trained once cannot tell; nothing where there are none."""
    once = comparison.trained_once
    if not once:
        return ""
    if len(once) == len(comparison.judged):
        return (
            "Each row was trained once: what another seed would change is in no interval here. A row called "
            "better is better as it was trained; train with three seeds to say it of the recipe."
        )
    names = ", ".join(row.name for row in once)
    return f"Trained once, so that what another seed would change is not known: {names}."


def to_csv(told: SideBySide) -> str:
    """Plain numbers, a row a row; an empty cell was not measured."""
    text = io.StringIO()
    pl.DataFrame([_numbers(told, row) for row in told.comparison.rows], infer_schema_length=None).write_csv(
        text
    )
    return text.getvalue()


def _numbers(told: SideBySide, row: Row) -> dict[str, Any]:
    comparison = told.comparison
    cells: dict[str, Any] = {"row": row.name, "trainings": row.num_trainings}
    for name in comparison.judged[0].figures:
        figure = row.figures.get(name)
        for part in ("value", "low", "high"):
            key = name if part == "value" else f"{name}_{part}"
            cells[key] = getattr(figure, part) if figure else None
        cells[f"{name}_sd"] = row.deviation(name)
    for part in ("value", "low", "high", "p", "p_corrected"):
        key = part if part.startswith("p") else "difference" if part == "value" else f"difference_{part}"
        cells[key] = getattr(row.difference, part) if row.difference else None
    cells |= {"compared_with": comparison.reference, "standing": row.standing, "leads": row.leads}
    cost, training = told.costs.get(row.name), told.trainings.get(row.name, Training())
    parts = (
        "num_parameters",
        "size_mib",
        "multiply_adds",
        "size",
        "views",
        "precision",
        "median_ms",
        "p95_ms",
    )
    cells |= {part: getattr(cost, part) if cost else None for part in (*parts, "pictures_a_second")}
    cells |= {"training_minutes": training.minutes, "peak_mib": training.peak_mib}
    cells |= {"pictures": comparison.n, "groups": comparison.n_groups, "problem": row.problem}
    return cells | {"notes": "; ".join(row.notes)}


def to_markdown(told: SideBySide) -> str:
    """Both tables and the notes."""
    parts = [_markdown_table(table) for table in (figures_table(told), costs_table(told))]
    return "\n\n".join([*parts, "\n".join(f"- {_markdown(note)}" for note in notes_of(told))]) + "\n"


def _markdown_table(table: Table) -> str:
    lines = [f"| {' | '.join(map(_markdown, cells))} |" for cells in (table.columns, *table.rows)]
    # Numbers stand better to the right; the first column holds names.
    rule = "|---" + "|--:" * (len(table.columns) - 1) + "|"
    return "\n".join([_markdown(table.title), "", lines[0], rule, *lines[1:]])


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<>\[\]#])", r"\\\1", " ".join(text.split()))


def to_latex(told: SideBySide) -> str:
    """Both tables with booktabs' lines, the leading rows in bold; \\usepackage{booktabs} is all it needs."""
    leading = {row.name for row in told.comparison.rows if row.leads}
    parts = []
    for table in (figures_table(told), costs_table(told)):
        head = " & ".join(_latex(column) for column in table.columns)
        lines = [_latex_row(cells, cells[0] in leading) for cells in table.rows]
        form = "l" + "r" * (len(table.columns) - 1)
        parts += [
            rf"% {_one_line(table.title)}",
            rf"\begin{{tabular}}{{{form}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    return "\n".join([*parts, *(f"% {_one_line(note)}" for note in notes_of(told))]) + "\n"


def _latex_row(cells: Sequence[str], leads: bool) -> str:
    told = [_latex(cell.removesuffix(LEADS) if at else cell) for at, cell in enumerate(cells)]
    if leads:
        told[:2] = [rf"\textbf{{{cell}}}" for cell in told[:2]]
    return " & ".join(told) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    MINUS: "$-$",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
} | {letter: f"\\{letter}" for letter in "&%$#_"}


def _latex(text: str) -> str:
    """Text as LaTeX prints it; a letter at a time, so that nothing is escaped twice."""
    return "".join(_LATEX.get(letter, letter) for letter in _one_line(text))


def _one_line(text: str) -> str:
    """Line ends would end a comment or a row."""
    return " ".join(text.split())


def write_table(told: SideBySide, path: Path) -> None:
    """Write the table in the form that the path's ending names."""
    form = look_up(FORMS, path.suffix.lower().removeprefix("."), "ending for a table")
    write_text(path, form(told))


FORMS: dict[str, Callable[[SideBySide], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
"""The forms of the table that are files of text, by ending."""
