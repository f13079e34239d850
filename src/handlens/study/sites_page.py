"""The page of a comparison across sites: the answer, each site, and what adapting brought."""

from dataclasses import replace
from pathlib import Path

from handlens import __version__
from handlens.base.files import write_text
from handlens.report.figures import for_page
from handlens.report.pages import page_template
from handlens.report.svg import Drawing, Pen, Scale, nice_ticks, span, text_width
from handlens.report.words import count, percent, percent_interval
from handlens.study.pages import TITLES, WIDTH, pens_of, signed
from handlens.study.sites_results import WORDS, Sited

MOST_LETTERS = 18


def write_page(sited: Sited, path: Path, command: str) -> None:
    """Write the page; it stands alone and opens anywhere."""
    first, *answer = sited.answer
    headline, _, rest = first.partition(": ")
    together = sited.together
    text = page_template("sites.html", signed=signed).render(
        sited=sited,
        headline=headline,
        answer=[rest[:1].upper() + rest[1:], *answer],
        title=TITLES[sited.spec.figure],
        basis=f"{count(len(sited.sites), 'site')}, {count(together.n, 'picture')} from "
        f"{count(together.n_groups, 'group')}, {len(sited.classes)} classes",
        words=WORDS,
        rows=(*sited.sites, together, sited.elsewhere),
        ways=[each.way for each in together.ways],
        drawn=for_page(draw_sites(sited), f"{TITLES[sited.spec.figure]} of each site by each way"),
        differences=for_page(draw_differences(sited), "Difference of each way to the plain one"),
        command=command,
        version=__version__,
    )
    write_text(path, text)


def draw_sites(sited: Sited) -> bytes:
    """Each site with a line a way; all sites last."""
    rows = [*sited.sites, sited.together]
    pens = _pens(sited)
    lines = [
        (site.name, way, each.figure.low, each.figure.value, each.figure.high)
        for site in rows
        for way in pens
        if (each := site.way(way)) is not None
    ]
    return _lines(lines, pens, f"{TITLES[sited.spec.figure]}, %", zero=False)


def draw_differences(sited: Sited) -> bytes:
    """How far each way lies from the plain one; an interval that holds 0 may be chance."""
    rows = [*sited.sites, sited.together]
    pens = {way: pen for way, pen in _pens(sited).items() if way != "plain"}
    lines = [
        (site.name, way, each.difference.low, each.difference.value, each.difference.high)
        for site in rows
        for way in pens
        if (each := site.way(way)) is not None and each.difference is not None
    ]
    return _lines(lines, pens, "difference to the site never seen, points", zero=True)


def _pens(sited: Sited) -> dict[str, Pen]:
    return pens_of(each.way for each in sited.together.ways)


def _lines(
    lines: list[tuple[str, str, float, float, float]], pens: dict[str, Pen], words: str, zero: bool
) -> bytes:
    names = list(dict.fromkeys(name for name, *_ in lines))
    low, high = span([100 * end for _, _, *ends in lines for end in ends] + [0.0] * zero)
    left = max(text_width(_short(name)) for name in names) + 12
    row, top = 15.0 * len(pens) + 9, 14.0 + 16 * ((len(pens) + 1) // 2)
    drawing = Drawing(WIDTH, top + row * len(names) + 36)
    x = Scale(low, high, left, 350)
    y = Scale(-0.5, len(names) - 0.5, top, top + row * len(names))
    ticks = {float(at): _short(name) for at, name in enumerate(names)}
    drawing.axes(x, y, nice_ticks(low, high, most=6), ticks, grid="x")
    if zero:
        drawing.line([(x(0), top), (x(0), y.end)], Pen(width=1, dash="3 2", opacity=0.7))
    places = list(pens)
    for name, way, *ends in lines:
        first, value, last = (100 * end for end in ends)
        at = y(names.index(name)) + 15.0 * (places.index(way) - (len(places) - 1) / 2)
        drawing.line([(x(first), at), (x(last), at)], replace(pens[way], width=2.2, opacity=0.55, dash=""))
        drawing.mark((x(value), at), pens[way])
    for at in range(0, len(places), 2):
        drawing.legend({WORDS[way]: pens[way] for way in places[at : at + 2]}, (8, 10 + 8 * at))
    drawing.text(words, ((left + 350) / 2, drawing.height - 9), anchor="middle")
    return drawing.svg()


def table_of(sited: Sited) -> tuple[list[str], list[list[str]]]:
    """The table for a terminal: a row a site, the ways across."""
    ways = [each.way for each in sited.together.ways]
    rows = []
    for site in (*sited.sites, sited.together, sited.elsewhere):
        cells = []
        for way in ways:
            each = site.way(way)
            assert each is not None
            sign = f" ({each.standing})" if each.standing in ("better", "worse") else ""
            cells.append(f"{percent(each.figure.value)} ({percent_interval(each.figure)}){sign}")
        rows.append([site.name, str(site.n), str(site.n_groups), *cells])
    return ["site", "pictures", "groups", *(WORDS[way] for way in ways)], rows


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"
