"""`handlens/nano`: the small network that travels inside the package."""

import torch
from torch import Tensor, nn

CHANNELS = (32, 64, 128, 256)
SEED = 20260101


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a way around them."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.around = nn.Sequential(
            nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Equation 2 of He et al. 2016: y = F(x) + W x, then ReLU."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.around(x))


def nano() -> nn.Sequential:
    """The network up to its last feature map: a stem and four residual stages, 32 times smaller."""
    first = CHANNELS[0]
    stem = nn.Sequential(nn.Conv2d(3, first, 5, 2, 2, bias=False), nn.BatchNorm2d(first), nn.ReLU())
    pairs = zip((first, *CHANNELS), CHANNELS, strict=False)
    stages = {f"stage{number}": Residual(*pair, stride=2) for number, pair in enumerate(pairs, start=1)}
    network = nn.Sequential()
    network.add_module("stem", stem)
    for name, stage in stages.items():
        network.add_module(name, stage)
    return network


def draw_weights(network: nn.Module, seed: int = SEED) -> None:
    """Random weights, the same on every machine (He et al. 2015, equation 10)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
