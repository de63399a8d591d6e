"""What can be asked of a video, by name: how each task reads, writes, scores and summarises."""

from typing import Any

from undertow.base import SettingsError
from undertow.benchmarks.masks.task import MaskTask
from undertow.benchmarks.parse.task import ParseTask
from undertow.benchmarks.points.task import PointTask
from undertow.benchmarks.refer.task import ReferTask
from undertow.benchmarks.tasks.base import Evaluator, Finding, Images, Measurement, Task

TASKS: dict[str, Task[Any, Any]] = {task.name: task for task in (MaskTask(), ParseTask(), PointTask(), ReferTask())}


def get_task(name: str) -> Task[Any, Any]:
    """Returns the task called `name`.

    Raises:
        SettingsError: if there is no such task.
    """
    if name not in TASKS:
        raise SettingsError(f"task '{name}' is not one of {', '.join(TASKS)}")
    return TASKS[name]


__all__ = [
    "TASKS",
    "Evaluator",
    "Finding",
    "Images",
    "MaskTask",
    "Measurement",
    "ParseTask",
    "PointTask",
    "ReferTask",
    "Task",
    "get_task",
]
