"""The page of maps: whether they deserve belief, and each picture beside what each network saw in it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from handlens.base.files import write_text
from handlens.data.made import write_picture
from handlens.explain.figures import draw_belief
from handlens.explain.maps import METHODS, Heat
from handlens.explain.overlay import CIVIDIS, Pixels, coloured, laid_over, laid_over_with_words
from handlens.explain.results import Explanation, PictureName, PictureResult, RunResult
from handlens.report.figures import for_page
from handlens.report.pages import page_template
from handlens.report.thumbnails import data_uri
from handlens.report.words import listed, percent

PAGE = "explain.html"
GRID = "grid.png"
EDGE = 224
"""Pixels a side of a picture on the page; larger views are made smaller."""
QUALITY = 82
MOST_ROWS = 24
"""Pictures in the grid for papers."""
GAP, CAPTION = 6, 18

SEVERITIES = {"fails": "serious", "undecided": "caution", "too_few": "caution"}
TAGS = {"passes": "Passes", "undecided": "Not certain", "too_few": "Too few", "fails": "Fails"}


@dataclass(frozen=True, eq=False)
class Drawn:
    """One run with its pictures and maps."""

    result: RunResult
    pixels: Pixels
    """The pictures as it is shown them, (n, side, side, 3)."""
    heat: Heat
    """What spoke for the explained class, (n, side, side)."""
    true_heat: Mapping[int, Heat]
    """What spoke for the true class, for pictures where that is another one."""
    true_class: Mapping[int, str]


@dataclass(frozen=True)
class Cell:
    """One picture as one network sees it, ready for the page."""

    run: str
    picture: PictureResult
    view: str
    overlay: str
    raw: str
    true_class: str
    true_overlay: str
    true_empty: bool


@dataclass(frozen=True)
class Row:
    """One picture."""

    name: PictureName
    cells: Sequence[Cell]


def write_page(folder: Path, result: Explanation, drawn: Sequence[Drawn], which: str) -> None:
    """Write the page; it stands alone and opens anywhere."""
    text = page_template(PAGE).render(
        result=result,
        severities=SEVERITIES,
        tags=TAGS,
        which=which,
        method=METHODS[result.settings.method],
        headline=headline(result),
        rows=[Row(name, [_cell(each, row) for each in drawn]) for row, name in enumerate(result.pictures)],
        grid=len(drawn) > 1,
        figures=[
            for_page(draw_belief(run.belief), f"How the maps of {run.run} stand the checks")
            if run.belief
            else None
            for run in result.runs
        ],
        colours=", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in CIVIDIS),
    )
    write_text(folder / PAGE, text)


def headline(result: Explanation) -> str:
    """What the page says first: whether the maps deserve belief."""
    checked = [run for run in result.runs if run.belief]
    if not checked:
        networks = "network" if len(result.runs) == 1 else "networks"
        return f"Where the {networks} looked; whether the maps deserve belief was not checked"
    failed = [run.run for run in checked if any(_fails(run))]
    doubted = [run.run for run in checked if run.belief and run.belief.doubts and run.run not in failed]
    meant = failed or doubted
    if not meant:
        return "These maps stand the checks of belief"
    maps = "these maps" if len(meant) == len(result.runs) else f"the maps of {listed(meant)}"
    if failed:
        return f"{maps[0].upper()}{maps[1:]} do not deserve belief: they fail a check"
    if all(check.verdict == "too_few" for run in checked if run.belief for check in run.belief.doubts):
        return f"Too few pictures to say whether {maps} deserve belief"
    return f"It is not certain that {maps} deserve belief"


def _fails(run: RunResult) -> list[bool]:
    return [check.verdict == "fails" for check in (run.belief.checks if run.belief else ())]


def _cell(drawn: Drawn, row: int) -> Cell:
    pixels, heat = drawn.pixels[row], drawn.heat[row]
    true = drawn.true_heat.get(row)
    return Cell(
        drawn.result.run,
        drawn.result.pictures[row],
        as_jpeg(pixels),
        as_jpeg(laid_over(pixels, heat)),
        as_jpeg(coloured(heat)),
        drawn.true_class.get(row, ""),
        as_jpeg(laid_over(pixels, true)) if true is not None else "",
        true is not None and not true.any(),
    )


def as_jpeg(pixels: Pixels) -> str:
    """A picture for the page, no larger than it is shown there."""
    return data_uri(jpeg_of(pixels))


def jpeg_of(pixels: Pixels) -> bytes:
    """A picture as JPEG, at most so large as the page shows it."""
    written = io.BytesIO()
    _small(pixels).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def _small(pixels: Pixels) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((EDGE, EDGE), Image.Resampling.BILINEAR)
    return picture


def write_grid(folder: Path, result: Explanation, drawn: Sequence[Drawn]) -> None:
    """The grid for papers: pictures down; the picture itself and each network across."""
    rows = min(MOST_ROWS, len(result.pictures))
    heads = ["the picture", *(run.run for run in result.runs)]
    step = EDGE + GAP
    sheet = Image.new("RGB", (len(heads) * step - GAP, CAPTION + rows * (step + CAPTION) - GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        pen.text((column * step, 2), head, fill="black")
    for row in range(rows):
        top = CAPTION + row * (step + CAPTION)
        maps = [laid_over_with_words(each.pixels[row], each.heat[row]) for each in drawn]
        tiles = [drawn[0].pixels[row], *maps]
        words = [result.pictures[row].true or "", *(_words(run.pictures[row]) for run in result.runs)]
        for column, (tile, caption) in enumerate(zip(tiles, words, strict=True)):
            square = Image.fromarray(tile).resize((EDGE, EDGE), Image.Resampling.BILINEAR)
            sheet.paste(square, (column * step, top))
            pen.text((column * step, top + EDGE + 2), caption, fill="black")
    write_picture(sheet, folder / GRID)


def _words(picture: PictureResult) -> str:
    """Below a map: the class it is of, and how probable the network finds it."""
    return f"{picture.explained}: {percent(picture.probability)}"
