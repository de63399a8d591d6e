"""Memory of this process and of this machine, in bytes, and the peak of a block of work.

What a process holds is its resident set: pages that really occupy memory, not those that were only asked for.
"""

import ctypes
import sys
import threading
from pathlib import Path
from typing import Self

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
# Limits of a container, which psutil does not know: control groups of the second version, then of the first.
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
_SAMPLING_SECONDS = 0.002
# Numbers of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def process_memory() -> int:
    """Returns the bytes that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def total_memory() -> int:
    """Returns the bytes of memory this process could ever have: the machine's, or its container's limit."""
    return min([int(psutil.virtual_memory().total), *(limit for limit, _ in container_limits())])


def available_memory() -> int:
    """Returns the bytes that could be taken now without swapping, by this machine's own account."""
    return min([int(psutil.virtual_memory().available), *(limit - used for limit, used in container_limits())])


def release_memory() -> None:
    """Gives back to the system what this process has freed but its allocator kept; only glibc has a call for it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def keep_freed_memory() -> None:
    """Lets this process keep memory that it has freed for what is asked for next, up to 256 MB; a call of glibc's.

    By default, large blocks go back to the system at once, and clearing the pages of new ones takes a quarter of an
    encoder's time.
    """
    if sys.platform == "linux" and (option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        option(_TRIM_THRESHOLD, 256 << 20)
        option(_MMAP_THRESHOLD, 64 << 20)


class PeakMeter:
    """Measures the most memory held while a block runs.

        with PeakMeter(device) as meter:
            work()
        meter.peak

    On a GPU it is what torch has allocated there. On Linux the kernel keeps the peak of the process and it can be
    reset; elsewhere a thread looks every two milliseconds, and what is shorter than that can be missed.

    Attributes:
        before: Bytes held when the block began.
        peak: The most bytes held since, known when the block has ended.
    """

    def __init__(self, device: torch.device | None = None):
        self._device = device if device is not None and device.type == "cuda" else None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self.before = self.peak = 0

    def __enter__(self) -> Self:
        if self._device is not None:
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self.before = self.peak = torch.cuda.memory_allocated(self._device)
            return self
        self.before = self.peak = process_memory()
        if not _reset_peak():
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._device is not None:
            torch.cuda.synchronize(self._device)
            self.peak = torch.cuda.max_memory_allocated(self._device)
        elif self._watcher is None:
            self.peak = _peak()
        else:
            self._stop.set()
            self._watcher.join()
            self.peak = max(self.peak, process_memory())

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLING_SECONDS):
            self.peak = max(self.peak, process_memory())


def container_limits() -> list[tuple[int, int]]:
    """Returns (limit, used) of every control group that limits this process; none outside containers."""
    found = []
    for limit, used in _LIMITS:
        try:
            found.append((int(limit.read_text()), int(used.read_text())))
        except (OSError, ValueError):
            # There is no such group, or it says "max".
            continue
    return found


def _reset_peak() -> bool:
    """Makes the peak that Linux keeps of this process begin anew; returns whether that was possible."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int:
    """Returns the most bytes this process has held since its peak was last reset."""
    rows = (line.split() for line in _STATUS.read_text().splitlines())
    return next(int(row[1]) * 1024 for row in rows if row[0] == "VmHWM:")
