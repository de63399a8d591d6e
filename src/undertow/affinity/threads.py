"""Work in Python's own threads, where torch would divide operations that are too small to be worth dividing."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")


def in_threads(work: Callable[[Iterator[T]], None], pieces: Iterable[T], device: torch.device) -> None:
    """Calls `work` in as many threads as torch may use, each time with the pieces that no other has taken.

    Each thread computes on one core, so that none waits for another before all pieces are done; torch's operations let
    go of the interpreter. On a GPU, or with one thread, `work` is called once, in the calling thread.
    """
    every = list(pieces)
    left, threads = iter(every), torch.get_num_threads()
    count = min(threads, len(every)) if device.type == "cpu" else 1
    if count <= 1:
        work(left)
        return
    begun = Barrier(count + 1)

    @torch.no_grad()
    def alone() -> None:
        # Asking makes torch take over, for this thread, the number that all have; it would do so later otherwise.
        torch.get_num_threads()
        torch.set_num_threads(1)
        begun.wait()
        work(left)

    with ThreadPoolExecutor(count) as pool:
        try:
            running = [pool.submit(alone) for _ in range(count)]
            begun.wait()
        except BaseException:
            # Those that have started would wait for the others forever, and the interpreter, in the end, for them.
            begun.abort()
            raise
        # What these threads set for themselves is also what threads started later would begin with.
        torch.set_num_threads(threads)
        for each in running:
            each.result()
