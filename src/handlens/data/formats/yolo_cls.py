"""YOLO's sets for classifying: `train/<class>/...`, `val/<class>/...`, `test/<class>/...`, often with YAML.

The YAML says where the sides lie and, under `names`, what the classes are called: folders that are called by
the number of a class get its name.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.spec import read_yaml_file
from handlens.data.formats.pictures import Listing, Picture, folders_in, listed_problems, samples_of, spelt
from handlens.data.names import leads_out
from handlens.data.samples import Samples, join_names
from handlens.data.tables import SIDE_NAMES
from handlens.data.walk import Walk, absolute

YAML_SUFFIXES = (".yaml", ".yml")
USUAL = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
_KEYS = {"train": "train", "val": "val", "test": "test"}


def fits(path: Path) -> bool:
    """Whether a folder holds data.yaml with names, and sides with folders of classes."""
    found = [path / name for name in USUAL if (path / name).is_file()]
    if len(found) != 1:
        return False
    try:
        told = read_yaml_file(found[0])
    except HandlensError:
        return False
    if not isinstance(told, dict) or not told.get("names"):
        return False
    sides = _sides(absolute(path), told)
    return bool(sides) and all(_holds_folders(folder) for folder in sides.values())


def read_yolo_cls(path: Path) -> Samples:
    """Read the sides with their class folders, and the names in the YAML if there is one."""
    is_yaml = path.suffix.lower() in YAML_SUFFIXES
    walk = Walk(path.parent if is_yaml else path)
    file = absolute(path) if is_yaml else _usual_file(walk.root)
    told = {} if file is None else read_yaml_file(file)
    if not isinstance(told, dict):
        raise HandlensError(f"{file} does not map keys to values. Write names: and the classes below it.")
    names = _names(told, str(file))
    sides = _sides(walk.root, told)
    if not sides:
        raise HandlensError(
            f"There are no sides in {walk.root}. Put the pictures into train/<class>, val/<class> and "
            "test/<class>."
        )
    sides, shared = _each_for_one_side(walk, sides)
    problems: list[str] = []
    loose: list[str] = []
    pictures = _pictures(walk, sides, problems, loose)
    called = {folder: _called(folder, names) for folder in sorted({picture.label for picture in pictures})}
    problems += [
        f"{folder}: {file} does not name this class.{suggestion(folder, names.values())} Add it to names, or "
        "rename the folder."
        for folder, name in called.items()
        if name is None
    ]
    if problems:
        raise listed_problems(f"{walk.root} has problems:", problems)
    pictures = [replace(picture, label=called[picture.label] or picture.label) for picture in pictures]
    listed = join_names([walk.relative(str(folder)) for folder in sides.values()])
    of_file = f", with the names of {file.name}" if file and names else ""
    notes = [f"Read as a set of YOLO for classifying ({listed}){of_file}.", *shared]
    without = sorted(set(names.values()) - {picture.label for picture in pictures})
    if without:
        notes.append(f"Classes without a picture: {join_names(without)}.")
    if loose:
        listed = join_names(sorted(loose))
        notes.append(f"{len(loose)} pictures beside the class folders were left out: {listed}.")
    return samples_of(walk, pictures, *notes)


def _each_for_one_side(walk: Walk, sides: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """The sides, none with the folder of another one, and what is told of the folders that served several.

    Many sets have no validation side of their own (`val: test`). No picture may be both learned from and
    judged: test comes first, and a validation side can be done without, where a training side cannot.
    """
    named: dict[Path, list[str]] = {}
    for side in ("test", "train", "val"):
        if side in sides:
            named.setdefault(sides[side], []).append(side)
    kept = {side: folder for side, folder in sides.items() if named[folder][0] == side}
    notes = []
    for folder, those in named.items():
        if len(those) > 1:
            taken = f"are taken for {those[0]} alone" if len(kept) > 1 else "have no sides"
            notes.append(
                f"The folder {walk.relative(str(folder))} serves {' and '.join(those)}: its pictures {taken}."
            )
    return kept, notes


def _pictures(walk: Walk, sides: Mapping[str, Path], problems: list[str], loose: list[str]) -> list[Picture]:
    """The pictures in the folders of classes, labelled by these; those beside them are `loose`."""
    listing = Listing(walk)
    pictures = []
    for side, folder in sides.items():
        inside = walk.relative(str(folder))
        if not _holds_folders(folder):
            problems.append(
                f"{inside}: there are no class folders in it. Sets for detecting, with folders 'images' and "
                "'labels', hold no labels of whole pictures."
            )
        for path in listing.below(inside):
            of_class, _, below = walk.relative(path).removeprefix(f"{inside}/").partition("/")
            if below:
                pictures.append(Picture(path, spelt(of_class), side if len(sides) > 1 else None))
            else:
                loose.append(walk.relative(path))
    return pictures


def _usual_file(root: Path) -> Path | None:
    found = [root / name for name in USUAL if (root / name).is_file()]
    if len(found) > 1:
        listed = join_names([each.name for each in found])
        raise HandlensError(f"{root} holds {listed}. Give the one that is meant.")
    return found[0] if found else None


def _names(told: Mapping[str, Any], where: str) -> dict[int, str]:
    """The names by number: a list, or a mapping from number to name."""
    names = told.get("names") or {}
    if isinstance(names, list):
        names = dict(enumerate(names))
    try:
        found = {int(number): spelt(str(name).strip()) for number, name in names.items()}
    except (AttributeError, TypeError, ValueError):
        raise HandlensError(
            f"{where}, names: write a list of names, or '0: name' a line below each other."
        ) from None
    twice = sorted({name for name in found.values() if list(found.values()).count(name) > 1})
    if twice:
        raise HandlensError(f"{where}, names: {join_names(twice)} stands there twice. Keep one.")
    return found


def _called(folder: str, names: Mapping[int, str]) -> str | None:
    """What the class of a folder is called; none where the names leave it out."""
    if not names or folder in names.values():
        return folder
    return names.get(int(folder)) if folder.isascii() and folder.isdigit() else None


def _sides(root: Path, told: Mapping[str, Any]) -> dict[str, Path]:
    """The folders of the sides: where the YAML says, if that is here, or else by their names.

    Such files are often written for another place, or lead out of the folder; that is not followed.
    """
    named = {
        SIDE_NAMES[each.name.casefold()]: each
        for each in folders_in(root)
        if each.name.casefold() in SIDE_NAMES
    }
    above = told.get("path")
    starts = [root / above] if isinstance(above, str) and not leads_out(above) else []
    sides = {}
    for side, key in _KEYS.items():
        text = told.get(key)
        folders = (
            [start / text for start in (*starts, root)]
            if isinstance(text, str) and not leads_out(text)
            else []
        )
        found = next((folder for folder in folders if folder.is_dir()), named.get(side))
        if found is not None:
            sides[side] = found
    return sides


def _holds_folders(folder: Path) -> bool:
    return any(each.name not in ("images", "labels") for each in folders_in(folder))
