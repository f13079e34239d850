"""The candidates for the small network: shapes, sizes, names, and what edits find in them."""

import pytest
import torch
from torch import nn

from handlens.models.nano import NUM_FEATURES
from handlens.models.roles import block_parts, residual_parts, stage_parts
from handlens.training.frozen import fold_batch_norms
from pretrain_nano.networks import NETWORKS

each = pytest.mark.parametrize("name", NETWORKS)


def network(name: str) -> nn.Sequential:
    torch.manual_seed(0)
    return NETWORKS[name]()


def taught(name: str) -> nn.Sequential:
    """With running statistics that are not those of a new batch norm."""
    made = network(name)
    with torch.no_grad():
        for _ in range(3):
            made.train()(torch.randn(4, 3, 96, 96))
    return made.eval()


@each
@pytest.mark.parametrize("size", [64, 224])
def test_a_map_32_times_smaller(name: str, size: int) -> None:
    with torch.no_grad():
        out = taught(name)(torch.randn(2, 3, size, size))
    assert out.shape == (2, NUM_FEATURES, size // 32, size // 32)
    assert out.isfinite().all()
    assert out.std() > 0.01


@each
def test_fits_into_four_megabytes(name: str) -> None:
    made = network(name)
    assert sum(weight.numel() for weight in made.parameters()) < 1_950_000
    assert sum(2 * value.numel() for value in made.state_dict().values()) < 3_980_000


@each
def test_has_the_names_of_handlens(name: str) -> None:
    names = [child for child, _ in network(name).named_children()]
    assert names == ["stem", "stage1", "stage2", "stage3", "stage4", "last"]


@each
def test_every_weight_gets_a_gradient(name: str) -> None:
    made = network(name).train()
    made(torch.randn(4, 3, 64, 64)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in made.parameters())


@each
def test_folding_leaves_no_batch_norm_and_the_same_map(name: str) -> None:
    made = taught(name)
    folded = fold_batch_norms(made)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), made(x), rtol=1e-4, atol=1e-4)


@each
def test_edits_find_blocks_residual_branches_and_stages(name: str) -> None:
    made = network(name).eval()
    assert len(block_parts(made)) == len(blocks(made))
    num_adding = sum(getattr(module, "use_res_connect", True) for module in blocks(made))
    assert len(residual_parts(made)) == num_adding
    # The stem and the first stage work at one resolution, the last stage and what widens it at another.
    assert len(stage_parts(made)) == 4


def blocks(made: nn.Sequential) -> list[nn.Module]:
    return [
        module
        for module in made.modules()
        if type(module).__name__ in ("Residual", "InvertedResidual", "ConvNeXtBlock")
    ]
