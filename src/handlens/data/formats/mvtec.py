"""MVTec AD: `bottle/train/good`, `bottle/test/<defect>`, `bottle/ground_truth/<defect>`; also LOCO.

The official split is made for methods that learn from good parts alone: it has no defect in training, and
a classifier can learn nothing from it. The pictures are therefore left without sides, and the official side
is a column. The kind of defect is the label; with several categories it is told together with the category,
because the scratch on a nut and the one in wood are not one class.
"""

import os
from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.data.formats.pictures import (
    DEFECTIVE,
    GOOD,
    MASK_COLUMN,
    Listing,
    Picture,
    folders_in,
    samples_of,
)
from handlens.data.samples import Samples, join_names
from handlens.data.walk import Walk

SIDES_ON_DISK = {"train": "train", "validation": "val", "test": "test"}
MASKS = "ground_truth"


def fits(root: Path) -> bool:
    """Whether a folder is a category, or holds some."""
    return root.is_dir() and bool(_categories(root))


def read_mvtec(root: Path) -> Samples:
    """Read one category, or the folder that holds several."""
    walk = Walk(root)
    categories = _categories(walk.root)
    if not categories:
        raise HandlensError(
            f"{walk.root} does not look like MVTec AD: there is no folder with train/good, test and {MASKS}, "
            "here or one level below. Give the folder of a category, or the one that holds them all."
        )
    listing = Listing(walk)
    pictures: list[Picture] = []
    without_mask: list[str] = []
    for category in categories:
        inside = "" if category == walk.root else f"{category.name}/"
        for side, official in SIDES_ON_DISK.items():
            for path in listing.below(f"{inside}{side}"):
                # bottle/test/broken_large/000.png
                kind, _, below = walk.relative(path).removeprefix(f"{inside}{side}/").partition("/")
                if not below:
                    continue
                mask = None if kind == GOOD else _mask(listing, f"{inside}{MASKS}/{kind}", below)
                if kind != GOOD and mask is None:
                    without_mask.append(walk.relative(path))
                pictures.append(
                    Picture(
                        path,
                        kind if len(categories) == 1 else f"{category.name}/{kind}",
                        facts={
                            "category": category.name,
                            "defect": kind,
                            "state": GOOD if kind == GOOD else DEFECTIVE,
                            "official_split": official,
                            MASK_COLUMN: mask,
                        },
                    )
                )
    names = [category.name for category in categories]
    what = "the kind of defect" if len(names) == 1 else "the category and the kind of defect"
    notes = [
        f"Read as MVTec AD ({join_names(names)}): the label is {what}, 'good' where there is none. The "
        "column 'state' says only good or defective.",
        "The official split has no defect in training, so that a classifier could not learn from it: it is "
        "kept as the column 'official_split', and the pictures have no sides yet.",
    ]
    if without_mask:
        notes.append(f"{len(without_mask)} pictures of defects have no mask: {join_names(without_mask, 3)}.")
    return samples_of(walk, pictures, *notes)


def _categories(root: Path) -> list[Path]:
    if _is_category(root):
        return [root]
    return [folder for folder in folders_in(root) if _is_category(folder)]


def _is_category(folder: Path) -> bool:
    return all((folder / part).is_dir() for part in ("train/good", "test", MASKS))


def _mask(listing: Listing, folder: str, below: str) -> str | None:
    """The mask of a picture; LOCO has a folder of masks for each, of which the folder is named."""
    stem, suffix = os.path.splitext(below)  # noqa: PTH122 (a Path a picture is slow)
    for name in (f"{stem}_mask.png", f"{stem}_mask{suffix}", f"{stem}.png", below):
        if listing.find(name, folder):
            return f"{folder}/{name}"
    return f"{folder}/{stem}" if listing.below(f"{folder}/{stem}") else None
