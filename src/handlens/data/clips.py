"""Finding videos, and what each is called: its class, and the name that its frames begin with."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.data.names import distinct, safe_name
from handlens.data.samples import join_names
from handlens.data.video import VIDEO_SUFFIXES
from handlens.data.walk import Walk, absolute, shown


@dataclass(frozen=True)
class Clip:
    """A video that frames are cut from."""

    path: Path
    source: str
    """Its path below the folder that was given."""
    label: str
    name: str
    """Its class and its own name, unlike that of any other video here: `pyrite/day1/clip`."""


def find_clips(sources: Sequence[Path], label: str | None = None) -> tuple[list[Clip], tuple[str, ...]]:
    """The videos in files and folders, and what was left out in the folders, in sentences.

    The class is the first folder below the one that was given; of a video that lies directly there, or that
    was given itself, it is the folder that it lies in. `label` is the class of all instead.
    """
    if label is not None and not label.strip():
        raise HandlensError("The label is empty. Name a class with --label, or leave it out.")
    found: dict[Path, tuple[str, str]] = {}
    notes: list[str] = []
    for source in map(absolute, sources):
        if source.is_dir():
            paths, told = _videos_below(source)
            notes += told
            root = source
        else:
            paths, root = [_existing(source)], source.parent
        for path in paths:
            below = path.relative_to(root).as_posix()
            folder, inside, _ = below.partition("/")
            own = label or (folder if inside else root.name)
            # A video that was found twice is there once.
            found.setdefault(path, (below, unicodedata.normalize("NFC", own)))
    homeless = [str(path) for path, (_, own) in found.items() if not own]
    if homeless:
        raise HandlensError(f"The class of {join_names(homeless)} is unknown. Name it with --label.")
    names = _names([(below, own) for below, own in found.values()])
    clips = [
        Clip(path, below, own, name) for (path, (below, own)), name in zip(found.items(), names, strict=True)
    ]
    return clips, tuple(notes)


def _names(videos: Sequence[tuple[str, str]]) -> list[str]:
    """The class and the way below it, without the ending unless that alone tells two videos apart."""
    # The first folder is there already where it is the class.
    inside = [
        (own, below.removeprefix(f"{own}/") if below.startswith(f"{own}/") else below)
        for below, own in videos
    ]
    full = [safe_name(f"{own.replace('/', '_')}/{way}") for own, way in inside]
    short = [name.removesuffix(Path(name).suffix) for name in full]
    folded = [name.casefold() for name in short]
    return distinct(
        [
            name if folded.count(plain) == 1 else longer
            for name, plain, longer in zip(short, folded, full, strict=True)
        ]
    )


def _videos_below(folder: Path) -> tuple[list[Path], list[str]]:
    walk = Walk(folder)
    pictures = walk.pictures_below(str(folder))
    videos = sorted(path for path in walk.stray if path.lower().endswith(VIDEO_SUFFIXES))
    others = sorted({*pictures, *walk.stray} - set(videos))
    if not videos:
        there = f" It holds other files ({shown(others, walk)})." if others else ""
        raise HandlensError(
            f"There is no video in {folder}.{there} Videos end in {', '.join(VIDEO_SUFFIXES)}; a file "
            "with another ending can be given by itself."
        )
    walk.stray = []
    notes = list(walk.notes())
    if others:
        notes.append(f"Left out as not a video: {len(others)} ({shown(others, walk)}).")
    return [Path(path) for path in videos], notes


def _existing(path: Path) -> Path:
    if not path.exists():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise HandlensError(f"There is no file or folder {path}.{suggestion(path.name, beside)}")
    return path
