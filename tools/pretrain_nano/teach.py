"""The loop: draw, look, learn; kept on disk now and then, to go on from after a stop."""

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset

from handlens.base.files import whole_file
from handlens.data.image import NORMALISATIONS
from handlens.models.nano import draw_weights
from handlens.training.strided import quick_strides
from pretrain_nano.drawing import Batch, draw_batch
from pretrain_nano.networks import NETWORKS
from pretrain_nano.plan import Plan
from pretrain_nano.teachings import WEIGHTS, taught_by

EVERY = 50
"""Steps between lines of the curve."""
SAVE_EVERY = 250
"""Steps between checkpoints."""
CURVE = "curve.jsonl"
VERSION = "1"
"""Of the weights, told in every run's report; the next ones that go into the package get another."""


class Pupil(nn.Module):
    """The network, and what is asked of it while it is taught."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            self.network = NETWORKS[plan.network]()
            draw_weights(self.network, plan.seed)
            with torch.inference_mode():
                num_features = self.network.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
            self.teaching = taught_by(plan.teaching, num_features)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses by name, each times what it counts."""
        usual = NORMALISATIONS["imagenet"]
        pictures = (batch.pictures.float() / 255 - _column(usual.mean, batch)) / _column(usual.std, batch)
        maps = self.network(pictures.contiguous(memory_format=torch.channels_last))
        return {name: WEIGHTS[name] * loss for name, loss in self.teaching(maps, batch).items()}


class Batches(IterableDataset[Batch]):
    """The batches of a plan from one step on; each is a matter of the seed and its step alone."""

    def __init__(self, plan: Plan, first: int, kept: Path | None) -> None:
        self.plan, self.first, self.kept = plan, first, kept

    def __iter__(self) -> Iterator[Batch]:
        """Each worker draws every so manieth batch, and the loader puts them in order."""
        worker = torch.utils.data.get_worker_info()
        number, of = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(self.first + number, self.plan.steps, of):
            yield self.batch(step)

    def batch(self, step: int) -> Batch:
        """Drawn, or drawn before and kept for several networks to be compared on."""
        numbers = (self.plan.seed, self.plan.materials, self.plan.views, self.plan.size, step)
        path = self.kept / ("-".join(map(str, numbers)) + ".pt") if self.kept else None
        if path and path.is_file():
            return Batch(**torch.load(path, weights_only=True))
        chance = torch.Generator().manual_seed(self.plan.seed * 1_000_003 + step)
        batch = draw_batch(self.plan.materials, self.plan.views, self.plan.size, chance)
        if path:
            with whole_file(path) as partial:
                torch.save(vars(batch), partial)
        return batch


def teach(
    plan: Plan, folder: Path, workers: int, device: torch.device, kept: Path | None = None
) -> nn.Module:
    """Teach a network, or go on where it was stopped; gives the averaged one."""
    folder.mkdir(parents=True, exist_ok=True)
    pupil = Pupil(plan).to(device).to(memory_format=torch.channels_last)
    averaging = get_ema_multi_avg_fn(plan.average)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(pupil.network, multi_avg_fn=averaging, use_buffers=True)
    optimiser = torch.optim.AdamW(_groups(pupil, plan.weight_decay), lr=plan.learning_rate)
    parts = {"pupil": pupil, "averaged": averaged, "optimiser": optimiser}
    first, seconds = _restore(folder / "state.pt", plan, parts)
    loader = DataLoader(
        Batches(plan, first, kept), None, num_workers=workers, prefetch_factor=4 if workers else None
    )
    quick = quick_strides(pupil.network) if device.type == "cpu" else nullcontext()
    begun = time.monotonic() - seconds
    seen: dict[str, list[float]] = {}
    pupil.train()
    with quick:
        for step, batch in enumerate(loader, start=first):
            for group in optimiser.param_groups:
                group["lr"] = plan.rate(step)
            with torch.autocast(device.type, torch.bfloat16):
                losses = pupil(batch.to(device))
            total = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(total):
                raise SystemExit(f"The loss is no number at step {step}. Teach with a lower --learning-rate.")
            optimiser.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
            optimiser.step()
            averaged.update_parameters(pupil.network)
            for name, loss in losses.items():
                seen.setdefault(name, []).append(loss.item() / WEIGHTS[name])
            done, seconds = step + 1, time.monotonic() - begun
            if done % EVERY == 0 or done == plan.steps:
                _tell(folder / CURVE, done, plan, seconds, seen)
                seen = {}
            if done % SAVE_EVERY == 0 or done == plan.steps:
                _save(folder / "state.pt", plan, parts, done, seconds)
                save_network(averaged.module, folder / "nano.safetensors", plan, done, seconds)
    return averaged.module


def save_network(network: nn.Module, path: Path, plan: Plan, steps: int, seconds: float) -> None:
    """Weights in half the bytes, with how they came about."""
    tensors = {
        name: value.detach().cpu().half().contiguous() if value.is_floating_point() else value.cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    made = {**plan.as_dict(), "steps_done": steps, "seconds": round(seconds)}
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata={"version": VERSION, "made": json.dumps(made)})


def _groups(pupil: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Norms and biases do not decay."""
    matrices = [value for value in pupil.parameters() if value.ndim > 1]
    others = [value for value in pupil.parameters() if value.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _column(values: tuple[float, ...], batch: Batch) -> Tensor:
    return torch.tensor(values, device=batch.pictures.device).view(1, 3, 1, 1)


def _restore(path: Path, plan: Plan, parts: dict[str, Any]) -> tuple[int, float]:
    """Put back what was kept; gives the steps and seconds that were done."""
    if not path.is_file():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    _cut(path.with_name(CURVE), state["steps"])
    if state["plan"] != plan.as_dict():
        raise SystemExit(f"{path} was made by another plan: {state['plan']}. Choose another --out.")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["steps"], state["seconds"]


def _save(path: Path, plan: Plan, parts: dict[str, Any], steps: int, seconds: float) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    with whole_file(path) as partial:
        torch.save({**state, "plan": plan.as_dict(), "steps": steps, "seconds": seconds}, partial)


def _tell(path: Path, done: int, plan: Plan, seconds: float, seen: dict[str, list[float]]) -> None:
    """A line for people, a line for the curve."""
    means = {name: sum(values) / len(values) for name, values in seen.items()}
    with path.open("a") as stream:
        stream.write(json.dumps({"step": done, "seconds": round(seconds, 1), **means}) + "\n")
    left = seconds / done * (plan.steps - done) / 60
    losses = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
    print(f"step {done} of {plan.steps}, {seconds / 60:.1f} min, {left:.0f} to go: {losses}", flush=True)


def _cut(path: Path, steps: int) -> None:
    """Take back the lines of steps that were not kept: they are done again."""
    if path.is_file():
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if json.loads(line)["step"] <= steps))
