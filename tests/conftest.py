"""What all tests share: no network, and the measuring data where they are present."""

import os
from pathlib import Path

import pytest

# Set before anything imports the hub's library, which looks only once.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def shared() -> Path:
    """The folder with measuring data and real weights beside the checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("there is no folder 'shared' beside the checkout")
    return folder
