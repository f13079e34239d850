"""Fills the columns of ours in a paper's expected.csv from the reproduced.csv of a real run.

handlens reproduce graphite DATA --out OUT
python tools/fill_expected.py graphite OUT/reproduced.csv --date 2026-11-21 --commit c3d44e7 --data WORDS

Where a run had another network in the place of the paper's, its figures go to rows of ours by another name:
--row-map MobileNetV2=handlens/nano writes those of I-MobileNetV2 to I-handlens/nano, and no others.
"""

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.base.files import write_text
from handlens.reproduce.measured import FIGURES
from handlens.reproduce.paper import COLUMNS, papers
from handlens.reproduce.protocols import AS_PAPER, HONEST

EXPECTED = Path(__file__).resolve().parent.parent / "src" / "handlens" / "recipes" / "papers"
OF_THE_NETWORK = ("size_mib", "parameters_m")
"""Not filled: they were taken of the networks with the paper's number of classes."""

Row = dict[str, str]


def main() -> int:
    """Fill one paper's figures, or say why not."""
    parser = argparse.ArgumentParser(description="Fill the columns of ours in expected.csv from a real run.")
    parser.add_argument("paper", choices=papers())
    parser.add_argument("reproduced", type=Path, help="reproduced.csv of the run")
    parser.add_argument("--date", required=True, help="of the run, as 2026-11-21")
    parser.add_argument("--commit", required=True, help="the code that made it")
    parser.add_argument("--data", required=True, help="the pictures, and what else was not the paper's")
    parser.add_argument("--row-map", nargs="+", default=[], metavar="THEIRS=OURS")
    given = parser.parse_args()
    about = {"date": given.date, "commit": given.commit, "data": given.data}
    try:
        filled = fill(EXPECTED / given.paper / "expected.csv", given.reproduced, about, given.row_map)
    except HandlensError as error:
        print(error)
        return 2
    print(f"{filled} figures of {given.paper} filled.")
    return 0


def fill(expected: Path, reproduced: Path, about: Mapping[str, str], row_map: Sequence[str] = ()) -> int:
    """Write the run's figures into expected.csv; how many there were."""
    rows, measured = read(expected), by_place(read(reproduced), row_map)
    known = {(row["table"], row["row"]) for row in rows}
    strange = sorted({row for table, row, *_ in measured if row_map and (table, row) not in known})
    if strange:
        raise HandlensError(f"{expected} has no row {strange[0]!r}. Add it, or mend --row-map.")
    filled = 0
    for row in rows:
        place = (row["table"], row["row"], row["figure"])
        honest, leaking = measured.get((*place, HONEST)), measured.get((*place, AS_PAPER))
        if row["figure"] not in OF_THE_NETWORK and (honest or leaking):
            # All of a figure is of one run: what this one has not measured does not stay from another.
            row.update({**ours(row["figure"], honest, leaking), **about})
            filled += 1
    if not filled:
        raise HandlensError(
            f"{reproduced} has no figure for a row of {expected}. Look whether the paper fits."
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(expected, text.getvalue())
    return filled


def read(path: Path) -> list[Row]:
    """The rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_place(rows: Sequence[Row], row_map: Sequence[str]) -> dict[tuple[str, str, str, str], Row]:
    """What was measured, by table, row, figure and protocol; with a map only the rows that it names."""
    pairs = [each.partition("=")[::2] for each in row_map]
    found = {}
    for row in rows:
        theirs = row["row"]
        name = next(
            (theirs.replace(old, new) for old, new in pairs if old in theirs), None if pairs else theirs
        )
        if row["ours"] and name is not None:
            found[row["table"], name, row["figure"], row["protocol"]] = row
    return found


def ours(figure: str, honest: Row | None, leaking: Row | None) -> Row:
    """The columns of ours, with as many places as the table shows."""

    def words(row: Row | None, column: str) -> str:
        return FIGURES[figure].words(float(row[column])) if row and row[column] else ""

    values = {column: words(honest, column) for column in ("ours", "low", "high")}
    return {**values, "ours_paper_protocol": words(leaking, "ours")}


if __name__ == "__main__":
    sys.exit(main())
