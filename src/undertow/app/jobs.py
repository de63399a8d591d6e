"""What is to be done and takes long, one after the other in a thread, and the news that pages wait for."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event, Lock, RLock, Thread
from typing import Any, Literal

from undertow.base import SettingsError, UndertowError, printable, refusal

log = logging.getLogger(__name__)

# Of either that are kept; a page that was away for longer asks for everything again.
KEPT_NEWS, KEPT_JOBS = 2000, 50


class Stopped(Exception):
    """Somebody asked to stop."""


@dataclass
class Job:
    """Something that takes long.

    Attributes:
        number: Names it.
        title: What it is, and of what.
        owner: The session it is of, whose `message` it sets.
        what: One word, such as "track".
        work: Does it, and returns what to say of it.
        state: What became of it.
        message: What was said of it.
        stop: Set to ask it to stop.
    """

    number: int
    title: str
    owner: Any
    what: str
    work: Callable[["Job"], str]
    state: Literal["waiting", "running", "done", "stopped", "failed"] = "waiting"
    message: str = ""
    stop: Event = field(default_factory=Event)

    def check(self) -> None:
        """Raises `Stopped` if that was asked for."""
        if self.stop.is_set():
            raise Stopped


class News:
    """What happened, in order: (name, facts); the last of it is kept.

    Attributes:
        count: Number of things that happened.
        ended: Whether nobody is to wait for more.
    """

    def __init__(self) -> None:
        """Begins without any."""
        self._kept: deque[tuple[str, Any]] = deque(maxlen=KEPT_NEWS)
        self._lock = RLock()
        self.count, self.ended = 0, False

    def tell(self, name: str, facts: Any) -> None:
        """Adds something that happened."""
        with self._lock:
            self._kept.append((name, facts))
            self.count += 1

    def since(self, place: int) -> tuple[int, Sequence[tuple[str, Any]]]:
        """Returns how much has happened, and what has since it was so much; "missed" if that is not known anymore."""
        with self._lock:
            fresh = self.count - place
            if fresh > len(self._kept):
                return self.count, [("missed", {})]
            return self.count, [] if not fresh else list(self._kept)[-fresh:]


class Jobs:
    """A queue of jobs, done one at a time."""

    def __init__(self, changed: Callable[[Job], None]) -> None:
        """Takes what is called after each change of a job."""
        self._changed = changed
        self._jobs: list[Job] = []
        self._turn = Condition()
        self._thread: Thread | None = None
        self._count = 0
        self._model = Lock()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Uses the model between jobs: it does one thing at a time.

        Raises:
            SettingsError: if a job runs.
        """
        running = self.current()
        if running is not None and running.state == "running":
            raise SettingsError(f"the model is at work on '{running.title}'; look again when that has ended")
        with self._model:
            yield

    def add(self, owner: Any, what: str, title: str, work: Callable[[Job], str]) -> Job:
        """Adds a job behind the others."""
        with self._turn:
            self._count += 1
            job = Job(self._count, title, owner, what, work)
            ended = [each for each in self._jobs if each.state not in ("waiting", "running")]
            for old in ended[: max(0, len(ended) - KEPT_JOBS)]:
                self._jobs.remove(old)
            self._jobs.append(job)
            if self._thread is None:
                self._thread = Thread(target=self._run, daemon=True)
                self._thread.start()
            self._turn.notify_all()
        self._changed(job)
        return job

    def current(self, owner: Any = None) -> Job | None:
        """Returns the first job that is not ended, of an owner or of all."""
        with self._turn:
            open_jobs = (job for job in self._jobs if job.state in ("waiting", "running"))
            return next((job for job in open_jobs if owner is None or job.owner is owner), None)

    def list(self) -> list[dict[str, Any]]:
        """Returns number, title, state and message of the jobs that are known."""
        with self._turn:
            return [
                {"number": job.number, "title": job.title, "what": job.what, "state": job.state, "message": job.message}
                for job in self._jobs
            ]

    def stop(self, number: int | None = None, owner: Any = None) -> None:
        """Asks jobs to stop: one by its number, those of an owner, or all; one that waits ends at once."""
        with self._turn:
            chosen = [
                job
                for job in self._jobs
                if job.state in ("waiting", "running")
                and number in (None, job.number)
                and (owner is None or job.owner is owner)
            ]
            waiting = [job for job in chosen if job.state == "waiting"]
            for job in chosen:
                job.stop.set()
            for job in waiting:
                job.state, job.message = "stopped", "taken off the queue"
                job.owner.message = job.message
            self._turn.notify_all()
        for job in waiting:
            self._changed(job)

    def wait(self, owner: Any = None, seconds: float | None = None) -> None:
        """Returns when nothing is left to do, of an owner or of all, or after some seconds."""
        with self._turn:
            self._turn.wait_for(lambda: self.current(owner) is None, seconds)

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self.current() is not None)
                job = self.current()
                assert job is not None
                job.state = "running"
            self._changed(job)
            try:
                with self._model:
                    message, state = job.work(job), "done"
            except Stopped:
                message, state = "stopped; what was finished is kept", "stopped"
            except UndertowError as error:
                message, state = str(error), "failed"
            except OSError as error:
                message, state = refusal(error), "failed"
            except Exception as error:
                log.exception("%s failed", job.title)
                message, state = f"{job.what} failed: {error}", "failed"
            with self._turn:
                job.message = job.owner.message = printable(message)
                job.state = state  # type: ignore[assignment]
                self._turn.notify_all()
            self._changed(job)
