"""Attention: modules that look at a whole map and scale its channels, or its places, by what they saw."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.spec import Spec

Start = Literal["identity", "paper"]

Layout = Literal["map", "channels_last", "tokens"]
"""Where the channels are: (n, c, h, w), (n, h, w, c) as in Swin, or (n, tokens, c) as in ViT."""

HEAD_WIDTH = 8
"""Most channels of a token that each head of Multi-SE sees; the paper does not say."""


class AttentionSpec(Spec):
    """Settings of an attention module."""

    heads: int = Field(8, ge=1)
    """Heads of the self-attention (`multi_se` only); the paper has 4, 8 and 16."""
    reduction: int = Field(16, ge=1)
    """How many times fewer numbers than channels there are between the two layers (all but `eca`)."""
    start: Start = "identity"
    """`identity` changes nothing until it has learned to; `paper` begins at random, as published."""


class Gate(nn.Module):
    """Scores to factors: the sigmoid as published, or twice that, which is 1 where the score is 0.

    A last layer of zeros then leaves a pretrained network as it was, to the bit, and still learns: the
    slope of twice the sigmoid is a half there.
    """

    def __init__(self, last: nn.Module, start: Start) -> None:
        super().__init__()
        self.height = 2.0 if start == "identity" else 1.0
        if start == "identity":
            for weight in last.parameters():
                nn.init.zeros_(weight)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """The map times its factors."""
        return x * (self.height * torch.sigmoid(scores)).to(x.dtype)


def squeeze(x: Tensor) -> Tensor:
    """The mean of each channel, (n, c, h, w) to (n, c): the descriptor of Hu et al. 2018, equation 2."""
    return x.mean((2, 3))


def two_layers(channels: int, reduction: int) -> nn.Sequential:
    """W2 ReLU(W1 z) of Hu et al. 2018, equation 3, with biases.

    Parameters with c channels and m = floor(c / reduction) between: 2 c m + m + c.
    """
    between = channels // reduction
    if not between:
        raise HandlensError(
            f"An attention with reduction {reduction} leaves nothing of {channels} channels. "
            f"Set reduction to {channels} or less."
        )
    return nn.Sequential(nn.Linear(channels, between), nn.ReLU(), nn.Linear(between, channels))


class SE(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): scales each channel by what all channels' means say.

    z = mean of each channel (equation 2), s = sigmoid(W2 ReLU(W1 z)) (3), y = s x (4). Parameters: those
    of the two layers, 2 c m + m + c with m = floor(c / reduction).
    """

    def __init__(self, channels: int, spec: AttentionSpec) -> None:
        super().__init__()
        self.excite = two_layers(channels, spec.reduction)
        self.gate = Gate(self.excite[-1], spec.start)

    def forward(self, x: Tensor) -> Tensor:
        """Equations 2 to 4."""
        return self.gate(x, self.excite(squeeze(x))[:, :, None, None])  # type: ignore[no-any-return]


class ECA(nn.Module):
    """Efficient channel attention (Wang et al. 2020): scales each channel by its neighbours' means.

    w = sigmoid(C1D_k(z)) (equation 9) over the means z, with one kernel for all channels and without
    bias; k from the number of channels (equation 12). Parameters: k.
    """

    def __init__(self, channels: int, spec: AttentionSpec) -> None:
        super().__init__()
        size = eca_kernel(channels)
        self.across = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.gate = Gate(self.across, spec.start)

    def forward(self, x: Tensor) -> Tensor:
        """Equation 9, and the map scaled."""
        scores = self.across(squeeze(x)[:, None])
        return self.gate(x, scores[:, 0, :, None, None])  # type: ignore[no-any-return]


