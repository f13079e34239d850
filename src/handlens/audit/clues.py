"""Clues: what a picture shows beside its subject, one family at a time, as columns for a small model.

None of them looks at a label, nor at the folder, whose name is usually the class.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from handlens.audit.looks import SIDES, Look
from handlens.data.scan import FileFacts
from handlens.data.tables import SIDE_NAMES

Columns = NDArray[np.float64]

MOST_WORDS = 40
"""Of the words that names hold, and of their beginnings, so many are used: the most frequent ones."""
LONGEST_BEGINNING = 5

# Letters of one script run together, digits apart: `img-07b` is img, 07, b.
_WORDS = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True)
class Clue:
    """One property of every picture."""

    name: str
    """What it is called, to stand behind "the"."""
    columns: Columns
    """(pictures, k)."""
    told: Callable[[int], str]
    """The property of one picture in words."""


@dataclass(frozen=True)
class Family:
    """Clues of one kind."""

    key: str
    title: str
    """What the class is told from."""
    clues: tuple[Clue, ...]
    seen: bool
    """Whether a network sees it too, so that it can learn it in the place of the subject."""
    of_subject: bool = False
    """Whether it also belongs to the subject, as colour does to a mineral, and may well tell it."""
    control: tuple[Clue, ...] = ()
    """Clues of the same kind that are the subject's: only what is told beyond them counts."""


def families(
    ids: Sequence[str], facts: Sequence[FileFacts], looks: Sequence[Look], forbidden: Sequence[str] = ()
) -> tuple[Family, ...]:
    """All clues of some pictures; words of names that stand for one of the `forbidden` words do not count."""
    return (
        _sizes(facts),
        _formats(facts),
        _modes(facts, looks),
        _compression(looks),
        *_borders(looks),
        _colours(looks),
        _bytes(facts),
        _origins(looks),
        _names(ids, forbidden),
    )


def _sizes(facts: Sequence[FileFacts]) -> Family:
    def told(row: int) -> str:
        return f"{facts[row].width} x {facts[row].height} pixels"

    sides: dict[str, Sequence[float]] = {
        "width": [found.width for found in facts],
        "height": [found.height for found in facts],
        "proportion of the sides": [found.width / max(1, found.height) for found in facts],
        "number of pixels": [found.width * found.height for found in facts],
    }
    return Family(
        "size", "size", tuple(Clue(name, _column(of), told) for name, of in sides.items()), seen=True
    )


def _formats(facts: Sequence[FileFacts]) -> Family:
    return Family(
        "format",
        "file format",
        (
            _kinds("format", [found.format for found in facts]),
            _kinds("ending of the name", [found.path.suffix for found in facts]),
        ),
        seen=True,
    )


def _modes(facts: Sequence[FileFacts], looks: Sequence[Look]) -> Family:
    grey = [look.light.colourfulness < 0.5 for look in looks]
    return Family(
        "mode",
        "mode",
        (
            _kinds("mode", [found.mode for found in facts]),
            Clue(
                "presence of colour",
                _column(grey),
                lambda row: "without colour" if grey[row] else "with colour",
            ),
        ),
        seen=True,
    )


