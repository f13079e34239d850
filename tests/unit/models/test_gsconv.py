"""GSConv: what it computes, what it takes over of the convolution it replaces, and how large it is."""

import itertools

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment
from torch import nn

from handlens.base.errors import HandlensError
from handlens.models.gsconv import GSConv, Relation, pair_up


@pytest.fixture(autouse=True)
def the_same_weights():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def pictures(channels, side=9, count=2):
    return torch.randn(count, channels, side, side + 2, generator=torch.Generator().manual_seed(1))


def count(module):
    return sum(value.numel() for value in module.parameters())


def convolved(x, kernels, stride=1, padding=0):
    """A convolution in numpy, (n, c, h, w) with (o, c, k, k)."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernels.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], kernels)


def in_disguise(channels=3, bias=False, **settings):
    """A 3 x 3 convolution that is a GSConv: half of its kernels are multiples of the other half's."""
    conv = nn.Conv2d(channels, 8, 3, padding=1, bias=bias, **settings)
    with torch.no_grad():
        for derived, kept, times in ((0, 5, -2.0), (6, 2, 0.5), (3, 1, 3.0), (7, 4, -1.0)):
            conv.weight[derived] = times * conv.weight[kept]
    return conv


def test_it_computes_what_the_paper_draws():
    gsconv = GSConv.like(nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), "paper").double()
    x = pictures(3).double()
    dense = convolved(x.numpy(), gsconv.dense.weight.detach().numpy(), stride=2, padding=1)
    depthwise = gsconv.cheap.weight.detach().numpy()
    assert depthwise.shape == (3, 1, 5, 5)
    cheap = [convolved(dense[:, [i]], depthwise[[i]], padding=2)[:, 0] for i in range(3)]
    shuffled = np.stack([dense[:, 0], cheap[0], dense[:, 1], cheap[1], dense[:, 2], cheap[2]], axis=1)
    np.testing.assert_allclose(gsconv(x).detach().numpy(), shuffled, atol=1e-12)


@pytest.mark.parametrize("start", ["fit", "paper"])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False},
        {"kernel_size": 1, "bias": False},
        {"kernel_size": (1, 5), "padding": (0, 2), "stride": (2, 1)},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 7, "padding": "same", "padding_mode": "reflect"},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [2, 7, 8])
def test_it_fits_where_the_convolution_was(start, settings, channels):
    conv = nn.Conv2d(3, channels, **settings)
    gsconv = GSConv.like(conv, start)
    assert gsconv(pictures(3)).shape == conv(pictures(3)).shape
    half = (channels + 1) // 2
    taps = conv.weight[0].numel()
    biases = channels if conv.bias is not None else 0
    assert count(gsconv) == half * taps + 25 * (channels - half) + biases
    assert sorted(gsconv.order.tolist()) == list(range(channels))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"padding_mode": "circular"}], ids=str)
def test_a_gsconv_in_disguise_is_found(settings, bias):
    conv = in_disguise(bias=bias, **settings)
    gsconv = GSConv.like(conv)
    x = pictures(3)
    # A multiple of a kept channel's bias is taken off again, so that any bias can be met.
    torch.testing.assert_close(gsconv(x), conv(x), rtol=1e-4, atol=1e-5)


