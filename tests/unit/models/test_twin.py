"""A network beside itself as it was: the mean of two, against hand arithmetic."""

from copy import deepcopy

import pytest
import torch

from handlens.models import backbones
from handlens.models.heads import Head, HeadSpec, probabilities
from handlens.models.pool import NUM_STATISTICS, POOLS
from handlens.models.roles import units
from handlens.models.twin import TwinHead, twin_trunk

X = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
BEGIN = 4


def two_trunks(name="handlens/nano", own_rows=False, begin=BEGIN):
    """A network, and one of which the upper part has moved."""
    before = backbones.create(name, "none", 1, own_rows).trunk
    trained = deepcopy(before)
    generator = torch.Generator().manual_seed(2)
    for _, unit in units(trained)[begin:]:
        for weight in unit.parameters():
            with torch.no_grad():
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)
    return before, trained


def heads(width, widths=(2, 3), members=2):
    spec = HeadSpec(kind="layers", hidden=8, members=members)
    return Head(spec, width, widths, 3).eval(), Head(spec, width, widths, 4).eval()


@pytest.mark.parametrize("pool", list(POOLS))
@pytest.mark.parametrize("widths", [(3,), (2, 4)])
@pytest.mark.parametrize("members", [1, 3])
@torch.no_grad()
def test_it_judges_by_the_mean_of_both(pool, widths, members):
    before, trained = two_trunks(own_rows=pool == "own")
    rows = [POOLS[pool](trunk(X)) for trunk in (before, trained)]
    both = heads(rows[0].shape[1], widths, members)
    expected = sum(probabilities(head(row), widths) for head, row in zip(both, rows, strict=True)) / 2
    twin = TwinHead(*both, NUM_STATISTICS[pool])
    found = probabilities(twin(POOLS[pool](twin_trunk(before, trained, BEGIN).eval()(X))), widths)
    torch.testing.assert_close(found, expected)
    assert twin.num_features == 2 * rows[0].shape[1]
    assert (twin.widths, twin.num_classes) == (widths, sum(widths))


@pytest.mark.parametrize("begin", [0, 1, 3, 7, 10])
@torch.no_grad()
def test_the_two_have_one_lower_part(begin):
    before, trained = two_trunks(begin=begin)
    trunk = twin_trunk(before, trained, begin).eval()
    torch.testing.assert_close(trunk(X), torch.cat([before(X), trained(X)], dim=1))
    of_lower = sum(value.numel() for name, value in trunk.named_parameters() if not name.startswith("twin."))
    of_both = sum(value.numel() for value in trunk.parameters())
    of_one = sum(value.numel() for value in trained.parameters())
    assert of_both == 2 * of_one - of_lower
    # Ten units: three of the stem, four blocks, and three of the last layer.
    assert (of_lower == of_one) == (begin == 10)


@torch.no_grad()
def test_its_state_fills_another():
    before, trained = two_trunks()
    state = {name: value.clone() for name, value in twin_trunk(before, trained, BEGIN).state_dict().items()}
    fresh = backbones.create("handlens/nano", None, 9).trunk
    other = twin_trunk(fresh, fresh, BEGIN)
    other.load_state_dict(state)
    expected = torch.cat([before(X), trained(X)], dim=1)
    torch.testing.assert_close(other.eval()(X), expected, rtol=0, atol=0)


def test_the_part_as_it_was_is_a_copy():
    before, trained = two_trunks()
    trunk = twin_trunk(before, trained, BEGIN)
    with torch.no_grad():
        for weight in before.parameters():
            weight.zero_()
    assert all(weight.abs().sum() > 0 for name, weight in trunk.named_parameters() if "conv" in name)
