"""The generative model: what it computes, that it learns, and that it goes on after a stop."""

import json

import numpy as np
import pytest
import torch

from handlens.base.errors import HandlensError
from handlens.synthesis import teach
from handlens.synthesis.spec import DiffusionSpec, SynthesisSpec
from handlens.synthesis.teach import Lessons, Shown, chances, pace, taught
from handlens.synthesis.unet import LEVELS, drawn, new_network, sampler, velocity_loss
from handlens.training.device import Device

pytest.importorskip("diffusers")

CPU = Device(torch.device("cpu"), torch.float32)
SIDE = 16


def spec(**values) -> SynthesisSpec:
    tiny = {"size": SIDE, "width": 16, "steps": 6, "batch_size": 4, "sampler_steps": 3}
    return SynthesisSpec(diffusion=DiffusionSpec(**{**tiny, **values}))


def shown() -> Shown:
    """Dark pictures of one class, bright ones of the other."""
    levels = np.random.default_rng(0).normal(0, 10, (12, SIDE, SIDE, 3))
    levels += np.where(np.arange(12) % 2, 210, 40)[:, None, None, None]
    return Shown(np.clip(levels, 0, 255).astype(np.uint8), np.arange(12) % 2, ("dark", "bright"))


def weights_of(network) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in network.state_dict().items()}


def test_a_network_that_knows_the_velocity_has_no_loss_and_draws_the_picture() -> None:
    # Of one picture alone, the best velocity follows from the noisy picture by arithmetic.
    picture = torch.linspace(-0.8, 0.8, SIDE).expand(1, 3, SIDE, SIDE)
    signal = sampler().alphas_cumprod

    def knowing(noisy, levels, classes):
        kept = signal[levels].view(-1, 1, 1, 1)
        noise = (noisy - kept.sqrt() * picture) / (1 - kept).sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * picture

    noise = torch.randn((5, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([0, 10, 300, 700, 950])
    classes = torch.zeros(5, dtype=torch.long)
    loss = velocity_loss(knowing, picture.expand(5, -1, -1, -1), noise, levels, classes, signal)
    assert float(loss) == pytest.approx(0, abs=1e-6)
    made = drawn(knowing, noise, classes, 1, 10, 1)
    torch.testing.assert_close(made, picture.expand(5, -1, -1, -1), atol=1e-3, rtol=0)


def test_the_loss_weighs_levels_as_told() -> None:
    signal = sampler().alphas_cumprod
    pictures, noise = torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 3, SIDE, SIDE)
    classes = torch.zeros(1, dtype=torch.long)
    for level in (0, 400, 900):
        found = velocity_loss(
            lambda x, levels, classes: torch.ones_like(x),
            pictures,
            noise,
            torch.tensor([level]),
            classes,
            signal,
        )
        ratio = float(signal[level] / (1 - signal[level]))
        assert float(found) == pytest.approx(min(ratio, 5) / (ratio + 1), rel=1e-5)


def test_guidance_enlarges_what_the_class_adds() -> None:
    asked = []

    def network(x, levels, classes):
        asked.append((classes.tolist(), float(levels[0])))
        return torch.zeros_like(x)

    noise = torch.zeros(2, 3, SIDE, SIDE)
    drawn(network, noise, torch.tensor([0, 1]), 2, 4, 1.5)
    assert [classes for classes, _ in asked] == [[0, 1], [2, 2]] * 4
    levels = [level for _, level in asked[::2]]
    assert levels == sorted(levels, reverse=True) and max(levels) < LEVELS
    asked.clear()
    drawn(network, noise, torch.tensor([0, 1]), 2, 4, 1)
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("size", "widths"), [(16, (16, 32)), (32, (16, 32, 48)), (24, (16, 32, 48)), (64, (16, 32, 48, 64))]
)
def test_networks_of_all_sizes_give_pictures_of_theirs(size, widths) -> None:
    chosen = DiffusionSpec(size=size, width=16)
    assert chosen.widths == widths
    network = new_network(chosen, 2, seed=0)
    x, levels = torch.zeros(1, 3, size, size), torch.tensor([5])
    with torch.no_grad():
        out = network(x, levels, torch.tensor([2]), return_dict=False)[0]
    assert out.shape == x.shape
    assert weights_of(network) == weights_of(new_network(chosen, 2, seed=0))
    assert weights_of(network) != weights_of(new_network(chosen, 2, seed=1))


