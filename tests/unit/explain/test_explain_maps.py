"""Maps against captum on the networks as their makers wrote them, and against an implementation in NumPy."""

from collections.abc import Callable

import captum.attr
import numpy as np
import pytest
import torch
import torchvision
from scipy.stats import spearmanr
from torch import Tensor, nn

from handlens.base.errors import HandlensError
from handlens.explain.layer import last_map
from handlens.explain.maps import METHODS, heat_of, map_and_gradient
from handlens.explain.network import Explained, scores_of
from handlens.explain.spec import ExplainSpec
from handlens.models import backbones
from handlens.models.heads import Head, HeadSpec
from handlens.models.pool import POOLS
from handlens.models.twin import TwinHead, twin_trunk

SPEC = ExplainSpec()


def explained(name: str, side: int, num: int, pool: str = "average", seed: int = 0) -> Explained:
    """A network with random weights and a head for three classes."""
    trunk = backbones.create(name, "none", seed, pool == "own").trunk
    return Explained(trunk, POOLS[pool], Head(HeadSpec(members=2), num, 3, seed), side, "imagenet")


class AsPublished(nn.Module):
    """torchvision's own network, with our head's weights in the place of its classifier."""

    def __init__(self, name: str, own: Explained) -> None:
        super().__init__()
        self.network = torchvision.models.get_model(name, weights=None).eval()
        state = own.trunk.state_dict()
        assert set(self.network.load_state_dict(state, strict=False).missing_keys) <= {
            key for key in self.network.state_dict() if key.startswith(("classifier", "fc", "head"))
        }
        weight = own.head.layers[-1].weight.detach().mean(0)
        last = nn.Linear(*weight.shape)
        last.load_state_dict({"weight": weight.T, "bias": own.head.layers[-1].bias.detach().mean((0, 1))})
        for name_of_last in ("classifier", "fc", "head"):
            if hasattr(self.network, name_of_last):
                flat = nn.Sequential(nn.Flatten(1), last)
                setattr(self.network, name_of_last, flat if name_of_last == "classifier" else last)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


FAMILIES: dict[str, tuple[int, int, Callable[[nn.Module], nn.Module]]] = {
    # Numbers a picture, a side, and the module that gives the last map with the channels first.
    "mobilenet_v2": (1280, 128, lambda network: network.features),
    "resnet18": (512, 128, lambda network: network.layer4),
    "convnext_tiny": (768, 96, lambda network: network.features),
    "swin_t": (768, 128, lambda network: network.permute),
}


def in_numpy(network: nn.Module, layer: nn.Module, x: Tensor, target: int) -> np.ndarray:
    """Grad-CAM once more: values and slopes at a layer, and the arithmetic in NumPy."""
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, __, out: kept.append(out))
    x = x.clone().requires_grad_()
    score = network(x)[0, target]
    (slope,) = torch.autograd.grad(score, kept[0])
    hook.remove()
    values, slopes = (each[0].detach().double().numpy() for each in (kept[0], slope))
    weights = slopes.reshape(len(slopes), -1).mean(axis=1)
    return np.maximum(np.einsum("k,khw->hw", weights, values), 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradcam_agrees_with_captum_and_with_a_second_implementation(name: str) -> None:
    num, side, layer_of = FAMILIES[name]
    own = explained(f"torchvision/{name}", side, num)
    published = AsPublished(name, own)
    layer = layer_of(published.network)
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 3, side, side)).astype(np.float32))
    torch.testing.assert_close(own(x), published(x), rtol=1e-4, atol=1e-6)
    target = int(own(x).argmax())
    mine = heat_of(own, x, torch.tensor([target]), SPEC)[0]
    theirs = captum.attr.LayerGradCam(published, layer).attribute(x, target, relu_attributions=True)
    second = torch.from_numpy(in_numpy(published, layer, x, target))[None, None]
    for other in (theirs, second):
        large = nn.functional.interpolate(other.detach().double(), (side, side), mode="bilinear")[
            0, 0
        ].numpy()
        assert spearmanr(mine.ravel(), large.ravel()).statistic > 0.99
        np.testing.assert_allclose(mine / mine.max(), large / large.max(), atol=1e-3)


