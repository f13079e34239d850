"""`handlens/nano`: the small network that travels inside the package, chosen of four by measuring.

Its weights, `nano.safetensors`, were taught on pictures that formulas draw; docs/nano.md tells how.
"""

import torch
from torch import Tensor, nn

FILTERS = 64
"""Many first filters in large steps: fine texture is seen at once, and large maps cost the most."""
CHANNELS = (64, 128, 192, 192)
STRIDES = (2, 2, 2, 1)
NUM_FEATURES = 640
"""Of the last map, wider than any before it: a linear head finds more to choose from."""


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a way around them."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        around = (nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out))
        self.around = nn.Identity() if stride == 1 and num_in == num_out else nn.Sequential(*around)

    def forward(self, x: Tensor) -> Tensor:
        """Equation 2 of He et al. 2016: y = F(x) + W x, then ReLU."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.around(x))


def nano() -> nn.Sequential:
    """The network up to its last feature map, 32 times smaller than the picture."""
    network = nn.Sequential()
    first = nn.Conv2d(3, FILTERS, 6, 4, 1, bias=False)
    network.add_module("stem", nn.Sequential(first, nn.BatchNorm2d(FILTERS), nn.ReLU()))
    num_in = FILTERS
    for number, (num_out, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True), start=1):
        network.add_module(f"stage{number}", Residual(num_in, num_out, stride))
        num_in = num_out
    last = nn.Conv2d(num_in, NUM_FEATURES, 1, bias=False)
    network.add_module("last", nn.Sequential(last, nn.BatchNorm2d(NUM_FEATURES), nn.ReLU()))
    return network


def draw_weights(network: nn.Module, seed: int = 0) -> None:
    """Random weights, the same on every machine (He et al. 2015, equation 10)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
