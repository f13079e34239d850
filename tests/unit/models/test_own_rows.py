"""A network's own way from map to row, against the libraries' own networks."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from handlens.base.errors import HandlensError
from handlens.models import backbones
from handlens.models.own_rows import last_layer

SEED = 3
TORCHVISION = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "resnet18": 64,
    "shufflenet_v2_x0_5": 64,
    "swin_t": 64,
    "vit_b_32": 224,
}
TIMM = {
    "convnext_atto": 64,
    "efficientnet_lite0": 64,
    "ghostnet_050": 64,
    "mobilenetv3_small_050": 64,
    "resnet10t": 64,
    "vit_tiny_patch16_224": 224,
}


def pictures(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def theirs(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        slow = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **slow).eval()


@pytest.mark.parametrize("name", list(TORCHVISION))
@torch.inference_mode()
def test_with_its_last_layer_it_is_torchvisions_own_network(name: str) -> None:
    network = theirs(name)
    trunk = backbones.create(f"torchvision/{name}", None, SEED, own_rows=True).trunk
    # The weights are laid in by name, so that nothing depends on how random ones are drawn.
    state = network.state_dict()
    ours = trunk.state_dict()
    by_shape = {key: value for key, value in state.items() if key in ours}
    if name in ("googlenet", "inception_v3"):
        # Their published weights were learned with this; random ones come without.
        network.transform_input = True
    trunk.load_state_dict(by_shape, strict=False)
    rows = trunk(pictures(TORCHVISION[name]))
    assert rows.ndim == 2
    expected = network(pictures(TORCHVISION[name]))
    torch.testing.assert_close(network.get_submodule(last_layer(network))(rows), expected)


def test_squeezenets_last_layer_works_on_the_map() -> None:
    trunk = backbones.create("torchvision/squeezenet1_1", "none", SEED, own_rows=True).trunk
    plain = backbones.create("torchvision/squeezenet1_1", "none", SEED).trunk
    x = pictures(64)
    torch.testing.assert_close(trunk(x), plain(x).mean((2, 3)))


@pytest.mark.parametrize("name", list(TIMM))
@torch.inference_mode()
def test_it_is_timms_own_row(name: str, tmp_path, monkeypatch) -> None:
    network = timm.create_model(name).eval()
    (tmp_path / "timm").mkdir()
    torch.save(network.state_dict(), tmp_path / "timm" / f"{name}.pth")
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    trunk = backbones.create(f"timm/{name}", "pretrained", SEED, own_rows=True).trunk
    x = pictures(TIMM[name])
    expected = network.forward_head(network.forward_features(x), pre_logits=True)
    torch.testing.assert_close(trunk(x), expected)


@pytest.mark.parametrize(
    ("name", "num_classes"),
    [("alexnet", 7), ("squeezenet1_1", 7), ("squeezenet1_1", 1000), ("mobilenet_v3_small", 1000)],
)
@torch.inference_mode()
def test_its_layers_come_from_the_file_whatever_that_ends_in(
    name, num_classes, tmp_path, monkeypatch
) -> None:
    torch.manual_seed(11)
    network = torchvision.models.get_model(name, weights=None, num_classes=num_classes).eval()
    torch.save(network.state_dict(), tmp_path / f"{name}.pth")
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    made = backbones.create(f"torchvision/{name}", "pretrained", SEED, own_rows=True)
    assert made.pretrained
    if name != "squeezenet1_1":
        x = pictures(64)
        torch.testing.assert_close(network.get_submodule(last_layer(network))(made.trunk(x)), network(x))


def test_a_file_without_its_layers_is_told(tmp_path, monkeypatch) -> None:
    state = {
        name: value for name, value in theirs("alexnet").state_dict().items() if "classifier" not in name
    }
    torch.save(state, tmp_path / "alexnet.pth")
    monkeypatch.setenv("HANDLENS_WEIGHTS", str(tmp_path))
    with pytest.raises(HandlensError, match=r"alexnet\.pth does not fit.*classifier\.1\.weight"):
        backbones.create("torchvision/alexnet", "pretrained", own_rows=True)
    # The plain map does without them.
    assert backbones.create("torchvision/alexnet", "pretrained").pretrained
