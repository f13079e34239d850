"""GSConv: half of a convolution's channels are computed, the other half is derived from them cheaply."""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handlens.base.errors import HandlensError

CHEAP_SIZE = 5
"""Side of the depthwise kernels, as in the paper."""

CENTRE = CHEAP_SIZE**2 // 2

BLOCK = 64
"""Channels whose relation to all others is computed at once, to keep memory small."""

NEIGHBOURS, COMMON = 0.5, 0.1
"""What a fit without pictures takes the values that a convolution sees to be like: how alike neighbours
in one channel are, and the share of their power that lies in a mean that all channels have in common
(after a ReLU nothing is below zero). Found on the layers of SqueezeNet, see docs/edits.md."""


class GSConv(nn.Module):
    """A convolution to half of the channels, a depthwise 5 x 5 over those, both side by side, shuffled.

    As the burr paper draws it (Li 2025, after GSConv in Li et al. 2022). With W the kernels of the first
    convolution, D those of the depthwise one and P the shuffle:

        y1 = W x,    y2 = D y1,    y = P [y1; y2]

    There is no norm and no activation inside: those of the block follow, as after the convolution that
    it replaces. Of an odd number of channels the first convolution makes one more than the depthwise.

    Parameters with c channels in, o out and kernels of k x k: h = ceil(o / 2) channels are computed, which
    makes h c k^2 + 25 (o - h), and o more where the replaced convolution has biases.
    """

    order: Tensor
    """The shuffle: where in [y1; y2] each channel of the output stands."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        _refuse_unfit(conv)
        num_dense = (conv.out_channels + 1) // 2
        num_cheap = conv.out_channels - num_dense
        bias = conv.bias is not None
        self.dense = nn.Conv2d(
            conv.in_channels,
            num_dense,
            _two(conv.kernel_size),
            _two(conv.stride),
            conv.padding if isinstance(conv.padding, str) else _two(conv.padding),
            _two(conv.dilation),
            bias=bias,
            padding_mode=conv.padding_mode,
        )
        self.cheap = nn.Conv2d(
            num_cheap, num_cheap, CHEAP_SIZE, padding=CHEAP_SIZE // 2, groups=num_cheap, bias=bias
        )
        interleaved = torch.arange(2 * num_dense).view(2, num_dense).T.flatten()
        self.register_buffer("order", interleaved[: conv.out_channels].clone())
        self.to(conv.weight.device, conv.weight.dtype)

    @classmethod
    def like(cls, conv: nn.Conv2d, start: Literal["fit", "paper"] = "fit") -> Self:
        """What takes the place of a convolution.

        `paper` starts from random weights and interleaves the two halves. `fit` starts from the replaced
        convolution: the half of its channels from which the others are best derived is kept as it is, each
        of the others becomes the depthwise 5 x 5 of a kept one that is nearest to it, and the shuffle puts
        every channel back where it was.
        """
        made = cls(conv)
        if start == "fit":
            made.fit(conv)
        return made.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, o, h', w') as the replaced convolution would."""
        dense = self.dense(x)
        cheap = self.cheap(dense[:, : self.cheap.in_channels])
        joined = torch.cat([dense, cheap], dim=1).permute(0, 2, 3, 1)
        # Along the last axis: an index on the second would take a map out of the channels-last layout.
        return joined.gather(3, self.order.expand_as(joined)).permute(0, 3, 1, 2)

    @torch.no_grad()
    def fit(self, conv: nn.Conv2d) -> None:
        """Take over what a convolution computes, as far as half of its channels can carry it."""
        relation = Relation(conv)
        pairs = pair_up(relation.error())
        derived = [second for _, second in pairs if second is not None]
        kept = [first for first, _ in pairs]
        sources = kept[: len(derived)]
        kernels = relation.kernels(sources, derived)
        self.dense.weight.copy_(conv.weight[kept])
        self.cheap.weight.copy_(kernels.unsqueeze(1))
        if conv.bias is not None and self.dense.bias is not None and self.cheap.bias is not None:
            self.dense.bias.copy_(conv.bias[kept])
            # What the depthwise makes of the kept channel's bias is taken off again.
            bias = conv.bias.double().cpu()
            self.cheap.bias.copy_(bias[derived] - kernels.sum((1, 2)) * bias[sources])
        self.order.copy_(torch.tensor(kept + derived).argsort())


def _two(sizes: tuple[int, ...]) -> tuple[int, int]:
    return sizes[0], sizes[1]


def _refuse_unfit(conv: nn.Conv2d) -> None:
    """Tell why a convolution can have no GSConv in its place."""
    if conv.groups > 1:
        raise HandlensError(
            f"GSConv cannot replace a convolution in {conv.groups} groups, which has no dense kernels to "
            "halve. Name convolutions of one group."
        )
    if conv.out_channels < 2:
        raise HandlensError(
            "GSConv cannot replace a convolution with one output channel, which cannot be halved. "
            "Name convolutions with two or more."
        )


