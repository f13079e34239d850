"""What stands on the backbone: rows of features to scores for the classes."""

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from handlens.base.spec import Spec


class HeadSpec(Spec):
    """The head on top of the pooled features."""

    kind: Literal["linear", "layers"] = "linear"
    """`linear`: one layer; `layers`: a hidden layer with dropout, stronger where pictures are few."""
    hidden: int = Field(512, ge=1)
    """Width of the hidden layer (`layers` only)."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the hidden values left out in each training step (`layers` only)."""
    input_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features left out in each training step."""
    members: int = Field(1, ge=1, le=64)
    """Heads trained side by side from different starts; their probabilities are averaged."""


class Standardise(nn.Module):
    """Brings every feature to mean 0 and deviation 1 over the training pictures."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """(x - mean) / deviation."""
        return (x - self.mean) / self.deviation

    def set_to(self, mean: Tensor, deviation: Tensor) -> None:
        """Take the mean and deviation of the training pictures."""
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)


class Chance:
    """Random bytes of a head's own, that can be begun again from any seed.

    PyTorch's dropout draws from one generator for the whole process, which heads that train in several
    threads at once would share, each result then depending on the others' pace.
    """

    def __init__(self, seed: int) -> None:
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Draw from here on as a new one of this seed would."""
        self._numbers = np.random.default_rng(seed)

    def kept(self, shape: torch.Size, limit: int) -> Tensor:
        """True with a chance of 1 - limit / 256, for each place of a shape."""
        drawn = np.frombuffer(self._numbers.bytes(shape.numel()), np.uint8)
        return torch.from_numpy(drawn >= limit).view(shape)


class Dropout(nn.Module):
    """Leaves out a share of the values in training (Srivastava et al. 2014, section 4).

    The share is rounded to 1/256: a random byte a value is drawn twenty times faster than a number.
    """

    def __init__(self, share: float, chance: Chance) -> None:
        super().__init__()
        self.limit = min(255, round(256 * share))
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        """Kept values are scaled up, so that judging needs no change."""
        if not self.training or not self.limit:
            return x
        return x * self.chance.kept(x.shape, self.limit) * (256 / (256 - self.limit))


class Members(nn.Module):
    """The same layer several times side by side: (members, n, in) to (members, n, out)."""

    def __init__(self, members: int, num_in: int, num_out: int, generator: torch.Generator) -> None:
        super().__init__()
        drawn = torch.randn(members, num_in, num_out, generator=generator)
        self.weight = nn.Parameter(drawn * (1.0 / num_in) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(members, 1, num_out))

    def forward(self, x: Tensor) -> Tensor:
        """A matrix product for each member."""
        return torch.baddbmm(self.bias, x, self.weight)


class Head(nn.Module):
    """Features (n, features) to scores (n, classes); several members are averaged as probabilities."""

    def __init__(self, spec: HeadSpec, num_features: int, num_classes: int, seed: int = 0) -> None:
        super().__init__()
        self.members = spec.members
        self.num_features = num_features
        self.num_classes = num_classes
        self.chance = Chance(seed)
        generator = torch.Generator().manual_seed(seed)
        self.standardise = Standardise(num_features)
        layers: list[nn.Module] = [Dropout(spec.input_dropout, self.chance)]
        width = num_features
        if spec.kind == "layers":
            layers.append(Members(spec.members, width, spec.hidden, generator))
            layers += [nn.GELU(), Dropout(spec.dropout, self.chance)]
            width = spec.hidden
        layers.append(Members(spec.members, width, num_classes, generator))
        self.layers = nn.Sequential(*layers)

    def member_scores(self, x: Tensor) -> Tensor:
        """The scores of each member, (members, n, classes): what training looks at."""
        x = self.standardise(x)
        if x.ndim == 2:
            x = x.expand(self.members, *x.shape)
        return self.layers(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """The logarithm of the members' mean probability, which is a score like any other."""
        scores = torch.log_softmax(self.member_scores(x), dim=-1)
        return torch.logsumexp(scores, dim=0) - torch.log(torch.tensor(float(self.members)))
