"""What a whole batch will take, from one clip of every kind."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from undertow.base import Progress, SilentProgress, UndertowError
from undertow.batches.manifest import Row
from undertow.batches.running import share, sort_out
from undertow.batches.settings import BatchSettings
from undertow.batches.units import ClipUnit


@dataclass(frozen=True)
class BatchEstimate:
    """What is left of a batch.

    Attributes:
        clips: Number of clips that are left.
        frames: Of all of them.
        kinds: How many kinds of clip there are, by size and settings; one of each is tried.
        seconds: With the workers that are asked for, if each gets what one process gets alone.
        memory: Bytes, all workers together.
        disk: Bytes of all runs.
        failures: What is wrong with clips that cannot be begun, a sentence for each.
    """

    clips: int
    frames: int
    kinds: int
    seconds: float
    memory: int
    disk: int
    failures: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values."""
        return asdict(self)


def estimate_batch(rows: Sequence[Row], settings: BatchSettings, progress: Progress | None = None) -> BatchEstimate:
    """Returns what the clips that are left will take; every one is opened, so that bad ones are found.

    Args:
        rows: As `read_manifest` returns them.
        settings: Of the batch.
        progress: Advanced by every clip.

    Raises:
        MemoryBudgetError: if a clip would not fit in this machine.
    """
    from undertow.backbones import Backbone, load
    from undertow.runs.estimate import Estimate, check_budget, estimate

    progress, task = progress or SilentProgress(), settings.described
    units = [ClipUnit(row, settings) for row in share(rows, settings.shard)]
    left, _ = sort_out(units, [unit.digest for unit in units])
    progress.start("estimate", len(left))

    @cache
    def loaded() -> Backbone:
        return load(settings.model, device=settings.device, dtype=settings.dtype, sites=task.name)

    kinds: dict[Any, tuple[Estimate, list[int]]] = {}
    failures = []
    for index in left:
        request = units[index].row.request
        try:
            with request.clip() as clip:
                kind = (request.settings, request.views, clip.height, clip.width)
                if kind not in kinds:
                    given = request.given(task, clip, loaded)
                    found = estimate(
                        task, clip, given, loaded(), request.settings, views=request.views,
                        max_memory=settings.max_memory,
                    )  # fmt: skip
                    check_budget(found, settings.max_memory)
                    kinds[kind] = found, []
                kinds[kind][1].append(clip.frame_count or 0)
        except UndertowError as error:
            failures.append(f"{units[index].row.title}: {error}")
        progress.advance(clip=units[index].row.out)
    done = [(found, sum(frames), found.frames or 1) for found, frames in kinds.values()]
    return BatchEstimate(
        clips=len(left),
        frames=sum(frames for _, frames, _ in done),
        kinds=len(kinds),
        seconds=sum((found.seconds_per_frame or 0) * frames for found, frames, _ in done) / settings.workers,
        memory=max((found.memory for found, _, _ in done), default=0) * settings.workers,
        disk=sum((found.disk or 0) * frames // tried for found, frames, tried in done),
        failures=tuple(failures),
    )
