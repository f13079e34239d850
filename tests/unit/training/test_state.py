"""The state of a run: parts that are not begun, under way, finished; on disk after every change."""

import numpy as np
import pytest
import torch

from handlens.base.errors import HandlensError
from handlens.training.fit import Progress
from handlens.training.state import TrainingState


def some_progress():
    return Progress(
        epoch=2,
        batch=3,
        totals={"loss": 1.5, "right": 2.0, "counted": 3.0, "seen": 4.0},
        history=[{"epoch": 1, "train_loss": 0.5}],
        weights={"head.weight": torch.arange(6.0).view(2, 3)},
        stepper={"number": 7, "optimiser": {"state": {0: {"step": torch.tensor(7.0)}}}},
        best_loss=0.25,
        best_epoch=1,
        best_weights={"head.weight": torch.ones(2, 3)},
    )


def test_nothing_is_begun_at_first(tmp_path):
    state = TrainingState(tmp_path / "state.pt")
    assert state.progress("final") is None
    assert state.judgments("fold 1") is None
    assert not (tmp_path / "state.pt").exists()


def test_progress_comes_back_from_disk(tmp_path):
    path = tmp_path / "checkpoints" / "state.pt"
    told = []
    TrainingState(path).saver("final", told.append)(some_progress())
    back = TrainingState(path).progress("final")
    expected = some_progress()
    assert torch.equal(back.weights["head.weight"], expected.weights["head.weight"])
    assert torch.equal(back.best_weights["head.weight"], expected.best_weights["head.weight"])
    assert back.stepper["optimiser"]["state"][0]["step"] == 7
    for name in ("epoch", "batch", "totals", "history", "average", "best_loss", "best_epoch"):
        assert getattr(back, name) == getattr(expected, name)
    assert [progress.epoch for progress in told] == [2]
    assert TrainingState(path).progress("fold 1") is None


def test_a_finished_fold_keeps_its_judgments_and_not_its_weights(tmp_path):
    path = tmp_path / "state.pt"
    state = TrainingState(path)
    state.saver("fold 1")(some_progress())
    judged = np.random.default_rng(0).random((2, 5, 3)).astype(np.float32)
    state.finish("fold 1", judged)
    state.saver("fold 2")(some_progress())
    for each in (state, TrainingState(path)):
        np.testing.assert_array_equal(each.judgments("fold 1"), judged)
        assert each.progress("fold 1") is None
        assert each.judgments("fold 2") is None
        assert each.progress("fold 2").epoch == 2


def test_a_damaged_file_is_told(tmp_path):
    path = tmp_path / "state.pt"
    TrainingState(path).saver("final")(some_progress())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HandlensError, match=r"state\.pt is damaged.*the same command again"):
        TrainingState(path)
