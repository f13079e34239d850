"""A network in one piece: it begins at any boundary, stands still where frozen, and is random by seed."""

import pytest
import torch
from torch import nn

from handlens.models import backbones
from handlens.models.build import ModelSpec, build
from handlens.models.pool import POOLS
from handlens.models.roles import units

X = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(**model):
    given = {"backbone": "handlens/nano", "weights": "none", "freeze": "none"} | model
    return build(ModelSpec.model_validate(given), (2, 3))


@pytest.mark.parametrize("pool", list(POOLS))
@torch.no_grad()
def test_trunk_pool_and_head_one_after_the_other(pool):
    whole = network(pool=pool, head={"members": 2, "kind": "layers", "hidden": 8}).eval()
    rows = POOLS[pool](whole.trunk(X))
    torch.testing.assert_close(whole(X), whole.head(rows))
    torch.testing.assert_close(whole.member_scores(X), whole.head.member_scores(rows))
    assert (whole.members, whole.widths, whole.num_classes) == (2, (2, 3), 5)


@pytest.mark.parametrize("name", ["handlens/nano", "torchvision/squeezenet1_1", "timm/resnet10t"])
@torch.no_grad()
def test_it_begins_at_any_boundary(name):
    whole = network(backbone=name).eval()
    expected = whole(X)
    inner = X
    for number, (_, unit) in enumerate(units(whole.trunk), start=1):
        inner = unit(inner)
        whole.begin = number
        torch.testing.assert_close(whole(inner), expected, rtol=1e-4, atol=1e-5)


def test_what_is_frozen_stays_in_judging():
    whole = network(freeze={"stages": 3}).train()
    frozen, free = (dict(whole.trunk.named_children())[name] for name in ("stage2", "stage3"))
    assert not any(part.training for part in frozen.modules())
    assert all(part.training for part in free.modules())
    assert whole.head.training
    whole.eval()
    assert not any(part.training for part in whole.modules())


def test_below_the_first_that_trains_no_dropout_works():
    whole = network(backbone="torchvision/alexnet", pool="own", freeze={"names": ["features", "own_rows.3"]})
    layers = {path: part for path, part in units(whole.train().trunk) if isinstance(part, nn.Dropout)}
    assert [part.training for part in layers.values()] == [False, False]
    whole = network(backbone="torchvision/alexnet", pool="own", freeze={"names": ["features"]})
    # What stands directly before the first that trains belongs to neither and is still.
    layers = {path: part for path, part in units(whole.train().trunk) if isinstance(part, nn.Dropout)}
    assert [part.training for part in layers.values()] == [False, True]


def test_all_that_is_random_follows_from_the_seed():
    whole = network(backbone="torchvision/alexnet", pool="own", head={"input_dropout": 0.5}).train()
    found = []
    for seed in (1, 1, 2):
        torch.rand(7)
        whole.begin_chance(seed)
        found.append(whole.member_scores(X).detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_head_computes_in_full_precision_whatever_the_trunk_does():
    whole = network()
    whole.autocast_to = torch.bfloat16
    rows = whole.rows(X)
    assert rows.dtype == torch.float32
    exact = network().rows(X)
    assert (rows - exact).abs().max() > 0
    torch.testing.assert_close(rows, exact, rtol=0.1, atol=0.1)


def test_edits_come_once_and_new_layers_train():
    whole = network(freeze="all", edits=[{"insert": "eca", "after": "blocks"}])
    expected = backbones.create("handlens/nano", "none").trunk
    added = [name for name, weight in whole.trunk.named_parameters() if weight.requires_grad]
    assert len(added) == 4
    assert len(list(whole.trunk.parameters())) == len(list(expected.parameters())) + 4