def test_depthwise_kernels_of_more_than_one_place_are_found():
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    by_hand = torch.randn(2, 1, 3, 3)
    with torch.no_grad():
        # A kept kernel of one place leaves room for the depthwise inside 3 x 3.
        for derived, kept, depthwise in ((3, 0, by_hand[0]), (1, 2, by_hand[1])):
            point = conv.weight[kept, :, 1:2, 1:2].clone()
            conv.weight[kept] = 0
            conv.weight[kept, :, 1:2, 1:2] = point
            conv.weight[derived] = point * depthwise
    gsconv = GSConv.like(conv)
    torch.testing.assert_close(gsconv(pictures(4)), conv(pictures(4)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gsconv.cheap.weight[0, 0, 1:4, 1:4], by_hand[0, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gsconv.cheap.weight[1, 0, 1:4, 1:4], by_hand[1, 0], rtol=1e-4, atol=1e-5)


def test_kept_channels_are_as_they_were():
    conv = nn.Conv2d(5, 11, 3, padding=1)
    gsconv = GSConv.like(conv)
    got, expected = gsconv(pictures(5)), conv(pictures(5))
    same = [channel for channel in range(11) if torch.allclose(got[:, channel], expected[:, channel])]
    assert len(same) == 6
    assert all(gsconv.order[channel] < 6 for channel in same)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_fit_is_the_least_squares_on_white_noise(stride):
    """The same found the long way: each pair's composed kernels written out, and numpy's solver."""
    conv = nn.Conv2d(2, 4, 3, stride=stride, bias=False)
    relation = Relation(conv, neighbours=0.0, common=0.0)
    weight = conv.weight.detach().double().numpy()
    margin = 2 * stride
    for kept, derived in itertools.permutations(range(4), 2):
        wanted = np.pad(weight[derived], ((0, 0), (margin, margin), (margin, margin)))
        moved = []
        for down, right in itertools.product(range(5), repeat=2):
            field = np.zeros_like(wanted)
            field[:, down * stride : down * stride + 3, right * stride : right * stride + 3] = weight[kept]
            moved.append(field.ravel())
        solved, left, _, _ = np.linalg.lstsq(np.array(moved).T, wanted.ravel(), rcond=None)
        np.testing.assert_allclose(relation.error()[kept, derived], left[0], rtol=1e-9)
        np.testing.assert_allclose(relation.kernels([kept], [derived])[0].ravel(), solved, atol=1e-9)


def test_the_fit_is_the_least_squares_on_what_it_expects_to_see():
    """Against numpy's solver on many maps drawn with that correlation and mean."""
    conv = nn.Conv2d(1, 2, 3, bias=False).double()
    neighbours, common, num_maps, side = 0.5, 0.3, 4000, 7
    places = np.arange(side)
    correlation = neighbours ** np.abs(places[:, None] - places)
    root = np.linalg.cholesky(np.kron(correlation, correlation) + common)
    noise = np.random.default_rng(0).standard_normal((num_maps, side * side))
    # Whitened, so that the sample has exactly the correlation that is meant.
    noise = noise @ np.linalg.inv(np.linalg.cholesky(noise.T @ noise / num_maps)).T
    maps = torch.from_numpy((noise @ root.T).reshape(num_maps, 1, side, side))
    with torch.no_grad():
        y = conv(maps).numpy()
    wanted = y[:, 1, 2, 2]
    solved, left, _, _ = np.linalg.lstsq(y[:, 0].reshape(num_maps, 25), wanted, rcond=None)
    relation = Relation(conv, neighbours, common)
    np.testing.assert_allclose(relation.error()[0, 1], left[0] / num_maps, rtol=1e-6)
    np.testing.assert_allclose(relation.kernels([0], [1])[0].ravel(), solved, atol=1e-6)


def test_a_dead_channel_does_no_harm():
    conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight[[1, 4]] = 0
    gsconv = GSConv.like(conv)
    got, expected = gsconv(pictures(3)), conv(pictures(3))
    assert got.isfinite().all()
    torch.testing.assert_close(got[:, [1, 4]], expected[:, [1, 4]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("seed", range(5))
def test_few_channels_are_paired_nearly_as_well_as_can_be(count, seed):
    error = np.random.default_rng(seed).random((count, count)) + 0.2
    pairs = pair_up(error)
    seen = [channel for pair in pairs for channel in pair if channel is not None]
    assert sorted(seen) == list(range(count))
    assert [second is None for _, second in pairs] == [False] * (count // 2) + [True] * (count % 2)
    best = min(
        sum(error[a, b] for a, b in zip(order[::2], order[1::2], strict=False))
        for order in itertools.permutations(range(count))
    )
    assert sum(error[a, b] for a, b in pairs if b is not None) <= 1.15 * best + 1e-12


def test_many_channels_are_paired_near_the_lower_bound():
    """An assignment of every channel to another one cannot cost more than twice the best pairs."""
    error = Relation(nn.Conv2d(16, 128, 3)).error()
    cost = np.minimum(error, error.T)
    np.fill_diagonal(cost, cost.sum())
    bound = cost[linear_sum_assignment(cost)].sum() / 2
    assert sum(error[a, b] for a, b in pair_up(error)) <= 1.02 * bound


def test_a_fit_is_nearer_than_leaving_out_and_than_a_random_start():
    conv = nn.Conv2d(16, 64, 3, padding=1, bias=False)
    x = pictures(16, side=16).relu()
    y = conv(x)
    fit = GSConv.like(conv)
    without = y * (fit.order < 32)[:, None, None]
    lost = [(other - y).norm() / y.norm() for other in (fit(x), without, GSConv.like(conv, "paper")(x))]
    assert lost[0] < lost[1] < lost[2]


@pytest.mark.parametrize("start", ["fit", "paper"])
def test_it_comes_back_from_its_file(start, tmp_path):
    conv = nn.Conv2d(3, 7, 3)
    first, second = GSConv.like(conv, start), GSConv.like(nn.Conv2d(3, 7, 3), "paper")
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    second.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(first(pictures(3)), second(pictures(3)))
    assert "order" not in dict(first.named_parameters())


def test_all_of_it_learns():
    gsconv, x = GSConv.like(nn.Conv2d(3, 8, 3, padding=1)), pictures(3).requires_grad_()
    gsconv(x).square().sum().backward()
    assert all(weight.grad.any() for weight in gsconv.parameters())
    assert x.grad.any()
    small = GSConv.like(nn.Conv2d(2, 5, 3, padding=1)).double()
    x = pictures(2, side=3, count=1).double().requires_grad_()
    assert torch.autograd.gradcheck(small, (x,))


def test_it_keeps_channels_last_and_works_in_bfloat16():
    gsconv = GSConv.like(nn.Conv2d(8, 16, 3, padding=1)).to(memory_format=torch.channels_last)
    x = pictures(8).contiguous(memory_format=torch.channels_last)
    assert gsconv(x).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(gsconv(x), gsconv(x.contiguous()))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gsconv(x)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), gsconv(x), rtol=0.05, atol=0.05)
    mixed.float().sum().backward()
    of_half = GSConv.like(nn.Conv2d(8, 16, 3, padding=1).bfloat16())
    assert of_half(x.bfloat16()).dtype == torch.bfloat16


def test_it_can_be_exported_and_traced():
    gsconv, x = GSConv.like(nn.Conv2d(3, 7, 3, padding=1)).eval(), pictures(3)
    batch = torch.export.Dim("batch", max=64)
    exported = torch.export.export(gsconv, (x,), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(exported(x[:1]), gsconv(x[:1]))
    torch.testing.assert_close(torch.fx.symbolic_trace(gsconv)(x), gsconv(x))


@pytest.mark.parametrize("conv", [nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 1, 3)], ids=str)
def test_what_cannot_be_halved_is_refused(conv):
    with pytest.raises(HandlensError, match="GSConv cannot replace"):
        GSConv.like(conv)


def test_resnet18_with_gsconv_is_as_large_as_the_documents_say():
    with torch.device("meta"):
        network = torchvision.models.resnet18(num_classes=5)
        for name, conv in list(network.named_modules()):
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                parent, _, last = name.rpartition(".")
                setattr(network.get_submodule(parent), last, GSConv.like(conv, "paper"))
    # Of 9 c o weights a half goes, and 25 o / 2 come: c o and o summed over the 16 convolutions.
    pairs = 4 * 64**2 + 64 * 128 + 3 * 128**2 + 128 * 256 + 3 * 256**2 + 256 * 512 + 3 * 512**2
    assert count(network) == 11_179_077 - 9 * pairs // 2 + 25 * 4 * (64 + 128 + 256 + 512) // 2
    assert round(4 * count(network) / 2**20, 2) == 21.87
