"""The page of a reproduction: the paper's tables with ours below theirs, in one file."""

import os
from collections.abc import Sequence
from pathlib import Path

from handlens.base.files import write_text
from handlens.report.pages import page_template
from handlens.report.tables import Table
from handlens.reproduce.paper import Paper
from handlens.reproduce.protocols import WORDS

PAGE = "reproduced.html"
BESIDE = {
    **{f"{protocol}.html": f"All rows beside each other: {words}" for protocol, words in WORDS.items()},
    "maps/explain.html": "Where the networks looked: pictures down, networks across",
    "few-pictures/curve.html": "Few pictures a class: would more help?",
    "sites/sites.html": "Other sites: is it as good where it has never been?",
}
"""What the further pages are, by their place beside this one."""


def write_reproduced(
    path: Path,
    paper: Paper,
    tables: Sequence[Table],
    notes: Sequence[str],
    pages: Sequence[Path],
    command: str,
) -> None:
    """Write the page; `pages` are further ones beside it, which it links to."""
    places = [Path(os.path.relpath(page, path.parent)).as_posix() for page in pages]
    links = {place: BESIDE.get(place, place) for place in places}
    text = page_template(PAGE).render(
        paper=paper.name, title=paper.spec.title, tables=tables, notes=notes, links=links, command=command
    )
    write_text(path, text)
