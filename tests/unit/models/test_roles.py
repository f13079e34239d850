"""Roles, stages and the chain of units, checked against the networks' own computation."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from handlens.base.errors import HandlensError
from handlens.models import backbones
from handlens.models.backbones import TimmMap
from handlens.models.probe import probe
from handlens.models.roles import ROLES, find, matches, nothing_found, stages, units


def trunk_of(name, own_rows=False):
    return backbones.create(name, "none", 0, own_rows).trunk


def picture(height, width, count=1):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def small_swin():
    """timm's, with maps whose channels stand last."""
    network = timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
        num_classes=0, global_pool="",
    )  # fmt: skip
    return TimmMap("small", network).eval()


def ends(trunk, role):
    return [part.end for part in find(trunk, role)]


def test_the_roles_of_resnet18_by_hand():
    trunk = trunk_of("torchvision/resnet18")
    blocks = [f"layer{stage}.{number}" for stage in (1, 2, 3, 4) for number in (0, 1)]
    assert ends(trunk, "blocks") == blocks
    assert ends(trunk, "residual") == [f"{block}.bn2" for block in blocks]
    # The first pooling begins the stage of layer1.
    assert ends(trunk, "stages") == ["relu", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    assert find(trunk, "stages")[1].members == ("maxpool", "layer1.0", "layer1.1")


@pytest.mark.parametrize(
    ("name", "num_blocks"),
    [
        # From the tables of the papers.
        ("torchvision/mobilenet_v2", 17),
        ("torchvision/mobilenet_v3_small", 11),
        ("torchvision/shufflenet_v2_x0_5", 16),
        ("torchvision/squeezenet1_1", 8),
        ("torchvision/alexnet", 5),
        ("torchvision/regnet_y_400mf", 16),
        ("torchvision/convnext_tiny", 18),
        ("timm/mobilenetv3_small_050", 12),
        ("timm/test_vit", 6),
        ("handlens/nano", 4),
    ],
)
def test_so_many_blocks_are_found(name, num_blocks):
    assert len(ends(trunk_of(name), "blocks")) == num_blocks


@pytest.mark.parametrize(
    "name",
    [
        "torchvision/resnet18",
        "torchvision/mobilenet_v2",
        "torchvision/mobilenet_v3_small",
        "torchvision/efficientnet_b0",
        "torchvision/mnasnet0_5",
        "torchvision/regnet_y_400mf",
        "torchvision/convnext_tiny",
        "timm/test_resnet",
        "timm/test_convnext",
        "timm/mobilenetv3_small_050",
        "timm/mobilenetv4_conv_small_035",
    ],
)
def test_without_its_residual_branch_a_block_gives_what_it_got(name):
    """So what is found is the last module of the branch, whatever the code of the block says."""
    trunk = trunk_of(name)
    modules = dict(trunk.named_modules())
    branches = ends(trunk, "residual")
    for end in branches:
        modules[end].register_forward_hook(lambda _, __, out: torch.zeros_like(out))
    seen = {}
    for path in ends(trunk, "blocks"):
        # Copied on the way in, because a ReLU may work in place.
        modules[path].register_forward_pre_hook(
            lambda _, given, path=path: seen.update({path: [given[0].clone()]})
        )
        modules[path].register_forward_hook(lambda _, __, out, path=path: seen[path].append(out.clone()))
    with torch.inference_mode():
        trunk(picture(64, 64))
    compared = 0
    for path, (before, after) in seen.items():
        # Blocks with layers on the way around, or without one, give something else.
        around = [getattr(modules[path], part, None) for part in ("downsample", "proj")]
        if any(end.startswith(f"{path}.") for end in branches) and not any(around):
            assert torch.equal(after, before) or torch.equal(after, before.relu())
            compared += 1
    assert compared >= 1


FAMILIES = [
    "torchvision/squeezenet1_1", "torchvision/mobilenet_v3_small", "torchvision/shufflenet_v2_x0_5",
    "torchvision/resnet18", "torchvision/convnext_tiny", "torchvision/googlenet", "timm/test_resnet",
    "handlens/nano",
]  # fmt: skip


@pytest.mark.parametrize("own_rows", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_one_unit_after_the_other_is_the_trunk(name, own_rows, monkeypatch):
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor.data.fill_(0.01))
    trunk = trunk_of(name, own_rows)
    with torch.inference_mode():
        x = picture(64, 96)
        for path, unit in units(trunk):
            assert trunk.get_submodule(path) is unit
            x = unit(x)
        assert torch.equal(x, trunk(picture(64, 96)))


def test_the_stages_of_torchvision_are_told_by_resolution():
    trunk = trunk_of("torchvision/mobilenet_v2")
    known = stages(trunk)
    # Table 2 of Sandler et al. 2018: strides of 2 at the stem and at blocks 2, 4, 7 and 14.
    begins = {0: 0, 2: 1, 4: 2, 7: 3, 14: 4}
    stage = 0
    for number in range(19):
        stage = begins.get(number, stage)
        assert known.of(f"features.{number}") == known.of(f"features.{number}.0.weight") == stage
    assert known.num == 5
    assert known.depth_from_head("features.18.1.bias") == 0
    assert known.depth_from_head("features.0.0.weight") == 4


def test_the_stages_of_convnext_begin_with_the_norm_before_the_stride():
    known = stages(trunk_of("torchvision/convnext_tiny"))
    assert [known.of(f"features.{number}") for number in (0, 1, 3, 5, 7)] == [0, 0, 1, 2, 3]
    assert known.of("features.1.2.block.5.weight") == 0
    assert known.of("features.2.0.weight") == known.of("features.2.1.weight") == 1


def test_the_stages_of_timm_are_what_timm_says():
    trunk = trunk_of("timm/test_resnet")
    known = stages(trunk)
    for name, stage in (("conv1.0.weight", 0), ("bn1.weight", 0), ("layer1.0.conv1.weight", 1)):
        assert known.of(f"features.network.{name}") == stage
    assert known.of("features.network.layer4.0.bn2.bias") == 4
    assert known.num == 5


def test_layers_after_the_map_are_a_stage_where_they_have_weights():
    with_weights = stages(trunk_of("torchvision/alexnet", own_rows=True))
    assert with_weights.num == stages(trunk_of("torchvision/alexnet")).num + 1
    assert with_weights.depth_from_head("own_rows.3.weight") == 0
    assert stages(trunk_of("torchvision/resnet18", own_rows=True)).num == 5


def test_a_transformer_is_one_stage():
    assert stages(trunk_of("timm/test_vit")).num == 1


# What modules give out


def test_layouts_are_told_apart():
    swin = probe(small_swin())
    assert swin["features.network.layers.1"].layout == "channels_last"
    assert swin["features.network.layers.1"].channels == 32
    assert swin["features.network.patch_embed.proj"].layout == "map"
    assert swin["features.network.layers.0.blocks.0.attn.qkv"].layout == "other"
    vit = probe(trunk_of("timm/test_vit"))
    assert (vit["features.network.blocks.0"].layout, vit["features.network.blocks.0"].channels) == (
        "tokens",
        64,
    )
    theirs = torchvision.models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4])
    outputs = probe(backbones._torchvision_trunk(theirs))
    assert outputs["features.1.0"].layout == outputs["features.3.0.mlp"].layout == "channels_last"
    assert outputs["permute"].layout == "map"
    assert [outputs[path].height for path in ("features.1.0", "features.3.0", "permute")] == [24, 12, 12]


