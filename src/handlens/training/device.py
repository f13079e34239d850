"""Which processor does the arithmetic, and in which precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

PrecisionChoice = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Device:
    """Where and how precisely the network runs."""

    device: torch.device
    dtype: torch.dtype
    """Of a frozen network's arithmetic."""
    training: torch.dtype = torch.float32
    """Of a network's arithmetic while it trains; the weights themselves are always float32."""

    @property
    def words(self) -> str:
        """For people: 'cpu, bfloat16'."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"{name}, {str(self.dtype).removeprefix('torch.')}"


def choose_device(precision: PrecisionChoice) -> Device:
    """The GPU where there is one; bfloat16 where the processor computes in it.

    Where a GPU has no bfloat16, networks train in float16 with their losses scaled up; frozen ones keep
    to float32, whose range they need.
    """
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        otherwise = torch.float16
    elif torch.backends.mps.is_available():
        # Apple's GPUs compute in bfloat16 only since some versions; float32 is right on all of them.
        device, fast, otherwise = torch.device("mps"), False, torch.float32
    else:
        device, fast, otherwise = torch.device("cpu"), cpu_has_bfloat16(), torch.float32
    if precision == "auto":
        return Device(
            device, torch.bfloat16 if fast else torch.float32, torch.bfloat16 if fast else otherwise
        )
    if precision == "float16":
        return Device(device, torch.float32, torch.float16)
    wanted = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return Device(device, wanted, wanted)


def cpu_has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; without them it is slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def a_core_a_batch() -> Iterator[None]:
    """Let each thread compute its own batch on one core, instead of all cores sharing each batch.

    Sharing makes the cores wait for each other after every layer. With anything else running on the
    machine the waiting takes longer than the work: the frozen pass took four times longer on two busy
    cores, and the small steps of a head up to ninety times.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_one_core() -> None:
    """What a thread that computes batches of its own does first."""
    torch.set_num_threads(1)
