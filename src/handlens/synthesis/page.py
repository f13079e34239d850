"""The page of a synthesis: the verdict, its figures, and every picture beside what it is nearest to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from handlens import __version__
from handlens.base.files import write_text
from handlens.data.made import write_picture
from handlens.report.pages import page_template
from handlens.report.thumbnails import thumbnails
from handlens.synthesis.results import Neighbour, Synthesis, WayResult, kid_interval, kid_words
from handlens.synthesis.spec import WAYS, WayName

PAGE = "synthesis.html"
GRID = "grid.png"

MOST_SHOWN = 48
"""Pictures of the chosen way; of the others a quarter."""
MOST_DROPPED = 24

GRID_COLUMNS, GRID_ROWS = 8, 8
TILE, GAP = 128, 4


@dataclass(frozen=True)
class Shown:
    """One way on the page."""

    name: WayName
    words: str
    result: WayResult
    neighbours: Sequence[Neighbour]
    dropped: Sequence[Neighbour]
    uris: Mapping[str, str]
    """Thumbnails by what the result calls the pictures."""


def write_page(
    folder: Path,
    result: Synthesis,
    pictures: Mapping[WayName, Mapping[str, Path]],
    notes: Sequence[str] = (),
) -> None:
    """Write the page and the grid; `pictures` are the files of each way by the names that the result has."""
    ways = [_shown(way, result, pictures[way]) for way in result.ways]
    page = page_template("synthesis.html").render(
        result=result,
        ways=ways,
        chosen=ways[0],
        words=WAYS,
        kid=kid_words,
        kid_interval=kid_interval,
        notes=notes,
        folder=folder.name,
        version=__version__,
    )
    write_text(folder / PAGE, page)
    names = [neighbour.picture for neighbour in result.chosen.neighbours]
    write_picture(
        draw_grid(pictures[result.way][name] for name in names[: GRID_COLUMNS * GRID_ROWS]), folder / GRID
    )


def draw_grid(paths: Iterable[Path]) -> Image.Image:
    """Pictures side by side, each whole."""
    tiles = []
    for path in paths:
        with Image.open(path) as picture:
            tiles.append(ImageOps.pad(picture.convert("RGB"), (TILE, TILE), color="white"))
    columns = min(GRID_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (TILE + GAP) - GAP, rows * (TILE + GAP) - GAP), "white")
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        sheet.paste(tile, (column * (TILE + GAP), row * (TILE + GAP)))
    return sheet


def _shown(way: WayName, result: Synthesis, pictures: Mapping[str, Path]) -> Shown:
    found = result.ways[way]
    most = MOST_SHOWN if way == result.way else MOST_SHOWN // 4
    neighbours, dropped = found.neighbours[:most], found.dropped[:MOST_DROPPED]
    names = {name for each in (*neighbours, *dropped) for name in (each.picture, each.nearest)}
    made = thumbnails(pictures[name] for name in names)
    uris = {name: made[pictures[name]] for name in names if pictures[name] in made}
    return Shown(way, WAYS[way], found, neighbours, dropped, uris)
