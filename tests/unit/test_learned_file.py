"""What a run learned, back from its file: a head alone, a whole network, a network beside itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from alone import nothing_at_hand, one_thread
from handlens.base.errors import HandlensError
from handlens.learn import whole_state
from handlens.learned_file import LearnedFile
from handlens.models.build import ModelSpec, build
from handlens.models.heads import Head
from handlens.models.twin import TwinHead, twin_trunk
from handlens.training.checkpoint import HeadFacts, save_head

__all__ = ["nothing_at_hand", "one_thread"]

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
FURTHER = (("size", ("large", "small")),)


def spec(**model: object) -> ModelSpec:
    given = {"backbone": "handlens/nano", "weights": "none", "head": {"members": 2}} | model
    return ModelSpec.model_validate(given)


def moved(network: nn.Module, seed: int) -> nn.Module:
    """The same network with other weights and statistics, as training leaves it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator) * 0.1)
    return network.eval()


def facts_of(num_features: int, begins: int | None = None) -> HeadFacts:
    return HeadFacts(("a", "b", "c"), num_features, "", False, "hash", FURTHER, True, begins)


MODELS = {
    "as it comes": {},
    "edited": {"edits": [{"insert": "multi_se", "after": "stage4"}, {"insert": "eca", "after": "stages"}]},
    "replaced": {"edits": [{"replace": "conv3x3", "with": "gsconv", "in": "stage4"}]},
    "own rows": {"backbone": "torchvision/mobilenet_v3_small", "pool": "own"},
}


@pytest.mark.parametrize("name", list(MODELS))
@torch.no_grad()
def test_a_whole_network_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    model = spec(**MODELS[name])
    network = moved(build(model, (3, 2)), seed=1)
    path = tmp_path / "best.safetensors"
    save_head(path, whole_state(network.trunk, network.head), facts_of(network.head.num_features))
    file = LearnedFile(path, model)
    assert torch.equal(file.head()(network.pool(file.trunk()(X))), network(X))


@pytest.mark.parametrize("pool", ["average", "average_and_maximum", "own"])
@torch.no_grad()
def test_a_network_beside_itself_comes_back_to_the_bit(pool: str, tmp_path: Path) -> None:
    model = spec(pool=pool)
    before, trained = (moved(build(model, (3, 2)), seed) for seed in (1, 2))
    trunk = twin_trunk(before.trunk, trained.trunk, 5).eval()
    head = TwinHead(before.head, trained.head, 2 if pool == "average_and_maximum" else 1).eval()
    path = tmp_path / "best.safetensors"
    save_head(path, whole_state(trunk, head), facts_of(head.num_features, begins=5))
    file = LearnedFile(path, model)
    assert torch.equal(file.head()(trained.pool(file.trunk()(X))), head(trained.pool(trunk(X))))


@torch.no_grad()
def test_a_head_alone_comes_back(tmp_path: Path) -> None:
    model = spec()
    head = moved(Head(model.head, 6, (3, 2)), seed=3)
    path = tmp_path / "best.safetensors"
    save_head(path, head.state_dict(), replace(facts_of(6), whole=False))
    rows = torch.randn(4, 6)
    assert torch.equal(LearnedFile(path, model).head()(rows), head(rows))


def test_a_file_that_does_not_fit_its_recipe_is_told(tmp_path: Path) -> None:
    network = build(spec(), (3, 2))
    path = tmp_path / "best.safetensors"
    save_head(path, whole_state(network.trunk, network.head), facts_of(640))
    edited = spec(edits=[{"insert": "eca", "after": "stages"}])
    with pytest.raises(HandlensError, match=r"best\.safetensors does not fit the recipe beside it"):
        LearnedFile(path, edited).trunk()
    with pytest.raises(HandlensError, match="does not fit the recipe beside it"):
        LearnedFile(path, spec(head={"members": 3})).head()
