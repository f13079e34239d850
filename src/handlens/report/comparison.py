"""The page of a comparison: the table, what may be said of it, and its drawings, in one file."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from handlens.base.choices import look_up
from handlens.base.files import write_text
from handlens.evaluate.comparison import Comparison, Row
from handlens.evaluate.cost import Cost
from handlens.report import comparison_figures as drawings
from handlens.report.comparison_figures import Priced
from handlens.report.doubts import FEW_GROUPS
from handlens.report.figures import draw_confusion, for_page
from handlens.report.pages import page_template
from handlens.report.tables import (
    FORMS,
    MINUS,
    SideBySide,
    Table,
    costs_table,
    difference_words,
    figures_table,
    interval_words,
    is_share,
    notes_of,
    of_seeds,
    title_of,
    value_words,
    write_table,
)
from handlens.report.words import count, listed

COSTS: dict[str, Callable[[Cost], float | None]] = {
    "milliseconds a picture (one at a time)": lambda cost: cost.median_ms,
    "size of the weights, MiB": lambda cost: cost.size_mib,
    "multiply-adds a picture, million": lambda cost: cost.multiply_adds / 1e6,
}
"""What accuracy is drawn against."""


@dataclass(frozen=True)
class Warned:
    """One thing to know before the table is believed."""

    severity: str
    title: str
    detail: str


@dataclass(frozen=True)
class Traded:
    """Accuracy against one cost."""

    drawn: Markup
    sentence: str


@dataclass(frozen=True)
class Matrix:
    """One row's confusion matrix."""

    name: str
    sentence: str
    drawn: Markup


def write_page(told: SideBySide, path: Path, command: str, title: str = "") -> None:
    """Write the page of a comparison; `command` is what makes it again."""
    write_text(path, page_of(told, title or count(len(told.comparison.rows), "row"), command))


def write_comparison(told: SideBySide, path: Path, command: str) -> None:
    """Write a comparison in the form that the path's ending names: a page, or a table."""
    look_up(WRITERS, ending(path), "ending for a comparison")(told, path, command)


def ending(path: Path) -> str:
    """The ending of a path as it stands in `WRITERS`."""
    return path.suffix.lower().removeprefix(".")


def page_of(told: SideBySide, title: str, command: str) -> str:
    """The page as text."""
    comparison = told.comparison
    judged = f"{count(comparison.n, 'picture')} from {count(comparison.n_groups, 'group')}"
    curves = drawings.draw_curves(comparison, told.histories)
    before, *after = _matrices(comparison)
    best = comparison.best.name
    # First what the best row changed; where that is the row compared with, the first other one.
    first = next((each for each in after if each.name == best), after[0])
    drawn = {
        "rows": (
            drawings.draw_rows(comparison),
            f"{title_of(comparison.figure)} of each row with its interval",
        ),
        "differences": (
            drawings.draw_differences(comparison),
            f"Difference of each row to {comparison.reference} with its interval",
        ),
    }
    if curves:
        drawn["curves"] = (
            curves[0],
            f"Loss and accuracy on {curves[1]} pictures, epoch by epoch, a line a row",
        )
    return page_template("comparison.html", place=_place).render(
        title=title,
        headline=headline(comparison),
        sentences=sentences(comparison),
        basis=f"{told.side.capitalize()} side: {judged}",
        warnings=warnings_of(told),
        figures=_numbered(figures_table(told), comparison.rows),
        costs=_numbered(costs_table(told), comparison.rows),
        standings={row.name: row.standing for row in comparison.rows},
        notes=notes_of(told),
        drawn={name: for_page(svg, alt) for name, (svg, alt) in drawn.items()},
        curves_on=curves[1] if curves else "",
        curved=drawings.curved_rows(comparison, told.histories) if curves else [],
        traded=_traded(told),
        reference=comparison.reference,
        before=before,
        first=first,
        others=[each for each in after if each is not first],
        session=told.session,
        command=command,
        num_rows=len(comparison.judged),
    )


def _place(cell: str) -> str:
    """The number that a cell is sorted by; what has none comes first."""
    number = re.search(r"[-\d.]+", cell.replace(MINUS, "-"))
    return number[0] if number else "-Infinity"


def headline(comparison: Comparison) -> str:
    """What it comes to, in one sentence that no interval contradicts."""
    better = [row.name for row in comparison.judged if row.standing == "better"]
    others = len(comparison.judged) - 1
    if comparison.to_best:
        tied = sum(row.standing == "tie" for row in comparison.judged)
        if tied == others:
            return f"“{comparison.reference}” came out best, but no row can be told from it."
        if not tied:
            return f"“{comparison.reference}” is clearly better than {_all_others(others)}."
        return f"“{comparison.reference}” came out best; {count(tied, 'row')} cannot be told from it."
    if not better:
        return f"No row is clearly better than “{comparison.reference}”."
    if len(better) == 1:
        return f"“{better[0]}” is clearly better than “{comparison.reference}”."
    return f"{len(better)} of {others} rows are clearly better than “{comparison.reference}”."


def _all_others(number: int) -> str:
    return "the other row" if number == 1 else f"all {number} others"


def sentences(comparison: Comparison) -> list[str]:
    """Which row is best, which tie with it, and what each standing rests on."""
    best, main = comparison.best, comparison.figure
    figure = best.figures[main]
    word = "lowest" if comparison.lower_is_better else "highest"
    told = [
        f"“{best.name}” has the {word} {_within(title_of(main))}: {value_words(main, figure.value)} "
        f"(95 % interval {interval_words(main, figure)})."
    ]
    tied = [row.name for row in comparison.judged if row.leads and row is not best]
    if tied:
        told.append(f"{listed(tied)} cannot be told from it on these pictures: a tie, whatever the order.")
    for standing, words in (("better", "Clearly better than"), ("worse", "Clearly worse than")):
        rows = [row for row in comparison.judged if row.standing == standing]
        if rows:
            shown = "; ".join(f"“{row.name}” by {_by(comparison, row)}" for row in rows[:5])
            more = f"; and {len(rows) - 5} more" if len(rows) > 5 else ""
            told.append(f"{words} “{comparison.reference}”: {shown}{more}.")
    return told


