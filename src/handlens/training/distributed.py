"""Several processes that train together: who is who, and what they tell each other.

Launchers such as torchrun only start the processes. With one process nothing here does anything.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import Tensor, distributed

from handlens.base.errors import HandlensError

PATIENCE = timedelta(hours=12)
"""The others wait as long while the main process checks pictures or trains heads."""


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if world() > 1 else 0


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the one process that writes and speaks."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Train together with the processes that the launcher started beside this one, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    before = signal.signal(signal.SIGTERM, _ended_from_outside)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        distributed.destroy_process_group()


@contextmanager
def main_first() -> Iterator[None]:
    """The main process does the block before the others, which then find its results kept."""
    if world() > 1 and not is_main():
        _wait()
    yield
    if world() > 1 and is_main():
        _wait()


def from_main(value: Any) -> Any:
    """What the main process has, everywhere; what the others give is ignored."""
    if world() == 1:
        return value
    box = [value]
    with _told():
        distributed.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: Any) -> list[Any]:
    """What each process has, in the order of their numbers, everywhere."""
    if world() == 1:
        return [value]
    boxes: list[Any] = [None] * world()
    with _told():
        distributed.all_gather_object(boxes, value)
    return boxes


def sums(values: Iterable[float]) -> list[float]:
    """Each number summed over the processes."""
    return [sum(each) for each in zip(*gathered(list(values)), strict=True)]


def summed(values: Tensor) -> Tensor:
    """A tensor summed over the processes."""
    total = values.clone()
    with _told():
        distributed.all_reduce(total)
    return total


def add_up_gradients(weights: Iterable[Tensor]) -> None:
    """The sum over the processes in the place of each gradient, in one message."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    total = summed(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    parts = torch.split(total, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def _wait() -> None:
    with _told():
        distributed.barrier()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _lost() from error


def _ended_from_outside(number: int, frame: FrameType | None) -> NoReturn:
    raise _lost()


def _lost() -> HandlensError:
    return HandlensError(
        "Another process of this training has ended, so that this one ends too. What was saved is kept: "
        "give the same command again and it goes on."
    )
