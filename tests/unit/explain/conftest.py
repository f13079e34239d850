"""A run on pictures whose defects are known, and what tests that compute share."""

import os
from pathlib import Path
from unittest import mock

import pytest
from marked import RECIPE, draw_folder

from alone import nothing_at_hand, one_thread
from handlens.pipeline import run_recipe
from handlens.recipe import Recipe
from handlens.trained import TrainedRun

__all__ = ["nothing_at_hand", "one_thread"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A head on the package's own network, which tells defects from good surfaces."""
    root = tmp_path_factory.mktemp("explain")
    with mock.patch.dict(os.environ, {"HANDLENS_CACHE": str(root / "cache"), "HANDLENS_WEIGHTS": ""}):
        samples = draw_folder(root / "bilder 图")
        run = run_recipe(Recipe.parse(RECIPE, "The recipe"), samples, root / "lauf 1")
    return TrainedRun(run.path)


@pytest.fixture
def pictures(trained: TrainedRun) -> Path:
    """The folder of the pictures."""
    return trained.folder.path.parent / "bilder 图"
