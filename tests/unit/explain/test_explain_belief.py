"""Whether maps deserve belief: told on networks of which is known where they look."""

import re

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from handlens.explain.belief import CELLS, Against, Cuts, cut, elsewhere, mean_with_interval
from handlens.explain.chosen import choose
from handlens.explain.looking import Looking, Trial
from handlens.explain.network import Explained
from handlens.explain.randomised import PARTS, rank_correlation, with_random_weights
from handlens.explain.results import Check
from handlens.explain.spec import ExplainSpec
from handlens.explain.verdicts import belief_of
from handlens.trained import TrainedRun

SIDE = 56


class Corner(nn.Module):
    """A network that looks at nothing but how bright the upper left quarter is."""

    def as_input(self, pixels: np.ndarray) -> Tensor:
        return torch.from_numpy(pixels.astype(np.float32) / 255)

    def probabilities(self, x: Tensor) -> Tensor:
        bright = x[:, : SIDE // 2, : SIDE // 2].mean((1, 2, 3))
        return torch.stack([1 - bright, bright], dim=1)


def corner_picture() -> np.ndarray:
    """Bright in the upper left quarter, dark elsewhere."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[: SIDE // 2, : SIDE // 2] = 255
    return pixels


def corner_heat(turns: int = 0) -> np.ndarray:
    heat = np.zeros((SIDE, SIDE), np.float32)
    heat[: SIDE // 2, : SIDE // 2] = 1
    return np.ascontiguousarray(np.rot90(heat, turns))


def test_deletion_takes_away_in_the_order_of_the_map() -> None:
    chance = np.random.default_rng(0)
    found = cut(Corner(), corner_picture(), corner_heat(), 1, 4, chance)
    # The quarter is gone after the first of four cuts; it then has the picture's mean, a quarter of white.
    np.testing.assert_allclose(found.deletion, [1, 64 / 255, 64 / 255, 64 / 255, 64 / 255], atol=0.005)
    np.testing.assert_allclose(found.insertion[1:], 1, atol=1e-6)
    assert found.insertion[0] < 1
    assert found.deleted == pytest.approx((1 + 7 * 64 / 255) / 8, abs=0.005)
    # The opposite quarter first: nothing happens until the corner's turn comes.
    wrong = cut(Corner(), corner_picture(), corner_heat(2), 1, 4, chance)
    assert wrong.deletion[1] == pytest.approx(1)
    assert wrong.deleted > found.deleted and wrong.inserted < found.inserted


def test_a_random_map_is_the_same_heat_in_another_place() -> None:
    chance = np.random.default_rng(1)
    heat = chance.random((SIDE, SIDE)).astype(np.float32)
    moved = elsewhere(heat, chance)
    assert not np.array_equal(moved, heat)
    np.testing.assert_array_equal(np.sort(moved, axis=None), np.sort(heat, axis=None))


def test_level_places_go_in_random_order_and_sides_need_not_divide() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (50, 50, 3), np.uint8)

    class Seen(Corner):
        def probabilities(self, x: Tensor) -> Tensor:
            changed = (x != torch.from_numpy(pixels.astype(np.float32) / 255)).any(-1).float().mean((1, 2))
            return torch.stack([changed, changed], dim=1)

    found = cut(Seen(), pixels, np.zeros((50, 50), np.float32), 0, 10, np.random.default_rng(3))
    # As many pixels are gone as was said, to within a cell or what is plain by itself.
    np.testing.assert_allclose(found.deletion, np.linspace(0, 1, 11), atol=0.06)
    assert CELLS < 50


def test_the_rank_correlation_is_spearmans() -> None:
    chance = np.random.default_rng(4)
    first, second = (np.round(chance.random((28, 28)), 1).astype(np.float32) for _ in range(2))
    mixed = first + second
    assert rank_correlation(first, mixed) == pytest.approx(spearmanr(first.ravel(), mixed.ravel()).statistic)
    # Finer maps are compared by the means of their cells.
    assert rank_correlation(np.kron(first, np.ones((4, 4))), mixed) == pytest.approx(
        rank_correlation(first, mixed)
    )


def test_an_empty_map_is_like_another_empty_one_and_not_to_be_compared_with_any_else() -> None:
    heat = np.random.default_rng(6).random((28, 28)).astype(np.float32)
    empty, even = np.zeros((56, 56), np.float32), np.ones((28, 28), np.float32)
    assert np.isnan(rank_correlation(heat, empty)) and np.isnan(rank_correlation(even, heat))
    assert rank_correlation(empty, empty) == rank_correlation(empty, even) == 1
    assert rank_correlation(heat, heat) == pytest.approx(1)


def random_networks(*alike: float) -> Check:
    """The check of pictures from a group each, whose maps agree so far with those of random networks."""
    flat = Cuts(np.ones(3), np.ones(3))
    rows = tuple(range(len(alike)))
    trial = Trial(rows, (Against(flat, (flat,)),) * len(alike), np.array([alike] * len(PARTS)).T)
    return next(
        check
        for check in belief_of(trial, [str(row) for row in rows]).checks
        if check.name == "random_networks"
    )


def test_maps_that_cannot_be_compared_pass_nothing() -> None:
    nan = float("nan")
    assert random_networks(*[0.1, 0.2] * 4).verdict == "passes"
    # By hand: the mean of those that can be compared, and so many fewer pictures.
    most = random_networks(0.1, 0.2, 0.1, 0.2, 0.1, 0.2, nan, nan)
    assert (most.verdict, most.figure.n, most.figure.value) == ("passes", 6, pytest.approx(0.15))
    assert "Left out: 2 pictures" in most.sentence
    few = random_networks(0.1, 0.1, 0.1, nan, nan, nan, nan, nan)
    assert (few.verdict, few.figure.n) == ("undecided", 3)
    assert random_networks(0.9, nan, nan).verdict == "undecided"
    none = random_networks(nan, nan, nan)
    assert (none.verdict, none.figure.n, none.figure.low, none.figure.high) == ("undecided", 0, -1, 1)
    assert none.sentence.startswith("No map could be compared")


@pytest.mark.parametrize("gain", [0.4, -0.4])
def test_too_few_groups_get_no_verdict(gain: float) -> None:
    def verdicts(groups: list[str]) -> set[str]:
        steps = [Cuts(np.full(3, level), np.full(3, 1 - level)) for level in (0.5 - gain, 0.5)]
        trial = Trial(
            tuple(range(len(groups))),
            (Against(steps[0], (steps[1],)),) * len(groups),
            np.full((len(groups), len(PARTS)), 0.5 - gain),
        )
        checks = belief_of(trial, groups).checks
        # No interval is told where it would say nothing; what is missing is.
        assert all(("95 % interval" in check.sentence) != (check.verdict == "too_few") for check in checks)
        return {check.verdict for check in checks}

    assert verdicts(["a", "b"]) == verdicts(["a", "b", "c", "d"]) == {"too_few"}
    # Many pictures of one specimen are one witness.
    assert verdicts(["a"] * 12) == {"too_few"}
    assert verdicts([str(row) for row in range(24)]) == ({"passes"} if gain > 0 else {"fails"})


def test_the_sentence_says_which_way_the_interval_lies() -> None:
    own, random = Cuts(np.full(3, 0.3), np.full(3, 0.6)), Cuts(np.full(3, 0.5), np.full(3, 0.5))
    none = Cuts(np.full(3, 0.5), np.full(3, 0.5))
    trial = Trial(
        tuple(range(8)),
        (*[Against(own, (random,))] * 2, *[Against(none, (random,))] * 6),
        np.full((8, len(PARTS)), 0.1),
    )
    deletion, insertion, _ = belief_of(trial, [str(row) for row in range(8)]).checks
    # By hand: a quarter of 20 and of 10 points; the intervals reach over none at all.
    assert "5.0 points lower than" in deletion.sentence and "2.5 points higher than" in insertion.sentence
    assert re.search(r"interval [\d.]+ points higher to [\d.]+ points lower;", deletion.sentence)
    assert re.search(r"interval [\d.]+ points lower to [\d.]+ points higher;", insertion.sentence)


def test_weights_are_drawn_anew_from_the_head_on(trained: TrainedRun) -> None:
    network = Explained.of(trained)
    network.passage()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.randn(4, 3, network.side, network.side)
    for share in PARTS:
        other = with_random_weights(network, share, 0, x)
        assert other.map is not network.map
        changed = {
            name
            for name, value in other.named_parameters()
            if not torch.equal(value, before[name]) and value.numel() > 1
        }
        assert any(name.startswith("head.") for name in changed)
        weights = {name for name, _ in other.trunk.named_parameters(prefix="trunk")}
        assert len(changed & weights) == pytest.approx(share * len(weights), abs=0.12 * len(weights))
        for name, value in other.named_parameters():
            # Shuffled: what is in a tensor stays in it.
            assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values)
        assert other(x).isfinite().all() and float(other(x).std()) > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_maps_of_a_network_that_has_learned_stand_the_checks(trained: TrainedRun) -> None:
    subjects = choose(trained, [], mistakes=False, per_class=8).subjects[:8]
    looking = Looking(trained, subjects, ExplainSpec(checked=8, cuts=5, random_maps=2, random_networks=1))
    heat = looking.heat(looking.said)
    trial = looking.tried(heat, looking.said)
    assert trial is not None
    belief = belief_of(trial, [subject.group for subject in subjects])
    assert belief.pictures == 8
    verdicts = {check.name: check.verdict for check in belief.checks}
    assert verdicts["random_networks"] == "passes"
    assert all(check.figure.n == 8 for check in belief.checks)
    assert belief.deletion[0] > 0.9 and len(belief.deletion) == 6
    assert [share for share, _ in belief.random_networks] == list(PARTS)
    # Maps of nothing: drawn at random, they can do no better than random ones.
    chance = np.random.default_rng(5)
    nothing = np.stack([elsewhere(each, chance) for each in heat])
    random = looking.tried(nothing, looking.said)
    assert random is not None
    doubted = belief_of(random, [subject.group for subject in subjects])
    assert {check.name for check in doubted.doubts} >= {"deletion", "insertion"}
    # The same picture of edges, whatever the network: told as such.
    same = Trial(trial.rows, trial.against, np.ones((8, len(PARTS))))
    failed = {check.name: check for check in belief_of(same, [str(row) for row in range(8)]).checks}
    assert failed["random_networks"].verdict == "fails"
    assert "hardly depend" in failed["random_networks"].title


def test_one_picture_proves_nothing() -> None:
    figure = mean_with_interval([0.4], ["a"])
    assert (figure.low, figure.high) == (-1, 1)
    # Pictures of one group are no more than one.
    assert mean_with_interval([0.4, 0.5, 0.6], ["a", "a", "a"]).low == -1
    several = mean_with_interval([0.4, 0.5, 0.6, 0.5], list("abcd"))
    assert 0 < several.low < several.value == pytest.approx(0.5)
