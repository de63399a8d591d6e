"""Workers on a Ray cluster: one actor for each GPU, or for a few cores; units travel, pixels are read where they are.

The cluster is the one that the environment variable RAY_ADDRESS names ("auto" for one started here with `ray start`);
without it, Ray is started on this machine, reachable from nowhere else, and ended again. Data, weights and the folder
of results must have the same paths on every machine.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.engines.dispatch import Crew
from undertow.engines.units import Failed, Finished, Loaded, Lost, Message, Unit, UnitFailed, perform

# The least that Ray takes; outcomes are small.
STORE_BYTES = 80 * 2**20
# Ray's sockets lie 70 characters below its folder, and a socket's path may have 107.
LONGEST_FOLDER = 32
READ_ON_IMPORT = {
    # No usage statistics are sent.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Actors that ask for no GPU see what the driver sees; silences a warning that this will change.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
READ_ON_LOCAL_IMPORT = {
    # Despite its name, off means on every system that Ray binds to the loopback address only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


class Actors(Crew):
    """Ray actors, each with its own predictor; which steers them and gives them work.

    Args:
        threads: CPU threads of each.
        places: How many are wanted.
        gpu: Whether each is to have a GPU of its own, if the cluster has any.

    Attributes:
        places: How many there may be: what is wanted and fits.

    Raises:
        SettingsError: if Ray is not installed or the cluster cannot be reached, or has no room.
    """

    def __init__(self, threads: int, places: int, *, gpu: bool = False) -> None:
        self._threads = threads
        self._exits = ExitStack()
        self._actors: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        try:
            # Ray prints to standard output, which belongs to results and to events as JSON.
            self._exits.enter_context(redirect_stdout(sys.stderr))
            self._ray = self._connect(places)
            self._options, self.places = self._room(places, gpu)
        except BaseException:
            self._exits.close()
            raise

    def give(self, place: int, unit: Unit) -> None:
        """Asks the actor at a place, or a new one, to do a unit."""
        if place not in self._actors:
            actor = self._ray.remote(_Actor).options(**self._options, max_restarts=0, max_task_retries=0)
            self._actors[place] = actor.remote(self._threads, sys.path)
        self._streams[place] = self._actors[place].perform.options(num_returns="streaming").remote(unit)

    def listen(self) -> Iterator[tuple[int, Message]]:
        """Waits for a message of any actor, or for its end."""
        ready, _ = self._ray.wait(list(self._streams.values()), num_returns=1)
        for place in [place for place, stream in self._streams.items() if stream in ready]:
            try:
                message: Message = self._ray.get(next(self._streams[place]))
            except self._ray.exceptions.RayActorError as error:
                del self._actors[place]
                message = Lost(f"was lost ({str(error).splitlines()[0]})")
            except (self._ray.exceptions.RayError, StopIteration) as error:
                # Such as a method of a module that is not there; the last line says so.
                text = str(error).strip().splitlines() or ["no reason given"]
                message = Failed(UnitFailed(f"a worker of Ray failed ({text[-1].strip()})"), str(error))
            if not isinstance(message, Finished | Failed | Lost):
                yield place, message
                continue
            del self._streams[place]
            yield place, message

    def close(self) -> None:
        """Ends all actors, and Ray itself if it was started here."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._exits.close()

    def _connect(self, places: int) -> Any:
        """Returns the module `ray`, connected to a cluster."""
        address = os.environ.get("RAY_ADDRESS")
        variables = READ_ON_IMPORT | ({} if address else READ_ON_LOCAL_IMPORT)
        for name, value in variables.items():
            os.environ.setdefault(name, value)
        try:
            ray: Any = import_module("ray")
        except ImportError as error:
            raise SettingsError("the engine 'ray' needs Ray; run: pip install 'undertow[scale]'") from error
        if ray.is_initialized():
            return ray
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
        if address:
            del quiet["include_dashboard"]
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise SettingsError(
                    f"no Ray cluster answers at RAY_ADDRESS '{address}' ({error}); start one with `ray start --head`, "
                    "or unset RAY_ADDRESS to run on this machine"
                ) from error
        else:
            folder = _short_folder()
            self._exits.callback(shutil.rmtree, folder, ignore_errors=True)
            own = {"_node_ip_address": "127.0.0.1", "_temp_dir": str(folder), "object_store_memory": STORE_BYTES}
            try:
                ray.init(address="local", num_cpus=places * self._threads, **own, **quiet)
            except Exception as error:  # Ray raises plain ones
                raise SettingsError(
                    f"Ray could not start on this machine ({error}); try again when it has less to do"
                ) from error
        self._exits.callback(ray.shutdown)
        return ray

    def _room(self, places: int, gpu: bool) -> tuple[dict[str, Any], int]:
        """Returns what each actor asks for and how many fit; one that does not would be waited for without end."""
        there = self._ray.cluster_resources()
        options: dict[str, Any] = {"num_cpus": self._threads}
        fitting = int(there.get("CPU", 0) // self._threads)
        if gpu and there.get("GPU", 0):
            options["num_gpus"] = 1
            fitting = min(fitting, int(there["GPU"]))
        if not fitting:
            raise SettingsError(
                f"a worker with {self._threads} threads does not fit into the Ray cluster, which has "
                f"{there.get('CPU', 0):g} CPUs; give --threads 1, or start Ray with more"
            )
        return options, min(places, fitting)


class _Actor:
    """One worker; Ray has set OMP_NUM_THREADS and the visible GPUs before it starts."""

    def __init__(self, threads: int, path: list[str]) -> None:
        # Methods of one's own are found where the driver finds them.
        sys.path += [folder for folder in path if folder not in sys.path]
        self._loaded = Loaded(threads)

    def perform(self, unit: Unit) -> Iterator[Message]:
        """Does a unit and yields what there is to tell."""
        yield from perform(unit, self._loaded)


def _short_folder() -> Path:
    """Returns a new folder for Ray's session, with a path short enough for its sockets."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="ray-", dir=usual if len(usual) <= LONGEST_FOLDER - 12 else "/tmp"))
