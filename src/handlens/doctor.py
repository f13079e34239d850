"""What this machine has for Handlens, what is missing, and how to mend it."""

import importlib
import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder
from handlens.provenance import TOLD_VERSIONS, processor

State = Literal["good", "note", "bad"]

EXTRAS = {
    "av": ("video", "frames out of videos"),
    "faiss-cpu": ("audit", "copies among many thousands of pictures"),
    "diffusers": ("synth", "the generative model of 'handlens synthesize'"),
    "aiohttp": ("remote", "pictures at https:// addresses"),
    "tensorboard": ("track", "following runs elsewhere"),
}
"""What single commands need: the package, the extra that brings it, and what for."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    found: str
    mend: str = ""


def examine() -> list[Finding]:
    """Look at everything that a run depends on."""
    return [
        _python(),
        *_libraries(),
        *map(_extra, EXTRAS),
        _arithmetic(),
        _processor(),
        *_weights(),
        _cache(),
    ]


def _python() -> Finding:
    return Finding("Python", "good", platform.python_version())


def _libraries() -> list[Finding]:
    found = []
    for name in TOLD_VERSIONS:
        module = {"pillow": "PIL", "scikit-learn": "sklearn"}.get(name, name)
        try:
            importlib.import_module(module)
            found.append(Finding(name, "good", metadata.version(name)))
        except (ImportError, RuntimeError, OSError) as error:
            # torchvision built for another torch raises RuntimeError while it registers its operators.
            mend = "Install Handlens again with: pip install -c constraints.txt handlens"
            found.append(Finding(name, "bad", f"cannot be imported: {error}", mend))
    return found


def _extra(name: str) -> Finding:
    """Only looked up, not imported: nothing is wrong without it."""
    extra, purpose = EXTRAS[name]
    try:
        return Finding(name, "good", f"{metadata.version(name)}, for {purpose}")
    except metadata.PackageNotFoundError:
        return Finding(name, "note", f"not there, for {purpose}", f"pip install 'handlens[{extra}]'")


def _arithmetic() -> Finding:
    try:
        from handlens.training.device import choose_device
    except (ImportError, OSError) as error:
        return Finding("Arithmetic", "bad", f"torch does not work: {error}", "Install torch again.")
    device = choose_device("auto")
    if device.device.type == "cpu":
        return Finding("Arithmetic", "good", f"{device.words}; no GPU, which a frozen backbone does not need")
    return Finding("Arithmetic", "good", device.words)


def _processor() -> Finding:
    cores = os.cpu_count() or 1
    return Finding("Processor", "good", f"{processor()}, {cores} cores")


def _weights() -> list[Finding]:
    from handlens.models import weights

    mend = (
        "Put <name>.safetensors or <name>.pth files into a folder and set HANDLENS_WEIGHTS to it; "
        "or use handlens/nano, whose weights are in the package."
    )
    folders, found = weights.folders(), [_bundled()]
    offline = "" if weights.downloads_allowed() else "downloads are switched off"
    if not folders:
        state: State = "note" if not offline else "bad"
        told = "; ".join(filter(None, ["not set", offline]))
        return [*found, Finding("HANDLENS_WEIGHTS", state, told, mend)]
    for folder in folders:
        names = _weight_files(folder)
        if names:
            found.append(Finding("HANDLENS_WEIGHTS", "good", f"{folder}: {', '.join(names)}"))
        else:
            reason = "holds no weights" if folder.is_dir() else "is not a folder"
            found.append(Finding("HANDLENS_WEIGHTS", "bad", f"{folder} {reason}", mend))
    return found


def _bundled() -> Finding:
    from handlens.models import weights

    try:
        return Finding("handlens/nano", "good", f"weights {weights.bundled().source}")
    except HandlensError as error:
        return Finding("handlens/nano", "bad", str(error), "Install Handlens again.")


def _weight_files(folder: Path) -> list[str]:
    from handlens.models.weights import SUFFIXES

    if not folder.is_dir():
        return []
    return sorted(path.stem for path in folder.rglob("*") if path.suffix in SUFFIXES)


def _cache() -> Finding:
    folder = cache_folder()
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(place, os.W_OK):
        return Finding(
            "Cache", "bad", f"{folder} cannot be written", "Set HANDLENS_CACHE to a folder of yours."
        )
    kept = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    free = shutil.disk_usage(place).free
    told = f"{folder}: {kept / 2**20:,.0f} MiB kept, {free / 2**30:,.0f} GiB free"
    if free < 2**30:
        return Finding(
            "Cache", "bad", told, f"Make room: {folder} may be deleted, it is only computed again."
        )
    return Finding("Cache", "good", told)
