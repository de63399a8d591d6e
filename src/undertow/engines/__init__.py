"""Where units of work are done: in this process, in several, or on a Ray cluster."""

from collections.abc import Callable, Sequence
from typing import Any

from undertow.base import Progress, SettingsError
from undertow.engines.dispatch import ATTEMPTS, Crew, check_shard, check_workers, dispatch, parse_shard, raise_first
from undertow.engines.local import InProcess, Processes, check_portable
from undertow.engines.units import Advanced, Failed, Finished, Loaded, Lost, Message, Steps, Unit, UnitFailed, perform

__all__ = [
    "ATTEMPTS", "ENGINES", "Advanced", "Failed", "Finished", "Loaded", "Lost", "Message", "Steps", "Unit", "UnitFailed",
    "check_engine", "check_shard", "parse_shard", "perform", "run_units", "try_units", "worker_threads",
]  # fmt: skip

ENGINES = ("local", "ray")


def run_units(units: Sequence[Unit], progress: Progress, **how: Any) -> list[Any]:
    """Returns the outcomes of units, in their order, the same by every engine at the same number of threads.

    Args:
        units: What to do.
        progress: Advanced by every step, a few times a second if other processes do the work.
        **how: As for `try_units`.

    Raises:
        SettingsError: if there is no such engine, or a unit cannot be sent to another process.
        UndertowError: naming the units that failed, once the others are done.
        OSError: likewise, if the system refused to read or write a file.
    """
    outcomes, failures = try_units(units, progress, **how)
    raise_first(units, failures)
    return [outcomes[index] for index in range(len(units))]


def try_units(
    units: Sequence[Unit],
    progress: Progress,
    *,
    engine: str = "local",
    workers: int = 1,
    threads: int | None = None,
    keep_going: bool = True,
    attempts: int = ATTEMPTS,
    heard: Callable[[int, Finished | Failed, int], None] = lambda index, message, tries: None,
) -> tuple[dict[int, Any], dict[int, Failed]]:
    """Returns the outcomes of the units that were done, and the failures of the others, by place in the sequence.

    Args:
        units: What to do.
        progress: Advanced by every step, a few times a second if other processes do the work.
        engine: "local" for this machine or "ray" for a Ray cluster.
        workers: How many processes work at once; with one, the local engine works in this one.
        threads: CPU threads of each worker; its share of this process's if not given.
        keep_going: Whether the other units are finished when one fails.
        attempts: How many times a unit is tried whose worker was lost, or which the system refused something.
        heard: Called with the place of a unit, how it ended and after how many attempts, as soon as that is known.

    Raises:
        SettingsError: if there is no such engine, or a unit cannot be sent to another process.
    """
    check_engine(engine, workers)
    more: Any = {"keep_going": keep_going, "attempts": attempts, "heard": heard}
    crew: Crew
    if engine == "local" and workers == 1:
        return dispatch(units, InProcess(threads), 1, progress, **more)
    if not units:
        return {}, {}
    check_portable(units)
    share = worker_threads(workers, threads)
    devices = {unit.device for unit in units}
    wants_gpu = any(device in (None, "auto") or device.startswith("cuda") for device in devices)
    if engine == "local":
        # A unit that names its GPU must see all of them.
        crew = Processes(share, spread=wants_gpu and devices <= {None, "auto", "cuda", "cpu"})
    else:
        from undertow.engines.ray import Actors

        crew = Actors(share, min(workers, len(units)), gpu=wants_gpu)
        workers = crew.places
    return dispatch(units, crew, workers, progress, **more)


def check_engine(engine: str, workers: int) -> None:
    """Raises `SettingsError` if there is no such engine, or it cannot have so many workers."""
    if engine not in ENGINES:
        raise SettingsError(f"engine '{engine}' is not one of {', '.join(ENGINES)}")
    check_workers(workers)


def worker_threads(workers: int, threads: int | None = None) -> int:
    """Returns the CPU threads of each of so many workers.

    Raises:
        SettingsError: if fewer than one is asked for.
    """
    if threads is not None and threads < 1:
        raise SettingsError(f"threads is {threads}; give 1 or more")
    if threads is not None:
        return threads
    import torch

    return max(1, torch.get_num_threads() // workers)
