"""Edits as data: what they touch, what they leave as it is, and what they say when they touch nothing."""

import copy

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from handlens.base.errors import HandlensError, Problems
from handlens.base.spec import Spec, read_yaml, write_yaml
from handlens.models import backbones
from handlens.models.attention import CBAM, ECA, SE
from handlens.models.edits import Edit, Insert, Replace, apply_edits, new_parameters, plan_edits
from handlens.models.gsconv import GSConv
from handlens.models.roles import units

PICTURE = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class Edits(Spec):
    """As a recipe holds them."""

    edits: tuple[Edit, ...] = ()


def parsed(text):
    return Edits.parse({"edits": read_yaml(text, "the test")}, "The edits").edits


def trunk_of(name="handlens/nano"):
    return backbones.create(name, "none").trunk


def seen(trunk, picture=PICTURE):
    with torch.inference_mode():
        return trunk(picture)


# As data


def test_edits_are_read_and_written_as_they_are_said():
    text = "[{insert: eca, after: blocks}, {replace: conv3x3, with: gsconv, in: blocks}]"
    edits = parsed(text)
    assert [type(edit) for edit in edits] == [Insert, Replace]
    assert (edits[1].with_, edits[1].in_) == ("gsconv", "blocks")
    written = Edits(edits=edits).model_dump(mode="json", by_alias=True)
    assert written["edits"][1] == {"replace": "conv3x3", "with": "gsconv", "in": "blocks", "start": "fit"}
    assert Edits.parse(read_yaml(write_yaml(written), ""), "").edits == edits
    assert [str(edit) for edit in edits] == [f"{{{part}}}" for part in text.strip("[{}]").split("}, {")]


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("[{insert: ecca, after: blocks}]", "edits.0.insert", "'eca'"),
        ("[{insert: eca}]", "edits.0.after", "missing"),
        ("[{insert: eca, after: blocks, hads: 4}]", "edits.0.hads", "no such key"),
        ("[{replace: conv3x3, in: blocks}]", "edits.0.with", "missing"),
        ("[{insrt: eca, after: blocks}]", "edits.0", "insert: ..., after: ..."),
        ("[eca]", "edits.0", "insert: ..., after: ..."),
        ("[{insert: multi_se, after: blocks, heads: 0}]", "edits.0.heads", "greater than or equal to 1"),
    ],
)
def test_what_is_no_edit_is_told_with_its_place(text, place, told):
    with pytest.raises(Problems) as caught:
        parsed(text)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{place}:")
    assert told in problem


def test_editors_are_told_the_keys_as_they_are_written():
    schema = TypeAdapter(Edit).json_schema()
    assert {"replace", "with", "in", "start"} == set(schema["$defs"]["Replace"]["properties"])


# Insertion


def test_an_insertion_keeps_the_names():
    trunk = trunk_of()
    before = trunk.stage2
    (touched,) = apply_edits(trunk, parsed("[{insert: eca, after: stage2}]"))
    assert touched.paths == ("stage2",)
    assert isinstance(trunk.stage2, nn.Sequential)
    assert trunk.stage2[0] is before
    assert isinstance(trunk.stage2[1], ECA)
    assert [path for path, _ in units(trunk)][4:6] == ["stage2.0", "stage2.1"]


def test_several_edits_at_one_place_stand_in_their_order():
    trunk = trunk_of()
    expected = seen(trunk)
    apply_edits(trunk, parsed("[{insert: eca, after: blocks}, {insert: cbam, after: 'stage?'}]"))
    assert [type(part) for part in trunk.stage3][1:] == [ECA, CBAM]
    assert torch.equal(seen(trunk), expected)


def test_all_edits_name_the_network_as_it_comes():
    """An insertion behind a convolution and its replacement, in either order, are the same network."""
    insert, replace = "{insert: se, after: stage1.conv2}", "{replace: conv3x3, with: gsconv, in: stage1}"
    one, other = trunk_of(), trunk_of()
    apply_edits(one, parsed(f"[{insert}, {replace}]"))
    apply_edits(other, parsed(f"[{replace}, {insert}]"))
    for trunk in (one, other):
        assert [type(part) for part in trunk.stage1.conv2] == [GSConv, SE]
        assert isinstance(trunk.stage1.conv1, GSConv)
    assert torch.equal(seen(one), seen(other))


@pytest.mark.parametrize("text", ["[{insert: eca, after: '**.bn2'}]", "[{insert: eca, after: residual}]"])
def test_globs_and_roles_touch_the_same(text):
    (touched,) = plan_edits(trunk_of(), parsed(text))
    assert touched.paths == ("stage1.bn2", "stage2.bn2", "stage3.bn2", "stage4.bn2")


