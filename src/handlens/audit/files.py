"""Files: what cannot be read, shows nothing, or stands out by its size, its mode, its sharpness or its light.

Blurred and dark is what is so by itself and beside the others: a dark-field microscope makes dark pictures,
and smooth surfaces look blurred to any formula.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handlens.audit.finding import Action, Finding, Row, Severity, Subject
from handlens.audit.looks import Look
from handlens.audit.spec import FilesSpec
from handlens.data.scan import FileFacts
from handlens.report.words import count, listed, percent

NO_SPAN = 4
"""Levels between the darkest and the brightest within which a picture is of one colour."""
GREY = 0.5
"""Mean difference of the colours, in levels, below which a picture is grey."""
MUCH_SMALLER = 4
"""Sides so many times as short as usual stand out."""
MUCH_EMPTIER = 10
"""So many times as few bits a pixel as is usual in the format stand out."""
FEW = 10
"""Classes of fewer pictures have no spread of their own to stand out from."""

# For a normal distribution this many median absolute deviations are a standard deviation.
_NORMAL = 1.4826
# Of what hardly varies, this much counts as a standard deviation: shares and blur run from 0 to 1.
_LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class Picture:
    """One picture with all that is known of it."""

    id: str
    label: str | None
    facts: FileFacts
    look: Look

    @property
    def bits(self) -> float:
        """Bits that the file spends on a pixel."""
        return 8 * self.facts.size_bytes / (self.facts.width * self.facts.height)

    @property
    def side(self) -> float:
        """The side of a square of as many pixels."""
        return float(np.sqrt(self.facts.width * self.facts.height))


@dataclass(frozen=True)
class _Shade:
    """One way to be lit badly."""

    what: str
    level: str
    limit: float
    share: Callable[[Picture], float]


def find(
    subject: Subject, looks: Sequence[Look | None], bad: Sequence[tuple[str, str]], spec: FilesSpec
) -> list[Finding]:
    """Everything about single files; `bad` are those that could not be read, by id and reason."""
    table = subject.samples.table
    rows = zip(table["id"], table["label"], subject.facts, looks, strict=True)
    pictures = [Picture(id_, label, fact, look) for id_, label, fact, look in rows if look is not None]
    total = len(table) + len(bad)
    # What is to be dropped anyway is told once.
    empty = [picture for picture in pictures if picture.look.light.span <= NO_SPAN]
    rest = [picture for picture in pictures if picture.look.light.span > NO_SPAN]
    return [
        *_broken(bad, total, spec),
        *_empty(empty, total, spec),
        *_dark(rest, spec),
        *_blurred(rest, spec),
        *_sizes(rest, spec),
        *_emptied(rest),
        *_modes(rest, spec),
        *_endings(pictures),
        *_changed([id_ for id_, look in zip(table["id"], looks, strict=True) if look is None]),
    ]


def _broken(bad: Sequence[tuple[str, str]], total: int, spec: FilesSpec) -> Iterator[Finding]:
    if bad:
        yield Finding(
            "files",
            _grave(len(bad), total, spec),
            f"{count(len(bad), 'file')} cannot be read",
            f"That is {percent(len(bad) / total)} of all. A training leaves them out, and stops where they "
            "are more than 1 %. Fetch them again from where they came from, or drop them.",
            tuple(Row(id_, "drop", why=reason) for id_, reason in bad),
        )


def _empty(empty: Sequence[Picture], total: int, spec: FilesSpec) -> Iterator[Finding]:
    if empty:
        yield Finding(
            "files",
            _grave(len(empty), total, spec),
            f"{count(len(empty), 'picture')} of a single colour",
            "They bear the name of a class and show nothing. Drop them.",
            _rows(
                empty,
                lambda picture: f"one level, {picture.look.light.grey:.0f} of 255",
                lambda picture: picture.look.light.span,
                "drop",
            ),
        )


def _grave(num: int, total: int, spec: FilesSpec) -> Severity:
    return "must" if num > spec.most_broken * total else "should"


def _dark(pictures: Sequence[Picture], spec: FilesSpec) -> Iterator[Finding]:
    dark = _Shade("almost all dark", "darker than 40", spec.most_dark, lambda each: each.look.light.dark)
    bright = _Shade(
        "almost all burnt out", "of 250 or more", spec.most_bright, lambda each: each.look.light.bright
    )
    for shade in (dark, bright):
        yield from _shaded(pictures, shade, spec)


def _shaded(pictures: Sequence[Picture], shade: _Shade, spec: FilesSpec) -> Iterator[Finding]:
    values = np.array([shade.share(picture) for picture in pictures])
    found = _standing_out(pictures, values, shade.limit, spec)
    if found:
        yield Finding(
            "files",
            "should",
            f"{count(len(found), 'picture')} {shade.what}",
            f"Nearly every pixel is {shade.level} of 255, and that is unusual here: in half of all pictures "
            f"at most {percent(float(np.median(values)))} of the pixels are. Look whether anything that a "
            "person would judge by can be seen on them, and drop them if not.",
            _rows(
                [pictures[at] for at in found],
                lambda each: f"{percent(shade.share(each))} of the pixels {shade.level}",
                shade.share,
            ),
        )


def _blurred(pictures: Sequence[Picture], spec: FilesSpec) -> Iterator[Finding]:
    values = np.array([picture.look.light.blur for picture in pictures])
    found = _standing_out(pictures, values, spec.most_blurred, spec)
    if found:
        yield Finding(
            "files",
            "should",
            f"{count(len(found), 'picture')} blurred",
            f"Their blur is {spec.most_blurred:g} or more on a scale from 0 to 1, where half of all pictures "
            f"have at most {np.median(values):.2f}, and stands out from their class. Drop them if what makes "
            "the class cannot be seen; keep them if such pictures will be judged later.",
            _rows(
                [pictures[at] for at in found],
                lambda picture: f"blur {picture.look.light.blur:.2f}",
                lambda picture: picture.look.light.blur,
            ),
        )


def _standing_out(
    pictures: Sequence[Picture], values: NDArray[np.float64], limit: float, spec: FilesSpec
) -> list[int]:
    """Those at or over a limit that lie far above their set and their class too, the farthest first."""
    if not len(values):
        return []
    far = _far(values, spec.standing_out)
    of_class: dict[str | None, list[int]] = defaultdict(list)
    for at, picture in enumerate(pictures):
        of_class[picture.label].append(at)
    for places in of_class.values():
        if len(places) >= FEW:
            far[places] &= _far(values[places], spec.standing_out)
    found = np.flatnonzero(far & (values >= limit))
    return [int(at) for at in found[np.argsort(-values[found], kind="stable")]]


def _far(values: NDArray[np.float64], most: float) -> NDArray[np.bool_]:
    middle = np.median(values)
    spread = max(_NORMAL * float(np.median(np.abs(values - middle))), _LEAST_SPREAD)
    return np.asarray(values > middle + most * spread)


def _sizes(pictures: Sequence[Picture], spec: FilesSpec) -> Iterator[Finding]:
    tiny = [each for each in pictures if min(each.facts.width, each.facts.height) < spec.least_side]
    if tiny:
        yield Finding(
            "files",
            "should",
            f"{count(len(tiny), 'picture')} with a side under {spec.least_side} pixels",
            "They are blown up for any network, and may be icons or previews of pictures from elsewhere.",
            _rows(tiny, _size, lambda picture: float(min(picture.facts.width, picture.facts.height))),
        )
    stretched = [each for each in pictures if _ratio(each) > spec.most_stretched]
    if stretched:
        yield Finding(
            "files",
            "should",
            f"{count(len(stretched), 'picture')} more than {spec.most_stretched:g} times as long as wide",
            "Squashed into a square, nothing on them keeps its shape. Cut them into pieces that stay in one "
            "group, or show the network their middle only (views.judge.fit: crop).",
            _rows(stretched, _size, _ratio),
        )
    usual = float(np.median([each.side for each in pictures])) if pictures else 0.0
    named = {each.id for each in (*tiny, *stretched)}
    small = [each for each in pictures if each.id not in named and each.side * MUCH_SMALLER < usual]
    if small:
        yield Finding(
            "files",
            "should",
            f"{count(len(small), 'picture')} much smaller than the others",
            f"Half of all pictures have sides of {usual:.0f} pixels or more; these have less than a quarter "
            "of that, and look blurred beside them. Fetch the originals if there are any.",
            _rows(small, _size, lambda picture: picture.side),
        )
    yield from _odd_sizes(pictures, spec)


def _odd_sizes(pictures: Sequence[Picture], spec: FilesSpec) -> Iterator[Finding]:
    """Few pictures of another size, where all the others have one size."""
    sizes = Counter((each.facts.width, each.facts.height) for each in pictures)
    if len(sizes) < 2:
        return
    ((width, height), num) = sizes.most_common(1)[0]
    others = [each for each in pictures if (each.facts.width, each.facts.height) != (width, height)]
    if num >= (1 - spec.rare) * len(pictures):
        yield Finding(
            "files",
            "note",
            f"{count(len(others), 'picture')} of another size than the rest",
            f"The other {num:,} are all {width} x {height} pixels. Look whether these come from elsewhere.",
            _rows(others, _size, lambda picture: picture.side),
        )


def _emptied(pictures: Sequence[Picture]) -> Iterator[Finding]:
    """Files with far fewer bytes than their size takes in the same format."""
    usual = {
        name: float(np.median([each.bits for each in pictures if each.facts.format == name]))
        for name in {each.facts.format for each in pictures}
    }
    found = [each for each in pictures if each.bits * MUCH_EMPTIER < usual[each.facts.format]]
    if found:
        yield Finding(
            "files",
            "should",
            f"{count(len(found), 'file')} with suspiciously few bytes",
            "They spend less than a tenth of the bits a pixel that is usual in their format: almost empty, "
            "blown up from something small, or compressed until little is left.",
            _rows(
                found,
                lambda each: f"{each.bits:.2f} bits a pixel; usual are {usual[each.facts.format]:.2f}",
                lambda each: each.bits,
            ),
        )


def _modes(pictures: Sequence[Picture], spec: FilesSpec) -> Iterator[Finding]:
    modes = Counter(each.facts.mode for each in pictures)
    if len(modes) > 1:
        told = ", ".join(f"{num:,} {_mode_words(mode)}" for mode, num in modes.most_common())
        rare = {mode for mode, num in modes.items() if num <= spec.rare * len(pictures)}
        # Wide values are scaled by their own range, so that they do not compare with 8 bits beside them.
        wide = {mode for mode in modes if mode in ("I", "F") or mode.startswith("I;16")}
        mixed = bool(wide) and wide != set(modes)
        yield Finding(
            "files",
            "should" if mixed else "note",
            f"Modes are mixed: {told}",
            (
                "Values of more than 8 bits are scaled by the range that each picture uses, so their "
                "brightness does not compare with that of the others. Save all pictures in one mode."
                if mixed
                else "All are read as RGB. It matters where modes go with classes, which “Shortcuts” tells."
            ),
            _rows(
                [each for each in pictures if each.facts.mode in rare],
                lambda each: _mode_words(each.facts.mode),
            ),
        )
    grey = [each for each in pictures if each.look.light.colourfulness < GREY]
    coloured = [each for each in pictures if each.look.light.colourfulness >= GREY]
    few, what, rest = (
        (grey, "grey", "coloured") if len(grey) < len(coloured) else (coloured, "coloured", "grey")
    )
    if 0 < len(few) <= spec.rare * len(pictures):
        yield Finding(
            "files",
            "note",
            f"{count(len(few), f'{what} picture')} among {rest} ones",
            "Look whether they come from another camera or source.",
            _rows(few, lambda each: what, lambda each: each.look.light.colourfulness),
        )


def _mode_words(mode: str) -> str:
    words = {"RGB": "in colour (RGB)", "L": "grey (L)", "P": "with a palette (P)", "1": "black and white (1)"}
    words |= {
        "RGBA": "with transparency (RGBA)",
        "LA": "grey with transparency (LA)",
        "CMYK": "for print (CMYK)",
    }
    return words.get(mode, f"of mode {mode}")


def _endings(pictures: Sequence[Picture]) -> Iterator[Finding]:
    found = {
        each.id: note for each in pictures for note in each.facts.notes if note.startswith("the suffix says")
    }
    if found:
        yield Finding(
            "files",
            "note",
            f"{count(len(found), 'file')} with a wrong ending",
            "They are read as what they are. Other programs may refuse them.",
            tuple(Row(id_, why=note) for id_, note in found.items()),
        )


def _changed(ids: Sequence[str]) -> Iterator[Finding]:
    if ids:
        yield Finding(
            "files",
            "should",
            f"{count(len(ids), 'file')} changed while {'it was' if len(ids) == 1 else 'they were'} audited",
            f"{listed(ids)} were not looked at. Audit again when nothing writes to the folder.",
        )


def _size(picture: Picture) -> str:
    return f"{picture.facts.width} x {picture.facts.height}"


def _ratio(picture: Picture) -> float:
    sides = sorted((picture.facts.width, picture.facts.height))
    return sides[1] / max(1, sides[0])


def _rows(
    pictures: Sequence[Picture],
    why: Callable[[Picture], str],
    figure: Callable[[Picture], float] | None = None,
    action: Action = "",
) -> tuple[Row, ...]:
    return tuple(
        Row(each.id, action, figure=figure(each) if figure else None, why=why(each)) for each in pictures
    )
