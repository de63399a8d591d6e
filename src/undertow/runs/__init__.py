"""Runs of any task: what a task is, the folder that a run leaves behind, and the one way to run."""

from undertow.runs.cues import read_masks, split_cue
from undertow.runs.execute import execute
from undertow.runs.folder import Folder
from undertow.runs.latency import Latency
from undertow.runs.prompts import (
    Prompt,
    Prompted,
    WordPrompt,
    parse_box,
    parse_point,
    parse_words,
    prompted_masks,
    worded_masks,
)
from undertow.runs.record import Record, plain
from undertow.runs.task import Amendment, Given, Job, Phase, Task, Work

__all__ = [
    "Amendment",
    "Folder",
    "Given",
    "Job",
    "Latency",
    "Phase",
    "Prompt",
    "Prompted",
    "Record",
    "Task",
    "WordPrompt",
    "Work",
    "execute",
    "parse_box",
    "parse_point",
    "parse_words",
    "plain",
    "prompted_masks",
    "read_masks",
    "split_cue",
    "worded_masks",
]
