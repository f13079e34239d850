"""COCO: a JSON file with pictures, categories and what is annotated; reduced to one label a picture.

A category that is given to the whole picture (an annotation with neither box nor mask) is its label.
Otherwise the category whose annotations cover most of it is, and 'none' where nothing is annotated.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handlens.base.errors import HandlensError
from handlens.data.formats.pictures import (
    NONE,
    Listing,
    Picture,
    counted,
    folders_in,
    listed_problems,
    read_json,
    samples_of,
)
from handlens.data.kinds import FOLDER_COLUMN
from handlens.data.names import leads_out
from handlens.data.samples import Samples, join_names
from handlens.data.tables import SIDE_NAMES, existing_file
from handlens.data.walk import Walk, existing_folder

ANNOTATIONS = "annotations"
INSTANCES = "instances_"
OTHERS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")
ROBOFLOW = "_annotations.coco.json"
LARGEST_AREA = 1e15
"""In pixels: what is more (or no number) is a mistake."""

_PARTS = ("images", "categories", "annotations")


@dataclass
class _Marked:
    """What is annotated on one picture: areas by category, and categories of the whole picture."""

    areas: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    whole: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Instances:
    """What one JSON file says, checked."""

    path: Path
    names: dict[Any, str]
    """The file names of the pictures, by their number."""
    marked: dict[Any, _Marked]
    kinds: dict[str, str]
    """The categories in the order of the file, with the kind that each belongs to."""


def fits(path: Path) -> bool:
    """Whether a folder holds instances as COCO or Roboflow name them. A JSON file is read as COCO anyway."""
    return path.is_dir() and any(
        file.name == ROBOFLOW or file.name.startswith(INSTANCES) for file in _usual_files(path)
    )


def read_coco(path: Path) -> Samples:
    """Read a folder with pictures and its JSON files, or one such file."""
    if path.suffix.lower() == ".json":
        file = existing_file(path)
        root = file.parent.parent if file.parent.name == ANNOTATIONS else file.parent
        files = [file]
    else:
        root = existing_folder(path)
        files = _usual_files(root)
        if not files:
            raise HandlensError(
                f"There is no JSON file with annotations in {root}, in its folder {ANNOTATIONS} or in those "
                "of its sides. Give the file itself."
            )
    walk = Walk(root)
    listing = Listing(walk)
    sides = {file: _side(file, root) for file in files}
    if len(set(sides.values())) < 2 or None in sides.values():
        sides = dict.fromkeys(files)
    problems: list[str] = []
    pictures: dict[str, Picture] = {}
    unused: list[str] = []
    for file in files:
        found = _read_instances(file, problems)
        folder = _folder_of(found, listing)
        used = {name for each in found.marked.values() for name in (*each.areas, *each.whole)}
        unused += [name for name in found.kinds if name not in used]
        for number, name in found.names.items():
            picture = listing.find(name, folder)
            if picture is None:
                why = "leads out of the folder" if leads_out(name) else f"is not in {folder or root}"
                problems.append(
                    f"{file.name}: the picture {name!r} {why}. Add it, or take it out of the file."
                )
            elif picture in pictures:
                problems.append(f"{file.name}: the picture {name!r} is there twice. Keep one.")
            else:
                pictures[picture] = _picture(picture, found.marked.get(number, _Marked()), found, sides[file])
    if problems:
        raise listed_problems(f"The annotations of {root} have problems:", problems)
    notes = [*_notes(files, sides, list(pictures.values())), *_unused(unused, pictures)]
    return samples_of(walk, list(pictures.values()), *notes)


def _picture(path: str, marked: _Marked, found: _Instances, side: str | None) -> Picture:
    order = list(found.kinds)
    labels = sorted({*marked.whole, *marked.areas}, key=order.index)
    if marked.whole:
        label = max(order, key=lambda each: marked.whole[each])
    elif labels:
        # Of two with the same area the first of the file is taken, so that the label is always the same.
        label = max(labels, key=lambda each: marked.areas[each])
    else:
        label = NONE
    facts: dict[str, str | None] = {**counted(labels)}
    if len(set(found.kinds.values())) > 1:
        facts[FOLDER_COLUMN] = found.kinds.get(label, NONE)
    return Picture(path, label, side, facts)


def _notes(files: list[Path], sides: dict[Path, str | None], pictures: list[Picture]) -> Iterator[str]:
    unmarked = sum(picture.facts["all_labels"] == NONE for picture in pictures)
    several = sum(picture.facts["one_or_several"] == "several" for picture in pictures)
    yield (
        f"Read as COCO ({join_names([file.name for file in files])}): the label is the category that covers "
        f"most of a picture, {NONE!r} where nothing is annotated ({unmarked} pictures). {several} pictures "
        "show several categories; the columns 'all_labels' and 'one_or_several' tell them otherwise."
    )
    if any(sides.values()):
        yield "The sides are those that the files are named after."


def _unused(names: list[str], pictures: dict[str, Picture]) -> list[str]:
    left = sorted(set(names) - {picture.label for picture in pictures.values()})
    return [f"Categories that no picture shows: {join_names(left)}."] if left else []


def _usual_files(root: Path) -> list[Path]:
    """The JSON files where they usually lie; those with captions, key points and the like are others."""
    instances = sorted((root / ANNOTATIONS).glob(f"{INSTANCES}*.json"))
    if instances:
        return instances
    by_side = [
        folder / ROBOFLOW
        for folder in (root, *(each for each in folders_in(root) if each.name.casefold() in SIDE_NAMES))
        if (folder / ROBOFLOW).is_file()
    ]
    others = [*sorted((root / ANNOTATIONS).glob("*.json")), *sorted(root.glob("*.json"))]
    return by_side or [file for file in others if not file.name.startswith(OTHERS)]


def _side(file: Path, root: Path) -> str | None:
    """The side that a file is for: instances_train2017.json, or valid/_annotations.coco.json."""
    if file.name == ROBOFLOW:
        return SIDE_NAMES.get(file.parent.name.casefold()) if file.parent != root else None
    words = re.findall("[a-z]+", file.stem.casefold())
    named = {SIDE_NAMES[word] for word in words if word in SIDE_NAMES}
    return named.pop() if len(named) == 1 else None


def _folder_of(found: _Instances, listing: Listing) -> str:
    """The folder that file names are told from: of those in use the one in which most pictures are."""
    named = found.path.stem.removeprefix(INSTANCES)
    beside = listing.walk.relative(str(found.path.parent))
    folders = (
        f"{named}",
        f"images/{named}",
        f"{named}/images",
        "" if beside == "." else beside,
        f"{beside}/images",
        "images",
        "",
    )
    counts = {
        folder: sum(bool(listing.find(name, folder)) for name in found.names.values()) for folder in folders
    }
    return max(counts, key=lambda folder: counts[folder])


def _read_instances(path: Path, problems: list[str]) -> _Instances:
    """What one file says; whatever in it is not as it must be is added to the problems."""
    told = read_json(path)
    if not isinstance(told, dict) or not all(isinstance(told.get(part), list) for part in _PARTS):
        raise HandlensError(
            f"{path} does not hold the lists {', '.join(_PARTS)}, so it is not a COCO file of instances. "
            "Give one that is."
        )
    categories: dict[Any, str] = {}
    kinds: dict[str, str] = {}
    for place, each in _entries(told, "categories", path, problems):
        name = each.get("name")
        if not isinstance(name, str) or not name.strip() or not _is_id(each.get("id")):
            problems.append(f"{place}: it needs an id and a name.")
        elif each["id"] in categories or name.strip() in kinds:
            problems.append(f"{place}: the id {each['id']} or the name {name!r} was there before. Keep one.")
        else:
            categories[each["id"]] = name.strip()
            kinds[name.strip()] = str(each.get("supercategory") or "").strip() or NONE
    names: dict[Any, str] = {}
    for place, each in _entries(told, "images", path, problems):
        if not isinstance(each.get("file_name"), str) or not _is_id(each.get("id")):
            problems.append(f"{place}: it needs an id and a file_name.")
        elif each["id"] in names:
            problems.append(f"{place}: the id {each['id']} was there before. Give every picture its own.")
        else:
            names[each["id"]] = each["file_name"]
    marked = _read_marks(_entries(told, "annotations", path, problems), names, categories, problems)
    return _Instances(path, names, marked, kinds)


def _read_marks(
    annotations: Iterable[tuple[str, dict[str, Any]]],
    names: dict[Any, str],
    categories: dict[Any, str],
    problems: list[str],
) -> dict[Any, _Marked]:
    """What is annotated on each picture, by the picture's number."""
    marked: dict[Any, _Marked] = {}
    for place, each in annotations:
        picture, category = each.get("image_id"), each.get("category_id")
        if not _is_id(picture) or picture not in names:
            problems.append(f"{place}: there is no picture with the id {picture!r}. Export the file again.")
        elif not _is_id(category) or category not in categories:
            problems.append(f"{place}: there is no category with the id {category!r}. Export the file again.")
        else:
            _mark(marked.setdefault(picture, _Marked()), categories[category], each, place, problems)
    return marked


def _mark(marked: _Marked, name: str, annotation: dict[str, Any], place: str, problems: list[str]) -> None:
    """Add one annotation to what is known of its picture."""
    area, box = annotation.get("area"), annotation.get("bbox")
    if not area and not box and not annotation.get("segmentation"):
        marked.whole[name] += 1
        return
    size = area if _is_size(area) and area else None
    if size is None and isinstance(box, list) and len(box) == 4 and all(map(_is_size, box[2:])):
        size = box[2] * box[3]
    if size is None:
        problems.append(f"{place}: neither its area nor its bbox tells its size. Export the file with them.")
        return
    marked.areas[name] += float(size)


def _entries(
    told: dict[str, Any], part: str, path: Path, problems: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a list with their places; what is no object is a problem."""
    for number, each in enumerate(told[part]):
        place = f"{path.name}, {part}[{number}]"
        if isinstance(each, dict):
            yield place, each
        else:
            problems.append(f"{place}: this is {str(each)[:40]!r}, and an object was meant.")


def _is_id(value: Any) -> bool:
    """Whether a value may be an id: most are numbers, some exporters write text."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_AREA
