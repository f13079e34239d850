"""Fixtures for tests that compute: one thread, no weights of this machine's owner, no network."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads on a busy machine wait for each other far longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Empty caches of weights and features, and downloads switched off."""
    monkeypatch.delenv("HANDLENS_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "handlens"))
    before = torch.hub.get_dir()
    torch.hub.set_dir(tmp_path / "hub")
    yield
    torch.hub.set_dir(before)
