"""Memory of this process and machine, and the peak of a block against what the block took."""

import os
import threading

import numpy as np
import psutil
import pytest
import torch

from undertow.base import memory
from undertow.base.memory import PeakMeter, available_memory, process_memory, total_memory

BLOCK = 200 * 10**6


def test_a_process_holds_what_it_took_of_what_the_machine_has():
    before = process_memory()
    block = np.ones(BLOCK, np.uint8)
    assert 0.9 * BLOCK < process_memory() - before < 1.3 * BLOCK and block.size
    # A container may allow less than the machine has.
    assert 0 < total_memory() <= psutil.virtual_memory().total
    assert available_memory() <= total_memory()
    assert available_memory() <= 1.2 * psutil.virtual_memory().available


@pytest.mark.parametrize("resettable", [True, False])
def test_the_peak_of_a_block_is_what_it_held_and_gave_back(monkeypatch, resettable):
    if resettable and not memory._reset_peak():
        pytest.skip("this system cannot reset the peak of a process")
    if not resettable:
        monkeypatch.setattr(memory, "_CLEAR", memory.Path(os.devnull) / "absent")
    with PeakMeter(torch.device("cpu")) as meter:
        block = np.ones(BLOCK, np.uint8)
        # Long enough for a thread that samples; the kernel needs no time.
        threading.Event().wait(0.05)
        del block
    assert 0.9 * BLOCK < meter.peak - meter.before < 1.3 * BLOCK
    with PeakMeter() as later:
        small = np.ones(10**6, np.uint8)
    assert later.peak - later.before < 0.5 * BLOCK and small.size


def test_a_container_limits_what_there_is(monkeypatch, tmp_path):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(memory, "_LIMITS", ((limit, used),))
    assert memory.container_limits() == []
    limit.write_text("max\n")
    used.write_text("5000\n")
    assert memory.container_limits() == []
    limit.write_text("1000000\n")
    assert memory.container_limits() == [(1000000, 5000)]
    assert total_memory() == 1000000 and available_memory() == 995000
