"""The unit of work: what some process does from start to end; names, paths and settings, never pixels."""

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from undertow.base import MemoryBudgetError, UndertowError, out_of_memory, set_threads

Steps = Generator[Mapping[str, Any], None, Any]
"""Work that yields, after each step, facts worth showing, and returns its outcome at the end."""


class UnitFailed(UndertowError):
    """A unit failed in a way nobody foresaw, or the process that worked on it was lost."""

    exit_code = 1


class Loaded:
    """Keeps what was loaded last: a model is loaded once per process, and never two at a time.

    Args:
        threads: CPU threads that it may use; left as they are if not given.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._key: Hashable = None
        self._made: Any = None
        self._error: Exception | None = None

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Returns what `make` returned when it was first called for a key.

        What could not be made is not tried again as long as no other key is asked for.
        """
        if self._key != key:
            self._key, self._made, self._error = key, None, None
            try:
                set_threads(self._threads)
                self._made = make()
            except Exception as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return self._made


class Unit(ABC):
    """A piece of work that some process does from start to end; frozen dataclasses that can be sent there."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What messages call it."""

    @property
    @abstractmethod
    def group(self) -> str:
        """Units of one group share what has to be loaded, and are done one after the other."""

    @property
    @abstractmethod
    def length(self) -> int:
        """How many steps it takes."""

    @property
    @abstractmethod
    def cost(self) -> int:
        """About how much work it is; only compared within a group."""

    @property
    @abstractmethod
    def device(self) -> str | None:
        """The device that it names, such as "cuda:1"; `None` or "auto" for the best there is."""

    @abstractmethod
    def steps(self, loaded: Loaded) -> Steps:
        """Does the work, yielding after each step, and returns its outcome."""

    @abstractmethod
    def clear(self) -> None:
        """Removes what a process that was killed on it may have left half written."""


@dataclass(frozen=True)
class Advanced:
    """Some steps more are done; facts about the last one."""

    steps: int
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A unit is done."""

    outcome: Any


@dataclass(frozen=True)
class Failed:
    """A unit cannot be done: the error, which may have crossed from another process, and where it was raised.

    Attributes:
        error: What ended it.
        trace: Where that was raised.
        passes: Whether another attempt may end better: what the system refused may be granted later.
    """

    error: Exception
    trace: str = ""
    passes: bool = False

    @classmethod
    def by(cls, unit: str, error: Exception) -> "Failed":
        """Returns the failure of a unit, as an error that names the unit and can be sent anywhere."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, UndertowError):
            return cls(type(error)(str(error) if unit in str(error) else f"{unit}: {error}"), trace)
        if out_of_memory(error):
            text = f"{unit}: memory ran out; use fewer workers, a smaller size, or close other programs"
            return cls(MemoryBudgetError(text), trace, passes=True)
        if isinstance(error, OSError):
            return cls(error, trace, passes=True)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return cls(UnitFailed(f"{unit} failed ({what}); --debug shows where"), trace)


@dataclass(frozen=True)
class Lost:
    """The process that worked on a unit is gone."""

    how: str
    killed: bool = True
    passes: bool = True


Message = Advanced | Finished | Failed | Lost


def perform(unit: Unit, loaded: Loaded, every: float = 0.2) -> Iterator[Message]:
    """Does a unit and yields what there is to tell: progress at most every so many seconds, then how it ended."""
    steps = unit.steps(loaded)
    facts: dict[str, Any] = {}
    pending, reported = 0, time.monotonic()
    try:
        while True:
            try:
                facts = dict(next(steps))
            except StopIteration as end:
                outcome = end.value
                break
            pending += 1
            if time.monotonic() - reported >= every:
                yield Advanced(pending, facts)
                pending, reported = 0, time.monotonic()
    except Exception as error:
        yield Failed.by(unit.title, error)
        return
    if pending:
        yield Advanced(pending, facts)
    yield Finished(outcome)