def _within(title: str) -> str:
    """A title in the middle of a sentence; ROC stays ROC."""
    return title[0].lower() + title[1:] if title[1:2].islower() else title


def _by(comparison: Comparison, row: Row) -> str:
    assert row.difference is not None
    value, within = difference_words(comparison.figure, row.difference)
    unit = " points" if is_share(comparison.figure) else ""
    return f"{value.lstrip('+')}{unit} ({within})"


def warnings_of(told: SideBySide) -> list[Warned]:
    """What would make the table mean something else, the gravest first."""
    comparison, found = told.comparison, []
    marked = [row for row in comparison.rows if any(note.startswith("leaking") for note in row.notes)]
    if marked:
        found.append(
            Warned(
                "serious",
                f"Test pictures leaked: {listed([row.name for row in marked])}",
                "Copies of test pictures were learned from, so these figures are too good. "
                "Compare them with nothing but each other.",
            )
        )
    copied = [row for row in comparison.rows if row.notes and row not in marked]
    if copied:
        told_why = "; ".join(dict.fromkeys(note for row in copied for note in row.notes))
        detail = f"{told_why[0].upper()}{told_why[1:]}: what these rows say of them is too good."
        found.append(Warned("caution", f"Known pictures: {listed([row.name for row in copied])}", detail))
    failed = [row for row in comparison.rows if row.standing == "failed"]
    if failed:
        told_why = " ".join(f"{row.name}: {row.problem}" for row in failed)
        found.append(Warned("serious", f"{count(len(failed), 'row')} without figures", told_why))
    if told.side == "val":
        found.append(
            Warned(
                "caution",
                "These are validation pictures",
                "Settings were chosen on them, so all figures are a little too good.",
            )
        )
    if comparison.n_groups < FEW_GROUPS:
        found.append(
            Warned(
                "caution",
                f"Only {count(comparison.n_groups, 'group')}",
                "Pictures of one group err together, so the intervals are wide, and ties are likely.",
            )
        )
    if comparison.trained_once:
        found.append(Warned("caution", "Trained once", of_seeds(comparison)))
    found += [Warned("note", "On which pictures", note) for note in comparison.notes]
    if told.session and (told.session.load_before or 0) > told.session.cores:
        found.append(Warned("caution", "The machine was busy while times were taken", told.session.sentence))
    found += [Warned("note", "Not measured", words) for words in told.missing]
    return found


def _numbered(table: Table, rows: Sequence[Row]) -> Table:
    """The table with a first column of numbers, by which the drawings call the rows."""
    number = {row.name: str(at) for at, row in enumerate(rows, start=1)}
    numbered = tuple((number[cells[0]], *cells) for cells in table.rows)
    return Table(table.title, ("#", *table.columns), numbered)


def _matrices(comparison: Comparison) -> list[Matrix]:
    """The confusion matrix of the reference, then those of the others."""
    rows = sorted(comparison.judged, key=lambda row: row.standing != "reference")
    return [
        Matrix(
            row.name,
            f"{row.name}: {value_words(comparison.figure, row.figures[comparison.figure].value)}"
            + (f", counts over {row.num_trainings} trainings" if row.num_trainings > 1 else ""),
            for_page(
                draw_confusion(comparison.classes, row.confusion),
                f"Confusion matrix of {row.name}: true classes down, what was said across",
            ),
        )
        for row in rows
    ]


def _traded(told: SideBySide) -> list[Traded]:
    """Accuracy against each cost that at least two rows have."""
    comparison, made = told.comparison, []
    for words, of in COSTS.items():
        priced = []
        for number, row in enumerate(comparison.rows, start=1):
            cost = of(told.costs[row.name]) if row.name in told.costs else None
            if cost is None or row.standing == "failed":
                continue
            figure = row.figures[comparison.figure]
            priced.append(Priced(number, row.name, figure.value, figure.low, figure.high, cost))
        if len(priced) < 2 or len({each.cost for each in priced}) == 1:
            continue
        best = drawings.front(priced, comparison.lower_is_better)
        svg = drawings.draw_front(priced, comparison.figure, comparison.lower_is_better, words)
        alt = f"{title_of(comparison.figure)} against {words}; on the front: {_numbers(best)}"
        made.append(Traded(for_page(svg, alt), _of_front(comparison, priced, best)))
    return made


def _of_front(comparison: Comparison, priced: Sequence[Priced], best: Sequence[Priced]) -> str:
    """What may be said of the front: of its rows, which are clearly better than everything cheaper."""

    def clear(each: Priced) -> bool:
        cheaper = {other.name for other in priced if other.cost < each.cost}
        return cheaper <= set(comparison.row(each.name).better_than)

    tied = [each for each in best if not clear(each)]
    sentence = f"Nothing is both cheaper and better than: {_numbers([each for each in best if clear(each)])}."
    if tied:
        sentence += f" On the line too, but tied with something cheaper: {_numbers(tied)}."
    return sentence


def _numbers(rows: Sequence[Priced]) -> str:
    return ", ".join(f"{each.number} {each.name}" for each in rows)


WRITERS: dict[str, Callable[[SideBySide, Path, str], None]] = {
    "html": write_page,
    **dict.fromkeys(FORMS, lambda told, path, _: write_table(told, path)),
}
"""The forms of a comparison by their endings."""
