"""What a machine can do at most: matrix products and copies, measured in the same run as what is held against them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

# Seconds from which on a way is timed once only: what its first call takes besides does not show.
LONG = 2.0
# Sides of the products, and bytes of the copy, which no cache holds.
CPU_SIDE, GPU_SIDE, COPIED = 1024, 8192, 2**27


@dataclass(frozen=True)
class Clock:
    """Seconds of work: of the processor for one CPU thread, so that other programs do not count, else by the wall.

    Attributes:
        device: Where the work is done.
    """

    device: torch.device

    def now(self) -> float:
        """Returns the seconds so far, once what was begun is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        return time.process_time() if alone else time.perf_counter()

    def fastest(self, ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
        """Returns the least seconds of each of several ways, which take turns.

        Once before that is not counted, unless it takes so long that the way is not repeated.
        """
        found: dict[str, float] = {}
        for turn in range(repeats + 1):
            for name, way in ways.items():
                if found.get(name, 0.0) > LONG:
                    continue
                begun = self.now()
                way()
                seconds = self.now() - begun
                if turn or seconds > LONG:
                    found[name] = min(seconds, found.get(name, seconds))
        return found


@dataclass(frozen=True)
class Ceiling:
    """A machine's rates.

    Attributes:
        flops: Operations of a matrix product in a second, in the model's number type.
        flops32: The same in float32.
        bandwidth: Bytes of memory that are read or written in a second by a copy.
    """

    flops: float
    flops32: float
    bandwidth: float

    @classmethod
    def measured(cls, device: torch.device, dtype: torch.dtype, repeats: int = 3) -> "Ceiling":
        """Returns the rates of a device."""
        side = GPU_SIDE if device.type == "cuda" else CPU_SIDE
        clock, source = Clock(device), torch.zeros(COPIED, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)

        def product(kind: torch.dtype) -> Callable[[], Any]:
            left, right = torch.randn(2, side, side, device=device).to(kind)
            out = torch.empty_like(left)
            return lambda: torch.mm(left, right, out=out)

        ways = {"own": product(dtype), "float32": product(torch.float32), "copy": lambda: target.copy_(source)}
        seconds = clock.fastest(ways, repeats)
        own, single, copied = (max(seconds[name], 1e-9) for name in ways)
        return cls(2 * side**3 / own, 2 * side**3 / single, 2 * COPIED / copied)

    def share(self, seconds: float, operations: float, moved: float, *, single: bool = False) -> float:
        """Returns what part of the time a machine at its ceiling would need, the longer of products and memory.

        Args:
            seconds: That it took.
            operations: Multiplications and additions of matrix products.
            moved: Bytes that have to be read or written at least.
            single: Whether it is done in float32.
        """
        least = max(operations / (self.flops32 if single else self.flops), moved / self.bandwidth)
        return least / max(seconds, 1e-9)
