"""The page of a reproduction: the paper's tables with ours below theirs, in one file."""

import os
from collections.abc import Sequence
from pathlib import Path

from handlens.base.files import write_text
from handlens.report.pages import page_template
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
    links = [Path(os.path.relpath(page, path.parent)).as_posix() for page in pages]
    text = page_template(PAGE).render(
        paper=paper.name, title=paper.spec.title, tables=tables, notes=notes, links=links, command=command
    )
    write_text(path, text)
