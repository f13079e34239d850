"""What every attention owes: it starts as the identity, learns, and survives files and export."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from handlens.base.errors import HandlensError
from handlens.models.attention import ATTENTIONS, AttentionSpec, make_attention

CHANNELS = 32
# Two tokens of 16 channels for Multi-SE, and eight numbers between the two layers: not all are below zero.
IDENTITY = AttentionSpec(heads=2, reduction=4)
PAPER = IDENTITY.model_copy(update={"start": "paper"})


def maps(seed=0, side=6):
    return 3 * torch.randn(4, CHANNELS, side, side + 1, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def the_same_weights():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("name", ATTENTIONS)
class TestEveryAttention:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
    def test_it_starts_as_the_identity_to_the_bit(self, name, dtype):
        x = maps().to(dtype)
        assert torch.equal(make_attention(name, CHANNELS, IDENTITY).to(dtype)(x), x)

    @pytest.mark.parametrize(
        ("layout", "shape"), [("channels_last", (2, 5, 4, CHANNELS)), ("tokens", (2, 9, CHANNELS))]
    )
    def test_it_starts_as_the_identity_in_every_layout(self, name, layout, shape):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        try:
            attention = make_attention(name, CHANNELS, IDENTITY, layout)
        except HandlensError as error:
            assert (name, layout) == ("cbam", "tokens"), error
            return
        assert torch.equal(attention(x), x)

    def test_as_published_it_changes_the_map(self, name):
        x = maps()
        factors = (make_attention(name, CHANNELS, PAPER)(x) / x).detach()
        # Of the published gates, the sigmoid is between 0 and 1; two in a row are as well.
        assert ((factors > 0) & (factors < 1)).all()
        assert factors.std() > 0

    @pytest.mark.parametrize("spec", [IDENTITY, PAPER], ids=lambda spec: spec.start)
    def test_it_learns(self, name, spec):
        attention, x = make_attention(name, CHANNELS, spec), maps().requires_grad_()
        wanted = maps(1)
        optimiser = torch.optim.Adam(attention.parameters(), 0.01)
        losses = []
        for _ in range(25):
            optimiser.zero_grad()
            loss = (attention(x) - wanted).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        # After the first steps, the last layer lets the gradient through to all that is before it.
        assert all(weight.grad.any() for weight in attention.parameters())
        assert x.grad.any()

    def test_the_gradient_is_right(self, name):
        attention = make_attention(name, CHANNELS, PAPER).double()
        x = maps(side=2)[:1].double().requires_grad_()
        assert torch.autograd.gradcheck(attention, (x,))

    def test_it_comes_back_from_its_file(self, name, tmp_path):
        attention, other = (make_attention(name, CHANNELS, PAPER) for _ in range(2))
        save_file(attention.state_dict(), tmp_path / "weights.safetensors")
        assert not torch.equal(other(maps()), attention(maps()))
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(other(maps()), attention(maps()))

    def test_a_picture_is_judged_by_itself(self, name):
        attention = make_attention(name, CHANNELS, PAPER)
        alone = torch.cat([attention(picture) for picture in maps().split(1)])
        torch.testing.assert_close(attention(maps()), alone)

    def test_it_keeps_channels_last(self, name):
        x = maps().contiguous(memory_format=torch.channels_last)
        attention = make_attention(name, CHANNELS, PAPER).to(memory_format=torch.channels_last)
        assert attention(x).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(attention(x), attention(maps()))

    def test_bfloat16_is_near_float32(self, name):
        attention = make_attention(name, CHANNELS, PAPER)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = attention(maps())
            half = attention(maps().bfloat16())
        assert mixed.dtype == torch.float32
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(mixed, attention(maps()), rtol=0.03, atol=0.03)
        half.sum().backward()

    def test_it_can_be_exported(self, name):
        attention = make_attention(name, CHANNELS, PAPER).eval()
        batch = torch.export.Dim("batch", max=64)
        exported = torch.export.export(attention, (maps(),), dynamic_shapes=({0: batch},)).module()
        torch.testing.assert_close(exported(maps()[:3]), attention(maps()[:3]))

    def test_it_can_be_traced(self, name):
        traced = torch.fx.symbolic_trace(nn.Sequential(make_attention(name, CHANNELS, PAPER)))
        assert traced(maps()).shape == maps().shape
