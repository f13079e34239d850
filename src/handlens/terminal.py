"""What the commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from handlens.evaluate.results import Figure, KindsResult, Metrics, TaskResult
from handlens.report.transfer import Transfer
from handlens.report.verdict import Verdict
from handlens.report.words import percent, percent_interval

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from handlens.find_rate import FoundRate
    from handlens.models.edits import Touched
    from handlens.models.figures import ModuleRow, NetworkFigures

SUMMARY = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "F1, mean over the classes",
    "log_loss": "log loss",
    "ece": "calibration error",
    "ece_calibrated": "calibration error, calibrated",
}
JUDGMENT = ("picture", "target", "prediction", "confidence", "kind")
"""What is shown of each judgment; that of a further task carries its name behind a colon."""
SIDE_WORDS = {"test": "test, never seen before", "val": "validation", "data": "these pictures"}


def print_json(values: Any) -> None:
    """Only JSON, on standard output."""
    sys.stdout.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def print_line(text: str = "") -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None, names: bool = False
) -> None:
    """A table that fits the terminal, on standard output; first `names` are broken last, to be copied."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # Class names and paths are text, never markup: [red] in a name must stay [red].
    cells = [[Text(cell, overflow="fold") for cell in row] for row in (columns, *rows)]
    measured = [
        [Measurement.get(console, console.options, cell) for cell in column]
        for column in zip(*cells, strict=True)
    ]
    words = [max(each.minimum for each in column) for column in measured]
    lines = [max(each.maximum for each in column) for column in measured]
    # Two blanks between columns, and one at each end.
    room = console.width - 2 * len(columns)
    table = Table(
        title=title and escape(title),
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for name, width in zip(cells[0], _widths(lines, words, room, names), strict=True):
        table.add_column(name, width=width)
    for row in cells[1:]:
        table.add_row(*row)
    console.print(table)


def _widths(lines: Sequence[int], words: Sequence[int], room: int, names: bool) -> list[int]:
    """The widths of columns with these longest lines and words: the widest one gives way first.

    Left to itself, rich breaks words of one column where another could break between its own.
    """
    widths = list(lines)
    # What is longer is a path, for which no other column should be narrow.
    whole, inside = [min(word, room // 3) for word in words], [1] * len(words)
    if names:
        whole[0] = words[0]
    for least in (whole, [whole[0], *inside[1:]] if names else inside, inside):
        while sum(widths) > room:
            wider = [at for at, width in enumerate(widths) if width > least[at]]
            if not wider:
                break
            widths[max(wider, key=widths.__getitem__)] -= 1
    return widths


def print_verdict(verdict: Verdict) -> None:
    """How good, how sure, and what to distrust."""
    print_line(verdict.headline)
    print_line()
    if verdict.warnings:
        print_line("What to distrust (the report says why and what to do):")
        for doubt in verdict.warnings:
            print_line(f"  - {doubt.title}")
        print_line()


def print_metrics(metrics: Metrics) -> None:
    """The headline figures of each side with their intervals: of the main task, of kinds, of other tasks."""
    _print_sides(metrics, f"{metrics.label}, " if metrics.label else "")
    if metrics.kinds:
        _print_sides(metrics.kinds, f"{len(metrics.kinds.members)} kinds of classes, ")
    for name, result in metrics.tasks.items():
        _print_sides(result, f"{name}, ")


def _print_sides(judged: TaskResult | KindsResult, of: str) -> None:
    for side, result in reversed(judged.sides.items()):
        rows = [
            (words, *told(result.figures[name])) for name, words in SUMMARY.items() if name in result.figures
        ]
        title = f"{of}{SIDE_WORDS.get(side, side)}: {result.n:,} pictures from {result.n_groups:,} groups"
        print_table(("figure", "value", "95 % interval"), rows, title)


def print_transfer(transfer: Transfer) -> None:
    """What the weights were worth, beside the same on random ones."""
    print_line("What the transfer was worth, on the same pictures:")
    for words, row in (("with its weights", transfer.own), ("with random weights", transfer.other)):
        accuracy = row.accuracy
        print_line(f"  {words:<19}  {percent(accuracy.value):>7} right  ({percent_interval(accuracy)})")
    print_line(transfer.verdict)
    print_line()


def print_judgments(table: "pl.DataFrame", most: int = 40) -> None:
    """What each picture is called, and how surely."""
    shown = [name for name in table.columns if name.partition(":")[0] in JUDGMENT]
    # Those of the main task first and in this order, those of further tasks behind them as they stand.
    columns = sorted(shown, key=lambda name: JUDGMENT.index(name) if name in JUDGMENT else len(JUDGMENT))
    rows = [
        [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in table.select(columns).head(most).iter_rows()
    ]
    print_table(columns, rows)
    if len(table) > most:
        print_line(f"and {len(table) - most} more; --out FILE.csv writes them all")


def told(figure: Figure) -> tuple[str, str]:
    """A figure and its interval as text."""
    return f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}"


def print_bad(bad: Sequence[tuple[str, str]], most: int = 10) -> None:
    """The pictures that were left out, on standard error."""
    if not bad:
        return
    sys.stderr.write(f"{len(bad)} picture{'s' * (len(bad) > 1)} left out:\n")
    for name, reason in bad[:most]:
        sys.stderr.write(f"  {name}: {reason}\n")
    if len(bad) > most:
        sys.stderr.write(f"  and {len(bad) - most} more\n")


def print_notes(notes: Sequence[str]) -> None:
    """What is to be known of the pictures, on standard error."""
    sys.stderr.writelines(f"{note}\n" for note in notes)


def print_modules(rows: "Sequence[ModuleRow]") -> None:
    """The modules of a network, each under the name that an edit calls it by."""
    edited = any(row.edits for row in rows)
    columns = ("module", "kind", "channels", "weights", "roles", *(["edits"] if edited else []))
    cells = [
        (row.path, row.kind, row.output, f"{row.num_parameters:,}", ", ".join(row.roles))
        # Where it is put stands beside it; what is put there is told.
        + ((", ".join(edit.partition(",")[0] for edit in row.edits),) if edited else ())
        for row in rows
    ]
    print_table(columns, cells, names=True)


def print_model(figures: "NetworkFigures", touched: "Sequence[Touched]", side: int) -> None:
    """What a network is made of."""
    rows = [
        ("parameters", f"{figures.num_parameters:,}"),
        ("of these trained at first", f"{figures.num_trainable:,}"),
        ("size as float32", f"{figures.size_mib:,.2f} MiB"),
        ("multiply-adds a picture", f"{figures.multiply_adds / 1e6:,.1f} million"),
    ]
    print_table(("figure", "value"), rows, f"The network, for pictures of {side} x {side}")
    shapes = [(stage.end, " x ".join(map(str, stage.shape))) for stage in figures.stages]
    print_table(("stage ends with", "channels x height x width"), shapes)
    for each in touched:
        between = f"{each.names[0]} to {each.names[-1]}" if len(each.names) > 1 else each.names[0]
        print_line(f"{each.edit} touches {len(each.names)} module{'s' * (len(each.names) > 1)}: {between}")


def print_rate(found: "FoundRate", picture: "Path | None") -> None:
    """A learning rate, why this one, and how to take it."""
    for sentence in (f"{found.headline}.", *found.sentences):
        print_line(sentence)
    print_line(f"Take it with --set {found.suggestion.setting}")
    if picture:
        print_line(f"Picture: {picture}")
