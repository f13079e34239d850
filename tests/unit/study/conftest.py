"""What the tests of studies share."""

from pathlib import Path

import pytest
from studied import draw_photos

from alone import nothing_at_hand, one_thread
from handlens.data.samples import Samples

__all__ = ["nothing_at_hand", "one_thread"]


@pytest.fixture
def photos(tmp_path: Path) -> Samples:
    """Twenty pictures of two classes."""
    return Samples.read(draw_photos(tmp_path / "photos"))
