"""Work in slices: stages that stop when time is up and go on from their checkpoint, and runs that keep one recipe."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from undertow.base import Progress, SettingsError, write_json
from undertow.training.learner import Learner

SAVE_EVERY = 100


def run_steps(
    steps: Iterator[dict[str, float]],
    learner: Learner,
    stem: Path,
    total: int,
    deadline: float | None,
    progress: Progress,
    after_step: Callable[[], None] = lambda: None,
) -> bool:
    """Takes steps until they or the time run out, with a checkpoint every few minutes; returns whether all are done.

    Args:
        steps: Each item is one step of training and says what to log of it.
        learner: What is trained.
        stem: The checkpoint is `stem`.safetensors and the log `stem`.jsonl.
        total: Number of steps in all.
        deadline: Monotonic time to stop at.
        progress: What to report to.
        after_step: Called after every step.
    """
    checkpoint, lines_path = stem.with_suffix(".safetensors"), stem.with_suffix(".jsonl")
    if checkpoint.exists():
        learner.load(checkpoint)
    progress.start(stem.name, total)
    progress.advance(learner.step)
    if learner.step >= total:
        return True
    begun = time.monotonic()
    with lines_path.open("a") as lines:
        for facts in steps:
            progress.advance(1, **{name: round(value, 4) for name, value in facts.items()})
            if learner.step % 10 == 0:
                row = {"step": learner.step, "seconds": round(time.monotonic() - begun, 1), **facts}
                lines.write(json.dumps(row) + "\n")
                lines.flush()
            after_step()
            if learner.step % SAVE_EVERY == 0:
                learner.save(checkpoint)
            if past(deadline):
                break
    learner.save(checkpoint)
    return learner.step >= total


def make_missing(make: Callable[[int], None], folder: Path, last: str, shards: int, processes: int) -> Iterator[int]:
    """Makes every shard of a folder that is not finished, in several processes.

    Args:
        make: Makes the shard of a number; it can be sent to another process.
        folder: Where the shards are; it is made if need be.
        last: Ending of the file by which a shard is known to be finished.
        shards: Number of shards in all.
        processes: How many are made at a time.

    Yields:
        The number of each shard, as it is finished.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(shards) if not (folder / f"{number:05d}.{last}").exists()]
    if missing:
        with ProcessPoolExecutor(processes) as pool:
            for number, _ in zip(missing, pool.map(make, missing), strict=True):
                yield number


def past(deadline: float | None) -> bool:
    """Returns whether a monotonic time has come."""
    return deadline is not None and time.monotonic() >= deadline


def keep_recipe(path: Path, settings: dict[str, Any]) -> None:
    """Writes the recipe's settings beside a run, or checks that the run there has the same ones.

    Raises:
        SettingsError: if it has others.
    """
    settings = json.loads(json.dumps(settings))
    if not path.exists():
        write_json(path, settings)
    elif json.loads(path.read_text()) != settings:
        raise SettingsError(f"{path} is of a run with other settings; use the same ones or another --work folder")
