"""Threads of the kernel: every piece once, each thread alone, and the same numbers whatever their count."""

from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
import torch

from undertow.affinity import compute_affinity, get_preset
from undertow.affinity.threads import in_threads

CPU = torch.device("cpu")


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_every_piece_is_done_once_by_a_thread_that_computes_alone(three_threads):
    done, counts = [], []

    def work(pieces):
        counts.append(torch.get_num_threads())
        done.extend(pieces)

    in_threads(work, range(50), CPU)
    assert sorted(done) == list(range(50)) and counts == [1, 1, 1]
    # Neither this thread nor one that is started now is limited.
    later = Thread(target=lambda: counts.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert torch.get_num_threads() == 3 and counts[-1] == 3


def test_an_error_in_a_thread_is_raised(three_threads):
    def work(pieces):
        for piece in pieces:
            raise ValueError(f"piece {piece}")

    with pytest.raises(ValueError, match="piece"):
        in_threads(work, range(9), CPU)


@pytest.mark.parametrize("preset", ["drift", "dift"])
def test_a_kernel_is_the_same_with_any_number_of_threads(three_threads, preset):
    generator = torch.Generator().manual_seed(0)
    frames = [torch.randn(1, 20 * 30, 16, generator=generator) for _ in range(4)]
    kernel = get_preset(preset).kernel
    many = compute_affinity(frames[0], frames[1:], (20, 30), kernel)
    torch.set_num_threads(1)
    one = compute_affinity(frames[0], frames[1:], (20, 30), kernel)
    assert torch.equal(many.indices, one.indices) and torch.equal(many.weights, one.weights)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("can't start new thread")])
def test_threads_that_started_do_not_wait_for_those_that_did_not(three_threads, monkeypatch, error):
    submit, started, raised = ThreadPoolExecutor.submit, [], []

    def one_only(pool, work):
        if started:
            raise error
        started.append(work)
        return submit(pool, work)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", one_only)

    def run():
        try:
            in_threads(list, range(9), CPU)
        except BaseException as found:
            raised.append(found)

    running = Thread(target=run, daemon=True)
    running.start()
    running.join(20)
    assert not running.is_alive() and len(raised) == 1 and "Barrier" not in type(raised[0]).__name__