class Relation:
    """How well each channel of a convolution can be derived from each other one.

    A depthwise D of channel k sees it at 25 places, which on the input lie a stride apart: it is the
    kernel sum_q D[q] W_k[. - stride * q]. Two kernels are as alike as what they give is for an input with
    a correlation of `neighbours` ** distance in each channel and a mean that all channels share; with
    both at 0 that is white noise. The best D follows by least squares.
    """

    def __init__(self, conv: nn.Conv2d, neighbours: float = NEIGHBOURS, common: float = COMMON) -> None:
        weight = conv.weight.detach().double().cpu()
        self.taps = weight.flatten(2).transpose(1, 2).contiguous()
        """[channel, tap, input channel]"""
        self.means = common**0.5 * weight.sum((1, 2, 3))
        """[channel]: what a mean of the input comes out as."""
        tap = _grid(weight.shape[2], weight.shape[3], _two(conv.dilation))
        place = _grid(CHEAP_SIZE, CHEAP_SIZE, _two(conv.stride))
        place = place - place[CENTRE]
        self.alike = _alike(tap[:, None, None] - tap[:, None] - place, neighbours)
        """[tap of the derived channel, tap of the kept one, place]"""
        moved = place[:, None, None, None] + tap[:, None] - place[:, None, None] - tap
        self.inverses = torch.linalg.pinv(self._grams(_alike(moved, neighbours)), hermitian=True)
        """[channel, place, place]: of its products with itself; that of a dead channel is zero."""

    def _grams(self, alike: Tensor) -> Tensor:
        """Each channel at each place with itself at each other one."""
        own = torch.einsum("kui,kvi->kuv", self.taps, self.taps)
        power_of_means: Tensor = self.means[:, None, None] ** 2
        grams = own.flatten(1) @ alike.flatten(2).flatten(0, 1).T
        return grams.view(-1, CHEAP_SIZE**2, CHEAP_SIZE**2) + power_of_means

    def error(self) -> NDArray[np.float64]:
        """[kept, derived]: the power that the best depthwise of the one leaves of the other."""
        count, taps, _ = self.taps.shape
        errors = []
        for block in (slice(start, start + BLOCK) for start in range(0, count, BLOCK)):
            products = self.taps[block].flatten(0, 1) @ self.taps.flatten(0, 1).T
            products = products.view(-1, taps, count, taps).transpose(1, 2).flatten(2)
            moved = products @ self.alike.flatten(0, 1) + (self.means[block][:, None] * self.means)[..., None]
            solved = torch.einsum("okp,kpq->okq", moved, self.inverses)
            power = torch.einsum("nui,nvi,uv->n", self.taps[block], self.taps[block], self.alike[..., CENTRE])
            left = power + self.means[block] ** 2 - (solved * moved).sum(2).T
            errors.append(left.clamp(min=0))
        return torch.cat(errors, dim=1).numpy()

    def kernels(self, kept: Sequence[int], derived: Sequence[int]) -> Tensor:
        """The best depthwise kernels, (pairs, 5, 5)."""
        first, second = torch.tensor(kept), torch.tensor(derived)
        products = torch.einsum("nui,nvi->nuv", self.taps[second], self.taps[first]).flatten(1)
        products = products @ self.alike.flatten(0, 1) + (self.means[second] * self.means[first])[:, None]
        solved = torch.einsum("npq,nq->np", self.inverses[first], products)
        return solved.view(-1, CHEAP_SIZE, CHEAP_SIZE)


def _grid(height: int, width: int, step: tuple[int, int]) -> Tensor:
    """(places, 2): down and right, row after row."""
    return torch.cartesian_prod(torch.arange(height) * step[0], torch.arange(width) * step[1])


def _alike(offset: Tensor, neighbours: float) -> Tensor:
    """The correlation of the input over offsets whose last axis is (down, right)."""
    base = torch.tensor(neighbours, dtype=torch.float64)
    return base.pow(offset.abs().sum(-1))


def pair_up(error: NDArray[np.float64]) -> list[tuple[int, int | None]]:
    """Pairs of (kept, derived) channels with a small sum of errors; without an other half comes last.

    A least-cost matching: greedy, then pairs exchange partners two at a time for as long as that helps.
    """
    cost = np.minimum(error, error.T)
    if len(cost) % 2:
        # The partner of the channel that has none: it is kept, at no cost.
        cost = np.pad(cost, (0, 1))
    np.fill_diagonal(cost, np.inf)
    first, second = _exchanged(cost, *_greedy(cost))
    pairs: list[tuple[int, int | None]] = []
    alone: list[tuple[int, int | None]] = []
    for a, b in sorted(zip(first.tolist(), second.tolist(), strict=True)):
        if len(error) in (a, b):
            alone.append((min(a, b), None))
        else:
            pairs.append((a, b) if error[a, b] <= error[b, a] else (b, a))
    return pairs + alone


def _greedy(cost: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The cheapest pair of what is left, again and again."""
    rows, columns = np.triu_indices(len(cost), 1)
    free = np.ones(len(cost), dtype=bool)
    chosen = []
    for index in np.argsort(cost[rows, columns], kind="stable"):
        a, b = rows[index], columns[index]
        if free[a] and free[b]:
            free[a] = free[b] = False
            chosen.append((a, b))
    first, second = np.array(chosen, dtype=np.intp).T
    return first, second


def _exchanged(
    cost: NDArray[np.float64], first: NDArray[np.intp], second: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs after all exchanges of partners that make two pairs cheaper together."""
    first, second = first.copy(), second.copy()
    while True:
        now = cost[first, second]
        both = now[:, None] + now
        crossed = both - cost[np.ix_(first, second)] - cost[np.ix_(second, first)]
        alongside = both - cost[np.ix_(first, first)] - cost[np.ix_(second, second)]
        gain = np.maximum(crossed, alongside)
        np.fill_diagonal(gain, 0.0)
        # Less than this is rounding, and would go round in circles.
        if gain.max() <= 1e-12 * now.sum():
            return first, second
        touched = np.zeros(len(first), dtype=bool)
        best = gain.argmax(1)
        for i in np.argsort(-gain.max(1), kind="stable"):
            j = best[i]
            if touched[i] or touched[j] or gain[i, j] <= 1e-12 * now.sum():
                continue
            touched[i] = touched[j] = True
            if crossed[i, j] >= alongside[i, j]:
                second[i], second[j] = second[j], second[i]
            else:
                second[i], first[j] = first[j], second[i]
