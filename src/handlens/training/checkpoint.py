"""Weights and training state on disk: tensors only, whole or not there."""

import errno
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from handlens.base.errors import HandlensError
from handlens.base.files import whole_file
from handlens.models.weights import read_state


@dataclass(frozen=True)
class HeadFacts:
    """What must be known to use a head again; it travels in the head's file."""

    classes: tuple[str, ...]
    """The classes in the order of the scores."""
    num_features: int
    """Numbers a picture that the head takes."""
    kind: str
    """The kind of training views."""
    average: bool
    """Whether a picture is judged by the mean over its views."""
    weights_digest: str
    """Hash of the backbone's weights: a head says nothing on top of another backbone."""
    further: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The names of further tasks and their classes; their scores follow those of the first."""
    whole: bool = False
    """Whether the backbone trained too, and its weights stand in the file beside those of the head."""
    twin_begins: int | None = None
    """Where the network judges beside itself as it was: how many units the two have in common."""

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of classes of each task."""
        return (len(self.classes), *(len(classes) for _, classes in self.further))

    @classmethod
    def read(cls, values: Any) -> "HeadFacts":
        """Back from JSON, which knows no tuples."""
        if not isinstance(values, dict):
            raise TypeError("the facts of a head are a mapping")
        further = tuple((name, tuple(classes)) for name, classes in values.get("further", ()))
        return cls(**{**values, "classes": tuple(values["classes"]), "further": further})


def save_head(path: Path, state: Mapping[str, Tensor], facts: HeadFacts) -> None:
    """Write a head, or a whole network, with what must be known to use it."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: value.contiguous() for name, value in state.items()}
    with whole_file(path) as partial:
        try:
            save_file(tensors, partial, metadata={"handlens": json.dumps(asdict(facts), ensure_ascii=False)})
        except SafetensorError as error:
            # The library tells the system's error in words alone.
            if f"os error {errno.ENOSPC}" in str(error):
                raise OSError(errno.ENOSPC, str(error)) from None
            raise


def load_head(path: Path) -> tuple[dict[str, Tensor], HeadFacts]:
    """Read a head back, or say what is wrong with the file."""
    if not path.is_file():
        raise HandlensError(
            f"{path} is not there: the run is not finished. Give its 'handlens train' command again."
        )
    try:
        state = read_state(path)
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["handlens"])
        return state, HeadFacts.read(facts)
    except (HandlensError, KeyError, TypeError, ValueError) as error:
        raise HandlensError(
            f"{path} is damaged ({error}). Delete {path.parent} and {path.parents[1] / 'DONE'}, and give the "
            "run's 'handlens train' command again: it trains anew from what is kept."
        ) from None


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what training needs to go on."""
    with whole_file(path) as partial:
        torch.save(dict(state), partial)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read what training needs to go on; none before the first save."""
    if not path.is_file():
        return None
    try:
        # weights_only: a state file is data and never runs code.
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:
        # Damaged files bring out nearly every exception there is; what is raised here is about the file.
        raise HandlensError(
            f"{path} is damaged, so training cannot go on from it. Delete {path.parent} and give the same "
            "command again: it trains anew from what is kept."
        ) from None
