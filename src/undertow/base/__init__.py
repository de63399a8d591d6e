"""Errors, atomic files, device and dtype, progress: the leaf that everything may import."""

from undertow.base.device import resolve_device, resolve_dtype, set_threads
from undertow.base.errors import (
    CueError,
    MaskError,
    MemoryBudgetError,
    SettingsError,
    UndertowError,
    VideoError,
    WeightsUnavailable,
)
from undertow.base.files import atomic_path, write_bytes, write_json, write_text
from undertow.base.lock import LOCK, exclusive
from undertow.base.progress import BarProgress, JsonProgress, Progress, SilentProgress

__all__ = [
    "LOCK",
    "BarProgress",
    "CueError",
    "JsonProgress",
    "MaskError",
    "MemoryBudgetError",
    "Progress",
    "SettingsError",
    "SilentProgress",
    "UndertowError",
    "VideoError",
    "WeightsUnavailable",
    "atomic_path",
    "exclusive",
    "resolve_device",
    "resolve_dtype",
    "set_threads",
    "write_bytes",
    "write_json",
    "write_text",
]
