"""The teaching: its losses against plain formulas, a stop in the middle, the file at the end."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from pretrain_nano import patches
from pretrain_nano import teach as teach_module
from pretrain_nano.drawing import draw_batch
from pretrain_nano.plan import Plan
from pretrain_nano.teach import teach
from pretrain_nano.teachings import FAINTNESS, TEMPERATURE, Pairs, Patches, Settings

PLAN = Plan(network="convnext", steps=6, materials=12, size=32, warm_up=2)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teach_module, "SAVE_EVERY", 2)
    monkeypatch.setattr(teach_module, "EVERY", 1)


def test_pairs_is_the_loss_of_the_paper() -> None:
    """Chen et al. 2020, equation 1, picture by picture."""
    torch.manual_seed(0)
    pairs = Pairs(5).eval()
    maps = torch.randn(6, 5, 2, 2)
    batch = draw_batch(3, 2, 32, torch.Generator().manual_seed(0))
    points = torch.nn.functional.normalize(pairs.project(maps.mean((2, 3))), dim=1).tolist()

    def alike(i: int, j: int) -> float:
        return math.exp(sum(a * b for a, b in zip(points[i], points[j], strict=True)) / TEMPERATURE)

    losses = []
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)):
        losses.append(-math.log(alike(i, j) / sum(alike(i, k) for k in range(6) if k != i)))
    assert pairs(maps, batch)["pairs"].item() == pytest.approx(sum(losses) / 6, rel=1e-4)


def test_patches_misses_nothing_where_the_counts_are_told_and_all_of_it_where_the_mean_is() -> None:
    batch = draw_batch(12, 2, 64, torch.Generator().manual_seed(0))
    asked: Any = Patches(4)
    true = torch.cat(patches.counts(batch.pictures), 1)
    asked.even = torch.nn.Identity()
    del asked.tell
    asked.tell = lambda faint: faint / FAINTNESS
    assert asked(true, batch)["patches"].item() == pytest.approx(0.0, abs=1e-6)
    mean = true.mean((0, 2, 3), keepdim=True).expand_as(true)
    assert asked(mean, batch)["patches"].item() == pytest.approx(1.0, abs=0.01)


def test_unused_settings_teach_nothing() -> None:
    torch.manual_seed(0)
    asked = Settings(4)
    maps = torch.randn(24, 4, 1, 1)
    batch = draw_batch(12, 2, 32, torch.Generator().manual_seed(0))
    other = dataclasses.replace(batch, settings=torch.where(batch.used, batch.settings, 7.0))
    assert asked(maps, batch)["settings"].item() == asked(maps, other)["settings"].item()
    grey = batch.paint.clone()
    grey[:, 2] = 0
    turned = grey.clone()
    turned[:, 0] = 0.3
    losses = [
        asked(maps, dataclasses.replace(batch, paint=paint))["paint"].item() for paint in (grey, turned)
    ]
    assert losses[0] == losses[1]


def test_a_stopped_teaching_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = teach(PLAN, tmp_path / "whole", 0, CPU)

    def stop_at_five(*words: object, **more: object) -> None:
        if words[1] == 5:
            raise KeyboardInterrupt
        told(*words, **more)  # type: ignore[arg-type]

    told = teach_module._tell
    monkeypatch.setattr(teach_module, "_tell", stop_at_five)
    with pytest.raises(KeyboardInterrupt):
        teach(PLAN, tmp_path / "stopped", 0, CPU)
    monkeypatch.setattr(teach_module, "_tell", told)
    resumed = teach(PLAN, tmp_path / "stopped", 1, CPU)

    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    curve = [json.loads(line) for line in (tmp_path / "stopped" / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in curve] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(row["patches"]) for row in curve)


def test_another_plan_is_refused(tmp_path: Path) -> None:
    teach(dataclasses.replace(PLAN, steps=2), tmp_path, 0, CPU)
    with pytest.raises(SystemExit, match="another plan"):
        teach(dataclasses.replace(PLAN, steps=2, seed=1), tmp_path, 0, CPU)


def test_the_file_says_how_it_was_made(tmp_path: Path) -> None:
    made = teach(dataclasses.replace(PLAN, steps=2), tmp_path, 0, CPU)
    with safe_open(tmp_path / "nano.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["made"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert facts["network"] == "convnext"
    assert facts["steps_done"] == 2
    assert all(value.dtype == torch.float16 for value in tensors.values())
    for name, value in made.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(tensors[name].float(), value, atol=1e-3, rtol=1e-3)


def test_it_learns() -> None:
    """Shown one batch again and again, it comes to know it."""
    batch = draw_batch(12, 2, 64, torch.Generator().manual_seed(0))
    pupil = teach_module.Pupil(dataclasses.replace(PLAN, size=64)).train()
    optimiser = torch.optim.AdamW(pupil.parameters(), 2e-3)
    losses = []
    for _ in range(25):
        told = pupil(batch)
        total = torch.stack(list(told.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append({name: value.item() for name, value in told.items()})
    for name in ("formula", "settings", "paint", "pairs", "patches"):
        assert losses[-1][name] < 0.8 * losses[0][name], name
