"""Numbers as people read them: percentages, intervals and counts in words."""

from collections.abc import Sequence

from handlens.evaluate.results import Figure


def percent(share: float) -> str:
    """0.914 as '91.4 %'."""
    return f"{100 * share:.1f} %"


def percent_interval(figure: Figure) -> str:
    """The 95 % interval of a share as '88.9 to 93.6 %'."""
    return f"{100 * figure.low:.1f} to {100 * figure.high:.1f} %"


def points(difference: float) -> str:
    """A difference of shares as '4.2 points', '-4.2 points' with a proper minus."""
    return f"{100 * difference:.1f} points".replace("-", "\N{MINUS SIGN}")


def points_interval(figure: Figure) -> str:
    """The 95 % interval of a difference as '+1.2 to +7.1 points'."""
    return f"{100 * figure.low:+.1f} to {100 * figure.high:+.1f} points".replace("-", "\N{MINUS SIGN}")


def count(number: int, one: str, many: str | None = None) -> str:
    """'1 picture', '505 pictures', '12,500 pictures'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def unbroken(text: str) -> str:
    """A sentence in which no line ends between a number and its per cent sign."""
    return text.replace(" %", "\u00a0%")


def listed(names: Sequence[str], most: int = 5) -> str:
    """A few names in quotes; of a long list the first ones and how many follow."""
    shown = [f"“{name}”" for name in names[:most]]
    if len(names) > most:
        return ", ".join(shown) + f" and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
