"""Which format a folder is in, and reading it by its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from handlens.base.errors import HandlensError
from handlens.data.formats import coco, dagm, huawei, mvtec, pictures, severstal, yolo_cls
from handlens.data.samples import Samples


@dataclass(frozen=True)
class Format:
    """How a format is known and read."""

    fits: Callable[[Path], bool]
    read: Callable[[Path], Samples]


def read_format(
    name: str,
    path: Path,
    *,
    label: str | None = None,
    group: str | None = None,
    split: str | None = None,
    class_names: Path | None = None,
    tasks: Sequence[str] = (),
    was_recognised: bool = False,
) -> Samples:
    """Read a folder in the format of that name; `was_recognised` says that nobody asked for it."""
    if name == "huawei":
        samples = huawei.read_huawei(path, class_names)
    elif class_names is not None:
        raise HandlensError(f"Class names go with label files, and {name} names its classes itself.")
    else:
        samples = FORMATS[name].read(path)
    samples = pictures.chosen(samples, label, group, split, tasks)
    if was_recognised:
        first, *others = samples.notes
        told = f"The format was recognised; '--format {instead(name)}' reads the folder without it."
        samples = replace(samples, notes=(first, told, *others))
    return samples


def instead(name: str) -> str:
    """What reads a folder that only looks like a format."""
    return "label_files" if name == "huawei" else "folder"


def recognised(path: Path) -> str | None:
    """The format that a folder is in, if exactly one fits."""
    try:
        fitting = [name for name, each in FORMATS.items() if each.fits(path)]
    except PermissionError:
        # Reading the folder tells which one it is.
        return None
    return fitting[0] if len(fitting) == 1 else None


FORMATS = {
    "huawei": Format(huawei.fits, huawei.read_huawei),
    "mvtec": Format(mvtec.fits, mvtec.read_mvtec),
    "dagm": Format(dagm.fits, dagm.read_dagm),
    "severstal": Format(severstal.fits, severstal.read_severstal),
    "coco": Format(coco.fits, coco.read_coco),
    "yolo_cls": Format(yolo_cls.fits, yolo_cls.read_yolo_cls),
}
