"""What pictures of a rare class are made from, one thread, no weights of this machine's owner."""

from collections.abc import Callable
from pathlib import Path

import pytest
from spotted import SPOTTED, draw_folder

from alone import nothing_at_hand, one_thread
from handlens.base.files import digest
from handlens.synthesis.material import Material

__all__ = ["MakeMaterial", "material_of", "nothing_at_hand", "one_thread"]

MakeMaterial = Callable[..., Material]


@pytest.fixture
def material_of(tmp_path: Path) -> MakeMaterial:
    """The drawn pictures, as what pictures of the spotted class are made from."""

    def make(**drawn: int) -> Material:
        samples = draw_folder(tmp_path / "pictures", **drawn)
        contents = [digest(Path(path).read_bytes()) for path in samples.table["path"]]
        return Material.of(samples, contents, SPOTTED)

    return make
