"""Finding weights: in the package, or in the user's folders, the libraries' caches, or by their download."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from handlens.base.errors import HandlensError
from handlens.base.files import digest

WeightsChoice = Literal["pretrained", "bundled", "none"]

SUFFIXES = (".safetensors", ".pth")

BUNDLED = Path(str(resources.files("handlens"))) / "models" / "nano.safetensors"
"""The weights of `handlens/nano`, taught on pictures that formulas draw."""


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights that was found, and where."""

    path: Path
    source: str

    def digest(self) -> str:
        """Hash of the file's bytes."""
        return digest(self.path.read_bytes())


def bundled() -> WeightsFile:
    """The weights inside the package."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(BUNDLED, framework="pt") as file:
            version = (file.metadata() or {}).get("version")
    except (OSError, SafetensorError) as error:
        raise HandlensError(
            f"The weights that belong into the package cannot be read: {BUNDLED} ({error}). "
            "Install Handlens again."
        ) from None
    which = f" (version {version})" if version else ""
    return WeightsFile(BUNDLED, f"in the package{which}, taught on drawn pictures")


def folders() -> list[Path]:
    """The user's own folders of weights, from `HANDLENS_WEIGHTS`."""
    named = os.environ.get("HANDLENS_WEIGHTS", "")
    return [Path(folder).expanduser() for folder in named.split(os.pathsep) if folder]


def in_folders(backbone: str) -> WeightsFile | None:
    """The weights of `library/name` in the user's folders.

    `<folder>/<library>/<name>` goes before `<folder>/<name>`, because two libraries may use one name
    for different networks.
    """
    library, _, name = backbone.partition("/")
    for folder in folders():
        for stem in (folder / library / name, folder / name):
            for suffix in SUFFIXES:
                path = stem.with_name(stem.name + suffix)
                if path.is_file():
                    return WeightsFile(path, f"{path.name} in {folder}")
    return None


def downloads_allowed() -> bool:
    """Whether the hubs may be asked at all."""
    return not any(
        os.environ.get(name, "0") not in ("", "0") for name in ("HF_HUB_OFFLINE", "HANDLENS_OFFLINE")
    )


def in_torchvision(name: str) -> WeightsFile:
    """torchvision's own weights from its cache, else downloaded with a progress bar."""
    import torchvision

    choices = torchvision.models.get_model_weights(name)
    url = str(choices.DEFAULT.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return WeightsFile(path, f"torchvision's cache ({choices.DEFAULT})")
    if not downloads_allowed():
        raise not_found(f"torchvision/{name}", "downloads are switched off")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The hash in the file's name is checked; a partial download never takes the final name.
        hash_prefix = re.search(r"-([a-f0-9]{8,})\.", path.name)
        torch.hub.download_url_to_file(url, str(path), hash_prefix.group(1) if hash_prefix else None)
    except (OSError, RuntimeError) as error:
        raise not_found(f"torchvision/{name}", f"the download failed ({error})") from None
    return WeightsFile(path, f"downloaded from {url}")


def not_found(backbone: str, why: str) -> HandlensError:
    """The error for weights that are nowhere, with the mends."""
    name = backbone.partition("/")[2]
    looked = ", ".join(str(folder) for folder in folders()) or "(HANDLENS_WEIGHTS is not set)"
    return HandlensError(
        f"The pretrained weights of {backbone} are not on this machine, and {why}. "
        f"Looked in the folders of HANDLENS_WEIGHTS: {looked}; then in the library's cache.\n"
        "Three ways to mend it:\n"
        f"  1. Put {name}.safetensors or {name}.pth into a folder and set HANDLENS_WEIGHTS to that folder.\n"
        "  2. Run the same command once where the network is reachable (with HF_HUB_OFFLINE and "
        "HANDLENS_OFFLINE unset); the weights are then kept in the library's cache.\n"
        "  3. Use the small backbone inside the package, which is never taken unasked: "
        "--set model.backbone=handlens/nano --set model.weights=bundled."
    )


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a weights file; nothing in it is ever executed."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged files bring out nearly every exception there is; what is raised here is about the file.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise HandlensError(f"{path} cannot be read as weights: {reason}. Get the file again.") from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise HandlensError(f"{path} holds no table of tensors. Save the network's state_dict() instead.")
    return dict(state)


def load_into(
    network: nn.Module, state: Mapping[str, torch.Tensor], path: Path, heads: tuple[str, ...]
) -> None:
    """Put weights into a network; only the head, which is not used, may be absent or of another size."""
    expected = network.state_dict()
    of_head = tuple(f"{head}." for head in heads)
    fitting = {
        name: value
        for name, value in state.items()
        if not (name.startswith(of_head) and (name not in expected or value.shape != expected[name].shape))
    }
    wrong_shape = [
        name for name in fitting if name in expected and fitting[name].shape != expected[name].shape
    ]
    unknown = [name for name in fitting if name not in expected]
    missing = [
        name
        for name in expected
        if name not in fitting and not name.startswith(of_head) and not name.endswith("num_batches_tracked")
    ]
    for kind, names in (
        ("a wrong shape", wrong_shape),
        ("no place in the network", unknown),
        ("no value", missing),
    ):
        if names:
            raise HandlensError(
                f"{path} does not fit the network: {len(names)} tensors have {kind}, for example "
                f"{', '.join(names[:3])}. Is it the file of another network?"
            )
    network.load_state_dict(fitting, strict=False)


def digest_of(network: nn.Module) -> str:
    """Hash of the weights that a network holds."""
    parts: list[bytes | str] = []
    for name, value in sorted(network.state_dict().items()):
        parts += [name, value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()]
    return digest(*parts)
