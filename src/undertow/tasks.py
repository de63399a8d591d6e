"""The tasks, by name, in the order in which commands list them.

A task is imported when it is asked for, so that listing their names needs neither torch nor a model.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from undertow.runs.task import Task

# Each module has its `Task` under the name TASK.
_HOMES = {
    "track": "undertow.tracking.task",
    "points": "undertow.points.task",
    "parse": "undertow.parsing.task",
    "refer": "undertow.referring.task",
}


class _Tasks(Mapping[str, "Task"]):
    def __getitem__(self, name: str) -> "Task":
        task: Task = import_module(_HOMES[name]).TASK
        return task

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


TASKS: Final[Mapping[str, "Task"]] = _Tasks()
