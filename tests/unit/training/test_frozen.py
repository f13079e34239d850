"""The frozen pass: the same function, faster, and the same bits whoever is in the batch."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from handlens.models import backbones, pool
from handlens.training.device import Device
from handlens.training.frozen import FrozenPass, fold_batch_norms

CPU = torch.device("cpu")
NAMES = [
    "handlens/nano",
    "torchvision/densenet121",
    "torchvision/efficientnet_b0",
    "torchvision/mnasnet0_5",
    "torchvision/mobilenet_v2",
    "torchvision/mobilenet_v3_small",
    "torchvision/regnet_y_400mf",
    "torchvision/resnet18",
    "torchvision/shufflenet_v2_x0_5",
    "torchvision/squeezenet1_1",
    "torchvision/swin_t",
]
# DenseNet's norms stand before its convolutions: some have none in front of them to go into.
NORMS_LEFT = {"torchvision/densenet121"}


def trunk_of(name):
    """A trunk whose batch norms do something, as trained ones do."""
    trunk = backbones.create(name, "none").trunk
    generator = torch.Generator().manual_seed(1)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return trunk


def num_norms(trunk):
    return sum(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())


def pictures(count, side=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_folding_keeps_the_function_and_the_network(name):
    trunk = trunk_of(name)
    norms = num_norms(trunk)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = trunk(x.clone())
        folded = fold_batch_norms(trunk)
        got = folded(x.clone())
        assert num_norms(trunk) == norms
        assert torch.equal(trunk(x.clone()), expected)
    scale = expected.abs().max().item()
    assert math.isfinite(scale)
    assert scale > 0
    torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-5)
    if name not in NORMS_LEFT:
        assert num_norms(folded) == 0


def test_a_network_that_cannot_be_traced_runs_as_it_is():
    class Branching(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x - 1

    folded = fold_batch_norms(Branching().eval())
    assert folded(torch.ones(2)).tolist() == [2, 2]
    assert folded(-torch.ones(2)).tolist() == [-2, -2]


def test_the_norms_of_timm_networks_are_folded_too():
    trunk = backbones.create("timm/mobilenetv3_small_050", "none").trunk
    assert num_norms(trunk) > 0
    assert num_norms(fold_batch_norms(trunk)) == 0


def test_the_given_network_keeps_its_precision():
    trunk = backbones.create("timm/convnext_atto", "none").trunk
    FrozenPass(trunk, pool.average, "imagenet", Device(CPU, torch.bfloat16))
    assert {weight.dtype for weight in trunk.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["handlens/nano", "torchvision/mobilenet_v3_small"])
def test_the_rows_are_the_pooled_map_of_the_normalised_picture(name):
    trunk = trunk_of(name)
    pixels = pictures(3)
    rows = FrozenPass(trunk, pool.average_and_maximum, "imagenet", Device(CPU, torch.float32)).rows(pixels, 4)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy((pixels / 255 - mean) / deviation).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        feature_map = trunk(x).numpy()
    expected = np.concatenate([feature_map.mean((2, 3)), feature_map.max((2, 3))], axis=1)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows / expected.max(), expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["handlens/nano", "torchvision/mobilenet_v3_small", "torchvision/resnet18"])
def test_a_row_is_the_same_bits_whoever_is_in_the_batch(name, dtype):
    frozen = FrozenPass(trunk_of(name), pool.average, "imagenet", Device(CPU, dtype))
    one, others = pictures(1), pictures(7, seed=1)
    alone = frozen.rows(one, 8)
    assert alone.shape[0] == 1
    assert np.isfinite(alone).all()
    for place, count in ((0, 2), (1, 2), (0, 8), (3, 8), (7, 8)):
        batch = np.insert(others[: count - 1], place, one[0], axis=0)
        rows = frozen.rows(batch, 8)
        assert rows.shape[0] == count
        assert rows[place].tobytes() == alone[0].tobytes(), (place, count)


def test_black_and_white_neighbours_change_nothing():
    frozen = FrozenPass(trunk_of("handlens/nano"), pool.average, "half", Device(CPU, torch.bfloat16))
    one = pictures(1)
    for value in (0, 255):
        batch = np.concatenate([one, np.full((3, 64, 64, 3), value, np.uint8)])
        assert frozen.rows(batch, 4)[0].tobytes() == frozen.rows(one, 4)[0].tobytes()


def test_bfloat16_is_near_float32():
    trunk = trunk_of("torchvision/resnet18")
    exact, quick = (
        FrozenPass(trunk, pool.average, "imagenet", Device(CPU, dtype)).rows(pictures(2), 2)
        for dtype in (torch.float32, torch.bfloat16)
    )
    # Eight bits of mantissa through eighteen layers.
    assert np.abs(exact - quick).max() < 0.05 * np.abs(exact).max()
    assert not np.array_equal(exact, quick)
