"""The quicker gradient of strided depthwise convolutions against PyTorch's own."""

import pytest
import torch
from torch import nn

from handlens.training.strided import quick_strides


def depthwise(channels=6, kernel=3, stride=2, padding=1, **more):
    torch.manual_seed(0)
    return nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=False, **more)


def gradients(conv, x):
    x = x.clone().requires_grad_()
    conv.weight.grad = None
    out = conv(x)
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    return out.detach(), x.grad, conv.weight.grad.clone()


@pytest.mark.parametrize(
    "kernel,stride,padding", [(3, 2, 1), (5, 2, 2), (3, 3, 0), (2, 2, 0), ((3, 5), (2, 1), (1, 2))]
)
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (11, 10)])
def test_it_is_the_gradient_of_pytorch(kernel, stride, padding, size):
    conv = depthwise(kernel=kernel, stride=stride, padding=padding).double()
    x = torch.randn(3, 6, *size, dtype=torch.float64)
    own = gradients(conv, x)
    with quick_strides(nn.Sequential(conv)):
        assert "forward" in vars(conv)
        quick = gradients(conv, x)
    for mine, theirs in zip(quick, own, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_under_autocast_it_is_as_near_as_pytorch():
    conv = depthwise(16)
    x = torch.randn(4, 16, 20, 20).contiguous(memory_format=torch.channels_last)
    _, exact_x, exact_weight = gradients(conv, x)
    with torch.autocast("cpu", torch.bfloat16), quick_strides(conv):
        out, by_x, by_weight = gradients(conv, x)
    assert out.dtype == torch.bfloat16
    assert by_x.dtype == by_weight.dtype == torch.float32
    assert (by_x - exact_x).norm() < 0.01 * exact_x.norm()
    assert (by_weight - exact_weight).norm() < 0.01 * exact_weight.norm()


def test_what_needs_no_gradient_gets_none():
    conv = depthwise()
    conv.weight.requires_grad_(False)
    x = torch.randn(2, 6, 8, 8, requires_grad=True)
    with quick_strides(conv):
        conv(x).sum().backward()
    assert conv.weight.grad is None
    assert x.grad is not None


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(4, 4, 3, 2, 1, bias=False),
        nn.Conv2d(4, 8, 3, 2, 1, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, 2, 1, groups=4, bias=True),
        nn.Conv2d(4, 4, 3, 2, 2, dilation=2, groups=4, bias=False),
        nn.Conv2d(4, 4, 3, 2, 1, groups=4, bias=False, padding_mode="reflect"),
        nn.Conv2d(4, 4, 1, 2, 1, groups=4, bias=False),
    ],
)
def test_every_other_convolution_is_left_alone(other):
    with quick_strides(other):
        assert "forward" not in vars(other)


def test_afterwards_all_is_as_before():
    conv = depthwise()
    names = list(conv.state_dict())
    with pytest.raises(KeyError), quick_strides(conv):
        raise KeyError
    assert "forward" not in vars(conv)
    assert list(conv.state_dict()) == names
