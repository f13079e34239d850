"""A paper: the studies that repeat it, and the figures that it prints, as facts."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.spec import Spec, read_yaml
from handlens.study.spec import StudySpec

PAPERS = resources.files("handlens") / "recipes" / "papers"
COLUMNS = (
    "table",
    "row",
    "run",
    "figure",
    "paper",
    "ours",
    "low",
    "high",
    "ours_paper_protocol",
    "date",
    "commit",
    "data",
)
"""The columns of expected.csv."""

ProtocolName = Literal["honest", "paper", "without"]


class PaperSpec(Spec):
    """What there is to know of a paper besides its study and its figures."""

    title: str
    """What it is about."""
    protocols: tuple[ProtocolName, ...] = Field(min_length=1)
    """How pictures are prepared and divided: each is a study of its own."""
    ratios: str
    """The parts of the split."""
    expand: str | None = None
    """The recipe by which pictures are expanded beforehand; none where the paper expands none."""
    compare_with: str
    """The row that the others are compared with."""
    kinds: bool = False
    """Whether classes belong to kinds, which a column of that name tells."""
    most_ms: float | None = None
    """How long a picture may take on a processor, where the paper names a limit."""
    heat_per_class: int = 0
    """Pictures a class for a grid of maps of where the networks looked; 0 for no grid."""
    own_rows: tuple[str, ...] = ()
    """Rows of ours that the paper does not have, as the study calls them, with `*`."""
    further: bool = False
    """Whether pages about few pictures a class and about other sites belong to it."""
    tables: dict[str, str]
    """The titles of its tables, by name."""
    quick: tuple[str, ...] = ()
    """Settings that make it quick, as `a.b=c`."""
    quick_weights: Literal["none"] | None = None
    """The weights that networks begin with when it is quick, where these are not at hand everywhere."""
    quick_networks: dict[str, dict[str, Any]] = Field(default={})
    """By the name of a network or part, the settings in its place: some say nothing when random."""
    quick_expand: str | None = None
    """The recipe for the pictures that stand in for generated ones when it is quick."""

    def protocols_among(self, names: Sequence[str]) -> list[ProtocolName]:
        """Those of the paper's protocols that are wanted; all where none is named."""
        strange = [name for name in names if name not in self.protocols]
        if strange:
            raise HandlensError(
                f"This paper is not repeated under a protocol called {strange[0]!r}."
                f"{suggestion(strange[0], self.protocols)} There are: {', '.join(self.protocols)}."
            )
        return [name for name in self.protocols if not names or name in names]


@dataclass(frozen=True)
class Cell:
    """One figure of a table: the paper's, and ours where it was measured for the package."""

    table: str
    row: str
    """What the paper calls the row."""
    run: str
    """What the study calls it."""
    figure: str
    paper: float | None
    """None where the paper prints none."""
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    ours_paper_protocol: float | None = None
    date: str = ""
    commit: str = ""
    data: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper by its name."""

    name: str
    spec: PaperSpec
    study: StudySpec
    cells: tuple[Cell, ...]

    @classmethod
    def load(cls, name: str) -> "Paper":
        """One of the papers in the package."""
        if name not in papers():
            raise HandlensError(
                f"There is no paper called {name!r}.{suggestion(name, papers())} There are: "
                f"{', '.join(papers())}."
            )
        folder = PAPERS / name
        where = f"papers/{name}"
        spec = PaperSpec.parse(
            read_yaml((folder / "paper.yaml").read_text(encoding="utf-8"), where), f"{where}/paper.yaml"
        )
        with resources.as_file(folder / "study.yaml") as path:
            study = StudySpec.load(Path(path))
        text = (folder / "expected.csv").read_text(encoding="utf-8")
        return cls(name, spec, study, tuple(read_cells(text, f"{where}/expected.csv")))

    def is_own(self, run: str) -> bool:
        """Whether a row is ours alone: the paper has none such."""
        return any(fnmatch(run, pattern) for pattern in self.spec.own_rows)

    def of_table(self, table: str) -> list[Cell]:
        """The cells of one table, in its order."""
        return [cell for cell in self.cells if cell.table == table]


def papers() -> list[str]:
    """The names of the papers, sorted."""
    return sorted(folder.name for folder in PAPERS.iterdir() if (folder / "paper.yaml").is_file())


def read_cells(text: str, where: str) -> list[Cell]:
    """The rows of expected.csv."""
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise HandlensError(f"{where} must have the columns {', '.join(COLUMNS)}.")
    return [
        Cell(
            row["table"],
            row["row"],
            row["run"],
            row["figure"],
            _number(row["paper"]),
            _number(row["ours"]),
            _number(row["low"]),
            _number(row["high"]),
            _number(row["ours_paper_protocol"]),
            row["date"],
            row["commit"],
            row["data"],
        )
        for row in reader
    ]


def _number(text: str) -> float | None:
    return float(text) if text else None


def in_order(names: Sequence[str]) -> list[str]:
    """Each name once, in the order of their first places."""
    return list(dict.fromkeys(names))
