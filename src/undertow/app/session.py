"""One task on one clip: the edits, the run made of them, and what the page is shown of both.

What a task's edits are and what cues come of them is in `masks`, `points`, `classes` and `words`; everything else is
the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from undertow.app import copying, work
from undertow.app.edits import Edit, Edits, Kind
from undertow.app.history import keep, put_back
from undertow.app.jobs import Job
from undertow.app.pictures import mask_png
from undertow.app.results import Results
from undertow.base import CueError, SettingsError, check_unwritten
from undertow.export import FORMATS, check_format, open_run
from undertow.masks import VOID, LabelMap
from undertow.runs import Cue
from undertow.runs.record import Record, digests, read_record
from undertow.runs.task import Given

if TYPE_CHECKING:
    from undertow.app.project import Project


class Session(ABC):
    """A task on a clip.

    Threads may share it; one thing is worked on at a time.

    Attributes:
        task: Name of the task.
        kinds: Kinds of edit that it takes, and how many numbers each needs.
        background: The id of what belongs to nothing, on what is painted.
        project: The clip.
        out: The folder of the run; edits are kept beside it, in OUT.app.
        settings: Options of the task.
        edits: What a person did.
        results: What the run has made so far.
        message: What was said last.
        changed: First and last of each part of the frames that the last correction changed.
    """

    task: ClassVar[str]
    kinds: ClassVar[Mapping[Kind, int]]
    background: ClassVar[int] = 0

    def __init__(self, project: "Project", out: Path, settings: Any) -> None:
        """Opens the run and the edits that are there.

        Raises:
            SettingsError: if the run is of another video, another process writes to it or has it open, or the edits
                are damaged.
        """
        self.project, self.out, self.settings, self.message = project, out, settings, ""
        self.changed: tuple[tuple[int, int], ...] = ()
        record = self.record
        if record is not None and project.video is not None and record.video != project.video.fingerprint():
            raise SettingsError(f"the run in '{out}' is of another video than '{project.path}'; choose another --out")
        folder = out.with_name(f"{out.name}.app")
        self.edits = Edits(folder, "" if project.path is None else str(project.path.absolute()), own=record is None)
        self._lock, self._at_hand = RLock(), ""
        self.results = Results(out, self.task)
        try:
            if project.video is not None:
                check_unwritten(out)
            self._recover()
            self.results.read()
            if record is not None and not self.edits.own and not self.edits.active and record.complete is not None:
                self.take_over(record)
        except Exception:
            self.edits.close()
            raise

    @abstractmethod
    def cues(self) -> list[Cue]:
        """Returns what was drawn as cues of a run."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Returns what the page shows of this task alone; "objects" at least: id, name and colour of each."""

    def made_of(self, edit: Edit, locked: Collection[int]) -> Mapping[int, LabelMap]:
        """Returns the label maps that come of an edit, by frame.

        Raises:
            CueError: if nothing can be made of it.
        """
        return {}

    def after(self) -> None:  # noqa: B027, for tasks that have nothing to do then
        """Does what an edit that was just made or taken back calls for."""

    def take_over(self, record: Record) -> None:  # noqa: B027, for tasks that cannot
        """Makes the cues of a run of the command line the first edits, where that can be done."""

    def amends(self, earlier: Record, given: Given[Any]) -> bool:
        """Returns whether a complete run can be changed into that of other cues, instead of begun again."""
        return False

    def layer(self, number: int) -> Any:
        """Returns what is drawn over a frame besides label maps."""
        return None

    def picture(self, labels: LabelMap) -> bytes:
        """Returns a label map as the page draws it, in PNG: with a transparent background, in the palette of masks."""
        return mask_png(labels)

    @property
    def record(self) -> Record | None:
        """What run.json says; `None` if there is no run of this task."""
        found = read_record(self.out) if self.out.is_dir() else None
        return found if found is not None and found.task == self.task else None

    @property
    def range(self) -> tuple[int, int]:
        """First and last frame that are worked on."""
        last = max(0, self.project.count - 1)
        chosen = next((edit.values for edit in reversed(self.edits.active) if edit.kind == "range"), (0, last))
        return int(chosen[0]), min(last, int(chosen[1]))

    @property
    def part(self) -> tuple[int, int]:
        """First and last frame of a run."""
        return self.range

    @property
    def chosen(self) -> Any:
        """The options of a run."""
        return self.settings

    def call(self) -> tuple[str, str, str] | None:
        """Returns the function of `undertow` that does the same, what it gets with the video, and what it yields."""
        return None

    @property
    def doing(self) -> str:
        """What is being done or waits to be; empty if nothing is."""
        job = self.project.jobs.current(self)
        return self._at_hand or ("" if job is None else job.what)

    @property
    def formats(self) -> dict[str, str]:
        """The formats that runs of the task can be exported in, with a line about each."""
        return {name: line for name, (_, _, line) in FORMATS.items() if work.takes(name, self.task)}

    def state(self) -> dict[str, Any]:
        """Returns what the page shows besides frames, masks and scores."""
        with self._lock:
            record = self.record
            return {
                "given": {frame: self.edits.described(edit, frame).ids for frame, edit in self.edits.last().items()},
                "undo": len(self.edits.active),
                "redo": self.edits.undone,
                "done": len(self.results.names),
                "complete": record is not None and record.complete is not None,
                "stale": record is not None and self.stale(record),
                "doing": self.doing,
                "message": self.message,
                "changed": self.changed,
                "range": self.range,
                "part": self.part,
                **self.facts(),
            }

    def copies(self) -> dict[str, str]:
        """Returns what does the same, as a command line and as Python."""
        with self._lock:
            return {"command": copying.command(self), "python": copying.python(self)}

    def scores(self) -> dict[int, Mapping[str, Any]]:
        """Returns, by frame and object, area, margin, mass, presence and whether it is lost."""
        with self._lock:
            return dict(self.results.scores)

    def labels(self, number: int) -> LabelMap | None:
        """Returns the label map to show on a frame: what was drawn there, or what the run made."""
        with self._lock:
            drawn = self.edits.labels(number)
            return self.results.labels(number) if drawn is None else drawn

    def edit(
        self, kind: Kind, number: int, object_id: int, values: Sequence[float] = (), text: str = "",
        locked: Collection[int] = (),
    ) -> None:  # fmt: skip
        """Does what a person did with a tool, and notes it.

        Args:
            kind: What was done.
            number: Number of the frame.
            object_id: The object, class, point or expression it was done to.
            values: See `Edit`.
            text: A name, a colour or an expression.
            locked: Objects that painting leaves as they are.

        Raises:
            CueError: if nothing can be made of it.
        """
        if self.project.video is None:
            raise CueError("the video of this run is not known; start the app with --video to change anything")
        if kind not in self.kinds:
            raise CueError(f"{self.task} has no {kind}; choose another tool")
        if not 0 <= number < self.project.count or not 0 <= object_id < VOID or object_id == self.background:
            raise CueError(f"there is no frame {number} or object {object_id}; give others")
        if not np.isfinite(values).all() or len(values) < self.kinds[kind]:
            raise CueError(f"a {kind} cannot be made of {len(values)} numbers; draw it again")
        if not text.isprintable():
            raise CueError(f"{ascii(text)[:40]} has characters that cannot be seen; write it without them")
        if kind == "range" and not 0 <= values[0] <= values[1] < self.project.count:
            raise CueError("the first frame comes after the last; choose others")
        with self._busy("mask"):
            edit = self.edits.next(kind, number, object_id, values, text.strip())
            maps = self.made_of(edit, locked)
            with self._lock:
                self.edits.add(edit, maps)
        self.after()
        self.tell("edit", {"frame": number if kind not in ("delete", "merge", "range") else None})

    def move(self, steps: int) -> None:
        """Takes the last edit back (-1) or does it again (1); if it was a run, the run before it is put back."""
        with self._busy("edit"), self._lock:
            taken = self.edits.active[-1:] if steps < 0 else ()
            if any(edit.kind == "run" for edit in taken) and self._snapshot(skip=1) is None and not self.edits.own:
                raise SettingsError("the run was made elsewhere, and stays")
            edit = self.edits.move(steps)
            if edit is not None and edit.kind == "run":
                put_back(self._snapshot(), self.out)
                self.results.read()
        if edit is not None:
            self.after()
            whole = edit.kind == "run" or len(edit.frames) != 1
            self.tell("done" if edit.kind == "run" else "edit", {"frame": None if whole else edit.frame})

    def run(self) -> None:
        """Queues a run: what is left of a stopped one, what a correction changes, or all of it.

        Raises:
            CueError: if it needs cues, and there are none.
        """
        if self.project.video is None:
            raise CueError("the video of this run is not known; start the app with --video to change anything")
        cues = self.cues()
        self._begin(self.task, lambda job: work.ran(self, job, cues))

    def estimate(self) -> None:
        """Queues an estimate of what a run would take, for which a small part of it is run."""
        cues = self.cues()
        self._begin("estimate", lambda job: work.estimated(self, job, cues))

    def export(self, name: str, template: str = "") -> None:
        """Queues an export of the run into OUT.FORMAT, whose files are read back.

        Args:
            name: The format.
            template: What files are called, such as "{clip}_{object}_{frame:05d}"; the format's own way if empty.

        Raises:
            SettingsError: if the run is not complete, or there is no such format.
        """
        check_format(name, self.task)
        open_run(self.out)
        self._begin("export", lambda job: work.exported(self, job, name, template))

    def called(self) -> str | None:
        """Returns what objects are called, as exports take it."""
        return None

    def prepare(self) -> None:  # noqa: B027, for tasks that have nothing to do then
        """Puts edits into effect that the run's files do not show yet, before they are exported."""

    def stop(self) -> None:
        """Asks what is being done to stop; what is finished is kept."""
        self.project.jobs.stop(owner=self)

    def wait(self, seconds: float | None = None) -> None:
        """Returns when nothing is being done, or after some seconds."""
        self.project.jobs.wait(self, seconds)

    def close(self) -> None:
        """Stops, and lets go of the edits."""
        self.stop()
        self.wait()
        self.edits.close()

    def kept(self) -> None:
        """Notes the run as it is now, so that it can be put back."""
        edit = self.edits.next("run", 0, 0)
        (self.edits.folder / "runs").mkdir(parents=True, exist_ok=True)
        keep(self.out, self.edits.snapshot(edit))
        self.edits.add(edit)

    def stale(self, record: Record) -> bool:
        """Returns whether the run is of other cues than those that were drawn."""
        return digests(record.cues) != self.digests() or work.part_of(self, record) != self.part

    def digests(self) -> Mapping[str, str]:
        """Returns what run.json would keep of the cues, as far as they are label maps."""
        found = self.edits.last().items()
        return digests(self.edits.described(edit, frame).log for frame, edit in found if self.counts(edit, frame))

    def counts(self, edit: Edit, frame: int) -> bool:
        """Returns whether the label map that an edit made of a frame is a cue."""
        return bool(self.edits.described(edit, frame).ids)

    def made(self, line: Mapping[str, Any]) -> None:
        """Notes a frame that was just made, from its line of the journal."""
        with self._lock:
            scores = self.results.add(line)
        self.tell("frame", {"frame": line["frame"], "scores": scores})

    def tell(self, name: str, facts: Mapping[str, Any]) -> None:
        """Tells pages that something happened."""
        self.project.tell(name, {"task": self.task, **facts})

    def _begin(self, what: str, does: Callable[[Job], str]) -> None:
        """Queues a job of this session, of which there is one at a time."""

        def whole(job: Job) -> str:
            try:
                return does(job)
            finally:
                with self._lock:
                    self.results.read()

        with self._lock:
            if self.doing:
                raise SettingsError(f"wait for the {self.doing} to end, or stop it")
            self.message, self.changed = "", ()
            self.project.jobs.add(self, what, f"{what} {self.project.label}", whole)
        self.tell("edit", {"frame": None})

    @contextmanager
    def _busy(self, doing: str) -> Iterator[None]:
        """Does something at once; the page is answered meanwhile."""
        with self._lock:
            if self.doing:
                raise SettingsError(f"wait for the {self.doing} to end, or stop it")
            self._at_hand, self.message, self.changed = doing, "", ()
        try:
            yield
        finally:
            self._at_hand = ""

    def _snapshot(self, skip: int = 0) -> Path | None:
        """Returns the run that was kept last, or before that."""
        runs = [self.edits.snapshot(edit) for edit in self.edits.of("run")]
        return runs[-1 - skip] if len(runs) > skip else None

    def _recover(self) -> None:
        """Puts a run back that was being put back when the server was killed."""
        kept = self._snapshot()
        if kept is not None and kept.is_dir() and not self.out.exists():
            put_back(kept, self.out)