def test_plans_are_what_is_done_and_do_nothing():
    trunk = trunk_of("torchvision/squeezenet1_1")
    edits = parsed("[{insert: se, after: stages}, {replace: conv3x3, with: gsconv, in: blocks}]")
    before = [path for path, _ in trunk.named_modules()]
    planned = plan_edits(trunk, edits)
    assert [path for path, _ in trunk.named_modules()] == before
    assert planned == apply_edits(trunk, edits)


def test_eca_behind_every_block_of_convnext_adds_84_weights():
    trunk = trunk_of("torchvision/convnext_tiny")
    before = sum(weight.numel() for weight in trunk.parameters())
    (touched,) = apply_edits(trunk, parsed("[{insert: eca, after: blocks}]"))
    assert len(touched.paths) == 18
    # Kernels of 3 for 96, of 5 for 192, 384 and 768 channels: 3 x 3 + 3 x 5 + 9 x 5 + 3 x 5.
    assert sum(weight.numel() for weight in trunk.parameters()) - before == 84


def test_no_edits_do_nothing():
    trunk = trunk_of()
    assert apply_edits(trunk, ()) == plan_edits(trunk, ()) == []


# Replacement


def test_only_dense_3x3_convolutions_are_replaced():
    trunk = trunk_of("torchvision/squeezenet1_1")
    (touched,) = apply_edits(trunk, parsed("[{replace: conv3x3, with: gsconv, in: '**'}]"))
    assert touched.paths == (
        "features.0",
        *(f"features.{number}.expand3x3" for number in (3, 4, 6, 7, 9, 10, 11, 12)),
    )
    assert all(isinstance(trunk.get_submodule(path), GSConv) for path in touched.paths)


def test_the_nearest_start_is_nearer_than_the_papers():
    expected = seen(trunk_of())
    errors = {}
    for start in ("fit", "paper"):
        trunk = trunk_of()
        apply_edits(trunk, parsed(f"[{{replace: conv3x3, with: gsconv, in: stage4, start: {start}}}]"))
        errors[start] = (seen(trunk) - expected).square().mean()
    assert errors["fit"] < errors["paper"]


def test_vgg_blocks_hold_their_convolutions():
    trunk = trunk_of("torchvision/alexnet")
    (touched,) = plan_edits(trunk, parsed("[{replace: conv3x3, with: gsconv, in: blocks}]"))
    assert touched.paths == ("features.6", "features.8", "features.10")


# Errors


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("handlens/nano", "{insert: eca, after: stag1}", ["stage1"]),
        ("handlens/nano", "{insert: eca, after: block}", ["nearest: blocks"]),
        ("torchvision/squeezenet1_1", "{insert: eca, after: residual}", ["residual", "blocks, stages"]),
        (
            "torchvision/shufflenet_v2_x0_5",
            "{replace: conv3x3, with: gsconv, in: blocks}",
            ["1 x 1", "3 x 3 depthwise"],
        ),
        ("handlens/nano", "{replace: conv3x3, with: gsconv, in: residual}", ["no convolutions"]),
        ("torchvision/resnet18", "{insert: eca, after: layer1.0.relu}", ["layer1.0.relu", "2 places"]),
        ("timm/test_vit", "{insert: cbam, after: blocks}", ["blocks.0", "tokens"]),
        ("handlens/nano", "{insert: se, after: blocks, reduction: 128}", ["stage1", "reduction"]),
    ],
)
def test_an_edit_that_touches_nothing_says_what_is_there(name, text, told):
    with pytest.raises(HandlensError) as caught:
        apply_edits(trunk_of(name), parsed(f"[{text}]"))
    for words in told:
        assert words in str(caught.value)
    assert text.split(",")[0] in str(caught.value)


def test_replacing_twice_is_refused():
    edit = "{replace: conv3x3, with: gsconv, in: stage1}"
    with pytest.raises(HandlensError, match="already"):
        plan_edits(trunk_of(), parsed(f"[{edit}, {edit}]"))


# What is new


def test_what_is_new_is_known_again_after_a_copy():
    trunk = trunk_of()
    before = {name for name, _ in trunk.named_parameters()}
    apply_edits(trunk, parsed("[{insert: se, after: stage1}, {replace: conv3x3, with: gsconv, in: stage2}]"))
    new = new_parameters(copy.deepcopy(trunk))
    kept = {name.replace("stage1.0.", "stage1.") for name, _ in trunk.named_parameters() if name not in new}
    assert kept == before - {"stage2.conv1.weight", "stage2.conv2.weight"}
    assert {name.split(".")[0] for name in new} == {"stage1", "stage2"}
    assert all(name.startswith(("stage1.1.", "stage2.conv1.", "stage2.conv2.")) for name in new)


def test_new_layers_take_over_whether_the_network_trains():
    for training in (True, False):
        trunk = trunk_of().train(training)
        apply_edits(trunk, parsed("[{insert: se, after: blocks}]"))
        assert all(module.training is training for module in trunk.modules())
