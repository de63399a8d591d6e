"""Hands units to workers, takes in what they tell, and tries again where a worker was lost."""

import re
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from undertow.base import MemoryBudgetError, Progress, SettingsError
from undertow.engines.units import Advanced, Failed, Finished, Lost, Message, Unit, UnitFailed

ATTEMPTS = 3
MOST_NAMED = 5


class Crew(ABC):
    """A number of workers, each at a place, each busy with one unit at most."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def give(self, place: int, unit: Unit) -> None:
        """Sets the worker at a place to a unit; one that is not there yet, or not any more, is started."""

    @abstractmethod
    def listen(self) -> Iterable[tuple[int, Message]]:
        """Waits until there is news from busy workers and returns some, with the place it comes from."""

    @abstractmethod
    def close(self) -> None:
        """Ends all workers, whatever they are doing."""


class _Error(Exception):
    """Carries the text of a traceback from another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def dispatch(
    units: Sequence[Unit],
    crew: Crew,
    places: int,
    progress: Progress,
    *,
    keep_going: bool = True,
    attempts: int = ATTEMPTS,
    heard: Callable[[int, Finished | Failed, int], None] = lambda index, message, tries: None,
) -> tuple[dict[int, Any], dict[int, Failed]]:
    """Returns the outcomes of the units that are done, and the failures of the others, by their place among the units.

    A worker that is lost loses the unit it was busy with, which is tried again in a new worker. So is a unit that
    failed for a reason that may pass.

    Args:
        units: Handed out group by group, within a group the most costly first; in their order to a single worker.
        crew: Who does the work; ended before this returns.
        places: Number of workers.
        progress: Advanced by every step.
        keep_going: Whether the other units are finished when one fails.
        attempts: How many times a unit is tried at most.
        heard: Called with the place of a unit, how it ended and after how many attempts, as soon as that is known.
    """
    waiting = deque(_ordered(units) if places > 1 else range(len(units)))
    free, busy = deque(range(min(places, len(units)))), dict[int, int]()
    tries, reported = Counter[int](), Counter[int]()
    outcomes: dict[int, Any] = {}
    failures: dict[int, Failed] = {}

    def tell(index: int, steps: int, **facts: object) -> None:
        reported[index] += steps
        progress.advance(steps, **facts)

    with crew:
        while waiting or busy:
            while waiting and free and (keep_going or not failures):
                place, index = free.popleft(), waiting.popleft()
                busy[place] = index
                tries[index] += 1
                crew.give(place, units[index])
            if not busy:
                break
            for place, message in crew.listen():
                index = busy[place]
                if isinstance(message, Advanced):
                    tell(index, message.steps, **message.facts)
                    continue
                del busy[place]
                free.append(place)
                if isinstance(message, Lost):
                    units[index].clear()
                if not isinstance(message, Finished) and message.passes and tries[index] < attempts:
                    tell(index, -reported[index], retried=units[index].title)
                    waiting.appendleft(index)
                    continue
                if isinstance(message, Finished):
                    outcomes[index] = message.outcome
                else:
                    if isinstance(message, Lost):
                        message = _lost(units[index], message, attempts)
                    failures[index] = message
                    tell(index, units[index].length - reported[index], failed=units[index].title)
                heard(index, message, tries[index])
    return outcomes, failures


def _ordered(units: Sequence[Unit]) -> list[int]:
    """Returns the order of work: groups as they come, in each the most costly first, so that none is left for last."""
    groups = {group: place for place, group in enumerate(dict.fromkeys(unit.group for unit in units))}
    return sorted(range(len(units)), key=lambda index: (groups[units[index].group], -units[index].cost))


def _lost(unit: Unit, message: Lost, attempts: int) -> Failed:
    """Returns the failure of a unit whose worker was lost at every attempt."""
    what = f"{unit.title} failed {attempts} times: the process working on it {message.how}"
    if message.killed:
        # Nothing tells a process that the system kills for lack of memory from one that a person kills.
        return Failed(
            MemoryBudgetError(f"{what}, as happens when memory runs out; use fewer workers or a smaller size")
        )
    return Failed(UnitFailed(what))


def raise_first(units: Sequence[Unit], failures: dict[int, Failed]) -> None:
    """Raises the first of some failures, if there are any, which then also names the others."""
    if not failures:
        return
    order = sorted(failures)
    first = failures[order[0]]
    others = [units[index].title for index in order[1:]]
    error = first.error
    if others:
        more = "" if len(others) <= MOST_NAMED else f" and {len(others) - MOST_NAMED} more"
        note = f"also failed: {', '.join(others[:MOST_NAMED])}{more}"
        if isinstance(error, OSError):
            error.add_note(note)
        else:
            error = type(error)(f"{error}; {note}")
    raise error from (_Error(first.trace) if first.trace else None)


def check_workers(workers: int) -> None:
    """Raises `SettingsError` unless there is at least one worker and not absurdly many."""
    if not 1 <= workers <= 4096:
        raise SettingsError(f"workers is {workers}; give 1 to 4096")


def parse_shard(text: str) -> tuple[int, int]:
    """Returns (number, count) from a text such as "1/8".

    Raises:
        SettingsError: if it is no such text.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not match:
        raise SettingsError(f"--shard is '{text}'; give a number and a count, such as 1/8")
    shard = int(match[1]), int(match[2])
    check_shard(shard)
    return shard


def check_shard(shard: tuple[int, int]) -> None:
    """Raises `SettingsError` unless the number lies between 1 and the count."""
    number, count = shard
    if not 1 <= number <= count:
        raise SettingsError(f"shard is {number}/{count}; number the shards from 1/{count} to {count}/{count}")
