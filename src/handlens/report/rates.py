"""The picture of a search for a learning rate: the loss at each rate, and the rate to take."""

import math
from collections.abc import Sequence

from handlens.report.figures import BLUE, GREEN, VERMILION, for_page
from handlens.report.pages import page_template
from handlens.report.svg import Drawing, Pen, Scale, nice_ticks, span

ALT = "The loss at each learning rate, with the rate to take marked."


def draw_rates(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    taken: float,
    steepest: float | None = None,
    lowest: float | None = None,
) -> bytes:
    """The loss over the logarithm of the rate; the rate that is taken has a line of its own."""
    drawing = Drawing(340, 262)
    powers = [math.log10(rate) for rate in rates]
    low, high = span(smoothed)
    left, right, top, bottom = 48.0, 328.0, 42.0, 222.0
    # From the power of ten below the first rate to that above the last, so that every sweep looks alike.
    first, last = math.floor(powers[0] + 1e-9), math.ceil(powers[-1] - 1e-9)
    x = Scale(first, max(last, first + 1), left, right)
    y = Scale(low, high, bottom, top)
    ticks = {float(power): _ten_to_the(power) for power in range(first, last + 1)}
    drawing.axes(x, y, ticks, nice_ticks(low, high, most=6))
    pale, line = Pen(BLUE, width=0.9, opacity=0.35), Pen(BLUE, width=2)
    marked = Pen(VERMILION, width=1.6, dash="5 3")
    # Single batches may lie far above or below what the smoothed loss needs of the paper.
    inside = [min(max(loss, low), high) for loss in losses]
    drawing.line([(x(power), y(loss)) for power, loss in zip(powers, inside, strict=True)], pale)
    drawing.line([(x(power), y(loss)) for power, loss in zip(powers, smoothed, strict=True)], line)
    points = {
        "falls most": (steepest, Pen(GREEN, width=0, mark="diamond", mark_size=8)),
        "least": (lowest, Pen(GREEN, width=0, mark="circle", mark_size=7)),
    }
    shown = {f"take {taken:g}": marked}
    for words, (rate, pen) in points.items():
        if rate is not None:
            drawing.mark((x(math.log10(rate)), y(smoothed[rates.index(rate)])), pen)
            shown[words] = pen
    place = x(max(math.log10(taken), first))
    drawing.line([(place, top), (place, bottom)], marked)
    drawing.legend({"each step": pale, "moving mean": line}, (left, 12))
    drawing.legend(shown, (left, 28))
    drawing.text("learning rate", ((left + right) / 2, drawing.height - 12), anchor="middle")
    drawing.text("loss on training pictures", (9, (top + bottom) / 2), anchor="middle", turned=True)
    return drawing.svg()


def rates_page(svg: bytes, headline: str, sentences: Sequence[str], command: str) -> str:
    """A page with the picture, what it says, and what to add to the command."""
    drawn = for_page(svg, ALT)
    page = page_template("rates.html")
    return page.render(headline=headline, sentences=sentences, command=command, drawn=drawn)


def _ten_to_the(power: int) -> str:
    """Whole powers of ten as people write them."""
    return f"{10.0**power:g}" if -4 < power < 5 else f"1e{power}".replace("-", "\N{MINUS SIGN}")
