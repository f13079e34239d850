"""DAGM 2007: `Class1/Train/0576.PNG`, beside them `Label/0576_label.PNG` and `Label/Labels.txt`.

Every class is a texture, drawn with and without a defect. The label is whether there is one; with several
textures it is told together with the texture. The official sides hold both, and are kept.
"""

import os
import re
from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.data.formats.pictures import (
    DEFECTIVE,
    GOOD,
    MASK_COLUMN,
    Listing,
    Picture,
    folders_in,
    listed_problems,
    read_text,
    samples_of,
)
from handlens.data.samples import Samples, join_names
from handlens.data.walk import Walk

_TEXTURE = re.compile(r"Class\s?\d+", re.IGNORECASE)
_SIDES = {"train": "train", "test": "test"}


def fits(root: Path) -> bool:
    """Whether a folder is a texture of DAGM, or holds some; they tell by their folders called Label."""
    return any(
        _named(side, "label") is not None for _, folder in _textures(root) for _, side in _sides(folder)
    )


def read_dagm(root: Path) -> Samples:
    """Read one texture, or the folder that holds several."""
    walk = Walk(root)
    textures = _textures(walk.root)
    if not textures:
        raise HandlensError(
            f"{walk.root} does not look like DAGM 2007: there is no folder Class1 or the like with Train and "
            "Test in it. Give the folder of a class, or the one that holds them all."
        )
    listing = Listing(walk)
    pictures: list[Picture] = []
    problems: list[str] = []
    for texture, folder in textures:
        for side, path in _sides(folder):
            for picture in _of_one_side(listing, path, problems):
                label = picture.label if len(textures) == 1 else f"{texture}/{picture.label}"
                facts = {"category": texture, "state": picture.label, **picture.facts}
                pictures.append(Picture(picture.path, label, side, facts))
    if problems:
        raise listed_problems(f"{walk.root} has problems:", problems)
    sides = {picture.side for picture in pictures}
    if len(sides) < 2:
        pictures = [Picture(each.path, each.label, None, each.facts) for each in pictures]
    names = [texture for texture, _ in textures]
    what = "whether there is a defect" if len(names) == 1 else "the texture and whether there is a defect"
    notes = [f"Read as DAGM 2007 ({join_names(names)}): the label is {what}."]
    notes.append("The official sides, Train and Test, are kept." if len(sides) == 2 else "It has no sides.")
    return samples_of(walk, pictures, *notes)


def _of_one_side(listing: Listing, folder: Path, problems: list[str]) -> list[Picture]:
    """The pictures of one side of one texture: Labels.txt says which are defective, or else the masks do."""
    walk = listing.walk
    inside = walk.relative(str(folder))
    labels = _named(folder, "label")
    masks = "" if labels is None else walk.relative(str(labels))
    text = None if labels is None else _named(labels, "labels.txt")
    paths = listing.directly_in(inside)
    told = None if text is None else _told(text, walk.relative(str(text)), problems)
    if told is not None:
        there = {os.path.basename(path).casefold() for path in paths}  # noqa: PTH119 (a Path a picture is slow)
        for name, place in told[1].items():
            if name.casefold() not in there:
                problems.append(
                    f"{place}: the picture {name!r} is not in {inside}. Add it, or delete the line."
                )
    pictures = []
    for path in paths:
        name = os.path.basename(path)  # noqa: PTH119
        stem, suffix = os.path.splitext(name)  # noqa: PTH122
        mask = next(
            (
                f"{masks}/{stem}_label{ending}"
                for ending in dict.fromkeys((suffix, ".PNG", ".png"))
                if masks and listing.find(f"{stem}_label{ending}", masks)
            ),
            None,
        )
        if told is None:
            defective = mask is not None
        elif name.casefold() in told[0]:
            defective = told[0][name.casefold()]
        else:
            problems.append(f"{inside}/{name}: {text} does not name this picture. Add a line for it.")
            continue
        if mask is not None and not defective:
            problems.append(f"{inside}/{name}: {text} says that it is good, but there is the mask {mask}.")
        pictures.append(
            Picture(path, DEFECTIVE if defective else GOOD, facts={MASK_COLUMN: mask if defective else None})
        )
    return pictures


def _told(path: Path, where: str, problems: list[str]) -> tuple[dict[str, bool], dict[str, str]]:
    """What Labels.txt says: whether each picture is defective, and in which line each is named."""
    defective: dict[str, bool] = {}
    places: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        cells = line.split()
        # The first line holds one number. The others: number, 0 or 1, picture, number, mask or 0.
        if len(cells) <= 1:
            continue
        if len(cells) < 3 or cells[1] not in ("0", "1"):
            problems.append(
                f"{where}, line {number}: it says {line[:60]!r}. Write it like "
                "'1  1  0576.PNG  1  0576_label.PNG', with 0 in the second place for a good one."
            )
            continue
        name = cells[2]
        if name.casefold() in defective:
            problems.append(f"{where}, line {number}: {name!r} was named before. Keep one line.")
        defective[name.casefold()] = cells[1] == "1"
        places[name] = f"{where}, line {number}"
    return defective, places


def _textures(root: Path) -> list[tuple[str, Path]]:
    """The folders of textures; unpacked one by one they lie in folders of their own name."""
    if not root.is_dir():
        return []
    if _TEXTURE.fullmatch(root.name) and _sides(root):
        return [(root.name, root)]
    found = []
    for folder in folders_in(root):
        if _TEXTURE.fullmatch(folder.name):
            twice = _named(folder, folder.name.casefold())
            inner = folder if _sides(folder) or twice is None else twice
            if _sides(inner):
                found.append((folder.name, inner))
    return sorted(found, key=lambda each: (int(re.sub(r"\D", "", each[0])), each[0]))


def _sides(folder: Path) -> list[tuple[str, Path]]:
    found = [(_SIDES.get(each.name.casefold()), each) for each in folders_in(folder)]
    return [(side, each) for side, each in found if side is not None]


def _named(folder: Path, name: str) -> Path | None:
    """What a folder holds under a name, in whatever case it is written."""
    return next((each for each in sorted(folder.iterdir()) if each.name.casefold() == name), None)
