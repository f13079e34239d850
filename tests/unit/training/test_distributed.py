"""Two real processes that talk over gloo, against what one process does with all pictures."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d, DropPath
from torch import nn
from torch.multiprocessing.spawn import spawn

from handlens.base.errors import HandlensError
from handlens.models.heads import Chance, Head, HeadSpec, Share
from handlens.models.network import Network
from handlens.training import distributed
from handlens.training.loop import run_epoch
from handlens.training.losses import ClassLoss, LossSpec, make_loss
from handlens.training.whole_batch import as_one_process

NUM, WORLD = 7, 2


def network() -> Network:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, momentum=None),
        nn.Dropout(0.3),
        nn.Conv2d(4, 6, 3),
        BatchNormAct2d(6),
        DropPath(0.4),
    )
    head = Head(HeadSpec(kind="layers", hidden=8, dropout=0.5), 6, 3)
    return Network(trunk, lambda maps: maps.mean((2, 3)), head)


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = 5 + 3 * torch.randn(NUM, 3, 8, 9, generator=generator)
    return inputs.contiguous(memory_format=torch.channels_last), torch.tensor([0, 1, 2, 0, 0, 1, 2])


def loss() -> ClassLoss:
    spec = LossSpec(class_weights="balanced", smoothing=0.1)
    return make_loss(spec, torch.tensor([3, 2, 2]))


def learned(net: Network, rank: int, world: int) -> dict[str, torch.Tensor]:
    """Gradients, statistics and figures after one batch, of which this process has its part."""
    inputs, targets = pictures()
    net.begin_chance(3, Share(rank, world, NUM) if world > 1 else None)
    net.train()
    batch = [(inputs[rank::world], targets[rank::world])]
    totals = run_epoch(net.member_scores, batch, loss(), lambda value: value.backward(), shared=world > 1)
    if world > 1:
        distributed.add_up_gradients(net.parameters())
        totals = totals.of_all_processes()
    figures = torch.tensor([totals.loss, totals.right, totals.counted, totals.seen])
    gradients = {name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None}
    return {**dict(net.named_buffers()), **gradients, "figures": figures}


def process(rank: int, folder: Path) -> None:
    """What each of two processes does."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=WORLD
    )
    told: dict[str, Any] = {}
    with distributed.joined():
        told["who"] = (distributed.rank(), distributed.world(), distributed.is_main())
        told["from_main"] = distributed.from_main({"rank": rank})
        told["gathered"] = distributed.gathered(f"from {rank}")
        told["sums"] = distributed.sums([1.0, rank])
        rows = np.arange(NUM * 2, dtype=np.float32).reshape(NUM, 2)
        told["dealt_back"] = torch.from_numpy(distributed.dealt_back(rows[rank::WORLD]))
        with distributed.main_first():
            told["found"] = (folder / "made").exists()
            (folder / "made").touch()
        net = network()
        with as_one_process(net):
            pass
        told["left"] = [name for name, module in net.named_modules() if "forward" in vars(module)]
    told["still joined"] = distributed.world()
    net = network()
    with as_one_process(net):
        told["learned"] = learned(net, rank, WORLD)
    torch.save(told, folder / f"{rank}.pt")
    # One ends, and the other learns it from the next thing that it asks for.
    if rank == 0:
        torch.distributed.destroy_process_group()
    else:
        try:
            distributed.sums([1.0])
        except HandlensError as error:
            (folder / "sentence").write_text(str(error))
    # At once, as the program itself ends: taken down in good order, the threads of gloo may abort it.
    os._exit(0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], str]:
    folder = tmp_path_factory.mktemp("two")
    spawn(process, (folder,), nprocs=WORLD)
    each = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]
    return each, (folder / "sentence").read_text()


def test_what_they_tell_each_other(told: tuple[list[dict[str, Any]], str]) -> None:
    each, _ = told
    assert [one["who"] for one in each] == [(0, 2, True), (1, 2, False)]
    for one in each:
        assert one["from_main"] == {"rank": 0}
        assert one["gathered"] == ["from 0", "from 1"]
        assert one["sums"] == [2.0, 1.0]
        assert one["dealt_back"].tolist() == [[2 * row, 2 * row + 1] for row in range(NUM)]
        assert one["still joined"] == 2
        assert one["left"] == []
    assert [one["found"] for one in each] == [False, True]


def test_a_batch_in_parts_teaches_what_the_whole_batch_teaches(
    told: tuple[list[dict[str, Any]], str],
) -> None:
    whole = learned(network(), 0, 1)
    assert len(whole) > 12
    for one in told[0]:
        assert one["learned"].keys() == whole.keys()
        for name, value in whole.items():
            torch.testing.assert_close(one["learned"][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_one_that_ends_is_told_to_the_other(told: tuple[list[dict[str, Any]], str]) -> None:
    assert "Another process of this training has ended" in told[1]
    assert "give the same command again" in told[1]


def test_one_process_alone_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.joined(), distributed.main_first():
        assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
        assert distributed.from_main(3) == 3
        assert distributed.gathered(3) == [3]
        assert distributed.sums([1, 2]) == [1, 2]
        rows = np.ones((3, 2), np.float32)
        assert np.array_equal(distributed.dealt_back(rows), rows)
    assert not torch.distributed.is_initialized()


def test_shares_of_a_batch_are_its_parts() -> None:
    shape, of = torch.Size((2, 5, 3)), 5
    whole = Chance(7).kept(shape, 100)
    parts = []
    for rank in range(2):
        chance = Chance(0)
        chance.begin(7, Share(rank, 2, of))
        parts.append(chance.kept(torch.Size((2, len(range(rank, of, 2)), 3)), 100))
    assert torch.equal(whole[:, 0::2], parts[0])
    assert torch.equal(whole[:, 1::2], parts[1])


def test_more_processes_than_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HandlensError, match="2 processes for 1 GPU on this machine"), distributed.joined():
        pass
