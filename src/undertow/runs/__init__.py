"""Runs of any task: what a task is, the folder that a run leaves behind, and the one way to run."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.runs.cues import Cue, read_cue
    from undertow.runs.executing import execute
    from undertow.runs.folder import Folder
    from undertow.runs.record import Record, plain
    from undertow.runs.request import Request
    from undertow.runs.task import Amendment, Given, Job, Phase, Task, Work

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Amendment",
    "Cue",
    "Folder",
    "Given",
    "Job",
    "Phase",
    "Record",
    "Request",
    "Task",
    "Work",
    "execute",
    "plain",
    "read_cue",
]
