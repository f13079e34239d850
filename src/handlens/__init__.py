"""Handlens: transfer learning for pictures of materials and parts.

The public names are imported when they are first used, so that `import handlens` costs nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["HandlensError", "Recipe", "Samples", "TrainedRun", "load_run", "train"]

if TYPE_CHECKING:
    from handlens.api import load_run, train
    from handlens.base.errors import HandlensError
    from handlens.data.samples import Samples
    from handlens.recipe import Recipe
    from handlens.trained import TrainedRun

_HOMES = {
    "HandlensError": "handlens.base.errors",
    "Recipe": "handlens.recipe",
    "Samples": "handlens.data.samples",
    "TrainedRun": "handlens.trained",
    "load_run": "handlens.api",
    "train": "handlens.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'handlens' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
