"""Which processor and precision are taken, and how many cores."""

import threading

import pytest
import torch

from handlens.base.parallel import in_order
from handlens.training import device
from handlens.training.device import Device, a_core_a_batch, choose_device, on_one_core


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_bfloat16_is_taken_where_the_processor_has_it(has_bfloat16, no_gpu, monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bfloat16", lambda: has_bfloat16)
    assert choose_device("auto").dtype == (torch.bfloat16 if has_bfloat16 else torch.float32)
    assert choose_device("float32").dtype == torch.float32
    assert choose_device("bfloat16").dtype == torch.bfloat16
    assert choose_device("auto").device == torch.device("cpu")


def test_a_device_in_words():
    assert Device(torch.device("cpu"), torch.bfloat16).words == "cpu, bfloat16"
    assert Device(torch.device("mps"), torch.float32).words == "mps, float32"


def test_a_core_a_batch_gives_the_cores_back_whatever_happens():
    torch.set_num_threads(2)
    with a_core_a_batch():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyboardInterrupt), a_core_a_batch():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2


def test_every_thread_computes_on_one_core():
    torch.set_num_threads(2)
    seen = []

    def work(number):
        seen.append((threading.get_ident(), torch.get_num_threads()))
        return number

    with a_core_a_batch():
        assert list(in_order(work, range(20), on_one_core)) == list(range(20))
    assert {threads for _, threads in seen} == {1}
    assert threading.get_ident() not in {thread for thread, _ in seen}
