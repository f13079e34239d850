"""Checkpoints: what comes back, what is refused, and that a kill leaves the old file."""

import os
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from handlens.base.errors import HandlensError
from handlens.models.heads import Head, HeadSpec
from handlens.training import checkpoint
from handlens.training.checkpoint import HeadFacts, load_head, load_state, save_head, save_state
from handlens.training.fit import Progress

FACTS = HeadFacts(
    classes=("Graphit, schuppig", "黄铁矿", "шлак", "a\"b'c", "line\nbreak"),
    num_features=4,
    kind="stark é",
    average=True,
    weights_digest="ab" * 16,
)


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def path(tmp_path):
    """A place for a checkpoint, as in a run folder."""
    folder = tmp_path / "run-1" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / "best.safetensors"


@pytest.fixture
def state_path(path):
    return path.with_name("state.pt")


def state():
    head = Head(HeadSpec(kind="layers", hidden=3, members=2), 4, 5, seed=0)
    head.standardise.set_to(torch.arange(4.0), torch.arange(1.0, 5.0))
    return head.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def progress():
    """A training that has come some way, with everything that a state can hold."""
    weight = torch.nn.Parameter(torch.randn(3, 4))
    optimiser = torch.optim.AdamW([weight], fused=True)
    weight.sum().backward()
    optimiser.step()
    return Progress(
        epoch=2,
        history=[{"epoch": 1, "train_loss": 0.1 + 0.2}, {"epoch": 2, "train_loss": 1e-17}],
        weights=state(),
        stepper={"number": 2, "moves": 2, "optimiser": optimiser.state_dict(), "scaler": {}},
        best_loss=float("inf"),
        best_epoch=1,
        best_weights=state(),
    )


# heads


def test_a_head_comes_back_with_its_classes_in_any_script(path):
    save_head(path, state(), FACTS)
    loaded, facts = load_head(path)
    assert same(loaded, state())
    assert facts == FACTS
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_same_head_gives_the_same_bytes(path):
    save_head(path, state(), FACTS)
    first = path.read_bytes()
    save_head(path, state(), FACTS)
    assert path.read_bytes() == first


def test_weights_that_are_not_in_one_piece_of_memory_are_saved(path):
    save_head(path, {"weight": torch.arange(12.0).reshape(3, 4).T}, FACTS)
    assert torch.equal(load_head(path)[0]["weight"], torch.arange(12.0).reshape(3, 4).T)


def test_a_head_that_is_not_there_names_the_command(path):
    with pytest.raises(HandlensError, match="handlens train"):
        load_head(path)


def test_a_truncated_head_says_what_to_delete(path):
    save_head(path, state(), FACTS)
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 4, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(HandlensError, match="damaged") as caught:
            load_head(path)
        assert str(path.parent) in str(caught.value)
        assert str(path.parents[1] / "DONE") in str(caught.value)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"other": "x"},
        {"handlens": "{"},
        {"handlens": "[]"},
        {"handlens": "5"},
        {"handlens": "{}"},
        {"handlens": '{"classes": 5}'},
        {"handlens": '{"classes": ["a"], "unknown": 1}'},
    ],
)
def test_a_safetensors_file_that_is_no_head_is_told(metadata, path):
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(HandlensError, match="damaged"):
        load_head(path)


def test_a_save_that_fails_leaves_the_old_head(path, monkeypatch):
    save_head(path, state(), FACTS)
    before = path.read_bytes()

    def fails(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(KeyboardInterrupt):
        save_head(path, state(), FACTS)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# states


def test_a_state_comes_back_to_the_last_bit(state_path):
    before = progress()
    save_state(state_path, before.as_state())
    loaded = load_state(state_path)
    assert loaded is not None
    after = Progress.from_state(loaded)
    assert after.history == before.history
    assert (after.epoch, after.best_epoch, after.best_loss) == (2, 1, float("inf"))
    assert same(after.weights, before.weights)
    assert same(after.best_weights, before.best_weights)
    assert same(after.stepper["optimiser"]["state"][0], before.stepper["optimiser"]["state"][0])
    assert after.stepper["optimiser"]["param_groups"] == before.stepper["optimiser"]["param_groups"]


def test_there_is_no_state_before_the_first_save(state_path):
    assert load_state(state_path) is None


def test_a_truncated_state_is_told_wherever_it_ends(state_path):
    save_state(state_path, progress().as_state())
    whole = state_path.read_bytes()
    for length in (0, 1, 4, 30, 100, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        state_path.write_bytes(whole[:length])
        with pytest.raises(HandlensError, match="damaged") as caught:
            load_state(state_path)
        assert str(state_path.parent) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"hello world",
        bytes(100),
        b"Repository not found",
    ],
    ids=["words", "zeros", "other words"],
)
def test_a_state_that_is_something_else_is_told(content, state_path):
    state_path.write_bytes(content)
    with pytest.raises(HandlensError, match="damaged"):
        load_state(state_path)


@pytest.mark.parametrize("way", ["torch", "pickle"])
def test_a_malicious_state_is_refused_and_not_run(way, state_path, tmp_path):
    marker = tmp_path / "pwned"
    if way == "torch":
        torch.save({"epoch": Evil(marker)}, state_path)
    else:
        state_path.write_bytes(pickle.dumps(Evil(marker), protocol=2))
    with pytest.raises(HandlensError):
        load_state(state_path)
    assert not marker.exists()


def test_a_save_that_fails_leaves_the_old_state(state_path, monkeypatch):
    save_state(state_path, {"epoch": 1})

    def fails(_, file):
        Path(file).write_bytes(b"half")
        raise OSError("gone")

    monkeypatch.setattr(checkpoint.torch, "save", fails)
    with pytest.raises(OSError, match="gone"):
        save_state(state_path, {"epoch": 2})
    assert load_state(state_path) == {"epoch": 1}
    assert [entry.name for entry in state_path.parent.iterdir()] == [state_path.name]


def test_the_facts_are_all_told_in_the_file(path):
    from safetensors import safe_open

    save_head(path, state(), FACTS)
    with safe_open(path, "pt") as file:
        told = file.metadata()["handlens"]
    # Readable to people, whatever their script.
    assert "黄铁矿" in told
    assert all(name in told for name in asdict(FACTS))


def test_a_disk_that_fills_up_is_a_sentence(path, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(HandlensError, match="is full"):
        save_head(path, state(), FACTS)
    assert not list(path.parent.iterdir())
