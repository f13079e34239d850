"""The trainer of networks: what stands still, what moves and how fast, from pictures or from activations."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from small_networks import SIDE, VIEW, changed, drawn_sides, state_of, trainer_of

from handlens.base.errors import HandlensError
from handlens.data.image import judge, normalise
from handlens.models.roles import stages
from handlens.training.finetune import beside_itself
from handlens.training.spec import FitSpec
from handlens.training.train_head import fit_head

NORMS = ("running_mean", "running_var", "num_batches_tracked")
LAST_STAGE = {"stage3", "stage4", "last"}


def fitted(trainer, network=None):
    network = network or trainer.network(None)
    trainer.fit(network, trainer.learning.places("train"), None, None, lambda _: None)
    return network


def trained_names(trainer):
    """The names of what training has changed."""
    network = trainer.network(None)
    before = state_of(network)
    return changed(before, state_of(fitted(trainer, network))), before.keys()


@pytest.mark.parametrize("kept", [True, False], ids=["activations", "pictures"])
@pytest.mark.parametrize(
    ("model", "frozen"),
    [
        ({"freeze": {"stages": 3}}, ("trunk.stem.", "trunk.stage1.", "trunk.stage2.")),
        (
            {"freeze": {"names": ["stage1", "stage4.*2"]}},
            ("trunk.stage1.", "trunk.stage4.conv2", "trunk.stage4.bn2"),
        ),
        ({"freeze": {"share": 1.0}}, ("trunk.",)),
        ({"freeze": "all", "edits": [{"insert": "eca", "after": "stage3"}]},
            ("trunk.stem.", "trunk.stage1.", "trunk.stage2.", "trunk.stage3.0.", "trunk.stage4.",
                "trunk.last.")),
        ({"freeze": "none"}, ()),
    ],
    ids=["stages", "names", "share", "edits", "none"],
)  # fmt: skip
def test_what_is_frozen_stays_to_the_bit_and_all_else_moves(model, frozen, kept, tmp_path):
    sides = drawn_sides(tmp_path / "pictures")
    moved, every = trained_names(trainer_of(sides, model, keep_gib=8 if kept else 0))
    still = {name for name in every if name.startswith(frozen or "nothing")}
    standardised = {name for name in every if name.startswith("head.standardise")}
    assert moved == every - still - standardised


def test_norms_that_are_fixed_keep_their_statistics_though_their_weights_train(tmp_path):
    sides = drawn_sides(tmp_path / "pictures")
    moved, every = trained_names(trainer_of(sides, {"freeze": {"stages": 0, "norms": "fixed"}}))
    statistics = {name for name in every if name.endswith(NORMS)}
    assert statistics
    assert not moved & statistics
    assert "trunk.stage2.bn1.weight" in moved


def test_from_kept_activations_as_from_pictures(tmp_path):
    sides = drawn_sides(tmp_path / "pictures")
    views = {"train": (VIEW,), "count": 2}
    losses, judged = [], []
    for keep_gib in (8, 0):
        trainer = trainer_of(sides, {"freeze": {"stages": 3}}, views, keep_gib=keep_gib, epochs=2)
        network = trainer.network(None)
        progress = trainer.fit(network, np.arange(20), None, None, lambda _: None)
        # The stem is three units.
        assert trainer.begin == (5 if keep_gib else 0)
        losses.append([row["train_loss"] for row in progress.history])
        judged.append(trainer.judge(network, np.arange(20), average=True))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    np.testing.assert_allclose(judged[0], judged[1], atol=5e-3)


def test_below_what_trains_nothing_is_random(tmp_path):
    """AlexNet's dropout stands below its first fully connected layer, which is frozen here."""
    sides = drawn_sides(tmp_path / "pictures", 4)
    freeze = {"names": ["features", "own_rows.3"]}
    trainer = trainer_of(sides, {"backbone": "torchvision/alexnet", "pool": "own", "freeze": freeze})
    network = trainer.network(None).train()
    paths = [path for path, _ in network.trunk.named_modules()]
    assert "own_rows.2" in paths
    random = {
        path
        for path, part in network.trunk.named_modules()
        if isinstance(part, torch.nn.Dropout) and part.training
    }
    # The other one lies between the frozen layer and the one that trains.
    assert random <= {"own_rows.5"}


@pytest.mark.parametrize("depth_decay", [1.0, 0.5])
def test_each_stage_has_its_rate(depth_decay, tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 8)
    trainer = trainer_of(sides, optimiser={"learning_rate": 0.01, "depth_decay": depth_decay})
    network = trainer.network(None)
    lesson = trainer.lesson(network, np.arange(8), None)
    names = {weight: name for name, weight in network.named_parameters()}
    rates = {
        names[weight]: group["lr"] for group in lesson.optimiser.param_groups for weight in group["params"]
    }
    # Head, all that is of one resolution before it, and so on down to the stem.
    last = ("trunk.last.", "trunk.stage4.", "trunk.stage3.")
    order = (("head.",), last, ("trunk.stage2.",), ("trunk.stage1.",), ("trunk.stem.",))
    assert stages(network.trunk).num == 4
    for depth, parts in enumerate(order):
        for part in parts:
            of_part = {rate for name, rate in rates.items() if name.startswith(part)}
            assert list(of_part) == [pytest.approx(0.01 * depth_decay**depth)]
    assert rates.keys() == set(names.values())


