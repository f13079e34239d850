"""Reading pictures that each have a text file beside them saying `picture.jpg, number of the class`."""

import json
import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from handlens.base.errors import HandlensError, Problems
from handlens.data.samples import Samples, join_names
from handlens.data.tables import existing_file, require_classes
from handlens.data.walk import PICTURE_SUFFIXES, Row, Walk

SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class LabelFile:
    """What one label file says: the path of its picture and the number of its class."""

    path: str
    picture: str
    number: int


def read_label_files(root: Path, class_names: Path | None = None) -> Samples:
    """Read every picture with its label file; without class names the class is the number as text."""
    names_path = existing_file(class_names) if class_names is not None else None
    names = None if names_path is None else read_class_names(names_path)
    walk = Walk(root)
    pictures = {_folded(path): path for path in walk.pictures_below(str(walk.root))}
    if not pictures:
        raise HandlensError(
            f"There is no picture in {walk.root}. Give the folder with pictures and label files."
        )

    # A text that neither reads like a label nor is named after a picture is somebody's notes.
    stems = {_stem(picture): picture for picture in pictures}
    problems: dict[str, str] = {}
    files: defaultdict[str, list[LabelFile]] = defaultdict(list)
    used = {str(names_path)}
    spoilt = set()
    for text in sorted(path for path in walk.stray if path.lower().endswith(".txt") and path not in used):
        told = _read_label_file(text)
        if isinstance(told, str):
            beside = stems.get(_folded(_stem(text)))
            if beside is not None:
                problems[walk.relative(text)] = told
                spoilt.add(beside)
            continue
        used.add(text)
        if _folded(told.picture) not in pictures:
            problems[walk.relative(text)] = (
                f"its picture {os.path.basename(told.picture)!r} is not there. "  # noqa: PTH119
                "Add the picture, or delete the label file."
            )
        elif names is not None and told.number not in names:
            problems[walk.relative(text)] = (
                f"the class {told.number} has no name in {names_path}. Add it there."
            )
            spoilt.add(_folded(told.picture))
        else:
            files[_folded(told.picture)].append(told)

    for folded, path in pictures.items():
        if len(files[folded]) > 1:
            listed = join_names([walk.relative(each.path) for each in files[folded]])
            problems[walk.relative(path)] = f"several label files name this picture ({listed}). Keep one."
        elif not files[folded] and folded not in spoilt:
            problems[walk.relative(path)] = (
                "no label file names this picture. Write one, or remove the picture."
            )
    if problems:
        raise Problems(f"The label files of {walk.root} have problems:", _first(problems))

    walk.stray = [path for path in walk.stray if path not in used]
    rows: list[Row] = []
    for folded, path in pictures.items():
        number = files[folded][0].number
        rows.append((path, str(number) if names is None else names[number], None))
    samples = walk.samples(rows, "Read as pictures with a label file each.")
    require_classes(samples, str(walk.root))
    return samples


def has_label_files(root: Path) -> bool:
    """Whether most pictures that lie directly in a folder have a text file of their name."""
    if not root.is_dir():
        return False
    names = os.listdir(root)  # noqa: PTH208 (only names are needed)
    stems = {_stem(name) for name in names if name.lower().endswith(PICTURE_SUFFIXES)}
    labelled = stems & {_stem(name) for name in names if name.lower().endswith(".txt")}
    return 2 * len(labelled) > len(stems)


def read_class_names(path: Path) -> dict[int, str]:
    """Read class names by number: a name a line, or `0: name` lines, or JSON such as {"0": "name"}."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise HandlensError(f"{path} is not UTF-8 text. Save it with the encoding UTF-8.") from None
    if path.suffix.lower() == ".json":
        return _names_from_json(text, path)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # The colon of Chinese keyboards means the same.
    numbered = [re.fullmatch(r"(\d+)\s*[:：]\s*(.+)", line) for line in lines]
    if not all(numbered):
        names = dict(enumerate(lines))
    else:
        names = {int(match[1]): match[2] for match in numbered if match}
    if not names:
        raise HandlensError(
            f"{path} holds no class name. Write one name a line, in the order of the numbers."
        )
    return names


def _names_from_json(text: str, path: Path) -> dict[int, str]:
    try:
        names = json.loads(text)
        return {int(number): str(name) for number, name in names.items()}
    except (ValueError, AttributeError):
        raise HandlensError(
            f'{path} maps no numbers to names. Write it like {{"0": "paper", "1": "glass"}}.'
        ) from None


def _read_label_file(path: str) -> LabelFile | str:
    """What a label file says, or what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        return "this is not UTF-8 text. Save it with the encoding UTF-8."
    # The picture's own name may hold commas: the last one counts.
    name, comma, number = text.rpartition(",")
    if not comma or "\n" in text or not name.strip() or not re.fullmatch(r"\s*[0-9]+", number):
        return f"it says {text[:60]!r}. Write one line like 'img_1.jpg, 0'."
    return LabelFile(path, os.path.join(os.path.dirname(path), name.strip()), int(number))  # noqa: PTH118, PTH120


def _first(problems: dict[str, str]) -> list[str]:
    told = [f"{where}: {what}" for where, what in sorted(problems.items())]
    more = len(told) - SHOWN_PROBLEMS
    return told if more <= 0 else [*told[:SHOWN_PROBLEMS], f"and {more} more of this kind."]


def _folded(path: str) -> str:
    """A path in one spelling of é, to compare what a file says with what is on the disk."""
    return unicodedata.normalize("NFC", path)


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122 (a Path a picture is slow)
