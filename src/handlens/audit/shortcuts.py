"""Shortcuts in words: what stands out among the trials, how grave it is, and how to mend it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from handlens.audit.balance import ClassCount
from handlens.audit.finding import Finding, Row, Severity
from handlens.audit.spec import ShortcutsSpec
from handlens.audit.trials import FEWEST_DRAWN, FEWEST_GROUPS, TOGETHER, Shortcut
from handlens.report.words import count, listed, percent, percent_interval

MENDS = {
    "size": "Networks see every picture at one size, so this shows as sharpness and as squashed shapes. "
    "Bring pictures of all classes from the same sources to the same size, by cropping.",
    "format": "Formats leave traces that a network sees. Find out why the classes were saved differently, "
    "and save all of them in the same way, from the originals.",
    "mode": "A network may tell grey from coloured pictures and look no further. Take all classes with the "
    "same camera settings, or make all pictures grey.",
    "compression": "Compression leaves squares and smears that a network sees. Save all classes in the same "
    "way, from the originals.",
    "frame": "A network may look at the frame and no further. Crop frames, scale bars and plain margins "
    "away, or take the pictures of all classes on the same ground.",
    "border": "A network may look at the border and no further. Crop frames, scale bars and stage edges "
    "away, or take the pictures of all classes on the same ground.",
    "colour": "Colour may well belong to the subject; it is a shortcut where lamp, white balance or "
    "background differ between the classes. Look at the examples with that in mind.",
    "bytes": "Busy pictures take more bytes, so this may well be the subject; it is a shortcut where the "
    "classes were saved with different settings.",
    "origin": "A network does not read this, but the pictures were taken by different cameras or went "
    "through different programs, which it may see. Take pictures of each class with each of them.",
    "name": "A network does not read names, but what was named differently was often collected differently: "
    "on another day, by another person, from another source. Find out, and tell it as the group. If "
    "names only say the class in another word, there is no harm.",
    TOGETHER: "No single one of size, format, mode, compression and frame does it, but all of them together "
    "do. Collect and save the pictures of all classes in the same way.",
}
"""What follows where a family of clues tells the class."""

OTHER_KIND = (
    "Test pictures that were taken, saved or named otherwise than the training pictures are another kind of "
    "pictures: figures on them are not those of a random split. Find out whether that is meant."
)


def find(measured: Sequence[Shortcut], spec: ShortcutsSpec) -> list[Finding]:
    """What stands out among the figures."""
    found = []
    for of in ("class", "split"):
        told = [shortcut for shortcut in measured if shortcut.of == of and shortcut.sure >= spec.margin]
        alone = _without_twins([shortcut for shortcut in told if shortcut.key != TOGETHER], spec)
        found += [_finding(shortcut, spec) for shortcut in alone]
        if not any(shortcut.seen and not shortcut.of_subject for shortcut in alone):
            found += [_finding(shortcut, spec) for shortcut in told if shortcut.key == TOGETHER]
    return found


def _without_twins(told: Sequence[Shortcut], spec: ShortcutsSpec) -> list[Shortcut]:
    """A frame is a border too: the graver one is told, else the frame, which says more."""
    twins = {
        shortcut.key: _severity(shortcut, spec) for shortcut in told if shortcut.key in ("frame", "border")
    }
    if len(twins) < 2:
        return list(told)
    graver = "border" if twins["frame"] != "must" and twins["border"] == "must" else "frame"
    return [shortcut for shortcut in told if shortcut.key == graver or shortcut.key not in twins]


def _finding(shortcut: Shortcut, spec: ShortcutsSpec) -> Finding:
    what = "The class" if shortcut.of == "class" else "Whether a picture is for training or for testing"
    from_what = shortcut.title if shortcut.key == TOGETHER else f"the {shortcut.title} alone"
    figure = shortcut.figure
    beyond = ""
    if shortcut.control > shortcut.chance:
        beyond = f", and after cutting a tenth off all around it is {percent(shortcut.control)}"
    given = "these" if shortcut.key == TOGETHER else f"the {shortcut.title}"
    each = "class" if shortcut.of == "class" else "side"
    right = (
        f"A small model that is given nothing but {given} is right on {percent(figure.value)} of unseen "
        f"pictures, every {each} counting the same (95 % interval {percent_interval(figure)}; chance is "
        f"{percent(shortcut.chance)}{beyond})."
    )
    best = f"Most telling is the {shortcut.best}: {percent(shortcut.best_figure)} by itself."
    if shortcut.known:
        known = shortcut.known
        best += (
            f" It knows “{known.name}” best: {percent(known.found)} of its pictures, and "
            f"{percent(known.mistaken)} of the others are taken for it."
        )
    mend = MENDS[shortcut.key] if shortcut.of == "class" else OTHER_KIND
    return Finding(
        "shortcuts",
        _severity(shortcut, spec),
        f"{what} can be told from {from_what}",
        f"{right} {best} {mend}",
        tuple(
            Row(id_, figure=sure, why=f"told to be {name}: {why}")
            for id_, name, sure, why in shortcut.examples
        ),
    )


def _severity(shortcut: Shortcut, spec: ShortcutsSpec) -> Severity:
    """What belongs to the subject is a note; what a network sees and is nearly certain has to be mended."""
    if shortcut.of == "split":
        return "note" if shortcut.key == "name" else "should"
    if shortcut.of_subject:
        return "note"
    return "must" if shortcut.seen and shortcut.certainty >= spec.nearly_certain else "should"


def left_out(classes: Sequence[ClassCount], measured: Sequence[Shortcut]) -> str:
    """Which classes and how many pictures took no part in the trials, in sentences; empty if all did."""
    few = [each.label for each in classes if each.groups < FEWEST_GROUPS]
    enough = [each.label for each in classes if each.groups >= FEWEST_GROUPS]
    told = []
    if few:
        told.append(
            f"{listed(few)} took no part: {count(FEWEST_GROUPS, 'group')} are needed to judge a class."
        )
    # Every family of clues is tried on the same pictures.
    asked = {each.of: each for each in measured}
    names = asked["class"].names if "class" in asked else ()
    large = [label for label in enough if label not in names]
    if large and len(enough) > 1:
        told.append(
            f"{listed(large)} took no part: of groups so large, fewer than {FEWEST_DRAWN} are among the "
            "pictures that are drawn (shortcuts.most_pictures)."
        )
    told += [
        f"To tell the {of}, {each.figure.n:,} of {each.figure.n + each.not_drawn:,} pictures were drawn, "
        f"whole groups of each {'class' if of == 'class' else 'side'} in turn."
        for of, each in asked.items()
        if each.not_drawn
    ]
    return " ".join(told)


def as_json(shortcut: Shortcut) -> dict[str, Any]:
    """A shortcut as a program reads it."""
    return {
        "of": shortcut.of,
        "clues": shortcut.key,
        "balanced_accuracy": shortcut.figure.model_dump(mode="json"),
        "chance": shortcut.chance,
        "control": shortcut.control,
        "most_telling": shortcut.best or None,
        "most_telling_alone": shortcut.best_figure if shortcut.best else None,
        "best_known": asdict(shortcut.known) | {"figure": shortcut.known.figure.model_dump(mode="json")}
        if shortcut.known
        else None,
    }
