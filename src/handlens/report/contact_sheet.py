"""The contact sheet of frames: kept and left out side by side, so that a person can say otherwise."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handlens.base.files import write_text
from handlens.data.footage import Row, Video, plain
from handlens.data.frames import BY_HAND, Cut
from handlens.report.pages import page_template
from handlens.report.thumbnails import data_uri
from handlens.report.words import count

FRAMES_A_PAGE = 500
"""More thumbnails than these make a page that phones do not open."""

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_MEANS_MORE = re.compile(r"[\"$`\\!%\n]")


@dataclass(frozen=True)
class Tile:
    """One frame on the sheet."""

    id: str
    kept: bool
    clock: str
    verdict: str
    figures: str
    picture: str | None
    """The thumbnail; none where it is gone."""


@dataclass(frozen=True)
class Strip:
    """The frames of one video, or as many of them as there is room for on one page."""

    title: str
    facts: str
    problems: tuple[str, ...]
    tiles: tuple[Tile, ...]


def write_contact_sheet(cut: Cut, command: Sequence[str]) -> Path:
    """Write the sheet, on several pages where there are many frames; `command` are the words that made it."""
    pages = _pages(cut)
    template = page_template("contact_sheet.html")
    names = [_page_name(number) for number in range(1, len(pages) + 1)]
    for number, (name, strips) in enumerate(zip(names, pages, strict=True), start=1):
        text = template.render(
            headline=headline(cut),
            sentences=sentences(cut),
            notes=cut.samples.notes,
            strips=strips,
            command=" ".join(map(quoted, command)),
            pages=names,
            number=number,
            with_dropped=any(not tile.kept for strip in strips for tile in strip.tiles),
        )
        write_text(cut.path / name, text)
    return cut.path / names[0]


def headline(cut: Cut) -> str:
    """How many frames there are."""
    return f"{len(cut.samples):,} of {count(len(cut.rows), 'frame')} kept"


def sentences(cut: Cut) -> tuple[str, ...]:
    """Where they are from, and why the others were left out."""
    told = [f"From {count(len(cut.videos), 'video')}."]
    if cut.dropped:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in cut.dropped.items())
        told.append(f"Left out: {reasons}.")
    return tuple(told)


def quoted(word: str) -> str:
    """A word of a command, as the script of the page quotes it too.

    In double quotation marks, which the shells of Windows know too, as long as nothing in the word has a
    meaning within them.
    """
    if _PLAIN.fullmatch(word):
        return word
    return shlex.quote(word) if _MEANS_MORE.search(word) or not word else f'"{word}"'


def _page_name(number: int) -> str:
    return "contact_sheet.html" if number == 1 else f"contact_sheet-{number}.html"


def _pages(cut: Cut) -> list[list[Strip]]:
    """The strips, cut where a page is full."""
    pages: list[list[Strip]] = [[]]
    room = FRAMES_A_PAGE
    for video in cut.videos:
        rows: Sequence[Row] = video.rows
        while True:
            here, rows = rows[:room], rows[room:]
            pages[-1].append(_strip(cut, video, here))
            room -= len(here)
            if not room:
                pages.append([])
                room = FRAMES_A_PAGE
            if not rows:
                break
    return [strips for strips in pages if strips]


def _strip(cut: Cut, video: Video, rows: Sequence[Row]) -> Strip:
    kept = sum(row.kept for row in video.rows)
    facts = [
        f"{video.width} × {video.height}" if video.width else "",
        f"{clock(video.length_s)} long",
        count(video.num_frames, "frame"),
        video.codec,
        f"{kept:,} of {len(video.rows):,} kept",
    ]
    return Strip(
        title=video.name,
        facts=" · ".join(filter(None, facts)),
        problems=video.problems,
        tiles=tuple(_tile(cut, row) for row in rows),
    )


def _tile(cut: Cut, row: Row) -> Tile:
    path = cut.thumbnail(row)
    return Tile(
        id=plain(row.id),
        kept=row.kept,
        clock=clock(row.time_s),
        verdict=verdict(row),
        figures=figures(row),
        picture=data_uri(path.read_bytes()) if path.is_file() else None,
    )


def verdict(row: Row) -> str:
    """Why a frame is kept or left out, with the figure that decided."""
    if row.reason == BY_HAND:
        return "Kept by hand" if row.kept else "Left out by hand"
    told = {
        "damaged": "the file is damaged here",
        "under-exposed": f"{_share(row.dark)} is dark",
        "over-exposed": f"{_share(row.bright)} is burnt out",
        "blurred": f"{_share(row.relative_sharpness)} of the usual sharpness",
        "near-identical": f"{_share(row.likeness or 0)} as in the last kept one",
    }
    return f"{row.reason.capitalize()}: {told[row.reason]}" if row.reason else "Kept"


def figures(row: Row) -> str:
    """All figures of a frame in one line."""
    alike = "first" if row.likeness is None else f"alike {_share(row.likeness)}"
    return (
        f"sharpness {row.sharpness:.3g} ({_share(row.relative_sharpness)}), dark {_share(row.dark)}, "
        f"burnt out {_share(row.bright)}, {alike}"
    )


def clock(seconds: float) -> str:
    """A time in a video as players show it: 0:12.4, 1:02:03."""
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    told = f"{rest / 1000:06.3f}".rstrip("0").rstrip(".")
    return f"{hours}:{minutes:02}:{told}" if hours else f"{minutes}:{told}"


def _share(share: float) -> str:
    """A share in per cent; what is not quite everything does not become it."""
    percent = 100 * share
    return f"{min(percent, 99.9):.1f}\u00a0%" if 99 < percent < 100 else f"{percent:.0f}\u00a0%"
