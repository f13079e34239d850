"""The loop: what it adds up, what it steps, and where it stops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn
from torch.nn import functional

from handlens.base.errors import HandlensError
from handlens.models.heads import Head, HeadSpec
from handlens.training.loop import Stepper, run_epoch
from handlens.training.optim import OptimiserSpec, make_optimiser

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(23, 5, generator=GENERATOR)
TARGETS = torch.randint(0, 3, (23,), generator=GENERATOR)


def batches(*sizes):
    return list(zip(INPUTS.split(sizes), TARGETS.split(sizes), strict=True))


def layer(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(5, 3)


def test_loss_and_accuracy_over_uneven_batches_against_scikit_learn():
    network = layer()
    result = run_epoch(network, batches(10, 9, 3, 1), functional.cross_entropy, None)
    judged = network(INPUTS).softmax(-1).detach().double().numpy()
    judged /= judged.sum(1, keepdims=True)
    assert result.seen == 23
    assert result.mean_loss == pytest.approx(log_loss(TARGETS, judged), rel=1e-5)
    assert result.accuracy == pytest.approx(accuracy_score(TARGETS, judged.argmax(1)))


def test_looking_leaves_no_gradient_and_no_change():
    network = layer()
    before = network.weight.clone()
    run_epoch(network, batches(10, 13), functional.cross_entropy, None)
    assert network.weight.grad is None
    assert torch.equal(network.weight, before)
    assert torch.is_grad_enabled()


def test_members_are_judged_by_their_mean_probability_and_learn_by_their_mean_loss():
    head = Head(HeadSpec(members=3), 5, 3)
    result = run_epoch(head.member_scores, batches(11, 12), functional.cross_entropy, None)
    with torch.no_grad():
        judged = head.member_scores(INPUTS).softmax(-1).double().numpy()
    losses = [log_loss(TARGETS, member / member.sum(1, keepdims=True)) for member in judged]
    assert result.mean_loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert result.accuracy == pytest.approx(accuracy_score(TARGETS, judged.mean(0).argmax(1)))


def test_blended_pictures_count_as_what_they_show_most_of():
    scores = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]])
    shares = torch.tensor([[0.7, 0.3, 0], [0.6, 0.4, 0], [0.1, 0.1, 0.8]])
    result = run_epoch(lambda x: x, [(scores, shares)], functional.cross_entropy, None)
    assert result.accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("steps", [True, False])
def test_a_loss_that_is_no_number_stops_with_a_sentence(bad, steps):
    taken = []

    def loss(scores, targets):
        return (scores * 0).sum() + (bad if len(targets) == 9 else 1.0)

    with pytest.raises(HandlensError) as caught:
        run_epoch(layer(), batches(10, 9, 4), loss, taken.append if steps else None)
    message = str(caught.value)
    assert "batch 2" in message
    assert str(bad) in message
    assert "learning_rate" in message
    # The weights never take the bad step.
    assert len(taken) == (1 if steps else 0)


def test_each_step_has_the_rate_of_its_number():
    weight = nn.Parameter(torch.tensor(10.0))
    optimiser = torch.optim.SGD([{"params": [weight]}], lr=99.0)
    step = Stepper(optimiser, lambda number: 0.1 * number, members=1)
    step.number = 5
    expected = 10.0
    for number in (5, 6, 7):
        step(2 * weight)
        expected -= 0.1 * number * 2
        assert weight.item() == pytest.approx(expected)


def test_steps_are_those_of_the_optimiser_itself():
    mine, theirs = layer(), layer()
    optimiser = make_optimiser(OptimiserSpec(learning_rate=0.02, weight_decay=0.1), mine)
    step = Stepper(optimiser, lambda number: 0.02 / (1 + number), members=1)
    decay = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(decay, lr=0.02)
    for number in range(6):
        step(functional.cross_entropy(mine(INPUTS), TARGETS))
        for group in reference.param_groups:
            group["lr"] = 0.02 / (1 + number)
        reference.zero_grad()
        functional.cross_entropy(theirs(INPUTS), TARGETS).backward()
        reference.step()
    torch.testing.assert_close(mine.weight, theirs.weight)
    torch.testing.assert_close(mine.bias, theirs.bias)
    assert all(weight.requires_grad for weight in mine.parameters())


def test_members_learn_as_they_would_alone():
    together = Head(HeadSpec(members=3), 5, 3, seed=1)
    alone = [Head(HeadSpec(), 5, 3) for _ in range(3)]
    for number, head in enumerate(alone):
        with torch.no_grad():
            for mine, all_of in zip(head.parameters(), together.parameters(), strict=True):
                mine.copy_(all_of[number : number + 1])
    for head in (together, *alone):
        optimiser = torch.optim.SGD(head.parameters(), lr=0.5)
        step = Stepper(optimiser, lambda _: 0.5, head.members)
        run_epoch(head.member_scores, batches(10, 9, 4), functional.cross_entropy, step)
    for number, head in enumerate(alone):
        for mine, all_of in zip(head.parameters(), together.parameters(), strict=True):
            torch.testing.assert_close(mine[0], all_of[number])
