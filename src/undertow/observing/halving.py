"""Batches of frames that the device has memory for: where it runs out, half as many go together from then on."""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from undertow.base import out_of_memory

log = logging.getLogger(__name__)

T = TypeVar("T")


class Halving:
    """Does work on frames that do not depend on each other, as many at a time as fit.

    A batch that does not fit is tried again in halves, which is said once.
    """

    def __init__(self) -> None:
        self._most: int | None = None

    def parts(self, work: Callable[[slice], T], count: int, together: int | None = None) -> Iterator[T]:
        """Yields what `work` returns for slices of `count` frames, one after the other.

        Args:
            work: Called with a slice, possibly more than once.
            count: Number of frames.
            together: Most frames in a slice; `None` for all.

        Raises:
            Exception: what `work` raises; for lack of memory only if a single frame does not fit.
        """
        done = 0
        while done < count:
            size = min(count - done, together or count, self._most or count)
            try:
                part = work(slice(done, done + size))
            except Exception as error:
                if size == 1 or not out_of_memory(error):
                    raise
            else:
                yield part
                done += size
                continue
            # Not while the error is handled, which keeps what the attempt had made.
            self._halve(size)

    def _halve(self, size: int) -> None:
        """Makes later batches half as large, and gives back what the failed one has freed."""
        if self._most is None:
            log.warning("memory ran out for %d frames at once; fewer go together from here on", size)
        self._most = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