def test_rare_classes_are_shown_more_often_than_they_come_but_less_than_the_others() -> None:
    classes = np.array([0] * 16 + [1] * 4)
    weights = chances(classes).numpy()
    rare = weights[classes == 1].sum() / weights.sum()
    assert rare == pytest.approx(2 / (2 + 4))


def test_the_pace_rises_and_falls() -> None:
    paces = [pace(step, 100) for step in range(100)]
    assert paces[0] == pytest.approx(0.2) and max(paces) == 1.0 and paces[-1] == pytest.approx(1 / 30)
    assert pace(0, 1) == 1.0


def test_a_stopped_training_goes_on_to_the_same_bytes(tmp_path, monkeypatch) -> None:
    network = taught(shown(), spec(), tmp_path / "whole", CPU)
    again = taught(shown(), spec(), tmp_path / "whole", CPU)
    whole = weights_of(network)
    assert whole == weights_of(again)
    # Another order in memory would round otherwise.
    assert [each.stride() for each in network.parameters()] == [each.stride() for each in again.parameters()]
    monkeypatch.setattr(teach, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(teach, "SAVING_SHARE", 1e9)
    learn, done = Lessons.learn, []

    def stopping(self) -> None:
        learn(self)
        done.append(self.step)
        if done == [1, 2, 3, 4]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Lessons, "learn", stopping)
    with pytest.raises(KeyboardInterrupt):
        taught(shown(), spec(), tmp_path / "stopped", CPU)
    assert {path.name for path in (tmp_path / "stopped").iterdir()} == {"state.pt"}
    found = weights_of(taught(shown(), spec(), tmp_path / "stopped", CPU))
    # It went on behind the third step, the last one that was saved.
    assert done == [1, 2, 3, 4, 4, 5, 6]
    assert found == whole
    assert {path.name for path in (tmp_path / "stopped").iterdir()} == {
        "generator.safetensors",
        "losses.json",
    }
    assert json.loads((tmp_path / "stopped" / "losses.json").read_text()) == json.loads(
        (tmp_path / "whole" / "losses.json").read_text()
    )


def test_another_seed_is_another_model(tmp_path) -> None:
    one = taught(shown(), spec(steps=1), tmp_path / "one", CPU)
    other = taught(shown(), spec(steps=1).model_copy(update={"seed": 1}), tmp_path / "other", CPU)
    assert weights_of(one) != weights_of(other)


def test_a_loss_that_is_no_number_is_told(tmp_path) -> None:
    with pytest.raises(HandlensError, match=r"no number any more in step \d+. Give a smaller"):
        taught(shown(), spec(learning_rate=1e30, steps=20), tmp_path, CPU)


def test_it_learns_which_class_is_bright(tmp_path) -> None:
    chosen = spec(steps=40, batch_size=8, learning_rate=4e-3, average=0.9, sampler_steps=6)
    network = taught(shown(), chosen, tmp_path, CPU)

    def velocity(x, levels, classes):
        return network(x, levels, classes, return_dict=False)[0]

    noise = torch.randn((6, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    dark, bright = (
        drawn(velocity, noise, torch.full((6,), number), 2, 6, 1.5).mean((1, 2, 3)) for number in (0, 1)
    )
    assert float((bright - dark).min()) > 0.5
    losses = json.loads((tmp_path / "losses.json").read_text())
    assert np.mean(losses[-3:]) < 0.6 * losses[0]
