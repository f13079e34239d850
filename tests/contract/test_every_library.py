"""What every library of backbones owes."""

import pytest
import torch

from handlens.base.errors import HandlensError
from handlens.models import backbones
from handlens.models.backbones import LIBRARIES

# A small network of each.
SMALL = {
    "torchvision": "torchvision/shufflenet_v2_x0_5",
    "timm": "timm/convnext_atto",
    "handlens": "handlens/nano",
}
PICTURES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_every_library_is_tested_and_listed():
    assert set(SMALL) == set(LIBRARIES) == {name.partition("/")[0] for name in backbones.names()}


@pytest.mark.parametrize("name", SMALL.values())
class TestEveryLibrary:
    def test_its_networks_give_a_map_and_judge(self, name):
        backbone = backbones.create(name, "none", seed=3)
        assert backbone.name == name
        assert not any(module.training for module in backbone.trunk.modules())
        assert not backbone.pretrained
        assert "3" in backbone.source
        with torch.inference_mode():
            feature_map = backbone.trunk(PICTURES)
            assert torch.equal(backbone.trunk(PICTURES), feature_map)
        assert feature_map.ndim == 4
        assert len(feature_map) == 2
        assert feature_map.isfinite().all()

    def test_random_weights_follow_the_seed(self, name):
        digests = [backbones.create(name, "none", seed).digest for seed in (0, 0, 1)]
        assert digests[0] == digests[1] != digests[2]

    def test_a_mistyped_name_is_told(self, name):
        library = name.partition("/")[0]
        with pytest.raises(HandlensError, match="There is no"):
            backbones.create(f"{library}/{name.partition('/')[2]}x", "none")

    def test_weights_that_it_has_not_are_told_with_the_mend(self, name):
        lacking = "pretrained" if name == "handlens/nano" else "bundled"
        with pytest.raises(HandlensError, match=r"model\.weights"):
            backbones.create(name, lacking)
