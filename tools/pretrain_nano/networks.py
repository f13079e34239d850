"""The candidates for the small network inside the package, up to their last feature maps.

Each takes ImageNet-normalised pictures (n, 3, height, width) to a map 32 times smaller, of `NUM_FEATURES`.
All have batch norms: in a frozen pass these fold into the convolutions before them and cost nothing, while
a layer norm has to be computed for every picture. All begin with one convolution that makes the map four
times smaller at once: at a half of the picture's size a few channels cost as much as a whole stage later.
`filters`, which won, is the package's own; it is a `residual` that begins with many filters.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from handlens.models.nano import NUM_FEATURES, Residual, nano


def conv_norm(num_in: int, num_out: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution and its batch norm; only the stride makes the map smaller."""
    padding = (size - stride + 1) // 2
    conv = nn.Conv2d(num_in, num_out, size, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(num_out)]


def in_stages(stem: Sequence[nn.Module], stages: Sequence[Sequence[nn.Module]]) -> nn.Sequential:
    """A network with the names that Handlens knows its own by: stem, stage1 to stage4, last."""
    network = nn.Sequential()
    network.add_module("stem", nn.Sequential(*stem))
    for number, blocks in enumerate(stages, start=1):
        network.add_module(f"stage{number}", nn.Sequential(*blocks))
    num_last = [module.num_features for module in network.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    network.add_module("last", nn.Sequential(*conv_norm(num_last, NUM_FEATURES, 1), nn.ReLU()))
    return network


# Slim residual (He et al. 2016)


def residual() -> nn.Sequential:
    """Ordinary convolutions, few and dense: processors do the most arithmetic a second in these."""
    stages = [[Residual(24, 24, 1)]]
    stages += [[Residual(24, 48, 2)]]
    stages += [[Residual(48, 112, 2)]]
    stages += [[Residual(112, 192, 2), Residual(192, 192, 1)]]
    return in_stages([*conv_norm(3, 24, 6, 4), nn.ReLU()], stages)


# Slim inverted residual (Sandler et al. 2018), partly fused (Tan and Le 2021)


class InvertedResidual(nn.Module):
    """Made wide, convolved depthwise, made narrow; fused, the first two are one ordinary convolution."""

    def __init__(self, num_in: int, num_out: int, stride: int, widening: int, fused: bool) -> None:
        super().__init__()
        wide = num_in * widening
        self.use_res_connect = stride == 1 and num_in == num_out
        if fused:
            inner = conv_norm(num_in, wide, 3, stride)
        else:
            inner = [*conv_norm(num_in, wide, 1), nn.ReLU(), *conv_norm(wide, wide, 3, stride, groups=wide)]
        self.conv = nn.Sequential(*inner, nn.ReLU(), *conv_norm(wide, num_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        """No activation where it is narrow: what it took away there would be lost."""
        out: Tensor = self.conv(x)
        return x + out if self.use_res_connect else out


def inverted() -> nn.Sequential:
    """Wide inside the blocks and narrow between them: the most layers for the arithmetic.

    Large maps and strides have fused blocks: depthwise convolutions of large maps wait for memory, and
    the gradient of those with a stride is slow on processors.
    """
    stages = [[InvertedResidual(24, 24, 1, 1, fused=True)]]
    for num_in, num_out, num_more in ((24, 40, 1), (40, 80, 2), (80, 160, 3)):
        more = [InvertedResidual(num_out, num_out, 1, 4, fused=False) for _ in range(num_more)]
        stages.append([InvertedResidual(num_in, num_out, 2, 2, fused=True), *more])
    return in_stages([*conv_norm(3, 24, 6, 4), nn.ReLU()], stages)


# Slim ConvNeXt (Liu et al. 2022)


class ConvNeXtBlock(nn.Module):
    """A depthwise look around every place, then two layers at each place, with a way around them.

    Two depthwise 3 x 3, one behind the other, see 5 x 5 (Simonyan and Zisserman 2015) and train many times
    faster on processors than one of that size. ReLU in place of GELU: Liu et al. 2022 found no difference
    between them, and here the whole network is a quarter faster with it.
    """

    def __init__(self, num: int, widening: int) -> None:
        super().__init__()
        first = nn.Conv2d(num, num, 3, 1, 1, groups=num, bias=False)
        self.dw = nn.Sequential(first, *conv_norm(num, num, 3, groups=num))
        wide = num * widening
        self.mlp = nn.Sequential(
            nn.Conv2d(num, wide, 1, bias=False), nn.ReLU(), nn.Conv2d(wide, num, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Figure 4 of Liu et al. 2022."""
        out: Tensor = x + self.mlp(self.dw(x))
        return out


def convnext() -> nn.Sequential:
    """Every channel looks around by itself; between that, layers that mix the channels at each place."""
    stages: list[list[nn.Module]] = [[ConvNeXtBlock(24, 3)]]
    for num_in, num_out, num_blocks in ((24, 48, 1), (48, 96, 3), (96, 240, 2)):
        blocks = [ConvNeXtBlock(num_out, 3) for _ in range(num_blocks)]
        stages.append([*conv_norm(num_in, num_out, 2, 2), *blocks])
    return in_stages(conv_norm(3, 24, 4, 4), stages)


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "residual": residual,
    "filters": nano,
    "inverted": inverted,
    "convnext": convnext,
}
