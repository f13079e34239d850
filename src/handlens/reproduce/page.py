"""The page of a reproduction: the paper's tables with ours below theirs, in one file."""

import os
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from handlens.base.files import write_text
from handlens.report.tables import Table
from handlens.reproduce.paper import Paper

PAGE = "reproduced.html"


def write_reproduced(
    path: Path,
    paper: Paper,
    tables: Sequence[Table],
    notes: Sequence[str],
    pages: Sequence[Path],
    command: str,
) -> None:
    """Write the page; `pages` are further ones beside it, which it links to."""
    environment = Environment(
        loader=PackageLoader("handlens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    links = [Path(os.path.relpath(page, path.parent)).as_posix() for page in pages]
    template = environment.get_template("reproduced.html")
    write_text(
        path,
        template.render(
            name=paper.name, title=paper.spec.title, tables=tables, notes=notes, links=links, command=command
        ),
    )
