"""What every edit owes on every kind of network: the same output at first, weights by seed, save and load."""

import pytest
import timm
import torch

from handlens.models import backbones
from handlens.models.attention import ATTENTIONS
from handlens.models.backbones import TimmMap
from handlens.models.edits import Insert, Replace, apply_edits, new_parameters


def small_swin():
    network = timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
        num_classes=0, global_pool="",
    )  # fmt: skip
    return TimmMap("small", network).eval()


# Maps, maps whose channels stand last, tokens; ours, torchvision's, timm's. All take this side.
NETWORKS = {
    "ours": (lambda: backbones.create("handlens/nano", "bundled").trunk, 64),
    "torchvision": (lambda: backbones.create("torchvision/mobilenet_v3_small", "none").trunk, 64),
    "timm": (lambda: backbones.create("timm/test_resnet", "none").trunk, 64),
    "channels last": (small_swin, 224),
    "tokens": (lambda: backbones.create("timm/test_vit", "none").trunk, 160),
}
INSERTS = {
    name: {"insert": name, "after": "blocks", "reduction": 4, "heads": 4}
    for name in Insert.model_fields["insert"].annotation.__args__
}
REPLACES = {"gsconv": {"replace": "conv3x3", "with": "gsconv", "in": "blocks"}}
EDITS = {**INSERTS, **REPLACES}


def edit_of(name, **changes):
    kind = Insert if name in INSERTS else Replace
    return kind.model_validate({**EDITS[name], **changes})


def fits(name, network):
    """CBAM needs places beside each other, GSConv dense 3 x 3 convolutions."""
    return {"cbam": network != "tokens", "gsconv": network in ("ours", "timm")}.get(name, True)


CASES = [(name, network) for name in EDITS for network in NETWORKS if fits(name, network)]


def edited(name, network, seed=0, **changes):
    trunk = NETWORKS[network][0]()
    apply_edits(trunk, [edit_of(name, **changes)], seed)
    return trunk


def seen(trunk, side):
    picture = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return trunk(picture)


def new_values(trunk):
    new = new_parameters(trunk)
    return {name: value.detach().clone() for name, value in trunk.named_parameters() if name in new}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items()) and one.keys() == other.keys()


def test_every_attention_can_be_inserted():
    assert set(INSERTS) == set(ATTENTIONS)


@pytest.mark.parametrize(("name", "network"), [case for case in CASES if case[0] in INSERTS])
def test_an_insertion_changes_no_bit_at_first(name, network):
    make, side = NETWORKS[network]
    trunk = make()
    expected = seen(trunk, side)
    apply_edits(trunk, [edit_of(name)])
    assert torch.equal(seen(trunk, side), expected)


@pytest.mark.parametrize(("name", "network"), CASES)
def test_started_as_published_it_changes_something(name, network):
    make, side = NETWORKS[network]
    trunk = make()
    expected = seen(trunk, side)
    apply_edits(trunk, [edit_of(name, start="paper")])
    changed = seen(trunk, side)
    assert changed.shape == expected.shape
    assert changed.isfinite().all()
    assert not torch.equal(changed, expected)


@pytest.mark.parametrize("name", EDITS)
class TestEveryEdit:
    def test_its_random_weights_follow_from_the_seed_alone(self, name):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first = new_values(edited(name, "ours", seed=1, start="paper"))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(6)
        assert same(new_values(edited(name, "ours", seed=1, start="paper")), first)
        assert not same(new_values(edited(name, "ours", seed=2, start="paper")), first)

    def test_what_it_brings_in_learns(self, name):
        trunk = edited(name, "ours", start="paper").train()
        picture = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        # A plain sum would not tell channels apart, which norms then make as large again.
        trunk(picture).square().mean().backward()
        new = new_parameters(trunk)
        assert new
        assert all(weight.grad is not None for name, weight in trunk.named_parameters() if name in new)
        assert any(weight.grad.abs().sum() > 0 for name, weight in trunk.named_parameters() if name in new)

    def test_it_is_saved_and_loaded(self, name):
        trunk = edited(name, "ours", seed=1, start="paper")
        other = edited(name, "ours", seed=2, start="paper")
        other.load_state_dict(trunk.state_dict())
        assert torch.equal(seen(other, 64), seen(trunk, 64))
