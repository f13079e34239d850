"""Attention modules against their papers' equations in numpy, and their sizes against the papers' tables."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from handlens.base.errors import HandlensError
from handlens.models.attention import (
    ATTENTIONS,
    CBAM,
    ECA,
    SE,
    AttentionSpec,
    InLayout,
    MultiSE,
    eca_kernel,
    make_attention,
    token_width,
)

PAPER = AttentionSpec(start="paper", reduction=2, heads=2)


def maps(channels, side=5, seed=0):
    return torch.randn(3, channels, side, side + 1, generator=torch.Generator().manual_seed(seed))


def numbers(module):
    """The weights by name, in numpy's double precision."""
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def drawn(module, seed=0):
    """The module with weights large enough to be seen in every output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.normal_(generator=generator)
    return module


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def excited(z, w, name="excite"):
    hidden = np.maximum(z @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"], 0)
    return hidden @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]


def count(module):
    return sum(value.numel() for value in module.parameters())


def test_se_by_hand():
    se = SE(2, AttentionSpec(start="paper", reduction=2))
    with torch.no_grad():
        for value, number in zip(
            se.parameters(), ([[1.0, -2.0]], [0.5], [[3.0], [-1.0]], [0.0, 1.0]), strict=True
        ):
            value.copy_(torch.tensor(number))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])
    # The means are 2 and 1/2: W1 z + b1 = 2 - 1 + 1/2 = 3/2, then 9/2 and -1/2.
    expected = [[1 / (1 + np.exp(-4.5)), 3 / (1 + np.exp(-4.5))], [0, 1 / (1 + np.exp(0.5))]]
    np.testing.assert_allclose(se(x)[0, :, 0].detach().numpy(), expected, rtol=1e-6)


def test_se_against_numpy():
    x, se = maps(6), drawn(SE(6, PAPER))
    factors = sigmoid(excited(x.double().numpy().mean((2, 3)), numbers(se)))
    np.testing.assert_allclose(
        se(x).detach().numpy(), x.numpy() * factors[:, :, None, None], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("channels", "size"),
    [(16, 3), (64, 3), (96, 3), (128, 5), (192, 5), (384, 5), (512, 5), (768, 5), (2048, 7)],
)
def test_the_kernel_of_eca_follows_the_channels(channels, size):
    assert eca_kernel(channels) == size


def test_eca_against_numpy():
    x, eca = maps(10), drawn(ECA(10, PAPER))
    z = np.pad(x.double().numpy().mean((2, 3)), ((0, 0), (1, 1)))
    kernel = numbers(eca)["across.weight"][0, 0]
    assert kernel.shape == (3,)
    factors = sigmoid(np.stack([z[:, i : i + 3] @ kernel for i in range(10)], axis=1))
    np.testing.assert_allclose(
        eca(x).detach().numpy(), x.numpy() * factors[:, :, None, None], rtol=1e-4, atol=1e-5
    )


def test_cbam_against_numpy():
    x, cbam = maps(6), drawn(CBAM(6, PAPER))
    w, y = numbers(cbam), x.double().numpy()
    y = y * sigmoid(excited(y.mean((2, 3)), w) + excited(y.max((2, 3)), w))[:, :, None, None]
    seen = np.pad(np.stack([y.mean(1), y.max(1)], axis=1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    windows = np.lib.stride_tricks.sliding_window_view(seen, (7, 7), axis=(2, 3))
    places = sigmoid(np.einsum("nchwij,cij->nhw", windows, w["look.weight"][0]))
    np.testing.assert_allclose(cbam(x).detach().numpy(), y * places[:, None], rtol=1e-4, atol=1e-5)


def test_multi_se_against_numpy():
    # Three tokens of 14 channels, as 16 do not divide 42; seven channels of each for each of the two heads.
    x, multi_se = maps(42), drawn(MultiSE(42, PAPER))
    with torch.no_grad():
        # Smaller, so that no head looks at a single token alone.
        multi_se.queries_keys_values.weight.mul_(0.3)
        multi_se.excite[0].weight.mul_(0.1)
    w, width = numbers(multi_se), 14
    means = x.double().numpy().mean((2, 3))
    tokens = np.stack([means[:, first : first + width] for first in (0, 14, 28)], axis=1)
    query, key, value = (
        tokens @ w["queries_keys_values.weight"][part : part + width].T
        + w["queries_keys_values.bias"][part : part + width]
        for part in (0, width, 2 * width)
    )
    heads = []
    for first in (0, 7):
        q, k, v = (part[..., first : first + 7] for part in (query, key, value))
        heads.append(softmax(q @ k.transpose(0, 2, 1) / np.sqrt(7)) @ v)
    attended = np.concatenate(heads, axis=2) @ w["back.weight"].T + w["back.bias"]
    descriptor = np.concatenate([attended[:, token] for token in range(3)], axis=1)
    np.testing.assert_allclose(multi_se.attend(torch.tensor(means).float()).detach(), descriptor, rtol=1e-4)
    factors = sigmoid(excited(descriptor, w))
    np.testing.assert_allclose(
        multi_se(x).detach().numpy(), x.numpy() * factors[:, :, None, None], rtol=1e-3, atol=1e-4
    )


def test_with_one_token_multi_se_is_two_linear_layers_before_se():
    x, multi_se = maps(6), drawn(MultiSE(6, PAPER))
    w = numbers(multi_se)
    value = x.double().numpy().mean((2, 3)) @ w["queries_keys_values.weight"][12:].T
    value += w["queries_keys_values.bias"][12:]
    factors = sigmoid(excited(value @ w["back.weight"].T + w["back.bias"], w))
    np.testing.assert_allclose(
        multi_se(x).detach().numpy(), x.numpy() * factors[:, :, None, None], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("channels", "heads", "width"),
    # All channels where these are few; else 8 a head, and 7, 6 and so on where 8 leave a rest.
    [(64, 8, 64), (512, 8, 64), (64, 16, 64), (128, 4, 32), (96, 8, 48), (42, 2, 14), (40, 8, 40), (22, 2, 2),
     (576, 8, 64), (112, 16, 112), (8, 8, 8), (7, 1, 7), (11, 1, 1)],
)  # fmt: skip
def test_the_width_of_tokens_divides_the_channels(channels, heads, width):
    by_trying = [w for w in range(1, 8 * heads + 1) if channels % w == 0 and w % heads == 0]
    assert token_width(channels, heads) == width == by_trying[-1]


@pytest.mark.parametrize(("channels", "heads", "mend"), [(24, 16, 12), (40, 16, 10), (8, 16, 8), (7, 4, 1)])
def test_heads_that_do_not_divide_the_channels_are_told(channels, heads, mend):
    with pytest.raises(HandlensError, match=rf"not a multiple of {heads}\. Set heads to {mend}, or"):
        MultiSE(channels, AttentionSpec(heads=heads, reduction=1))
    assert MultiSE(channels, AttentionSpec(heads=mend, reduction=1)).heads == mend


def test_the_gate_learns_from_its_start_as_the_identity():
    se = SE(4, AttentionSpec(reduction=2))
    x = maps(4)
    (se(x) * x).sum().backward()
    # The slope of twice the sigmoid is a half at 0: d/db of sum(x x g(b)) = sum(x^2) / 2.
    expected = x.square().sum((0, 2, 3)) / 2
    torch.testing.assert_close(se.excite[2].bias.grad, expected)


@pytest.mark.parametrize(("channels", "reduction"), [(64, 16), (96, 16), (80, 16), (48, 4)])
@pytest.mark.parametrize("heads", [4, 8, 16])
def test_parameter_counts_are_as_the_docstrings_say(channels, reduction, heads):
    spec = AttentionSpec(heads=heads, reduction=reduction)
    between = channels // reduction
    layers = 2 * channels * between + between + channels
    width = {
        (64, 4): 32, (64, 8): 64, (64, 16): 64,
        (96, 4): 32, (96, 8): 48, (96, 16): 96,
        (80, 4): 20, (80, 8): 40, (80, 16): 80,
        (48, 4): 24, (48, 8): 48, (48, 16): 48,
    }[channels, heads]  # fmt: skip
    assert count(SE(channels, spec)) == layers
    assert count(ECA(channels, spec)) == eca_kernel(channels)
    assert count(CBAM(channels, spec)) == layers + 98
    assert count(MultiSE(channels, spec)) == layers + 4 * width**2 + 4 * width


def resnet18_mib(name, heads=8):
    """The size of ResNet18 for 5 classes with an attention after each of its 8 residual branches."""
    with torch.device("meta"):
        network = torchvision.models.resnet18(num_classes=5)
        added = [ATTENTIONS[name](c, AttentionSpec(heads=heads)) for c in (64, 128, 256, 512) for _ in (1, 2)]
    assert count(network) == 11_179_077
    return 4 * (count(network) + sum(map(count, added))) / 2**20


def test_resnet18_with_se_is_as_large_as_in_the_burr_paper():
    assert round(resnet18_mib("se"), 2) == 42.98


@pytest.mark.parametrize(("heads", "extra"), [(4, 0.13), (8, 0.51), (16, 1.64)])
def test_multi_se_adds_what_the_documents_say(heads, extra):
    assert round(resnet18_mib("multi_se", heads) - resnet18_mib("se"), 2) == extra


def test_eca_adds_84_parameters_to_convnext_tiny():
    stages = {96: 3, 192: 3, 384: 9, 768: 3}
    assert sum(blocks * count(ECA(c, AttentionSpec())) for c, blocks in stages.items()) == 84


def test_a_reduction_that_leaves_nothing_is_told():
    with pytest.raises(HandlensError, match="reduction 16 leaves nothing of 8 channels"):
        SE(8, AttentionSpec())


def test_a_mistyped_attention_is_told():
    with pytest.raises(HandlensError, match="Did you mean 'multi_se'"):
        make_attention("multise", 8, AttentionSpec())


def test_cbam_on_tokens_is_refused():
    with pytest.raises(HandlensError, match="tokens"):
        make_attention("cbam", 32, AttentionSpec(), "tokens")


@pytest.mark.parametrize("name", ["se", "eca", "multi_se"])
def test_tokens_are_scaled_by_what_they_have_in_common(name):
    tokens = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    behind = drawn(make_attention(name, 16, PAPER, "tokens"))
    assert isinstance(behind, InLayout)
    factors = behind(tokens) / tokens
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    as_map = tokens.view(2, 3, 3, 16).permute(0, 3, 1, 2)
    torch.testing.assert_close(behind.attention(as_map).permute(0, 2, 3, 1).reshape(2, 9, 16), behind(tokens))


@pytest.mark.parametrize("name", ATTENTIONS)
def test_channels_that_stand_last_are_found(name):
    x = maps(16)
    behind = drawn(make_attention(name, 16, PAPER, "channels_last"))
    assert isinstance(behind, nn.Module)
    torch.testing.assert_close(behind(x.permute(0, 2, 3, 1)), behind.attention(x).permute(0, 2, 3, 1))
