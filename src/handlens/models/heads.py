"""What stands on the backbone: rows of features to scores for the classes of one or several tasks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from handlens.base.choices import look_up
from handlens.base.spec import Spec


class HeadSpec(Spec):
    """The head on top of the pooled features."""

    kind: Literal["linear", "layers", "graphite", "cosine"] = "linear"
    """`linear`: one layer; `layers`: a hidden layer with dropout, stronger where pictures are few;
    `graphite`: two of 1024 and 2048 as in the graphite paper; `cosine`: nearness to a direction a class."""
    hidden: int = Field(512, ge=1)
    """Width of the hidden layer (`layers` only)."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the hidden values left out in each training step (`layers` and `graphite`)."""
    input_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the features left out in each training step."""
    standardise: bool = True
    """Bring each feature to mean 0 and deviation 1 over the training pictures, where these are known."""
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


@dataclass(frozen=True)
class Share:
    """Which pictures of a whole batch are here: every `world`-th of so many, from `rank` on."""

    rank: int
    world: int
    of: int

    def part(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Their part of what there is for the whole batch."""
        return whole.movedim(dim, 0)[self.rank :: self.world].movedim(0, dim)


class Chance:
    """Random bytes of a head's own, that can be begun again from any seed.

    PyTorch's dropout draws from one generator for the whole process, which heads that train in several
    threads at once would share, each result then depending on the others' pace.
    """

    def __init__(self, seed: int) -> None:
        self.begin(seed)

    def begin(self, seed: int, share: Share | None = None) -> None:
        """Draw from here on as a new one of this seed would; with a share, for the whole batch."""
        self._numbers = np.random.default_rng(seed)
        self.share = share

    def kept(self, shape: torch.Size, limit: int) -> Tensor:
        """True with a chance of 1 - limit / 256, for each place of a shape (..., pictures, width)."""
        if self.share is not None:
            shape = torch.Size((*shape[:-2], self.share.of, shape[-1]))
        drawn = np.frombuffer(self._numbers.bytes(shape.numel()), np.uint8)
        kept = torch.from_numpy(drawn >= limit).view(shape)
        return kept if self.share is None else self.share.part(kept, dim=-2)


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
        return x * self.chance.kept(x.shape, self.limit).to(x.device) * (256 / (256 - self.limit))


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


class CosineMembers(nn.Module):
    """Scores by the cosine between a row and a direction a class (Gidaris and Komodakis 2018, equation 2).

    How long a row is says nothing then, which helps where a class has few pictures. The scale, which
    training finds, lets the scores grow beyond the cosine's 1.
    """

    def __init__(self, members: int, num_in: int, num_out: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(members, num_in, num_out, generator=generator))
        self.scale = nn.Parameter(torch.full((members, 1, 1), 10.0))

    def forward(self, x: Tensor) -> Tensor:
        """(members, n, in) to (members, n, out)."""
        return self.scale * functional.normalize(x, dim=-1) @ functional.normalize(self.weight, dim=1)


class Head(nn.Module):
    """Features (n, features) to scores (n, classes); several members are averaged as probabilities.

    Several tasks have a head each, with nothing in common but the standardised features; their scores
    stand side by side.
    """

    def __init__(
        self, spec: HeadSpec, num_features: int, num_classes: int | Sequence[int], seed: int = 0
    ) -> None:
        super().__init__()
        self.members = spec.members
        self.standardises = spec.standardise
        self.num_features = num_features
        self.widths = (num_classes,) if isinstance(num_classes, int) else tuple(num_classes)
        """The number of classes of each task."""
        self.chance = Chance(seed)
        generator = torch.Generator().manual_seed(seed)
        self.standardise = Standardise(num_features)
        self.layers = _layers(spec, num_features, self.widths[0], self.chance, generator)
        self.others = nn.ModuleList(
            _layers(spec, num_features, width, self.chance, generator) for width in self.widths[1:]
        )

    @property
    def num_classes(self) -> int:
        """The classes of all tasks together: the width of the scores."""
        return sum(self.widths)

    def begin_chance(self, seed: int, share: Share | None = None) -> None:
        """Draw what is random from here on as anew from this seed; with a share, for the whole batch."""
        self.chance.begin(seed, share)

    def member_scores(self, x: Tensor) -> Tensor:
        """The scores of each member, (members, n, classes): what training looks at."""
        x = self.standardise(x)
        if x.ndim == 2:
            x = x.expand(self.members, *x.shape)
        if not self.others:
            return self.layers(x)  # type: ignore[no-any-return]
        return torch.cat([self.layers(x), *(layers(x) for layers in self.others)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """The logarithm of the members' mean probability, which is a score like any other."""
        return self.averaged(self.member_scores(x))

    def averaged(self, scores: Tensor) -> Tensor:
        """The members' scores (members, n, classes) as those of one head (n, classes)."""
        logs = [torch.log_softmax(part, dim=-1) for part in torch.split(scores, list(self.widths), -1)]
        joined = torch.cat(logs, dim=-1) if len(logs) > 1 else logs[0]
        return torch.logsumexp(joined, dim=0) - torch.log(torch.tensor(float(self.members)))


def probabilities(scores: Tensor, widths: Sequence[int]) -> Tensor:
    """Scores (n, classes) as probabilities, those of each task by themselves."""
    if len(widths) == 1:
        return torch.softmax(scores, dim=-1)
    return torch.cat([torch.softmax(part, dim=-1) for part in torch.split(scores, list(widths), -1)], dim=-1)


def _layers(
    spec: HeadSpec, num_features: int, num_classes: int, chance: Chance, generator: torch.Generator
) -> nn.Sequential:
    hidden, activation, last = look_up(HEADS, spec.kind, "head")(spec)
    layers: list[nn.Module] = [Dropout(spec.input_dropout, chance)]
    width = num_features
    for wide in hidden:
        layers += [Members(spec.members, width, wide, generator), activation(), Dropout(spec.dropout, chance)]
        width = wide
    layers.append(last(spec.members, width, num_classes, generator))
    return nn.Sequential(*layers)


Shape = tuple[tuple[int, ...], type[nn.Module], Callable[[int, int, int, torch.Generator], nn.Module]]
"""Widths of the hidden layers, what bends their values, and the last layer."""

HEADS: dict[str, Callable[[HeadSpec], Shape]] = {
    "linear": lambda spec: ((), nn.Identity, Members),
    "layers": lambda spec: ((spec.hidden,), nn.GELU, Members),
    # The paper says global average pool, 1024, dropout, 2048, dropout, classes; that ReLU is between is ours.
    "graphite": lambda spec: ((1024, 2048), nn.ReLU, Members),
    "cosine": lambda spec: ((), nn.Identity, CosineMembers),
}
