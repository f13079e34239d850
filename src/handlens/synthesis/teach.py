"""Training the generative model on the training side, to go on after a stop with the same bytes."""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handlens.base.errors import HandlensError
from handlens.base.files import digest, whole_file, write_json
from handlens.base.progress import progress
from handlens.models.weights import load_into, read_state
from handlens.synthesis.spec import SynthesisSpec
from handlens.synthesis.unet import (
    LEVELS,
    callable_network,
    new_network,
    repeatable,
    sampler,
    velocity_loss,
)
from handlens.training.average import WeightAverage
from handlens.training.checkpoint import load_state, save_state
from handlens.training.device import Device, a_core_a_batch
from handlens.training.optim import plain_step

GENERATOR = "generator.safetensors"
"""The averaged weights, when training is done."""
LOSSES = "losses.json"
"""The mean loss of each stretch of training."""
STATE = "state.pt"

STRETCHES = 20
"""Parts of training that a mean loss is told of."""
WITHOUT_CLASS = 0.1
"""The share of pictures that are shown without their class."""
WARM_UP, COOL_DOWN = 0.05, 0.3
"""Shares of the training in which the steps become larger, and smaller."""
CLIP = 1.0
SHARED_FROM = 32 * 32
"""Size times width of a network from which on cores share its work, and fewer bits pay."""
SAVE_EVERY_S = 60.0
SAVING_SHARE = 0.05
"""Saving may take this share of the time."""


@dataclass(frozen=True)
class Shown:
    """What the model learns from."""

    pixels: NDArray[np.uint8]
    """(n, side, side, 3)."""
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    """The classes by their numbers."""


def taught(shown: Shown, spec: SynthesisSpec, folder: Path, device: Device) -> nn.Module:
    """The model with its averaged weights; trained now, or from where an earlier run stopped."""
    path = folder / GENERATOR
    if not path.is_file():
        _train(new_network(spec.diffusion, len(shown.names), spec.seed), shown, spec, folder, device)
    # A new one whether it was trained now or before a stop, so that what it draws is the same to the bit.
    network = new_network(spec.diffusion, len(shown.names), spec.seed)
    load_into(network, read_state(path), path, ())
    return network.to(device.device).eval()


def _train(network: nn.Module, shown: Shown, spec: SynthesisSpec, folder: Path, device: Device) -> None:
    from safetensors.torch import save_file

    lessons = Lessons(network, shown, spec, device)
    state = load_state(folder / STATE)
    if state is not None:
        lessons.go_on_from(state)
    saved = Pace(SAVE_EVERY_S, SAVING_SHARE)
    with (
        repeatable(device.device),
        cores_for(spec),
        progress("Learning to draw", spec.diffusion.steps, "steps") as advance,
    ):
        advance(lessons.step)
        while lessons.step < spec.diffusion.steps:
            lessons.learn()
            advance(1)
            saved.perhaps(lambda: save_state(folder / STATE, lessons.state()))
    write_json(folder / LOSSES, lessons.mean_losses())
    tensors = {name: value.cpu().contiguous() for name, value in lessons.average.state().items()}
    facts = {"classes": shown.names, **spec.diffusion.model_dump(mode="json")}
    with whole_file(folder / GENERATOR) as partial:
        save_file(tensors, partial, metadata={"handlens": json.dumps(facts, ensure_ascii=False)})
    (folder / STATE).unlink(missing_ok=True)


class Pace:
    """Does something now and then: the longer it takes, the more rarely."""

    def __init__(self, every_s: float, share: float) -> None:
        self._every_s, self._share = every_s, share
        self._wait_s, self._last = every_s, time.monotonic()

    def perhaps(self, action: Callable[[], None]) -> None:
        """Do it if it is time."""
        begun = time.monotonic()
        if begun - self._last >= self._wait_s:
            action()
            self._last = time.monotonic()
            self._wait_s = max(self._every_s, (self._last - begun) / self._share)