def test_with_averages_and_a_linear_head_it_is_the_class_activation_map() -> None:
    own = explained("handlens/nano", 160, 640)
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        values = own.trunk(x).numpy()
    head = own.head
    weights = head.layers[-1].weight.mean(0).numpy()[:, 1] / head.standardise.deviation.numpy()
    by_hand = np.maximum(np.einsum("k,nkhw->nhw", weights, values) / 25, 0)
    made = captum.attr.LayerGradCam(own, own.passage()).attribute(x, 1, relu_attributions=True)
    np.testing.assert_allclose(made[:, 0].detach().numpy(), by_hand, rtol=1e-3, atol=1e-7)


def test_gradcam_plus_plus_follows_its_derivatives() -> None:
    """Equation 10 with the derivatives of exp(score) taken by autograd, not by the shortcut."""
    own = explained("handlens/nano", 96, 640)
    own.trunk, own.head = own.trunk.double(), own.head.double()
    x = torch.randn(1, 3, 96, 96, dtype=torch.double)
    target = torch.tensor([2])
    values, slopes = map_and_gradient(own, x, target)
    channels = [3, 77, 500]
    weights = {}
    for channel in channels:
        shares, firsts = [], []
        for at in range(9):
            part = values[0, channel].flatten()[at].clone().requires_grad_()
            whole = values.clone()
            whole[0, channel, at // 3, at % 3] = part
            power = torch.exp(own.head.member_scores(whole.mean((2, 3))).mean(0)[0, 2])
            (first,) = torch.autograd.grad(power, part, create_graph=True)
            (second,) = torch.autograd.grad(first, part, create_graph=True)
            (third,) = torch.autograd.grad(second, part)
            total = values[0, channel].sum()
            shares.append((second / (2 * second + total * third)).item())
            firsts.append(max(first.item(), 0))
        weights[channel] = float(np.dot(shares, firsts))
    power = float(torch.exp(own(x)[0, 2]))
    below = 2 * slopes**2 + values.sum((2, 3), keepdim=True) * slopes**3
    ours = (slopes**2 / below * slopes.clamp(min=0)).sum((2, 3))[0]
    for channel in channels:
        assert weights[channel] == pytest.approx(power * float(ours[channel]), rel=1e-6)
    # The method itself weights all channels so.
    made = METHODS["gradcam++"].run(own, x, target, SPEC)
    by_hand = (ours[:, None, None] * values[0]).sum(0).clamp(min=0)[None, None]
    torch.testing.assert_close(made, nn.functional.interpolate(by_hand, (96, 96), mode="bilinear")[:, 0])


def test_integrated_gradients_add_up_to_the_difference_from_grey() -> None:
    own = explained("handlens/nano", 64, 640)
    x = torch.randn(2, 3, 64, 64)
    made = METHODS["integrated_gradients"].run(own, x, torch.tensor([0, 2]), ExplainSpec(steps=80))
    with torch.no_grad():
        wanted = (own(x) - own(torch.zeros_like(x)))[[0, 1], [0, 2]]
    torch.testing.assert_close(made.sum((1, 2)).detach(), wanted, rtol=0.03, atol=0.005)


def test_occlusion_is_the_fall_of_the_score_below_a_square() -> None:
    own = explained("handlens/nano", 64, 640)
    x = torch.randn(1, 3, 64, 64)
    made = METHODS["occlusion"].run(own, x, torch.tensor([1]), ExplainSpec(window=0.25))[0].numpy()
    # Squares of 16 in steps of 8; a pixel gets the mean over those that cover it.
    total, times = np.zeros((64, 64)), np.zeros((64, 64))
    with torch.no_grad():
        whole = float(own(x)[0, 1])
        for top in range(0, 49, 8):
            for left in range(0, 49, 8):
                covered = x.clone()
                covered[:, :, top : top + 16, left : left + 16] = 0
                total[top : top + 16, left : left + 16] += whole - float(own(covered)[0, 1])
                times[top : top + 16, left : left + 16] += 1
    np.testing.assert_allclose(made, total / times, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_heat_of_0_or_more_and_leaves_the_network_alone(method: str) -> None:
    own = explained("handlens/nano", 64, 640)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    x = torch.randn(2, 3, 64, 64)
    spec = ExplainSpec(method=method, steps=8, window=0.5)
    heat = heat_of(own, x, torch.tensor([0, 1]), spec)
    assert heat.shape == (2, 64, 64) and heat.dtype == np.float32
    assert heat.min() >= 0 and heat.max() > 0
    # Each picture's map is its own, whatever is beside it.
    alone = heat_of(own, x[1:], torch.tensor([1]), spec)[0]
    np.testing.assert_allclose(alone, heat[1], atol=1e-5 * heat.max())
    assert not any(weight.requires_grad or weight.grad is not None for weight in own.parameters())
    after = own.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


PLACES = [
    ("handlens/nano", 224, "average", 640, ("", "map", 7)),
    ("handlens/nano", 64, "average", 640, ("stage2", "map", 4)),
    ("torchvision/mobilenet_v2", 96, "own", 1280, ("features.18", "map", 3)),
    ("timm/convnext_atto", 96, "own", 320, ("stages.3", "map", 3)),
    ("timm/swin_s3_tiny_224", 224, "own", 768, ("layers.3", "channels_last", 7)),
    ("timm/vit_tiny_patch16_224", 224, "average", 384, ("features.network.blocks.10", "tokens", 14)),
    ("timm/vit_tiny_patch16_224", 224, "own", 192, ("blocks.10", "tokens", 14)),
]


@pytest.mark.parametrize(("name", "side", "pool", "num", "wanted"), PLACES)
def test_the_last_map_is_found_in_every_layout(name, side, pool, num, wanted) -> None:
    own = explained(name, side, num, pool)
    assert (own.place.path, own.place.layout, own.place.side) == wanted
    x = torch.randn(1, 3, side, side)
    with torch.no_grad():
        before = own(x)
    heat = heat_of(own, x, torch.tensor([0]), SPEC)
    # Laid out as a map and back, all is as it was.
    with torch.no_grad():
        torch.testing.assert_close(own(x), before)
    assert heat.shape == (1, side, side) and np.ptp(heat) > 0


def test_a_map_points_where_the_evidence_is() -> None:
    """Of tokens with the channels last and a class token in front, the right place is found again."""
    own = explained("timm/vit_tiny_patch16_224", 224, 192, "own")
    place = own.place
    tokens = torch.arange(197.0)[None, :, None].expand(1, 197, 4)
    feature_map = place.to_map(tokens)
    assert feature_map.shape == (1, 4, 14, 14)
    assert feature_map[0, 0, 2, 5] == 1 + 2 * 14 + 5
    torch.testing.assert_close(place.from_map(feature_map, tokens), tokens)


def test_a_network_without_maps_says_what_to_do() -> None:
    trunk = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))
    with pytest.raises(HandlensError, match="--method integrated_gradients"):
        last_map(trunk, 64)


def test_a_network_beside_itself_is_explained_by_both() -> None:
    first, second = (backbones.create("handlens/nano", "none", seed).trunk for seed in (0, 1))
    heads = [Head(HeadSpec(members=2), 640, 3, seed) for seed in (0, 1)]
    trunk = twin_trunk(first, second, 3)
    own = Explained(trunk, POOLS["average"], TwinHead(heads[0], heads[1], 1), 96, "imagenet")
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        rows = own.rows(x)
        parts = [heads[0].member_scores(rows[:, :640]), heads[1].member_scores(rows[:, 640:])]
        wanted = torch.stack([part.mean(0) for part in parts]).mean(0)
        torch.testing.assert_close(scores_of(own.head, rows), wanted)
    assert heat_of(own, x, torch.tensor([0, 1]), SPEC).max() > 0
