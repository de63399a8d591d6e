"""One clip being worked on: the edits, the run made of them, and who waits for news of it."""

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import numpy as np

from undertow.app.edits import Edit, Edits, Kind, painted
from undertow.app.pictures import Frames
from undertow.app.results import Following, Results
from undertow.backbones import Backbone
from undertow.base import CueError, SettingsError, UndertowError
from undertow.export import FORMATS, ExportSettings, check_format, export, open_run
from undertow.masks import VOID, LabelMap, object_ids, read_written_map
from undertow.runs import Cue, execute
from undertow.runs.cues import described
from undertow.runs.estimate import check_budget, estimate
from undertow.runs.record import Record, digests, read_record
from undertow.tasks import TASKS
from undertow.tracking import TrackSettings
from undertow.tracking.cues import prompted_masks, prompter
from undertow.video import Clip, Video

log = logging.getLogger(__name__)

# Seconds between two states of a run: stopping keeps all but the last frames.
STATE_SECONDS = 0.25


class Stopped(Exception):
    """Somebody asked to stop."""


class Session:
    """A clip, what a person did to it, and the run that came of it.

    Threads may share it; one thing is worked on at a time.

    Attributes:
        out: The folder of the run; edits are kept beside it, in OUT.app.
        events: What has happened, in order, for the page: (name, facts).
        frames: The frames as pictures.
        results: What the run has made so far.
    """

    def __init__(
        self, video: Path | None, out: Path, model: Callable[[], Backbone], settings: TrackSettings | None = None
    ) -> None:
        """Opens a clip, and the run and the edits that are there.

        Args:
            video: The video; `None` to look at a run, with the video that its edits name if they do.
            out: The folder of the run, which need not be there.
            model: Returns the model; called when something is to be tracked.
            settings: Options of tracking.

        Raises:
            SettingsError: if there is neither a video nor a run.
        """
        self.out, self.settings, self._model = out, settings or TrackSettings(), cache(model)
        self.edits = Edits(out.with_name(f"{out.name}.app"), "" if video is None else str(video.absolute()))
        named = Path(self.edits.video)
        if video is None and self.edits.video and (named.is_file() or named.is_dir()):
            video = named
        self.path, self.video = video, None if video is None else Video(video)
        record = self.record
        if self.video is None and (record is None or record.task != "track" or record.size is None):
            raise SettingsError(f"'{out}' is neither a video nor a run of track; name one of them")
        if record is not None and self.video is not None and record.video != self.video.fingerprint():
            raise SettingsError(f"the run in '{out}' is of another video than '{video}'; choose another --out")
        # A run that was made elsewhere is never replaced.
        self._own = record is None or self.edits.folder.exists()
        size = (self.video.height, self.video.width) if self.video else (record.size if record else None) or (1, 1)
        self.size: tuple[int, int] = size
        self.frames = Frames(self.video, size)
        self.events: list[tuple[str, Any]] = []
        self.doing, self.message, self._stop = "", "", False
        self._lock, self._thread = RLock(), Thread()
        self._prompted = cache(lambda: prompter(self.settings, self._model))
        self.results = Results(out)
        self.results.read()
        if record is not None and not self._own and record.complete is not None:
            self._take_over(record)

    @property
    def record(self) -> Record | None:
        """What run.json says; `None` if there is no run."""
        return read_record(self.out) if self.out.is_dir() else None

    @property
    def count(self) -> int:
        """Number of frames of the video, or up to the last of the run."""
        if self.video is not None:
            return self.video.frame_count or 0
        return max(self.results.names, default=-1) + 1

    def about(self) -> dict[str, Any]:
        """Returns what does not change: size, times of the frames in seconds, and formats of export."""
        times = [] if self.video is None else [float(self.video.time_of(number)) for number in range(self.count)]
        formats = {name: line for name, (_, _, line) in FORMATS.items() if _takes_masks(name)}
        label = self.path.name if self.path is not None else self.out.name
        height, width = self.size
        return {
            "label": label, "width": width, "height": height, "count": self.count, "times": times, "formats": formats,
            "editable": self.video is not None, "out": str(self.out),
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Returns what the page shows besides frames, masks and scores."""
        with self._lock:
            last, record, active = self.edits.last(), self.record, self.edits.active
            ids = {edit.object_id for edit in active}
            ids |= {int(number) for row in self.results.scores.values() for number in row}
            return {
                "given": {frame: object_ids(read_written_map(self.edits.file(edit))) for frame, edit in last.items()},
                "prompts": [
                    {"kind": edit.kind, "frame": edit.frame, "object": edit.object_id, "values": edit.values}
                    for frame, object_id in dict.fromkeys((edit.frame, edit.object_id) for edit in active)
                    for edit in self.edits.prompts(frame, object_id)
                ],
                "objects": sorted(ids),
                "undo": len(active),
                "redo": self.edits.undone,
                "done": len(self.results.names),
                "complete": record is not None and record.complete is not None,
                "stale": record is not None and digests(record.cues) != self._digests(),
                "doing": self.doing,
                "message": self.message,
                "command": self._command(),
            }

    def scores(self) -> dict[int, Mapping[str, Any]]:
        """Returns, by frame and object, area, margin, mass, presence and whether it is lost."""
        with self._lock:
            return dict(self.results.scores)

    def labels(self, number: int) -> LabelMap | None:
        """Returns the label map to show on a frame: what was drawn there, or what the run made."""
        with self._lock:
            drawn = self.edits.labels(number)
            return self.results.labels(number) if drawn is None else drawn

    def edit(self, kind: Kind, number: int, object_id: int, values: Sequence[float]) -> None:
        """Does what a person did with a tool, and notes it.

        Raises:
            CueError: if nothing can be made of it.
        """
        if self.video is None:
            raise CueError("the video of this run is not known; start the app with --video to change anything")
        if not 0 <= number < self.count or not 0 < object_id < VOID:
            raise CueError(f"there is no frame {number} or object {object_id}; give others")
        if not np.isfinite(values).all() or len(values) < {"point": 3, "box": 4, "clear": 0}.get(kind, 3):
            raise CueError(f"a {kind} cannot be made of {len(values)} numbers; draw it again")
        with self._busy("mask"):
            before = self.labels(number)
            labels = np.zeros(self.size, np.uint16) if before is None else before
            edit = self.edits.next(kind, number, object_id, values)
            if kind in ("brush", "erase"):
                labels = painted(labels, object_id, values, erase=kind == "erase")
            else:
                found = None if kind == "clear" else self._found(edit)
                labels = np.where(labels == object_id, 0, labels).astype(np.uint16)
                if found is not None:
                    labels[found == object_id] = object_id
            with self._lock:
                self.edits.add(edit, labels)
        self._tell("edit", {"frame": number})

    def move(self, steps: int) -> None:
        """Takes the last edit back (-1) or does it again (1)."""
        with self._busy("edit"), self._lock:
            edit = self.edits.move(steps)
        if edit is not None:
            self._tell("edit", {"frame": edit.frame})

    def track(self) -> None:
        """Begins to track, in a thread: what is left of a stopped run, what a correction changes, or all of it.

        Raises:
            CueError: if nothing was drawn.
        """
        cues = self._cues()
        if not cues:
            raise CueError("no object is marked yet; click on one, or draw a box around it")
        self._begin("track", lambda: self._track(cues))

    def export(self, name: str) -> None:
        """Begins to export the run into OUT.FORMAT, in a thread, and reads the files back.

        Raises:
            SettingsError: if the run is not complete, or there is no such format.
        """
        check_format(name, "track")
        open_run(self.out)
        target = self.out.with_name(f"{self.out.name}.{name}")
        asked = ExportSettings(edges="hard") if self.path is None else ExportSettings(video=self.path)

        def work() -> None:
            done = export(self.out, name, target, asked, check=True)
            checked = "" if done.differences is None else f"; read back, {done.differences} pixels differ"
            self.message = f"{done.frames} frames are in {target}{checked}"

        self._begin("export", work)

    def stop(self) -> None:
        """Asks what is being done to stop; what is finished is kept."""
        self._stop = True

    def wait(self, seconds: float | None = None) -> None:
        """Returns when nothing is being done, or after some seconds."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def close(self) -> None:
        """Stops, and lets go of the video."""
        self.stop()
        self.wait()
        if self.video is not None:
            self.video.close()

    def _found(self, edit: Edit) -> LabelMap:
        """Returns the mask that points and boxes of an object make, the last of which is an edit to come."""
        assert self.video is not None
        earlier = self.edits.prompts(edit.frame, edit.object_id)
        kept = [each for each in earlier if not each.kind == edit.kind == "box"]
        cues = [each.cue for each in (*kept, edit)]
        return prompted_masks(cues, self.video, self._prompted)[edit.frame]

    def _track(self, cues: Sequence[Cue]) -> None:
        assert self.path is not None
        task, backbone, earlier = TASKS["track"], self._model(), self.record
        # A reader of its own: frames for the page are read elsewhere in the video at the same time.
        with Video(self.path) as video:
            clip = Clip(video)
            given = task.gather(cues, clip, lambda: backbone, self.settings)
            check_budget(estimate(task, clip, given, backbone, self.settings, trial=False), None)
            before, now = digests(() if earlier is None else earlier.cues), digests(given.log)
            # What is complete is changed where cues are new; what is not, or had cues that are gone, begins again.
            again = (
                earlier is not None and before != now and (earlier.complete is None or not before.keys() <= now.keys())
            )
            if again and not self._own:
                raise SettingsError(f"the run in '{self.out}' cannot be changed so; start the app with another --out")
            if again:
                with self._lock:
                    self.results.forget()
            execute(
                task, self.out, clip, given, backbone, self.settings,
                overwrite=again, progress=Following(self.out, self.made), state_seconds=STATE_SECONDS,
            )  # fmt: skip
        self.message = "the whole clip is tracked"

    def made(self, line: Mapping[str, Any]) -> None:
        """Notes a frame that was just made, from its line of the journal; stops if that was asked for.

        Raises:
            Stopped: if it was.
        """
        with self._lock:
            self.results.add(line)
        self._tell("frame", {"frame": line["frame"], "scores": line["scores"]})
        if self._stop:
            raise Stopped

    def _begin(self, doing: str, work: Callable[[], None]) -> None:
        """Starts a thread."""

        def run() -> None:
            try:
                work()
            except Stopped:
                self.message = "stopped; what was finished is kept"
            except UndertowError as error:
                self.message = str(error)
            except Exception as error:
                log.exception("%s failed", doing)
                self.message = f"{doing} failed: {error}"
            finally:
                with self._lock:
                    self.doing = ""
                    self.results.read()
                self._tell("done", {"what": doing})

        with self._lock:
            self._take(doing)
            self._stop = False
            self._thread = Thread(target=run, daemon=True)
            self._thread.start()
        self._tell("edit", {"frame": None})

    def _take(self, doing: str) -> None:
        """Notes what is being done; there is one thing at a time."""
        with self._lock:
            if self.doing:
                raise SettingsError(f"wait for the {self.doing} to end, or stop it")
            self.doing, self.message = doing, ""

    @contextmanager
    def _busy(self, doing: str) -> Iterator[None]:
        """Does something at once; the page is answered meanwhile."""
        self._take(doing)
        try:
            yield
        finally:
            self.doing = ""

    def _tell(self, name: str, facts: Any) -> None:
        self.events.append((name, facts))

    def _take_over(self, record: Record) -> None:
        """Makes the masks that a run of the command line was given the first edits, so that it can be corrected."""
        run = open_run(self.out)
        given = [int(cue["frame"]) for cue in record.cues if "sha256" in cue and "frame" in cue]
        for number in sorted({*given} & self.results.names.keys()) if self.video is not None else ():
            labels = run.masks(number)
            if described(number, labels)["sha256"] == digests(record.cues).get(f"frame {number}"):
                self.edits.add(self.edits.next("brush", number, min(object_ids(labels), default=1)), labels)

    def _cues(self) -> list[Cue]:
        """Returns what was drawn as cues of a run: a mask for each frame that has something on it."""
        files = {number: self.edits.file(edit) for number, edit in self.edits.last().items()}
        given = {number: path for number, path in files.items() if object_ids(read_written_map(path))}
        return [Cue("mask", path, number, None, f"{path}@{number}") for number, path in given.items()]

    def _digests(self) -> Mapping[str, str]:
        return digests(described(cue.frame, read_written_map(cue.value)) for cue in self._cues())

    def _command(self) -> str:
        """Returns the command that does the same."""
        if self.path is None:
            return ""
        masks = [part for cue in self._cues() for part in ("--mask", cue.typed)]
        return shlex.join(["undertow", "track", str(self.path), *masks, "--out", str(self.out)])


def _takes_masks(name: str) -> bool:
    try:
        check_format(name, "track")
    except (SettingsError, ImportError):
        return False
    return True
