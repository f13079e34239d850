"""What stands on the backbone: rows of features to scores for the classes."""

from typing import Literal

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


class Members(nn.Module):
    """The same layer several times side by side: (members, n, in) to (members, n, out)."""

    def __init__(self, members: int, num_in: int, num_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(members, num_in, num_out) * (1.0 / num_in) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(members, 1, num_out))

    def forward(self, x: Tensor) -> Tensor:
        """A matrix product for each member."""
        return torch.baddbmm(self.bias, x, self.weight)


class Head(nn.Module):
    """Features (n, features) to scores (n, classes); several members are averaged as probabilities."""

    def __init__(self, spec: HeadSpec, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.members = spec.members
        self.num_classes = num_classes
        self.standardise = Standardise(num_features)
        layers: list[nn.Module] = [nn.Dropout(spec.input_dropout)]
        if spec.kind == "layers":
            layers += [Members(spec.members, num_features, spec.hidden), nn.GELU(), nn.Dropout(spec.dropout)]
        layers.append(
            Members(spec.members, spec.hidden if spec.kind == "layers" else num_features, num_classes)
        )
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
