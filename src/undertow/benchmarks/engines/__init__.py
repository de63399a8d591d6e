"""Where the units of a benchmark are worked on: in this process, in several, or on a Ray cluster."""

from collections.abc import Sequence

from undertow.base import Progress, SettingsError
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.engines.dispatch import Crew, check_workers, dispatch
from undertow.benchmarks.engines.local import InProcess, Processes, check_portable
from undertow.benchmarks.engines.units import MeasureUnit, Unit

ENGINES = ("local", "ray")


def run_units(
    units: Sequence[Unit],
    progress: Progress,
    *,
    engine: str = "local",
    workers: int = 1,
    threads: int | None = None,
    keep_going: bool = True,
) -> list[Outcome]:
    """Returns the outcomes of units, in their order, the same by every engine at the same number of threads.

    Args:
        units: What to do.
        progress: Advanced by every step, a few times a second if other processes do the work.
        engine: "local" for this machine or "ray" for a Ray cluster.
        workers: How many processes work at once; with one, the local engine works in this one.
        threads: CPU threads of each worker; its share of this process's if not given.
        keep_going: Whether the other units are finished when one fails.

    Raises:
        SettingsError: if there is no such engine, or a method cannot be sent to another process.
        UndertowError: naming the units that failed, once the others are done.
    """
    check_engine(engine, workers)
    methods = [unit.method for unit in units if isinstance(unit, MeasureUnit)]
    crew: Crew
    if engine == "local" and workers == 1:
        return dispatch(units, InProcess(threads), 1, progress, keep_going=keep_going)
    if not units:
        return []
    check_portable({method.name: method for method in methods})
    share = worker_threads(workers, threads)
    devices = {method.device for method in methods}
    wants_gpu = any(device in (None, "auto") or device.startswith("cuda") for device in devices)
    if engine == "local":
        # A method that names its GPU must see all of them.
        crew = Processes(share, spread=wants_gpu and devices <= {None, "auto", "cuda", "cpu"})
    else:
        from undertow.benchmarks.engines.ray import Actors

        crew = Actors(share, min(workers, len(units)), gpu=wants_gpu)
        workers = crew.places
    return dispatch(units, crew, workers, progress, keep_going=keep_going)


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
