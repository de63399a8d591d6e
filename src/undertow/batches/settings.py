"""What holds for all clips of a batch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from undertow.base import SettingsError
from undertow.engines import ATTEMPTS, check_engine, check_shard
from undertow.tasks import TASKS

if TYPE_CHECKING:
    from undertow.runs import Task


@dataclass(frozen=True)
class BatchSettings:
    """How a batch is worked through; checked when it is made.

    Attributes:
        out: Folder of the batch, in which every clip has the folder of its run.
        task: Name of the task.
        model: A model's name or path; each worker loads it once.
        assignments: Settings of every clip, such as "topk=5"; a column of the manifest goes before them.
        views: Names of pictures, such as "overlay", or "none"; the task's usual ones if not given.
        root: Folder that clips and the files of cues lie in; the manifest's own if not given.
        device: Where the model runs; `None` for the best device there is.
        dtype: Its number type; `None` for what suits the device.
        engine: "local" for processes of this machine or "ray" for a Ray cluster.
        workers: How many clips are worked on at once.
        threads: CPU threads of each worker. The last bits of results depend on them, so the number of workers does not
            change them.
        attempts: How many times a clip is tried at most whose worker was lost, or which the system refused something.
        shard: Number, from 1, and count, to do one part of the clips only.
        retry: Whether only clips are done that failed before.
        overwrite: Whether runs that are there are replaced.
        max_memory: Most bytes that a run may need; what the machine has if not given.
    """

    out: Path
    task: str = "track"
    model: str = "tiny"
    assignments: tuple[str, ...] = field(default=())
    views: str | None = None
    root: Path | None = None
    device: str | None = None
    dtype: str | None = None
    engine: str = "local"
    workers: int = 1
    threads: int = 1
    attempts: int = ATTEMPTS
    shard: tuple[int, int] = (1, 1)
    retry: bool = False
    overwrite: bool = False
    max_memory: int | None = None

    def __post_init__(self) -> None:
        # Workers of another machine start in another folder.
        object.__setattr__(self, "out", Path(self.out).absolute())
        if self.task not in TASKS:
            raise SettingsError(f"task '{self.task}' is not one of {', '.join(TASKS)}")
        check_engine(self.engine, self.workers)
        check_shard(self.shard)
        if not 1 <= self.attempts <= 100:
            raise SettingsError(f"attempts is {self.attempts}; give 1 to 100")
        if self.threads < 1:
            raise SettingsError(f"threads is {self.threads}; give 1 or more")
        if self.retry and self.overwrite:
            raise SettingsError("retry and overwrite exclude each other; give one of them")

    @property
    def described(self) -> "Task":
        """The task itself."""
        return TASKS[self.task]
