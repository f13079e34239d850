"""What every loss owes: forward, backward, a right gradient, and a place in the spec."""

from typing import get_args

import pytest
import torch

from handlens.models.heads import Head, HeadSpec
from handlens.training.losses import LOSSES, LossSpec, make_loss

TARGETS = torch.tensor([0, 2, 1, 1, 2, 0])
WEIGHTS = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)


def scores(scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(6, 3, dtype=torch.float64, generator=generator)).requires_grad_()


def test_the_spec_names_every_loss_and_no_other():
    assert set(get_args(LossSpec.model_fields["name"].annotation)) == set(LOSSES)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def loss(self, name, smoothing, weights):
        return LOSSES[name](LossSpec(name=name, smoothing=smoothing), weights)

    def test_the_gradient_is_right(self, name, smoothing, weights):
        loss = self.loss(name, smoothing, weights)
        assert torch.autograd.gradcheck(lambda x: loss(x, TARGETS), (scores(),))

    def test_the_gradient_for_blended_targets_is_right(self, name, smoothing, weights):
        loss = self.loss(name, smoothing, weights)
        blended = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        blended /= blended.sum(1, keepdim=True)
        assert torch.autograd.gradcheck(lambda x: loss(x, blended), (scores(),))

    def test_it_is_one_number_above_zero(self, name, smoothing, weights):
        value = self.loss(name, smoothing, weights)(scores(), TARGETS)
        assert value.shape == ()
        assert value.item() > 0

    def test_whole_targets_may_be_written_either_way(self, name, smoothing, weights):
        loss = self.loss(name, smoothing, None)
        as_shares = torch.nn.functional.one_hot(TARGETS, 3).double()
        torch.testing.assert_close(loss(scores(), TARGETS), loss(scores(), as_shares))

    def test_extreme_scores_stay_finite(self, name, smoothing, weights):
        loss, x = self.loss(name, smoothing, weights), scores(1e4)
        value = loss(x, TARGETS)
        value.backward()
        assert value.isfinite()
        assert x.grad.isfinite().all()

    def test_the_order_of_the_pictures_does_not_matter(self, name, smoothing, weights):
        loss, order = self.loss(name, smoothing, weights), torch.tensor([3, 0, 5, 1, 4, 2])
        torch.testing.assert_close(loss(scores()[order], TARGETS[order]), loss(scores(), TARGETS))

    def test_a_higher_score_for_the_truth_is_better(self, name, smoothing, weights):
        loss, x = self.loss(name, smoothing, weights), torch.zeros(6, 3, dtype=torch.float64)
        better = x + 0.1 * torch.nn.functional.one_hot(TARGETS, 3)
        assert loss(better, TARGETS) < loss(x, TARGETS)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_head_learns_with_it(name, class_weights):
    loss = make_loss(LossSpec(name=name, class_weights=class_weights), torch.bincount(TARGETS))
    head = Head(HeadSpec(), 4, 3)
    rows = torch.eye(4)[TARGETS]
    optimiser = torch.optim.SGD(head.parameters(), lr=0.5)
    values = []
    for _ in range(20):
        optimiser.zero_grad()
        value = loss(head(rows), TARGETS)
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < values[0] / 2
