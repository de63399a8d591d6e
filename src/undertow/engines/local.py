"""Workers on this machine: the calling process itself, or processes of their own that share its cores and GPUs."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from undertow.base import SettingsError, set_threads
from undertow.engines.dispatch import Crew
from undertow.engines.units import Failed, Finished, Loaded, Lost, Message, Unit, perform

READY = "ready"
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
PATIENCE = 5.0


class InProcess(Crew):
    """One worker: the calling process. Every step is reported; an interrupt ends it at once."""

    def __init__(self, threads: int | None = None) -> None:
        self._loaded = Loaded()
        self._before: int | None = None
        if threads is not None:
            import torch

            self._before = torch.get_num_threads()
            set_threads(threads)

    def give(self, place: int, unit: Unit) -> None:
        """Notes the unit; it is worked on while `listen` is iterated over."""
        self._unit = unit

    def listen(self) -> Iterator[tuple[int, Message]]:
        """Does the unit and yields what there is to tell."""
        return ((0, message) for message in perform(self._unit, self._loaded, every=0))

    def close(self) -> None:
        """Forgets what was loaded and sets the number of threads back."""
        self._loaded = Loaded()
        set_threads(self._before)


@dataclass
class _Member:
    process: SpawnProcess
    connection: "Connection[Any, Any]"
    busy: str | None = None
    ready: bool = False


class Processes(Crew):
    """Spawned processes, each with a pipe of its own: one that is killed takes nothing down with it.

    Args:
        threads: CPU threads of each.
        spread: Whether to spread them over the GPUs of this machine, one GPU for each process.
    """

    def __init__(self, threads: int, *, spread: bool = False) -> None:
        self._threads = threads
        self._spread = spread
        self._members: dict[int, _Member] = {}

    def give(self, place: int, unit: Unit) -> None:
        """Sends a unit to the process at a place."""
        member = self._members.get(place)
        if member is None or not member.process.is_alive():
            self._drop(place)
            member = self._members[place] = self._start(place)
        member.busy = unit.title
        # If it dies right now, listening finds out.
        with suppress(BrokenPipeError, ConnectionResetError):
            member.connection.send(unit)

    def listen(self) -> Iterator[tuple[int, Message]]:
        """Waits for a message of any process, or for its end."""
        places = {id(member.connection): place for place, member in self._members.items()}
        for connection in wait([member.connection for member in self._members.values()]):
            place = places[id(connection)]
            member = self._members[place]
            try:
                message = member.connection.recv()
            except (EOFError, OSError):
                busy, ready = member.busy, member.ready
                lost = self._drop(place)
                if busy is None:
                    continue
                if not ready and not lost.killed:
                    raise SettingsError(
                        f"a worker process {lost.how} while it started, see above; in a program of your own, call this "
                        "under `if __name__ == '__main__':`, as every worker imports the program first"
                    ) from None
                yield place, lost
                continue
            if message == READY:
                member.ready = True
            else:
                if isinstance(message, Finished | Failed):
                    member.busy = None
                yield place, message

    def close(self) -> None:
        """Ends all processes: those at work are asked first, and clear up the file they are writing."""
        for member in self._members.values():
            member.process.terminate()
        for place in list(self._members):
            self._drop(place)

    def _start(self, place: int) -> _Member:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._threads), name=f"undertow-{place}", daemon=True)
        with _environment(self._variables(place)), _deaf():
            process.start()
        theirs.close()
        return _Member(process, ours)

    def _variables(self, place: int) -> dict[str, str]:
        """Returns what a process must find in its environment, as libraries read it when they are imported."""
        variables = dict.fromkeys(THREAD_LIMITS, str(self._threads))
        if self._spread:
            import torch

            if (count := torch.cuda.device_count()) > 1:
                cards = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
                variables["CUDA_VISIBLE_DEVICES"] = cards[place % len(cards)]
        return variables

    def _drop(self, place: int) -> Lost:
        """Ends the process at a place, if there is one, and returns how it ended."""
        member = self._members.pop(place, None)
        if member is None:
            return Lost("was not there")
        member.connection.close()
        member.process.join(PATIENCE)
        if member.process.is_alive():
            member.process.kill()
            member.process.join()
        code = member.process.exitcode or 0
        member.process.close()
        if code >= 0:
            return Lost(f"ended with exit code {code}", killed=False)
        return Lost(f"was killed ({signal.Signals(-code).name})", killed=-code == signal.SIGKILL)


def check_portable(units: Sequence[Unit]) -> None:
    """Raises `SettingsError`, naming the group of a unit that cannot be sent to another process."""
    for unit in {unit.group: unit for unit in units}.values():
        try:
            ForkingPickler.dumps(unit)
        except Exception as error:
            raise SettingsError(
                f"'{unit.group}' cannot be sent to a worker process ({error}); define what makes it at the top of a "
                "module, or use one worker"
            ) from error


def _serve(connection: "Connection[Any, Unit]", threads: int) -> None:
    """Works on units until there are no more; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ends like any exit, so that a half-written file is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    loaded = Loaded(threads)
    # A closed pipe means that the parent is done, or gone.
    with suppress(EOFError, OSError):
        connection.send(READY)
        while True:
            try:
                unit = connection.recv()
            except (ImportError, AttributeError) as error:
                connection.send(Failed.by("a unit", error))
                continue
            for message in perform(unit, loaded):
                connection.send(message)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C, which a terminal sends to all: this process ends them."""
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    # Starting it on the way would let Ctrl-C through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
