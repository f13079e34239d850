"""Freezing: which weights train, by hand on small networks; what stands still with them."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from handlens.base.errors import HandlensError
from handlens.models import backbones
from handlens.models.edits import Insert, apply_edits
from handlens.models.freeze import (
    Freeze,
    FreezeSpec,
    apply_freeze,
    frozen_parameters,
    keep_frozen_still,
    num_frozen_units,
)
from handlens.models.roles import units

PICTURES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def spec(value):
    return TypeAdapter(Freeze).validate_python(value)


def nano():
    """A stem, four blocks and a last layer; four stages, of which the last is all from `stage3` on."""
    return backbones.create("handlens/nano", "bundled").trunk


def parts_that_train(trunk):
    return sorted(
        {name.partition(".")[0] for name, weight in trunk.named_parameters() if weight.requires_grad}
    )


ALL_PARTS = ["last", "stage1", "stage2", "stage3", "stage4", "stem"]


@pytest.mark.parametrize(
    ("given", "training"),
    [
        ("all", []),
        ({}, []),
        ("none", ALL_PARTS),
        ({"stages": 0}, ALL_PARTS),
        ({"stages": 2}, ["last", "stage2", "stage3", "stage4"]),
        ({"stages": 3}, ["last", "stage3", "stage4"]),
        ({"stages": 4}, []),
        ({"names": ["stem", "stage2"]}, ["last", "stage1", "stage3", "stage4"]),
        ({"names": ["st*"]}, ["last"]),
        ({"names": ["*"]}, []),
        ({"share": 0.0}, ALL_PARTS),
        ({"share": 1.0}, []),
    ],
)
def test_what_trains(given, training):
    trunk = nano()
    frozen = apply_freeze(trunk, spec(given))
    assert parts_that_train(trunk) == training
    assert frozen == {name for name, weight in trunk.named_parameters() if not weight.requires_grad}


def test_a_share_is_of_the_layers_in_order():
    trunk = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(10)))
    for share, count in ((0.7, 7), (0.69, 6), (0.05, 0), (0.3, 3)):
        frozen = frozen_parameters(trunk, spec({"share": share}))
        assert frozen == {f"{number}.{kind}" for number in range(count) for kind in ("weight", "bias")}


def test_names_are_of_weights_or_modules_around_them():
    trunk = nano()
    only = frozen_parameters(trunk, spec({"names": ["stage?.bn1.weight"]}))
    assert only == {f"stage{number}.bn1.weight" for number in (1, 2, 3, 4)}
    timm = backbones.create("timm/test_resnet", "none").trunk
    short, long = (
        frozen_parameters(timm, spec({"names": [name]})) for name in ("layer1", "features.network.layer1")
    )
    assert short == long != set()


def test_it_thaws_a_stage_at_a_time_from_the_head_down():
    trunk = nano()
    given = spec({"thaw_every": 3})
    expected = {
        0: [],
        2: [],
        3: ["last", "stage3", "stage4"],
        6: ["last", "stage2", "stage3", "stage4"],
        11: ALL_PARTS[:-1],
        12: ALL_PARTS,
        99: ALL_PARTS,
    }
    for epoch, training in expected.items():
        apply_freeze(trunk, given, epoch)
        assert parts_that_train(trunk) == training
    apply_freeze(trunk, spec({"stages": 2, "thaw_every": 1}), 1)
    assert parts_that_train(trunk) == ["last", "stage1", "stage2", "stage3", "stage4"]


def test_what_edits_brought_in_always_trains():
    trunk = nano()
    apply_edits(trunk, [Insert(insert="se", after="stage1")])
    apply_freeze(trunk, spec("all"))
    training = {name for name, weight in trunk.named_parameters() if weight.requires_grad}
    assert training
    assert all(name.startswith("stage1.1.") for name in training)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stages": 5}, "4"),
        ({"names": ["stag1"]}, "stage1"),
        ({"names": ["stem", "nothing.here"]}, "nothing.here"),
    ],
)
def test_what_cannot_be_frozen_is_told(given, told):
    with pytest.raises(HandlensError, match=told):
        frozen_parameters(nano(), spec(given))


@pytest.mark.parametrize(
    "given", ["al", "All", 3, {"stages": 1, "share": 0.5}, {"share": 1.5}, {"stages": -1}, {"thaw_every": 0}]
)
def test_what_is_no_way_of_freezing_is_refused(given):
    with pytest.raises(ValidationError):
        spec(given)


def test_only_plain_all_never_trains_anything():
    assert spec("all").always_everything
    for other in ("none", {"stages": 1}, {"thaw_every": 5}, {"names": ["stem"]}):
        assert not spec(other).always_everything
    assert FreezeSpec.model_validate(spec("none").model_dump()) == spec("none")


# What stands still


def norms(trunk):
    return {name: module for name, module in trunk.named_modules() if isinstance(module, nn.BatchNorm2d)}


def moved_norms(trunk):
    """The parts whose statistics a step in training changes."""
    before = {name: norm.running_mean.clone() for name, norm in norms(trunk).items()}
    trunk(PICTURES)
    return {
        name.partition(".")[0]
        for name, norm in norms(trunk).items()
        if not torch.equal(norm.running_mean, before[name])
    }


def test_batch_norms_of_what_is_frozen_stand_still():
    trunk = nano().train()
    apply_freeze(trunk, spec({"stages": 2}))
    keep_frozen_still(trunk, "frozen_only")
    assert moved_norms(trunk) == {"last", "stage2", "stage3", "stage4"}
    trunk.train()
    keep_frozen_still(trunk, "fixed")
    assert moved_norms(trunk) == set()
    # Their weights still train.
    assert trunk.stage4.bn1.weight.requires_grad


def test_nothing_random_is_left_in_what_is_frozen():
    trunk = backbones.create("torchvision/efficientnet_b0", "none").trunk.train()
    apply_freeze(trunk, spec({"stages": 4}))
    keep_frozen_still(trunk)
    count = num_frozen_units(trunk, spec({"stages": 4}))

    def lower():
        x = PICTURES
        for _, unit in units(trunk)[:count]:
            x = unit(x)
        return x

    assert torch.equal(lower(), lower())
    assert trunk.features[8].training


def test_gsconv_and_attention_keep_training_while_the_rest_stands_still():
    trunk = nano()
    apply_edits(trunk, [Insert(insert="eca", after="blocks")])
    trunk.train()
    apply_freeze(trunk, spec("all"))
    keep_frozen_still(trunk, "fixed")
    assert trunk.stage1[1].training
    assert not trunk.stage1[0].bn1.training


# The boundary


@pytest.mark.parametrize(
    ("given", "epochs", "expected"),
    [
        # The stem and the last layer are three units each, each block one.
        ("all", None, 10),
        ("none", None, 0),
        ({"stages": 1}, None, 3),
        ({"stages": 3}, None, 5),
        ({"names": ["stem.0"]}, None, 1),
        ({"names": ["stage1"]}, None, 0),
        ({"thaw_every": 2}, None, 0),
        ({"thaw_every": 2}, 2, 10),
        ({"thaw_every": 2}, 3, 5),
        ({"thaw_every": 2}, 5, 4),
    ],
)
def test_the_units_below_which_nothing_ever_trains(given, epochs, expected):
    trunk = nano()
    assert num_frozen_units(trunk, spec(given), epochs) == expected
    if epochs is None and "thaw_every" not in given:
        apply_freeze(trunk, spec(given))
        trains = [any(w.requires_grad for w in unit.parameters()) for _, unit in units(trunk)]
        assert not any(trains[:expected])
        assert expected == len(trains) or trains[expected]


def test_the_boundary_lies_before_what_an_edit_brought_in():
    trunk = nano()
    apply_edits(trunk, [Insert(insert="eca", after="stage2")])
    # Stem, stage 1, and stage 2 itself; what is inserted behind it is a unit of its own.
    assert num_frozen_units(trunk, spec("all")) == 5
