"""Errors, atomic files, names and counts out of files, options, devices and progress, for all rooms."""

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
from undertow.base.files import (
    LOCK,
    atomic_path,
    check_unwritten,
    exclusive,
    remove_leftovers,
    write_bytes,
    write_json,
    write_tensors,
    write_text,
)
from undertow.base.names import counted, inside, printable, whole
from undertow.base.options import Option, Options, option, options_of
from undertow.base.progress import BarProgress, JsonProgress, Progress, SilentProgress
from undertow.base.refusals import out_of_memory, refusal

__all__ = [
    "LOCK",
    "BarProgress",
    "CueError",
    "JsonProgress",
    "MaskError",
    "MemoryBudgetError",
    "Option",
    "Options",
    "Progress",
    "SettingsError",
    "SilentProgress",
    "UndertowError",
    "VideoError",
    "WeightsUnavailable",
    "atomic_path",
    "check_unwritten",
    "counted",
    "exclusive",
    "inside",
    "option",
    "options_of",
    "out_of_memory",
    "printable",
    "refusal",
    "remove_leftovers",
    "resolve_device",
    "resolve_dtype",
    "set_threads",
    "whole",
    "write_bytes",
    "write_json",
    "write_tensors",
    "write_text",
]