def test_probing_changes_nothing():
    trunk = trunk_of("torchvision/mobilenet_v3_small")
    trunk.train()
    trunk.features[3].eval()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    flags = [module.training for module in trunk.modules()]
    random = torch.get_rng_state()
    outputs = probe(trunk)
    assert [module.training for module in trunk.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_hooks for module in trunk.modules())
    assert outputs["features.12"].channels == 576


def test_a_module_that_is_called_often_is_counted():
    assert probe(trunk_of("torchvision/resnet18"))["layer1.0.relu"].calls == 2


# Globs


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("layer1", "layer1", True),
        ("layer1", "layer1.0", False),
        ("layer?", "layer1", True),
        ("layer1.*", "layer1.0", True),
        ("layer1.*", "layer1.0.conv1", False),
        ("layer1.**", "layer1.0.conv1", True),
        ("**.conv1", "layer1.0.conv1", True),
        ("**.conv1", "conv1", True),
        ("**conv1", "layer1.0.conv1", True),
        ("features.0*", "features.0", True),
        ("features.0*", "features.01", True),
        ("features.0*", "features.10", False),
        ("block1-?", "block1-0", True),
        ("layer1", "features.network.layer1", True),
        ("features.network.layer1", "features.network.layer1", True),
        ("a.b", "axb", False),
    ],
)
def test_globs(pattern, path, expected):
    assert matches(pattern, path) is expected


def test_what_is_not_there_is_answered_with_the_nearest():
    trunk = trunk_of("torchvision/shufflenet_v2_x0_5")
    outputs = probe(trunk)
    assert isinstance(nothing_found(trunk, "x", outputs), HandlensError)
    assert "stage2" in str(nothing_found(trunk, "stag2", outputs))
    assert "blocks" in str(nothing_found(trunk, "block", outputs)).partition("nearest")[2]
    assert "blocks, stages" in str(nothing_found(trunk, "residual", outputs))
    assert find(trunk, "nothing") == []


def test_every_role_is_of_modules_that_are_there():
    for name in FAMILIES[:4]:
        trunk = trunk_of(name)
        for role in ROLES:
            for part in find(trunk, role):
                trunk.get_submodule(part.end)
                assert part.members
