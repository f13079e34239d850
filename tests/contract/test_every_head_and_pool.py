"""What every kind of head and every pool owes."""

import itertools
from typing import get_args

import pytest
import torch

from handlens.models.build import ModelSpec
from handlens.models.heads import Head, HeadSpec
from handlens.models.pool import POOLS
from handlens.training.checkpoint import HeadFacts, load_head, save_head

KINDS = get_args(HeadSpec.model_fields["kind"].annotation)
HEADS = [HeadSpec(kind=kind, members=members, hidden=6) for kind, members in itertools.product(KINDS, (1, 3))]
ROWS = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", HEADS, ids=lambda spec: f"{spec.kind}-{spec.members}")
class TestEveryHead:
    def head(self, spec, seed=0):
        head = Head(spec, 5, 4, seed).eval()
        head.standardise.set_to(ROWS.mean(0), ROWS.std(0))
        return head

    def test_it_gives_a_probability_for_each_class(self, spec):
        with torch.no_grad():
            judged = self.head(spec)(ROWS).softmax(-1)
        assert judged.shape == (7, 4)
        assert (judged > 0).all()
        torch.testing.assert_close(judged.sum(-1), torch.ones(7))

    def test_each_picture_is_judged_by_itself(self, spec):
        head = self.head(spec)
        with torch.no_grad():
            together = head(ROWS)
            alone = torch.cat([head(row) for row in ROWS.split(1)])
        torch.testing.assert_close(together, alone)

    def test_it_comes_back_from_its_file(self, spec, tmp_path):
        head, other = self.head(spec), self.head(spec, seed=1)
        folder = tmp_path / "checkpoints"
        save_head(folder / "best.safetensors", head.state_dict(), HeadFacts(("a",) * 4, 5, "", False, "0"))
        other.load_state_dict(load_head(folder / "best.safetensors")[0])
        with torch.no_grad():
            assert torch.equal(head(ROWS), other(ROWS))

    def test_all_of_it_trains(self, spec):
        head = self.head(spec).train()
        torch.nn.functional.nll_loss(head(ROWS), torch.arange(7) % 4).backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in head.parameters())


def test_the_spec_names_every_pool_and_no_other():
    assert set(get_args(ModelSpec.model_fields["pool"].annotation)) == set(POOLS)


# What the network's own way comes to is asked of the backbones.
@pytest.mark.parametrize("name", [name for name in POOLS if name != "own"])
class TestEveryPool:
    MAP = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))

    def test_it_gives_a_row_for_each_picture_of_a_width_that_only_the_channels_set(self, name):
        pool = POOLS[name]
        rows = pool(self.MAP)
        assert rows.ndim == 2
        assert len(rows) == 3
        assert pool(self.MAP[:, :, :1, :1]).shape == rows.shape
        assert rows.isfinite().all()

    def test_each_picture_is_pooled_by_itself(self, name):
        pool = POOLS[name]
        alone = torch.cat([pool(one) for one in self.MAP.split(1)])
        torch.testing.assert_close(pool(self.MAP), alone)

    def test_where_a_thing_lies_does_not_matter(self, name):
        pool = POOLS[name]
        torch.testing.assert_close(pool(self.MAP.flip(2).roll(2, 3)), pool(self.MAP))

    def test_the_layout_in_memory_does_not_matter(self, name):
        pool = POOLS[name]
        torch.testing.assert_close(pool(self.MAP.to(memory_format=torch.channels_last)), pool(self.MAP))
