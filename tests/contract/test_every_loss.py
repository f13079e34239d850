"""What every loss owes: forward, backward, a right gradient, and a place in the spec."""

from typing import get_args

import pytest
import torch

from handlens.models.heads import Head, HeadSpec
from handlens.training.losses import LOSSES, LossSpec, make_loss

TARGETS = torch.tensor([0, 2, 1, 1, 2, 0])
COUNTS = torch.bincount(TARGETS)
# Every loss with what it can be told; asymmetric needs smoothing.
SETTINGS = [
    {"name": "cross_entropy"},
    {"name": "cross_entropy", "smoothing": 0.1},
    {"name": "focal"},
    {"name": "focal", "gamma": 0.25, "smoothing": 0.1},
    {"name": "focal", "gamma": 0, "alpha": [0.5, 1, 2]},
    {"name": "asymmetric", "smoothing": 0.1},
    {"name": "asymmetric", "smoothing": 0.3, "gamma_positive": 0.5, "gamma_negative": 1.5},
]


def scores(scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(6, 3, dtype=torch.float64, generator=generator)).requires_grad_()


def test_the_spec_names_every_loss_and_no_other():
    assert set(get_args(LossSpec.model_fields["name"].annotation)) == set(LOSSES)
    assert {settings["name"] for settings in SETTINGS} == set(LOSSES)


@pytest.mark.parametrize("kinds_weight", [0, 0.7], ids=["no kinds", "kinds"])
@pytest.mark.parametrize("weights", ["none", [1.0, 0.5, 2.0]], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
class TestEveryLoss:
    def loss(self, settings, weights, kinds_weight):
        spec = LossSpec(**settings, class_weights=weights, kinds_weight=kinds_weight)
        loss = make_loss(spec, COUNTS, torch.tensor([1, 0, 1]))
        # Double numbers, for the check of the gradient.
        inner = loss.loss if kinds_weight else loss
        loss.weights = inner.weights = None if inner.weights is None else inner.weights.double()
        return loss

    def test_the_gradient_is_right(self, settings, weights, kinds_weight):
        loss = self.loss(settings, weights, kinds_weight)
        assert torch.autograd.gradcheck(lambda x: loss(x, TARGETS), (scores(),))

    def test_the_gradient_for_blended_targets_is_right(self, settings, weights, kinds_weight):
        loss = self.loss(settings, weights, kinds_weight)
        blended = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        blended /= blended.sum(1, keepdim=True)
        assert torch.autograd.gradcheck(lambda x: loss(x, blended), (scores(),))

    def test_it_is_one_number_above_zero(self, settings, weights, kinds_weight):
        value = self.loss(settings, weights, kinds_weight)(scores(), TARGETS)
        assert value.shape == ()
        assert value.item() > 0

    def test_whole_targets_may_be_written_either_way(self, settings, weights, kinds_weight):
        loss = self.loss(settings, "none", kinds_weight)
        as_shares = torch.nn.functional.one_hot(TARGETS, 3).double()
        torch.testing.assert_close(loss(scores(), TARGETS), loss(scores(), as_shares))

    def test_extreme_scores_stay_finite(self, settings, weights, kinds_weight):
        loss, x = self.loss(settings, weights, kinds_weight), scores(1e4)
        value = loss(x, TARGETS)
        value.backward()
        assert value.isfinite()
        assert x.grad.isfinite().all()

    def test_the_order_of_the_pictures_does_not_matter(self, settings, weights, kinds_weight):
        loss, order = self.loss(settings, weights, kinds_weight), torch.tensor([3, 0, 5, 1, 4, 2])
        torch.testing.assert_close(loss(scores()[order], TARGETS[order]), loss(scores(), TARGETS))

    def test_a_higher_score_for_the_truth_is_better(self, settings, weights, kinds_weight):
        loss, x = self.loss(settings, weights, kinds_weight), torch.zeros(6, 3, dtype=torch.float64)
        better = x + 0.1 * torch.nn.functional.one_hot(TARGETS, 3)
        assert loss(better, TARGETS) < loss(x, TARGETS)

    def test_scores_that_are_sure_in_float32_keep_a_finite_gradient(self, settings, weights, kinds_weight):
        x = torch.tensor([[60.0, 0, 0], [0, 0, 200.0], [0, 17.5, 0]], requires_grad=True)
        assert x.softmax(-1).amax(-1).tolist()[:2] == [1, 1]
        loss = make_loss(LossSpec(**settings, class_weights=weights), COUNTS)
        for targets in (torch.tensor([0, 2, 1]), torch.tensor([1, 2, 0])):
            (gradient,) = torch.autograd.grad(loss(x, targets), x)
            assert gradient.isfinite().all()

    @pytest.mark.parametrize("blended", [False, True])
    def test_parts_of_a_batch_add_up_to_the_whole(self, settings, weights, kinds_weight, blended):
        loss, x = self.loss(settings, weights, kinds_weight), scores()
        targets = torch.eye(3, dtype=torch.float64)[TARGETS].roll(1, 1) / 2 + 1 / 6 if blended else TARGETS
        mass = loss.mass(targets)
        parts = [loss(x[rows], targets[rows], mass) for rows in (slice(4), slice(4, 6))]
        torch.testing.assert_close(sum(parts), loss(x, targets))


@pytest.mark.parametrize("class_weights", ["none", "balanced", [1, 2, 3]])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_head_learns_with_it(settings, class_weights):
    loss = make_loss(LossSpec(**settings, class_weights=class_weights), COUNTS)
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
    # A smoothed target leaves a loss that nothing can take away.
    floor = 0 if loss.smoothing == 0 else min(values)
    assert values[-1] - floor < (values[0] - floor) / 2
    assert (head(rows).argmax(-1) == TARGETS).all()
