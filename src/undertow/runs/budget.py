"""Memory budgets: sizes as people write and read them, and how much memory there is."""

import math
import re

import torch

from undertow.base import SettingsError
from undertow.base.memory import process_memory, total_memory

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(?P<number>\d+\.?\d*(?:e\d+)?|\.\d+)\s*(?P<unit>[KMGT]?I?)B?", re.IGNORECASE | re.ASCII)


def parse_memory(text: str) -> int:
    """Returns the bytes that "8GB", "512MiB", "1.5 g" or "2e9" mean; a plain number is bytes.

    Raises:
        SettingsError: if it is no size, or less than one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = None if match is None else _UNITS.get(match["unit"].upper())
    number = math.nan if match is None or unit is None else float(match["number"]) * unit
    if not 1 <= number < math.inf:
        raise SettingsError(f"--max-memory is '{text}'; give a size such as 8GB, 512MiB or a number of bytes")
    return int(number)


def shown_memory(size: float) -> str:
    """Returns bytes as people read them.

    >>> shown_memory(640e6), shown_memory(3.123e9)
    ('640 MB', '3.12 GB')
    """
    for unit, name in ((10**12, "TB"), (10**9, "GB")):
        if size >= unit:
            return f"{size / unit:.{2 if size < 100 * unit else 0}f} {name}"
    return f"{size / 10**6:.0f} MB"


def machine_memory(device: torch.device) -> int:
    """Returns the bytes of memory that a device has: of the GPU, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return total_memory()


def held_memory(device: torch.device) -> int:
    """Returns the bytes held now: by torch on the GPU if that is the device, else by the process."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else process_memory()
