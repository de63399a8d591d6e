"""The unit of work: one method on one sample, or one sample of a folder of results; names and paths, never pixels."""

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertow.base import MemoryBudgetError, UndertowError, remove_leftovers, set_threads
from undertow.benchmarks.core.measuring import Steps, measure, score
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.core.outcomes import RESULTS, Outcome, outcome_path
from undertow.benchmarks.core.sample import EvaluationProtocol, Sample
from undertow.benchmarks.core.task import get_task


class UnitFailed(UndertowError):
    """A unit failed in a way nobody foresaw, or the process that worked on it was lost."""

    exit_code = 1


class Loaded:
    """Keeps the predictor that was used last: a model is loaded once per process, and never two at a time.

    Args:
        threads: CPU threads that predictors may use; left as they are if not given.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._key: tuple[str, EvaluationProtocol] | None = None
        self._predictor: Callable[..., Any] | None = None
        self._error: Exception | None = None

    def predictor(self, method: Method, protocol: EvaluationProtocol) -> Callable[..., Any]:
        """Returns the method's predictor; one that could not be made is not tried again for the next sample."""
        key = (method.name, protocol)
        if self._key != key:
            self._key, self._predictor, self._error = key, None, None
            try:
                set_threads(self._threads)
                self._predictor = method.make_predictor(protocol)
            except Exception as error:
                self._error = error
        if self._predictor is None:
            assert self._error is not None
            raise self._error
        return self._predictor


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
        """About how much work it is, in pixels; only compared within a group."""

    @abstractmethod
    def steps(self, loaded: Loaded) -> Steps:
        """Does the work, yielding after each step, and returns its outcome."""

    @abstractmethod
    def clear(self) -> None:
        """Removes what a process that was killed on it may have left half written."""


@dataclass(frozen=True)
class MeasureUnit(Unit):
    """One method on one sample; the process that has finished it writes the outcome, so nothing finished is lost."""

    method: Method
    sample: Sample
    protocol: EvaluationProtocol
    rules: str
    fingerprint: str
    out: Path
    keep: bool = False

    @property
    def title(self) -> str:
        """Returns the method and the sample."""
        return f"'{self.method.name}' on '{self.sample.name}'"

    @property
    def group(self) -> str:
        """Returns the method, which may be a model to load."""
        return self.method.name

    @property
    def length(self) -> int:
        """Returns the number of frames shown."""
        return len(self.protocol.frames(len(self.sample.frames)))

    @property
    def cost(self) -> int:
        """Returns the number of pixels shown."""
        return self.length * self.sample.size[0] * self.sample.size[1]

    def steps(self, loaded: Loaded) -> Steps:
        """Predicts and scores frame by frame, and writes the outcome."""
        outcome = yield from measure(
            self.method.name,
            loaded.predictor(self.method, self.protocol),
            self.sample,
            self.protocol,
            self.rules,
            fingerprint=self.fingerprint,
            keep=self.out if self.keep else None,
        )
        outcome.write(self.out)
        return outcome

    def clear(self) -> None:
        """Removes temporary files of its outcome and its predictions."""
        remove_leftovers(outcome_path(self.out, self.method.name, self.sample.name))
        kept = self.out / RESULTS / self.method.name
        remove_leftovers(self.sample.result(kept, suffix=".npz", links=False))
        for each in self.sample.result(kept, suffix="", links=False).glob(".*"):
            if each.is_file():
                each.unlink(missing_ok=True)


@dataclass(frozen=True)
class ScoreUnit(Unit):
    """One sample of a folder of results."""

    results: Path
    sample: Sample
    rules: str
    method: str

    @property
    def title(self) -> str:
        """Returns the sample."""
        return f"'{self.sample.name}'"

    @property
    def group(self) -> str:
        """Returns nothing: there is nothing to load."""
        return ""

    @property
    def length(self) -> int:
        """Returns the number of predictions that count."""
        return len(get_task(self.sample.task).asked(self.sample, self.rules))

    @property
    def cost(self) -> int:
        """Returns the number of pixels compared."""
        return self.length * self.sample.size[0] * self.sample.size[1]

    def steps(self, loaded: Loaded) -> Steps:
        """Scores prediction by prediction."""
        return score(self.results, self.sample, self.rules, self.method)

    def clear(self) -> None:
        """Leaves everything as it is: scoring writes nothing."""


@dataclass(frozen=True)
class Advanced:
    """Some steps more are done; facts about the last one."""

    steps: int
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A unit is done."""

    outcome: Outcome


@dataclass(frozen=True)
class Failed:
    """A unit cannot be done: the error, which may have crossed from another process, and where it was raised."""

    error: Exception
    trace: str = ""

    @classmethod
    def by(cls, unit: str, error: Exception) -> "Failed":
        """Returns the failure of a unit, as an error that names the unit and can be sent anywhere."""
        trace = "".join(traceback.format_exception(error))
        if isinstance(error, UndertowError):
            return cls(type(error)(str(error) if unit in str(error) else f"{unit}: {error}"), trace)
        if (
            isinstance(error, MemoryError)
            or type(error).__name__ == "OutOfMemoryError"
            or "tried to alloc" in str(error)
        ):
            text = f"{unit}: memory ran out; use fewer workers, a smaller size, or close other programs"
            return cls(MemoryBudgetError(text), trace)
        if isinstance(error, OSError):
            return cls(error, trace)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return cls(UnitFailed(f"{unit} failed ({what}); --debug shows where"), trace)


@dataclass(frozen=True)
class Lost:
    """The process that worked on a unit is gone."""

    how: str
    killed: bool = True


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
