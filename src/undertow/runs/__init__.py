"""Runs of any task: what a task is, the folder that a run leaves behind, and the one way to run."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undertow.runs.cues import Cue, read_cue
    from undertow.runs.executing import execute
    from undertow.runs.folder import Folder
    from undertow.runs.record import Record, plain
    from undertow.runs.task import Amendment, Given, Job, Phase, Task, Work

# Looked up when first used, so that a finished run can be read without torch.
_HOMES = {
    "Amendment": "task",
    "Cue": "cues",
    "Folder": "folder",
    "Given": "task",
    "Job": "task",
    "Phase": "task",
    "Record": "record",
    "Task": "task",
    "Work": "task",
    "execute": "executing",
    "plain": "record",
    "read_cue": "cues",
}

__all__ = [
    "Amendment",
    "Cue",
    "Folder",
    "Given",
    "Job",
    "Phase",
    "Record",
    "Task",
    "Work",
    "execute",
    "plain",
    "read_cue",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'undertow.runs' has no attribute '{name}'")
    return getattr(import_module(f"undertow.runs.{_HOMES[name]}"), name)
