"""Where a run comes from: versions, machine, data, weights, and what was said on the way."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from pydantic import Field

from handlens.base.spec import Spec

TOLD_VERSIONS = ("torch", "torchvision", "timm", "numpy", "pillow", "polars", "scikit-learn")


class Problem(Spec):
    """A picture that was left out."""

    path: str
    """The file."""
    reason: str
    """Why it cannot be used."""


class DataFacts(Spec):
    """What the run was fed."""

    root: str
    """The folder or table that was given."""
    num_pictures: int
    """Pictures used."""
    digest: str
    """Hash of all contents, labels and groups."""
    split_digest: str
    """Hash of which picture stands on which side."""
    split_given: bool
    """Whether the data came with its split."""
    split_sentences: tuple[str, ...] = ()
    """How near the split came to what was asked."""
    conflicts: tuple[str, ...] = ()
    """Identical pictures under different labels, by name."""
    leaks: tuple[str, ...] = ()
    """Groups that a given split puts on two sides."""
    marks: tuple[str, ...] = ()
    """What every run on these pictures has to tell, such as `leaking: paper-protocol`."""
    problems: tuple[Problem, ...] = ()
    """Pictures that were left out, and why."""
    notes: tuple[str, ...] = ()
    """Other things worth knowing about the files."""


class WeightsFacts(Spec):
    """Which network, and where its weights came from."""

    backbone: str
    """The backbone's name."""
    source: str
    """Where the weights were found, in words."""
    digest: str
    """Hash of the weights."""
    pretrained: bool
    """Whether the weights were learned from other pictures; false for random ones."""


class Provenance(Spec):
    """Everything that is needed to believe or repeat a run."""

    handlens: str
    """Version of Handlens."""
    command: str
    """The command that repeats the run."""
    started: str
    """When it began (ISO 8601, UTC)."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """How long each step took, by name."""
    peak_mib: float | None = None
    """The most memory that the main process held, with what its libraries take; none where other work that it
    did before would count too, or where the system does not tell."""
    versions: dict[str, str]
    """Versions of what it stands on."""
    machine: dict[str, str]
    """The computer."""
    precision: str
    """Arithmetic of the frozen pass."""
    commit: str | None
    """Commit of Handlens where it runs from a checkout."""
    data: DataFacts
    """The pictures."""
    weights: WeightsFacts
    """The network."""
    choices: tuple[str, ...] = ()
    """What validation decided, in sentences."""
    notes: tuple[str, ...] = ()
    """Other things that the reader of the report should know."""


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape the numbers."""
    told = {"python": platform.python_version()}
    return told | {name: metadata.version(name) for name in TOLD_VERSIONS}


def machine(accelerator: str) -> dict[str, str]:
    """This computer in words that help to compare times."""
    return {
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "processor": processor(),
        "cores": str(os.cpu_count() or 1),
        "accelerator": accelerator,
    }


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def commit() -> str | None:
    """The commit of Handlens, where it runs from a git checkout."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return None
    asked = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except OSError:  # git is not installed
        return None
    return told.stdout.strip() or None