def _compression(looks: Sequence[Look]) -> Family:
    def quality(row: int) -> str:
        return (
            f"JPEG of quality {jpeg_quality(looks[row].saved.steps)}"
            if looks[row].saved.steps
            else "not a JPEG"
        )

    return Family(
        "compression",
        "compression",
        (
            Clue("strength of the JPEG compression", _column([look.saved.steps for look in looks]), quality),
            Clue("compression of the colours", _column([look.saved.colour_steps for look in looks]), quality),
            Clue(
                "thinning out of the colours",
                _column([look.saved.sampling for look in looks]),
                lambda row: {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(looks[row].saved.sampling, "not a JPEG"),
            ),
            Clue(
                "order of the passes",
                _column([look.saved.progressive for look in looks]),
                lambda row: "progressive" if looks[row].saved.progressive else "in one pass",
            ),
            Clue(
                "traces of an earlier JPEG",
                _column([look.saved.grid for look in looks]),
                lambda row: f"steps {looks[row].saved.grid:.2f} times as high every {8} pixels",
            ),
        ),
        seen=True,
    )


def _borders(looks: Sequence[Look]) -> tuple[Family, Family]:
    def clue(name: str, of: Callable[[Look], Sequence[float]], told: Callable[[float], str]) -> Clue:
        rows = [of(look) for look in looks]

        def farthest(row: int) -> str:
            side = int(np.argmax(np.abs(rows[row])))
            return f"{SIDES[side]}: {told(rows[row][side])}"

        return Clue(name, np.array(rows, dtype=np.float64).reshape(-1, len(SIDES)), farthest)

    def edge(far: float) -> str:
        return f"{abs(far):.1f} times as far {'below' if far < 0 else 'above'} the inside as that varies"

    def brightness(of: Callable[[Look], Sequence[float]]) -> Clue:
        return clue("brightness of the border", of, lambda far: f"brightness {edge(far)}")

    def contrast(of: Callable[[Look], Sequence[float]]) -> Clue:
        return clue("contrast in the border", of, lambda far: f"contrast {edge(far)}")

    plain = clue(
        "plain frame", lambda look: look.border.frame, lambda share: f"plain over {share:.1%} of the picture"
    )
    return (
        Family("frame", "plain frame", (plain,), seen=True),
        Family(
            "border",
            "border",
            (brightness(lambda look: look.border.light), contrast(lambda look: look.border.contrast)),
            seen=True,
            # What is in the middle of a picture, and how coarse it is, shows at any border, wherever cut.
            control=(
                brightness(lambda look: look.border.inner_light),
                contrast(lambda look: look.border.inner_contrast),
            ),
        ),
    )


def _colours(looks: Sequence[Look]) -> Family:
    def told(row: int) -> str:
        look = looks[row]
        return f"red {look.light.red:.0f}, green {look.light.green:.0f}, blue {look.light.blue:.0f}"

    return Family(
        "colour",
        "brightness and mean colour",
        (
            Clue("brightness", _column([look.light.grey for look in looks]), told),
            Clue("colour", np.array([_shares(look) for look in looks]).reshape(-1, 3), told),
        ),
        seen=True,
        of_subject=True,
    )


def _shares(look: Look) -> tuple[float, float, float]:
    """The three colours as shares, which brightness does not change, and how strong they are."""
    total = look.light.red + look.light.green + look.light.blue
    if not total:
        return 1 / 3, 1 / 3, look.light.colourfulness
    return look.light.red / total, look.light.blue / total, look.light.colourfulness


def _bytes(facts: Sequence[FileFacts]) -> Family:
    per_pixel = [8 * found.size_bytes / max(1, found.width * found.height) for found in facts]
    return Family(
        "bytes",
        "number of bytes",
        (
            Clue("bits a pixel", _column(per_pixel), lambda row: f"{per_pixel[row]:.2f} bits a pixel"),
            Clue(
                "length of the file",
                _column([found.size_bytes for found in facts]),
                lambda row: f"{facts[row].size_bytes / 1024:,.0f} KiB",
            ),
        ),
        # Busy pictures take more bytes at the same settings.
        seen=True,
        of_subject=True,
    )


def _origins(looks: Sequence[Look]) -> Family:
    return Family(
        "origin",
        "notes in the file",
        (
            _kinds("camera", [look.origin.camera for look in looks]),
            _kinds("program", [look.origin.program for look in looks]),
            Clue(
                "dots an inch",
                _column([look.origin.dots for look in looks]),
                lambda row: (
                    f"{looks[row].origin.dots:g} dots an inch"
                    if looks[row].origin.dots
                    else "no dots an inch told"
                ),
            ),
            Clue(
                "colour profile",
                _column([look.origin.profile for look in looks]),
                lambda row: (
                    "with a colour profile" if looks[row].origin.profile else "without a colour profile"
                ),
            ),
        ),
        seen=False,
    )


def _names(ids: Sequence[str], forbidden: Sequence[str]) -> Family:
    def told(row: int) -> str:
        return f"called {PurePosixPath(ids[row]).name}"

    words = name_words(ids, forbidden)
    rests = ["-".join(each) for each in words]
    numbers = [[int(word[:15]) for word in each if word.isdecimal()] for each in words]
    beginnings = [
        [rest[:length] for length in range(1, LONGEST_BEGINNING + 1) if len(rest) >= length] for rest in rests
    ]
    clues = (
        Clue("beginning of the name", _occurrences(beginnings), told),
        Clue(
            "words in the name",
            _occurrences([[word for word in each if not word.isdecimal()] for each in words]),
            told,
        ),
        Clue("shape of the name", _occurrences([[shape(rest)] for rest in rests]), told),
        Clue("length of the name", _column([len(rest) for rest in rests]), told),
        Clue(
            "number of digits in the name", _column([sum(map(str.isdecimal, rest)) for rest in rests]), told
        ),
        Clue("first number in the name", _column([each[0] if each else -1 for each in numbers]), told),
        Clue("last number in the name", _column([each[-1] if each else -1 for each in numbers]), told),
    )
    return Family("name", "file name", clues, seen=False)


def name_words(ids: Sequence[str], forbidden: Sequence[str]) -> list[list[str]]:
    """The words and numbers of each file's name, without those that stand for a forbidden word.

    They are taken out of all names, whatever a picture's class is: otherwise their lack would tell it.
    """
    stand = _stand_for(forbidden)
    found = []
    for name in ids:
        stem = PurePosixPath(name).stem.casefold()
        for word in sorted(stand, key=len, reverse=True):
            if len(word) >= 4:
                # Also where it runs into its neighbours, as in `greencan07`.
                stem = stem.replace(word, " ")
        found.append([word for word in _WORDS.findall(stem) if word not in stand])
    return found


def _stand_for(forbidden: Sequence[str]) -> set[str]:
    """Forbidden words, their parts, their beginnings and their initials: `rolled-in_scale` is also `rs`."""
    stand = set()
    for name in forbidden:
        whole = name.casefold()
        parts = _WORDS.findall(whole)
        stand |= {whole, whole + "s", "".join(parts)}
        for part in parts:
            if not part.isdecimal():
                stand |= {part[:length] for length in range(1, len(part) + 1)} | {part + "s"}
        initials = "".join(part[0] for part in parts)
        stand |= {initials, initials[:1] + initials[-1:]}
    return stand - {""}


def shape(text: str) -> str:
    """A name with every number made 0 and every word a: `img-0042` is `a-0`."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", text))


def jpeg_quality(steps: float) -> int:
    """About the quality, 1 to 100, that most programs would call a JPEG with this mean quantiser of light.

    The tables of the Independent JPEG Group, which nearly all programs scale, have the mean 57.6 at 50.
    """
    scale = 100 * steps / 57.625
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    return int(min(100, max(1, round(quality))))


def _column(values: Sequence[float]) -> Columns:
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def _kinds(name: str, values: Sequence[str]) -> Clue:
    """A property in words: a column for each that occurs more than once."""
    return Clue(
        name, _occurrences([[value] for value in values]), lambda row: values[row] or f"no {name} told"
    )


def _occurrences(of_each: Sequence[Sequence[str]]) -> Columns:
    """A column for each of the most frequent words, 1 where it occurs; what is there once tells nothing."""
    counts = Counter(word for words in of_each for word in set(words))
    frequent = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    kept = {word: at for at, (word, times) in enumerate(frequent[:MOST_WORDS]) if 1 < times < len(of_each)}
    numbers = {word: at for at, word in enumerate(kept)}
    columns = np.zeros((len(of_each), len(numbers)))
    for row, words in enumerate(of_each):
        for word in set(words) & numbers.keys():
            columns[row, numbers[word]] = 1
    return columns


def forbidden_words(classes: Sequence[str]) -> tuple[str, ...]:
    """What names may hold without giving anything away: the classes, and the sides of a split."""
    return (*classes, *SIDE_NAMES)
