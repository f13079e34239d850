"""Losses against formulas written out and against scikit-learn."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from handlens.base.errors import HandlensError, Problems
from handlens.training.losses import LossSpec, TaskLosses, make_loss

GENERATOR = np.random.default_rng(0)
SCORES = GENERATOR.normal(size=(40, 4)) * 3
TARGETS = GENERATOR.choice(4, 40, p=[0.6, 0.2, 0.15, 0.05])


def probabilities(scores):
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def computed(spec, scores=SCORES, targets=TARGETS, counts=None):
    targets = torch.from_numpy(targets)
    counts = torch.bincount(targets, minlength=4) if counts is None else torch.tensor(counts)
    return make_loss(spec, counts)(torch.from_numpy(scores).float(), targets).item()


def test_cross_entropy_against_scikit_learn():
    assert computed(LossSpec()) == pytest.approx(log_loss(TARGETS, probabilities(SCORES)), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_by_its_formula(smoothing):
    # Szegedy et al. 2016, section 7: the target becomes (1 - s) of itself and s / K of every class.
    target = (1 - smoothing) * np.eye(4)[TARGETS] + smoothing / 4
    expected = -(target * np.log(probabilities(SCORES))).sum(1).mean()
    assert computed(LossSpec(smoothing=smoothing)) == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_against_scikit_learn():
    weights = compute_class_weight("balanced", classes=np.arange(4), y=TARGETS)
    expected = log_loss(TARGETS, probabilities(SCORES), sample_weight=weights[TARGETS])
    assert computed(LossSpec(class_weights="balanced")) == pytest.approx(expected, rel=1e-5)
    assert make_loss(
        LossSpec(class_weights="balanced"), torch.from_numpy(np.bincount(TARGETS))
    ).weights.numpy() == pytest.approx(weights)


def test_a_class_without_pictures_has_no_weight_and_no_influence():
    present = TARGETS[TARGETS != 2]
    weights = make_loss(
        LossSpec(class_weights="balanced"), torch.from_numpy(np.bincount(present, minlength=4))
    ).weights.numpy()
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=present)
    assert weights[[0, 1, 3]] == pytest.approx(expected)
    assert weights[2] == 0


def test_equal_classes_are_weighed_alike():
    scores, targets = GENERATOR.normal(size=(8, 4)), np.arange(8) % 4
    balanced = computed(LossSpec(class_weights="balanced"), scores, targets)
    assert balanced == pytest.approx(computed(LossSpec(), scores, targets), rel=1e-6)


def test_targets_may_be_shares_of_classes():
    shares = np.random.default_rng(1).dirichlet(np.ones(4), 40)
    loss = make_loss(LossSpec(), torch.ones(4))
    got = loss(torch.from_numpy(SCORES), torch.from_numpy(shares)).item()
    assert got == pytest.approx(-(shares * np.log(probabilities(SCORES))).sum(1).mean())


@pytest.mark.parametrize(
    "values",
    [{"name": "cross_entropi"}, {"smoothing": 1.0}, {"smoothing": -0.1}, {"class_weights": "balance"}],
)
def test_a_loss_that_cannot_be_is_refused(values):
    with pytest.raises(ValidationError):
        LossSpec(**values)


def settled(**values):
    """A loss over four classes with the counts of TARGETS."""
    return make_loss(LossSpec(**values), torch.from_numpy(np.bincount(TARGETS, minlength=4)))


def focal_in_numpy(scores, shares, gamma, smoothing=0.0, factors=1.0):
    """Lin et al. 2017, equation 5, class by class in double numbers: the sum for each picture."""
    p = probabilities(np.asarray(scores, dtype=np.float64))
    shares = (1 - smoothing) * shares + smoothing / p.shape[1]
    return -(shares * factors * (1 - p) ** gamma * np.log(p)).sum(1)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 2.0, 5.0])
def test_focal_by_its_closed_form(gamma):
    p = probabilities(SCORES)[np.arange(40), TARGETS]
    expected = (-((1 - p) ** gamma) * np.log(p)).mean()
    got = settled(name="focal", gamma=gamma)(torch.from_numpy(SCORES), torch.from_numpy(TARGETS))
    assert got.item() == pytest.approx(expected, rel=1e-10)


def test_focal_of_two_classes_against_torchvision():
    from torchvision.ops import sigmoid_focal_loss

    # Two classes are one sigmoid of the difference of their scores.
    scores, truth = torch.from_numpy(SCORES[:, :2]), torch.from_numpy(TARGETS % 2)
    theirs = sigmoid_focal_loss(scores[:, 1] - scores[:, 0], truth.double(), 0.75, 2.0, "mean")
    loss = make_loss(LossSpec(name="focal", alpha=[0.25, 0.75]), torch.ones(2))
    torch.testing.assert_close(loss(scores, truth), theirs)


BALANCED = compute_class_weight("balanced", classes=np.arange(4), y=TARGETS)
LISTED = [0.2, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("alpha", "factors"), [(0.3, 0.3), (LISTED, np.array(LISTED)), ("balanced", BALANCED)]
)
@pytest.mark.parametrize("weights", ["none", "balanced", LISTED])
def test_focal_with_everything_against_numpy(alpha, factors, weights, smoothing):
    loss = settled(name="focal", gamma=1.5, alpha=alpha, class_weights=weights, smoothing=smoothing)
    per_class = {"none": np.ones(4), "balanced": BALANCED}.get(str(weights), np.array(LISTED))
    whole = focal_in_numpy(SCORES, np.eye(4)[TARGETS], 1.5, smoothing, factors * per_class)
    got = loss(torch.from_numpy(SCORES), torch.from_numpy(TARGETS)).item()
    assert got == pytest.approx(whole.sum() / per_class[TARGETS].sum(), rel=1e-6)
    shares = np.random.default_rng(1).dirichlet(np.ones(4), 40)
    blended = focal_in_numpy(SCORES, shares, 1.5, smoothing, factors * per_class)
    got = loss(torch.from_numpy(SCORES), torch.from_numpy(shares)).item()
    assert got == pytest.approx(blended.mean(), rel=1e-6)


@pytest.mark.parametrize("blended", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", ["none", "balanced", LISTED])
def test_focal_with_gamma_0_is_cross_entropy_to_the_bit(weights, smoothing, blended):
    targets = torch.from_numpy(TARGETS)
    if blended:
        targets = torch.from_numpy(np.random.default_rng(1).dirichlet(np.ones(4), 40)).float()
    results = []
    for values in ({"name": "cross_entropy"}, {"name": "focal", "gamma": 0}):
        scores = torch.from_numpy(SCORES).float().requires_grad_()
        value = settled(**values, class_weights=weights, smoothing=smoothing)(scores, targets)
        value.backward()
        results.append((value.item(), scores.grad))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_the_general_formula_of_focal_comes_to_cross_entropy_too():
    scores, targets = torch.from_numpy(SCORES), torch.from_numpy(TARGETS)
    general = settled(name="focal", gamma=0, alpha=1.0, smoothing=0.1, class_weights="balanced")
    plain = make_loss(
        LossSpec(smoothing=0.1, class_weights=[float(weight) for weight in BALANCED]), torch.ones(4)
    )
    plain.weights = plain.weights.double()
    torch.testing.assert_close(general(scores, targets), plain(scores, targets), rtol=1e-6, atol=0)


@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.5, 2.0])
def test_focal_at_certainty_in_float32(gamma):
    scores = torch.tensor([[0.0, 0, 150], [0, 90, 0], [0, 18, 0], [3, 0, 0]], requires_grad=True)
    targets = torch.tensor([2, 1, 1, 0])
    # What taking 1 - p from p meets: a p of exactly 1, where the slope of (1 - p)^gamma is infinite.
    assert (scores.softmax(-1)[torch.arange(4), targets] == 1).tolist() == [True, True, True, False]
    loss = make_loss(LossSpec(name="focal", gamma=gamma), torch.ones(3))
    value = loss(scores, targets)
    value.backward()
    exact = scores.detach().double().requires_grad_()
    loss(exact, targets).backward()
    assert value.isfinite()
    torch.testing.assert_close(scores.grad.double(), exact.grad, rtol=1e-4, atol=1e-7)
    assert scores.grad[3].abs().max() > 1e-4


def test_asymmetric_by_its_equation():
    smoothing, gamma_positive, gamma_negative = 0.1, 0.5, 4.0
    p = probabilities(SCORES)
    expected = 0.0
    for row, truth in zip(p, TARGETS, strict=True):
        for label, chance in enumerate(row):
            share = smoothing / 4 + (1 - smoothing) * (label == truth)
            # Ridnik et al. 2021, equation 3: (1 - p)^gamma+ for the true class, p^gamma- for the others.
            factor = (1 - chance) ** gamma_positive if label == truth else chance**gamma_negative
            expected -= share * factor * np.log(chance) / 40
    loss = settled(name="asymmetric", smoothing=smoothing, gamma_positive=gamma_positive)
    got = loss(torch.from_numpy(SCORES), torch.from_numpy(TARGETS))
    assert got.item() == pytest.approx(expected, rel=1e-10)


def test_asymmetric_of_blended_targets_is_the_blend_of_the_losses():
    loss, scores = settled(name="asymmetric", smoothing=0.1), torch.from_numpy(SCORES)
    one, other = torch.from_numpy(TARGETS), torch.from_numpy((TARGETS + 1) % 4)
    shares = 0.3 * torch.eye(4, dtype=torch.float64)[one] + 0.7 * torch.eye(4, dtype=torch.float64)[other]
    torch.testing.assert_close(loss(scores, shares), 0.3 * loss(scores, one) + 0.7 * loss(scores, other))


KIND_OF = torch.tensor([1, 0, 1, 2])


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
@pytest.mark.parametrize("weights", [None, LISTED])
def test_kinds_add_the_cross_entropy_of_their_probabilities(name, weights):
    p = probabilities(SCORES)
    kinds = np.stack([p[:, (kind == KIND_OF).numpy()].sum(1) for kind in range(3)], 1)
    values = {"name": name, "class_weights": weights or "none"}
    counts = torch.ones(4)
    scores, targets = torch.from_numpy(SCORES).float(), torch.from_numpy(TARGETS)
    plain = make_loss(LossSpec(**values), counts)
    with_kinds = make_loss(LossSpec(**values, kinds_weight=0.7), counts, KIND_OF)
    expected = log_loss(
        KIND_OF.numpy()[TARGETS],
        kinds,
        sample_weight=np.array(weights)[TARGETS] if weights else None,
        labels=[0, 1, 2],
    )
    got = (with_kinds(scores, targets) - plain(scores, targets)).item()
    assert got == pytest.approx(0.7 * expected, rel=1e-4)
    shares = np.random.default_rng(1).dirichlet(np.ones(4), 40)
    per_class = np.array(weights or np.ones(4))
    blended = -(shares * per_class * np.log(kinds)[:, KIND_OF.numpy()]).sum(1).mean()
    blend = torch.from_numpy(shares).float()
    got = (with_kinds(scores, blend) - plain(scores, blend)).item()
    assert got == pytest.approx(0.7 * blended, rel=1e-4)


def test_kinds_make_the_hierarchical_cross_entropy():
    # Bertinetto et al. 2020: -weight of a level * log of the chance within the level above, summed.
    p = probabilities(SCORES)
    kinds = np.stack([p[:, (kind == KIND_OF).numpy()].sum(1) for kind in range(3)], 1)
    of_kind = kinds[np.arange(40), KIND_OF.numpy()[TARGETS]]
    within = p[np.arange(40), TARGETS] / of_kind
    expected = (-np.log(within) - 1.7 * np.log(of_kind)).mean()
    loss = make_loss(LossSpec(kinds_weight=0.7), torch.ones(4), KIND_OF)
    got = loss(torch.from_numpy(SCORES).float(), torch.from_numpy(TARGETS)).item()
    assert got == pytest.approx(expected, rel=1e-5)


def test_kinds_of_hopeless_scores_keep_a_finite_gradient():
    scores = torch.tensor([[1e4, 0.0, 0.0, -1e4]], requires_grad=True)
    make_loss(LossSpec(kinds_weight=1.0), torch.ones(4), KIND_OF)(scores, torch.tensor([3])).backward()
    assert scores.grad.isfinite().all()


class TestSeveralTasks:
    WIDTHS = (4, 3)
    SCORES = torch.from_numpy(np.random.default_rng(2).normal(size=(6, 7)))
    WHOLE = torch.tensor([[0, 2], [3, -1], [-1, 1], [1, 0], [-1, -1], [2, 2]])

    def losses(self, **values):
        counts = torch.tensor([5, 3, 1, 2]), torch.tensor([1, 1, 3])
        made = [make_loss(LossSpec(**values), count) for count in counts]
        for loss in made:
            loss.weights = None if loss.weights is None else loss.weights.double()
        return TaskLosses(made, self.WIDTHS, [1.0, 0.3])

    def blended(self):
        known = (self.WHOLE >= 0).double()
        tasks = [
            torch.eye(width, dtype=torch.float64)[self.WHOLE[:, task].clamp(min=0)] * known[:, [task]]
            for task, width in enumerate(self.WIDTHS)
        ]
        return torch.cat(tasks, 1)

    def test_the_weighted_sum_of_means_over_known_labels_by_hand(self):
        p = [probabilities(part.numpy()) for part in self.SCORES.split(self.WIDTHS, 1)]
        first = -np.mean([np.log(p[0][row, label]) for row, label in ((0, 0), (1, 3), (3, 1), (5, 2))])
        second = -np.mean([np.log(p[1][row, label]) for row, label in ((0, 2), (2, 1), (3, 0), (5, 2))])
        for targets in (self.WHOLE, self.blended()):
            got = self.losses()(self.SCORES, targets).item()
            assert got == pytest.approx(first + 0.3 * second, rel=1e-12)

    @pytest.mark.parametrize("blended", [False, True])
    def test_pictures_without_a_label_get_no_gradient_from_it(self, blended):
        scores = self.SCORES.clone().requires_grad_()
        self.losses(smoothing=0.1)(scores, self.blended() if blended else self.WHOLE).backward()
        assert (scores.grad[[2, 4], :4] == 0).all()
        assert (scores.grad[[1, 4], 4:] == 0).all()
        assert (scores.grad[[0, 3, 5]] != 0).all()

    @pytest.mark.parametrize("blended", [False, True])
    def test_a_batch_without_any_label_of_a_task(self, blended):
        scores = self.SCORES.clone().requires_grad_()
        targets = self.WHOLE.clone()
        targets[:, 1] = -1
        shares = self.blended() * torch.tensor([1.0] * 4 + [0.0] * 3)
        value = self.losses()(scores, shares if blended else targets)
        value.backward()
        assert value.isfinite()
        assert (scores.grad[:, 4:] == 0).all()
        scores.grad = None
        value = self.losses()(scores, torch.zeros(6, 7) if blended else torch.full((6, 2), -1))
        value.backward()
        assert value.item() == 0
        assert torch.equal(scores.grad, torch.zeros_like(scores))

    @pytest.mark.parametrize("blended", [False, True])
    @pytest.mark.parametrize("weights", ["none", "balanced"])
    def test_parts_of_a_batch_add_up_to_the_whole(self, weights, blended):
        losses, targets = self.losses(class_weights=weights), self.blended() if blended else self.WHOLE
        mass = losses.mass(targets)
        # The middle part has no label of either task.
        parts = [losses(self.SCORES[rows], targets[rows], mass) for rows in (slice(4), [4], [5])]
        torch.testing.assert_close(sum(parts), losses(self.SCORES, targets))


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"gamma": 0.25}, "gamma is for focal, and the name is cross_entropy"),
        ({"alpha": "balanced"}, "alpha is for focal"),
        ({"name": "focal", "gamma_negative": 2}, "gamma_negative is for asymmetric, and the name is focal"),
        ({"gamma_positive": 2}, "gamma_positive is for asymmetric"),
        ({"name": "asymmetric"}, "set smoothing above 0"),
        ({"class_weights": "balance"}, "Did you mean 'balanced'?"),
        ({"class_weights": 2}, "none, balanced or a list"),
        ({"class_weights": [1, 0]}, "above 0"),
        ({"name": "focal", "alpha": "ballanced"}, "Did you mean 'balanced'?"),
        ({"name": "focal", "alpha": True}, "a number above 0"),
        ({"name": "focal", "alpha": -1}, "a number above 0"),
        ({"name": "focal", "alpha": [1, float("inf")]}, "above 0"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(values, part):
    with pytest.raises(Problems) as caught:
        LossSpec.parse(values, "The recipe")
    (told,) = caught.value.problems
    assert part in told


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "asymmetric"])
def test_a_resolved_loss_reads_back(name):
    spec = LossSpec(name=name, smoothing=0.1, class_weights=[1, 2])
    assert LossSpec.parse(spec.model_dump(mode="json"), "The recipe") == spec


@pytest.mark.parametrize("key", ["class_weights", "alpha"])
def test_a_list_has_a_number_for_each_class(key):
    with pytest.raises(HandlensError, match=f"{key} has 3 numbers, and there are 4 classes"):
        make_loss(LossSpec(name="focal", **{key: [1, 2, 3]}), torch.ones(4))


def test_kinds_must_be_known_where_they_count():
    with pytest.raises(HandlensError, match=r"kinds_weight is 0\.5, but these classes have no kinds"):
        make_loss(LossSpec(kinds_weight=0.5), torch.ones(4))