class Lessons:
    """A training under way: what each step shows depends on the seed and the step's number alone."""

    def __init__(self, network: nn.Module, shown: Shown, spec: SynthesisSpec, device: Device) -> None:
        self._spec, self._device = spec, device.device
        self.network = network.to(self._device).train()
        self.average = WeightAverage(self.network, spec.diffusion.average)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), spec.diffusion.learning_rate)
        self._take = plain_step(self.optimiser)
        self._velocity = callable_network(self.network, fast(spec, device), self._device)
        self._pixels = torch.from_numpy(shown.pixels).permute(0, 3, 1, 2)
        self._classes = torch.from_numpy(shown.classes)
        self._any_class = len(shown.names)
        self._chances = chances(shown.classes)
        self._signal = sampler().alphas_cumprod.to(self._device)
        self.step = 0
        self.losses: list[float] = []

    def learn(self) -> None:
        """One step."""
        pictures, noise, levels, classes = (each.to(self._device) for each in self._batch())
        for group in self.optimiser.param_groups:
            group["lr"] = self._spec.diffusion.learning_rate * pace(self.step, self._spec.diffusion.steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss = velocity_loss(self._velocity, pictures, noise, levels, classes, self._signal)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self._take()
        self.average.update(self.step)
        self.losses.append(float(loss.detach()))
        if not math.isfinite(self.losses[-1]):
            raise HandlensError(
                f"The generative model's loss is no number any more in step {self.step + 1}. Give a smaller "
                "diffusion.learning_rate."
            )
        self.step += 1

    def mean_losses(self) -> list[float]:
        """The mean loss of each stretch so far."""
        parts = np.array_split(np.array(self.losses), min(STRETCHES, len(self.losses)))
        return [round(float(part.mean()), 6) for part in parts]

    def state(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "step": self.step,
            "losses": self.losses,
            "network": self.network.state_dict(),
            "average": self.average.state(),
            "optimiser": self.optimiser.state_dict(),
        }

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Back from `state`."""
        self.step, self.losses = state["step"], list(state["losses"])
        self.network.load_state_dict(state["network"])
        self.average.load(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures from -1 to 1, noise, levels of noise, and classes."""
        size = self._spec.diffusion.batch_size
        generator = generator_of("step", self._spec.seed, self.step)
        rows = torch.multinomial(self._chances, size, replacement=True, generator=generator)
        pixels = self._pixels[rows]
        for wanted, axis in ((self._spec.flip_horizontal, 3), (self._spec.flip_vertical, 2)):
            turned = torch.rand(size, generator=generator) < 0.5
            if wanted:
                pixels[turned] = pixels[turned].flip(axis)
        turns = torch.randint(4, (size,), generator=generator).tolist()
        if self._spec.turn:
            pixels = torch.stack([each.rot90(k, (1, 2)) for each, k in zip(pixels, turns, strict=True)])
        # Spread evenly over the levels, which makes the losses of two steps more alike (Kingma et al. 2021).
        place = (torch.arange(size) + torch.rand((), generator=generator)) / size
        levels = (place * LEVELS).long().clamp(max=LEVELS - 1)
        classes = self._classes[rows].clone()
        classes[torch.rand(size, generator=generator) < WITHOUT_CLASS] = self._any_class
        noise = torch.randn(pixels.shape, generator=generator)
        return pixels.float() / 127.5 - 1, noise, levels, classes


def fast(spec: SynthesisSpec, device: Device) -> torch.dtype | None:
    """The quicker arithmetic, where it is quicker.

    On a processor bfloat16 took 30 % less time for maps of 64 x 64 x 32, and 30 % more for 16 x 16 x 16.
    float16 would need its losses scaled up, and float32 is fast enough where there is no bfloat16.
    """
    large = device.device.type != "cpu" or not is_small(spec)
    return torch.bfloat16 if large and device.training == torch.bfloat16 else None


def is_small(spec: SynthesisSpec) -> bool:
    """Whether a network is so small that sharing its work over cores takes longer than the work."""
    return spec.diffusion.size * spec.diffusion.width < SHARED_FROM


def cores_for(spec: SynthesisSpec) -> AbstractContextManager[None]:
    """One core for a small network, all of them for a larger one."""
    return a_core_a_batch() if is_small(spec) else nullcontext()


def chances(classes: NDArray[np.int64]) -> Tensor:
    """How often each picture is shown: a class in step with the root of its number (Mahajan et al. 2018).

    As they come, a rare class would hardly be seen; all equally often, its few pictures would be learned by
    heart.
    """
    counts = np.bincount(classes)
    return torch.from_numpy(1 / np.sqrt(counts[classes]))


def pace(step: int, steps: int) -> float:
    """The share of the learning rate at a step: up in a straight line, level, and down to nothing."""
    warm, cool = max(1.0, WARM_UP * steps), max(1.0, COOL_DOWN * steps)
    return min(1.0, (step + 1) / warm, (steps - step) / cool)


def generator_of(words: str, seed: int, number: int) -> torch.Generator:
    """Chance for one step or one picture, the same on every machine."""
    return torch.Generator().manual_seed(
        int(digest("synthesize", words, str(seed), str(number), length=7), 16)
    )


def names_of(labels: Sequence[str | None]) -> tuple[str, ...]:
    """The classes that occur, in order."""
    return tuple(sorted({label for label in labels if label is not None}))