def test_the_first_step_of_each_stage_is_as_long_as_its_rate(tmp_path):
    """Adam's first step is as long as the learning rate, whatever the gradient."""
    sides = drawn_sides(tmp_path / "pictures", 8)
    settings = {"name": "adam", "learning_rate": 1e-3, "depth_decay": 0.1, "weight_decay": 0.0}
    trainer = trainer_of(
        sides, epochs=1, optimiser=settings, schedule={"name": "constant", "warm_up": 0}, batch_size=8
    )
    network = trainer.network(None)
    before = state_of(network)
    after = state_of(fitted(trainer, network))
    for name, expected in (("trunk.stage4.conv2.weight", 1e-4), ("trunk.stage2.conv2.weight", 1e-5)):
        steps = (after[name] - before[name]).abs()
        # At maps of one place, only the middle of a kernel has a gradient.
        assert steps[steps > 0].median().item() == pytest.approx(expected, rel=0.05)


def test_thawing_sets_the_last_stage_free_first(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 8)
    trainer = trainer_of(sides, {"freeze": {"thaw_every": 1}}, epochs=3)
    # In three epochs two stages thaw; what is below is never run again.
    assert trainer.begin == 4
    network = trainer.network(None)
    states = [state_of(network)]
    trainer.fit(
        network,
        np.arange(8),
        None,
        None,
        lambda _: None,
        epoch_done=lambda _: states.append(state_of(network)),
    )
    moved = [
        {name.split(".")[1] for name in changed(*pair) if name.startswith("trunk.")}
        for pair in pairwise(states)
    ]
    assert moved == [set(), LAST_STAGE, LAST_STAGE | {"stage2"}]


def test_held_out_pictures_are_judged_as_arithmetic_says(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 12, num_val=4)
    views = {"train": (VIEW,), "count": 3, "average": "always"}
    for model in ({"freeze": {"stages": 3}}, {"freeze": "none"}):
        trainer = trainer_of(sides, model, views)
        network = fitted(trainer)
        places = np.array([9, 11])
        alone = trainer.judge(network, places, average=False)
        network.begin = 0
        pixels = [
            normalise(judge(sides.shots[place].path, trainer.extractor.views.judge), "imagenet")
            for place in places
        ]
        with torch.no_grad():
            expected = network.eval()(torch.from_numpy(np.stack(pixels))).softmax(-1)
        np.testing.assert_allclose(alone, expected.numpy(), atol=1e-5)
        network.begin = trainer.begin
        # The validation side has the training views too, where judging is by their mean.
        mean = trainer.judge(network, places, average=True)
        by_view = []
        for view in range(3):
            inputs = torch.stack([trainer.source.learned(place, view, "") for place in places])
            with torch.no_grad():
                by_view.append(network(inputs).softmax(-1).numpy())
        np.testing.assert_allclose(mean, np.mean(by_view, axis=0), atol=1e-6)
        assert not np.allclose(mean, alone, atol=1e-6)


@pytest.mark.parametrize("views", [{}, {"train": (VIEW,), "fresh": True}], ids=["kept", "fresh"])
@pytest.mark.parametrize("pool", ["average", "average_and_maximum", "own"])
def test_beside_itself_is_the_mean_of_both_on_one_lower_part(pool, views, tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 12)
    trainer = trainer_of(sides, {"freeze": {"stages": 3}, "pool": pool}, views)
    table = trainer.extractor.table(sides.shots, next(iter(trainer.extractor.views.kinds)), all_views=False)
    first = trainer.network(None).head
    fit_head(first, table, sides.targets, np.arange(12), None, FitSpec(epochs=2))
    network = fitted(trainer, trainer.network(first))
    trunk, both = beside_itself(trainer, network, first)
    x = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    network.begin = 0
    start = trainer.network(first).eval()
    with torch.no_grad():
        of_both = [each.eval()(x).softmax(-1) for each in (start, network)]
        found = both.eval()(network.pool(trunk.eval()(x))).softmax(-1)
    torch.testing.assert_close(found, sum(of_both) / 2, atol=1e-6, rtol=1e-5)
    # The part that never trains is there once.
    whole = sum(weight.numel() for weight in network.trunk.parameters())
    upper = sum(
        weight.numel()
        for name, weight in network.trunk.named_parameters()
        if name.partition(".")[0] in LAST_STAGE
    )
    assert sum(weight.numel() for weight in trunk.parameters()) == whole + upper


def test_an_edit_is_done_once(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 8)
    for edit in (
        {"insert": "eca", "after": "blocks"},
        {"replace": "conv3x3", "with": "gsconv", "in": "stage4"},
    ):
        trainer = trainer_of(sides, {"edits": [edit]})
        expected = trainer.extractor.trunk.state_dict().keys()
        assert trainer.network(None).trunk.state_dict().keys() == expected


def test_mistakes_are_told_in_a_sentence(tmp_path):
    sides = drawn_sides(tmp_path / "pictures", 8)
    with pytest.raises(HandlensError, match=r"stage9.*nearest"):
        trainer_of(sides, {"freeze": {"names": ["stage9.*"]}})
    with pytest.raises(HandlensError, match=r"stages: 9 stages"):
        trainer_of(sides, {"freeze": {"stages": 9}})
    rows = trainer_of(sides, {"freeze": {"share": 1.0}, "pool": "own"}, cutmix=1.0)
    with pytest.raises(HandlensError, match=r"train\.cutmix"):
        fitted(rows)
