"""Memory of this process and of this machine, in bytes, on Linux, macOS and Windows, by the standard library alone.

What a process holds is its resident set: pages that really occupy memory, not those that were only asked for.
"""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_MEMINFO = Path("/proc/meminfo")
# Limits of a container: control groups of the second version, then of the first.
_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
_SAMPLING_SECONDS = 0.002


def process_memory() -> int:
    """Returns the bytes that this process holds now."""
    if sys.platform == "win32":
        return _windows_process().WorkingSetSize
    if sys.platform == "darwin":
        return _mac_process()
    return _kilobytes(_STATUS.read_text())["VmRSS"]


def total_memory() -> int:
    """Returns the bytes of memory this process could ever have: the machine's, or its container's limit."""
    if sys.platform == "win32":
        return int(_windows_machine().ullTotalPhys)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *(limit for limit, _ in container_limits())])


def available_memory() -> int:
    """Returns the bytes that could be taken now without swapping, by this machine's own account."""
    if sys.platform == "win32":
        return int(_windows_machine().ullAvailPhys)
    if sys.platform == "darwin":
        return reclaimable(subprocess.run(["vm_stat"], capture_output=True, text=True, check=True).stdout)
    available = _kilobytes(_MEMINFO.read_text())["MemAvailable"]
    return min([available, *(limit - used for limit, used in container_limits())])


def release_memory() -> None:
    """Gives back to the system what this process has freed but its allocator kept; only glibc has a call for it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


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
            self.peak = _kilobytes(_STATUS.read_text())["VmHWM"]
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


def reclaimable(report: str) -> int:
    """Returns the bytes that `vm_stat`, whose output this is, counts as free or free for the taking."""
    lines = dict(line.split(":", 1) for line in report.splitlines() if ":" in line)
    page = int(report.partition("page size of ")[2].split()[0])
    names = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")
    return page * sum(int(lines[name].strip().rstrip(".")) for name in names if name in lines)


def _reset_peak() -> bool:
    """Makes the peak that Linux keeps of this process begin anew; returns whether that was possible."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _kilobytes(table: str) -> dict[str, int]:
    """Returns the rows of a table under /proc that are in kilobytes, in bytes."""
    rows = (line.split() for line in table.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if row[2:] == ["kB"]}


def _mac_process() -> int:
    """Returns the resident size from `proc_pid_rusage`: after 16 bytes of id, the seventh number of 64 bits."""
    buffer = (ctypes.c_uint64 * 16)()
    if ctypes.CDLL("/usr/lib/libproc.dylib").proc_pid_rusage(os.getpid(), 0, ctypes.byref(buffer)):
        raise OSError("macOS does not tell how much memory this process holds")
    return int(buffer[2 + 6])


class _ProcessCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of Windows."""

    _fields_ = [
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        ("PeakWorkingSetSize", ctypes.c_size_t),
        ("WorkingSetSize", ctypes.c_size_t),
        ("others", ctypes.c_size_t * 6),
    ]


class _MachineStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = [
        ("dwLength", ctypes.c_uint32),
        ("dwMemoryLoad", ctypes.c_uint32),
        ("ullTotalPhys", ctypes.c_uint64),
        ("ullAvailPhys", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    ]


if sys.platform == "win32":

    def _windows_process() -> _ProcessCounters:
        counters = _ProcessCounters(cb=ctypes.sizeof(_ProcessCounters))
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        process = ctypes.c_void_p(kernel.GetCurrentProcess())
        if not kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb):
            raise OSError("Windows does not tell how much memory this process holds")
        return counters

    def _windows_machine() -> _MachineStatus:
        status = _MachineStatus(dwLength=ctypes.sizeof(_MachineStatus))
        if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            raise OSError("Windows does not tell how much memory there is")
        return status
