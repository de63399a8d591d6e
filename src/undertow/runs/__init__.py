"""Runs of any task: what a task is, the folder that a run leaves behind, and the one way to run."""

from undertow.runs.cues import Cue, read_cue
from undertow.runs.execute import execute
from undertow.runs.folder import Folder
from undertow.runs.record import Record, plain
from undertow.runs.task import Amendment, Given, Job, Phase, Task, Work

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
