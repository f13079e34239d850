"""Mixup and CutMix picture by picture, by hand."""

import numpy as np
import pytest
import torch
from scipy import stats

from handlens.training.mixing import MixPlan, blended_targets, draw_plan, mixed, mixed_targets

SIZE = (7, 11)
PICTURES = torch.randn(64, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def plan_of(mixup=0.0, cutmix=0.0, n=64, seed=0, size=SIZE):
    return draw_plan(n, np.random.default_rng(seed), mixup, cutmix, size)


def by_hand(pictures, plan):
    """One picture after the other."""
    out = pictures.clone()
    for row, partner in enumerate(plan.partners):
        if plan.cut[row]:
            top, bottom, left, right = plan.boxes[row]
            out[row, :, top:bottom, left:right] = pictures[partner, :, top:bottom, left:right]
        else:
            share = float(plan.shares[row])
            out[row] = share * pictures[row] + (1 - share) * pictures[partner]
    return out


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0), (0, 1.0), (0.4, 1.0)])
def test_pictures_are_mixed_as_planned(mixup, cutmix):
    plan = plan_of(mixup, cutmix)
    got = mixed(PICTURES, PICTURES[plan.partners], plan)
    torch.testing.assert_close(got, by_hand(PICTURES, plan))
    assert set(plan.cut) == {*([False] if mixup else []), *([True] if cutmix else [])}
    # Within and around a box every number is a picture's own, to the bit.
    cut = torch.from_numpy(plan.cut)
    assert torch.equal(got[cut], by_hand(PICTURES, plan)[cut])


def test_the_share_of_a_cut_picture_is_what_is_seen_of_it():
    plan = plan_of(cutmix=1.0, n=500)
    ones = torch.ones(500, 1, *SIZE)
    seen = mixed(ones, torch.zeros_like(ones), plan).mean((1, 2, 3))
    torch.testing.assert_close(seen, torch.from_numpy(plan.shares))
    top, bottom, left, right = plan.boxes.T
    assert (top >= 0).all() and (top <= bottom).all() and (bottom <= 7).all()
    assert (left >= 0).all() and (left <= right).all() and (right <= 11).all()
    # Some boxes are at the edge and clipped.
    assert ((bottom == 7) | (right == 11)).any()


def test_boxes_have_the_area_of_equation_2_where_nothing_is_clipped():
    plan = plan_of(cutmix=1.0, n=4000, size=(200, 400))
    top, bottom, left, right = plan.boxes.T
    inside = (top > 0) & (bottom < 200) & (left > 0) & (right < 400) & (right - left > 20)
    # A box of the picture's shape: twice as wide as high.
    np.testing.assert_allclose((right - left)[inside] / (bottom - top)[inside], 2, rtol=0.1)
    assert inside.sum() > 200


def test_shares_of_mixup_follow_their_distribution():
    shares = plan_of(mixup=0.4, n=4000).shares
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_with_both_a_fair_coin_decides():
    assert stats.binomtest(int(plan_of(0.4, 1.0, n=4000).cut.sum()), 4000).pvalue > 0.01


def test_a_plan_depends_on_the_generator_alone():
    one, same, other = plan_of(0.4, 1.0, seed=5), plan_of(0.4, 1.0, seed=5), plan_of(0.4, 1.0, seed=6)
    assert all(np.array_equal(vars(one)[name], vars(same)[name]) for name in vars(one))
    assert not np.array_equal(one.shares, other.shares)
    assert sorted(one.partners) == list(range(64))


def test_processes_with_parts_of_the_batch_come_to_the_same():
    plan = plan_of(0.4, 1.0)
    targets = torch.arange(64) % 4
    whole = mixed(PICTURES, PICTURES[plan.partners], plan)
    whole_targets = mixed_targets(targets, targets[plan.partners], plan, [4])
    for places in (np.arange(0, 64, 2), np.arange(1, 64, 2)):
        part = plan.part(places)
        assert torch.equal(mixed(PICTURES[places], PICTURES[part.partners], part), whole[places])
        assert torch.equal(
            mixed_targets(targets[places], targets[part.partners], part, [4]), whole_targets[places]
        )


def test_rows_of_features_are_blended():
    plan = plan_of(mixup=0.4, size=None)
    rows = torch.randn(64, 5, generator=torch.Generator().manual_seed(1))
    share = torch.from_numpy(plan.shares)[:, None]
    torch.testing.assert_close(
        mixed(rows, rows[plan.partners], plan), share * rows + (1 - share) * rows[plan.partners]
    )


def test_the_number_format_and_layout_of_the_pictures_stay():
    plan = plan_of(0.4, 1.0)
    pictures = PICTURES.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    got = mixed(pictures, pictures[plan.partners], plan)
    assert got.dtype == torch.bfloat16
    assert got.is_contiguous(memory_format=torch.channels_last)


def by_shares(shares):
    n = len(shares)
    return MixPlan(
        np.arange(n)[::-1].copy(), np.array(shares, np.float32), np.zeros(n, bool), np.zeros((n, 4), int)
    )


def test_targets_by_hand():
    plan = by_shares([0.75, 0.5, 1.0])
    got = mixed_targets(torch.tensor([0, 2, 1]), torch.tensor([1, 2, 0]), plan, [3])
    torch.testing.assert_close(got, torch.tensor([[0.75, 0.25, 0], [0, 0, 1], [0, 1, 0]]))


def test_targets_of_one_task_with_all_labels_are_plain_blends_to_the_bit():
    generator = torch.Generator().manual_seed(0)
    shares, one = torch.rand(50, 1, generator=generator), torch.randint(5, (50,), generator=generator)
    other, eye = one.roll(7), torch.eye(5)
    assert torch.equal(blended_targets(one, other, shares, [5]), torch.lerp(eye[other], eye[one], shares))


def test_targets_of_several_tasks_with_missing_labels_by_hand():
    plan = by_shares([0.75, 0.75, 0.75, 1.0, 0.0])
    own = torch.tensor([[0, 1], [-1, 1], [1, 0], [1, 0], [-1, 2]])
    partner = torch.tensor([[1, 2], [0, 1], [-1, -1], [-1, 1], [0, 1]])
    expected = torch.tensor(
        [
            [0.75, 0.25, 0, 0.75, 0.25],
            [0, 0, 0, 1, 0],
            [0, 0, 0, 0, 0],
            # What is not seen at all need not be known.
            [0, 1, 1, 0, 0],
            [1, 0, 0, 1, 0],
        ]
    )
    torch.testing.assert_close(mixed_targets(own, partner, plan, [2, 3]), expected)


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(ValueError, match="both strengths are 0"):
        plan_of()
    with pytest.raises(ValueError, match="height and width"):
        plan_of(cutmix=1.0, size=None)
