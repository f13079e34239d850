"""Reading folders whose names are the classes, perhaps below folders of the sides."""

from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.data.samples import Samples, join_names
from handlens.data.tables import SIDE_NAMES, TABLE_SUFFIXES, require_classes
from handlens.data.video import VIDEO_SUFFIXES
from handlens.data.walk import PICTURE_SUFFIXES, Row, Walk, shown


def read_folder(root: Path) -> Samples:
    """Read one folder a class; or train, val and test, under their usual names, with such folders below."""
    walk = Walk(root)
    root = walk.root
    folders, loose = walk.listed(str(root))
    sides = {folder: SIDE_NAMES[_name(folder)] for folder in folders if _name(folder) in SIDE_NAMES}
    if len(set(sides.values())) >= 2:
        return _read_sides(walk, sides, [folder for folder in folders if folder not in sides], loose)

    by_class = {folder: walk.pictures_below(folder) for folder in folders}
    rows: list[Row] = [
        (path, Path(folder).name, None) for folder, paths in by_class.items() for path in paths
    ]
    notes = ["Read as one folder a class.", *_loose_note(walk, loose)]
    empty = [folder for folder, paths in by_class.items() if not paths]
    if empty:
        notes.append(f"Folders without a picture were left out: {shown(empty, walk)}.")
    if not rows:
        raise _nothing_found(walk, loose)
    samples = walk.samples(rows, *notes)
    require_classes(samples, str(root), _where_else(Path(next(f for f, paths in by_class.items() if paths))))
    return samples


def _read_sides(walk: Walk, sides: dict[str, str], others: list[str], loose: list[str]) -> Samples:
    """Read a ready-made split: folders for the sides, and in them one folder a class."""
    rows: list[Row] = []
    loose = list(loose)
    for folder, side in sides.items():
        classes, beside = walk.listed(folder)
        found: list[Row] = [
            (path, Path(each).name, side) for each in classes for path in walk.pictures_below(each)
        ]
        if beside and not found:
            raise HandlensError(
                f"The folder {folder} holds pictures but no class folders, so their classes are unknown. "
                "Put them into one folder a class as in the other sides, or take the folder away."
            )
        rows.extend(found)
        loose.extend(beside)
    if not rows:
        raise _nothing_found(walk, loose)
    names = join_names([Path(folder).name for folder in sides])
    notes = [f"Read as a ready-made split ({names}) with one folder a class.", *_loose_note(walk, loose)]
    left_out = [folder for folder in others if Walk(walk.root).pictures_below(folder)]
    if left_out:
        notes.append(f"Folders with pictures beside {names} were left out: {shown(left_out, walk)}.")
    samples = walk.samples(rows, *notes)
    require_classes(samples, str(walk.root))
    return samples


def _name(folder: str) -> str:
    return Path(folder).name.casefold()


def _loose_note(walk: Walk, loose: list[str]) -> list[str]:
    if not loose:
        return []
    return [f"{len(loose)} pictures beside the class folders were left out: {shown(loose, walk)}."]


def _nothing_found(walk: Walk, loose: list[str]) -> HandlensError:
    """What to do where no class folder holds a picture."""
    if loose:
        tables = sorted(path for path in walk.stray if path.lower().endswith(TABLE_SUFFIXES))
        instead = f", or give the table {tables[0]}" if tables else ""
        return HandlensError(
            f"{walk.root} holds {len(loose)} pictures but no class folders, so their classes are unknown. "
            f"Put the pictures of each class into a folder named after the class{instead}."
        )
    others = f" It holds other files ({shown(walk.stray, walk)})." if walk.stray else ""
    if any(path.lower().endswith(VIDEO_SUFFIXES) for path in walk.stray):
        others += " Cut pictures out of videos with 'handlens frames'."
    return HandlensError(
        f"There is no picture in {walk.root}.{others} Give a folder with one folder of pictures a class; "
        f"pictures end in {', '.join(PICTURE_SUFFIXES)}."
    )


def _where_else(only: Path) -> str:
    """Unpacked archives often hold one folder with everything in it."""
    folders, _ = Walk(only).listed(str(only))
    return f"If the classes are the folders inside it, give {only}." if len(folders) > 1 else ""