def eca_kernel(channels: int) -> int:
    """The kernel size of Wang et al. 2020, equation 12, with gamma 2 and b 1, made odd as their code does."""
    size = int((math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1


class CBAM(nn.Module):
    """Convolutional block attention (Woo et al. 2018): scales the channels, then the places.

    y' = Mc(x) x, y = Ms(y') y' (equation 1), where Mc = sigmoid(MLP(mean) + MLP(maximum)) over the map
    (2) and Ms = sigmoid(f7x7([mean; maximum])) over the channels (3). The MLP is SE's two layers, with
    biases; the convolution has none and no norm follows it. Parameters: those of the two layers + 98.
    """

    def __init__(self, channels: int, spec: AttentionSpec) -> None:
        super().__init__()
        self.excite = two_layers(channels, spec.reduction)
        self.gate_channels = Gate(self.excite[-1], spec.start)
        self.look = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.gate_places = Gate(self.look, spec.start)

    def forward(self, x: Tensor) -> Tensor:
        """Equations 1 to 3."""
        scores = self.excite(squeeze(x)) + self.excite(x.amax((2, 3)))
        x = self.gate_channels(x, scores[:, :, None, None])
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return self.gate_places(x, self.look(seen))  # type: ignore[no-any-return]


class MultiSE(nn.Module):
    """The burr paper's Multi-SE (Li 2025): SE whose descriptor first passes through self-attention.

    z = mean of each channel (Hu et al. 2018, equation 2), cut into tokens of w neighbouring channels. Then
    a = softmax(Q K^T / sqrt(w / heads)) V in each head (Vaswani et al. 2017, equation 1); the heads side by
    side, a linear layer from w to w, the tokens end to end, and with that SE's equations 3 and 4. The paper
    does not say what its tokens are; docs/edits.md sets our sizes beside its own. Where w is all channels
    there is one token, which attends to itself alone: what is left is two linear layers.

    Parameters: Q, K and V 3 w^2 + 3 w, the layer behind them w^2 + w, together 4 w^2 + 4 w; and those of
    SE. The width w is the largest divisor of the channels that is a multiple of heads, up to 8 heads.
    """

    def __init__(self, channels: int, spec: AttentionSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.width = token_width(channels, spec.heads)
        self.queries_keys_values = nn.Linear(self.width, 3 * self.width)
        self.back = nn.Linear(self.width, self.width)
        self.excite = two_layers(channels, spec.reduction)
        self.gate = Gate(self.excite[-1], spec.start)

    def attend(self, descriptor: Tensor) -> Tensor:
        """Every block of channels in the light of all others, (n, c) to (n, c)."""
        tokens = self.queries_keys_values(torch.unflatten(descriptor, 1, (-1, self.width)))
        in_heads = tokens.unflatten(2, (3, self.heads, self.width // self.heads)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(in_heads[0], in_heads[1], in_heads[2])
        return self.back(attended.transpose(1, 2).flatten(2)).flatten(1)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze, attend, excite, scale."""
        scores = self.excite(self.attend(squeeze(x)))
        return self.gate(x, scores[:, :, None, None])  # type: ignore[no-any-return]


def token_width(channels: int, heads: int) -> int:
    """How many neighbouring channels are a token of Multi-SE: as many as go, up to 8 a head."""
    for of_a_head in range(HEAD_WIDTH, 0, -1):
        if channels % (of_a_head * heads) == 0:
            return of_a_head * heads
    fitting = max(number for number in range(1, heads) if channels % number == 0)
    raise HandlensError(
        f"multi_se with {heads} heads cannot cut {channels} channels into equal tokens, since {channels} is "
        f"not a multiple of {heads}. Set heads to {fitting}, or to another divisor of {channels}."
    )


class InLayout(nn.Module):
    """An attention behind something whose channels stand last."""

    def __init__(self, attention: nn.Module, layout: Layout) -> None:
        super().__init__()
        self.attention = attention
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """The attention on the same values as a map; tokens are a map one wide."""
        if self.layout == "tokens":
            return self.attention(x.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)  # type: ignore[no-any-return]
        return self.attention(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


def make_attention(name: str, channels: int, spec: AttentionSpec, layout: Layout = "map") -> nn.Module:
    """The attention of a name for so many channels, wherever these stand."""
    attention = look_up(ATTENTIONS, name, "attention")(channels, spec)
    if layout == "map":
        return attention
    if layout == "tokens" and isinstance(attention, CBAM):
        raise HandlensError(
            "cbam looks at places beside each other, and a row of tokens does not say which these are. "
            "Insert it where the network has maps, or insert se, eca or multi_se."
        )
    return InLayout(attention, layout)


ATTENTIONS: dict[str, Callable[[int, AttentionSpec], nn.Module]] = {
    "se": SE,
    "eca": ECA,
    "cbam": CBAM,
    "multi_se": MultiSE,
}
