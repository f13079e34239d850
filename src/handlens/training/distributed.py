"""Several processes that train together: who is who, and what they tell each other.

Launchers such as torchrun only start the processes. With one process nothing here does anything.
"""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from handlens.base.errors import HandlensError, ToldAlready

PATIENCE = timedelta(hours=12)
"""The others wait as long while the main process checks pictures or trains heads."""

END = "handlens/end"
"""Where the first process that has to end says why; the others then end in silence."""


HEARD = "handlens/heard"
LAST_WORD_S = 3.0
"""Where the main process keeps what is said, it waits at most as long until the others have heard it."""


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
    """Train together with the processes that the launcher started beside this one, if it did.

    Within another `joined`, or where the caller's program has joined them itself, it does nothing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.is_initialized():
        yield
        return
    distributed.init_process_group(_backend(), timeout=PATIENCE)
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _ended_from_outside) if in_main_thread else None
    try:
        # None ends, be it by a mistake in the recipe, while others are still connecting to it.
        _wait()
        yield
    except BaseException as error:
        if in_main_thread:
            # The launcher ends all when one has ended: this one is ending, and has something to say.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        told = _leave_saying(str(error))
        if told is not None:
            raise ToldAlready(told) from error
        raise
    if in_main_thread:
        signal.signal(signal.SIGTERM, before)
    _leave()


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
    with _or_lost():
        distributed.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: Any) -> list[Any]:
    """What each process has, in the order of their numbers, everywhere."""
    if world() == 1:
        return [value]
    boxes: list[Any] = [None] * world()
    with _or_lost():
        distributed.all_gather_object(boxes, value)
    return boxes


def dealt_back(own: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows of all things in order, everywhere, where each process made those of `things[rank::world]`."""
    parts = gathered(own)
    rows = np.empty((sum(map(len, parts)), *own.shape[1:]), own.dtype)
    for number, part in enumerate(parts):
        rows[number :: len(parts)] = part
    return rows


def sums(values: Iterable[float]) -> list[float]:
    """Each number summed over the processes."""
    return [sum(each) for each in zip(*gathered(list(values)), strict=True)]


def summed(values: Tensor) -> Tensor:
    """A tensor summed over the processes."""
    total = values.clone()
    with _or_lost():
        distributed.all_reduce(total)
    return total


def stacked(values: Tensor) -> Tensor:
    """The tensors of all processes, which have the same shape, in a new first dimension."""
    each = [torch.empty_like(values) for _ in range(world())]
    with _or_lost():
        distributed.all_gather(each, values)
    return torch.stack(each)


def add_up_gradients(weights: Iterable[Tensor]) -> None:
    """The sum over the processes in the place of each gradient, in one message."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    total = summed(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    parts = torch.split(total, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def _backend() -> str:
    """NCCL for what is on GPUs, gloo for the rest; each process of a machine needs a GPU of its own."""
    if not torch.cuda.is_available():
        return "gloo"
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if here > gpus:
        sentence = (
            f"There are {here} processes for {gpus} GPU{'s' * (gpus > 1)} on this machine. Start as many as "
            "there are GPUs (--nproc-per-node), or set CUDA_VISIBLE_DEVICES= to nothing to train without."
        )
        raise HandlensError(sentence) if os.environ.get("RANK") == "0" else ToldAlready(sentence)
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return "cpu:gloo,cuda:nccl"


def _leave() -> None:
    """Close the connections; whoever still waits for this process then learns that it has ended."""
    if distributed.is_initialized():
        with suppress(RuntimeError):
            distributed.destroy_process_group()


def _leave_saying(sentence: str) -> str | None:
    """Leave, and say why all have to end; what another process has said before, if one has."""
    number, num = rank(), world()
    mine = f"{number} {sentence}"
    store = distributed.distributed_c10d._get_default_store()
    try:
        said = store.compare_set(END, "", mine).decode()
        heard = store.add(HEARD, 1)
        _leave()
        keeps_store = number == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True)
        until = time.monotonic() + LAST_WORD_S
        while keeps_store and heard < num and time.monotonic() < until:
            time.sleep(0.05)
            heard = store.add(HEARD, 0)
    except RuntimeError:
        # The process that kept what was said has ended itself.
        _leave()
        return None
    return None if said == mine else str(said.partition(" ")[2])


def _wait() -> None:
    """Until all have come this far."""
    summed(torch.zeros(1))


@contextmanager
def _or_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _lost() from error


def _ended_from_outside(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _lost()


def _lost() -> HandlensError:
    return HandlensError(
        "Another process of this training has ended, so that this one ends too. What was saved is kept: "
        "give the same command again and it goes on."
    )
