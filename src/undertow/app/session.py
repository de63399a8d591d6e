"""One clip being worked on: the edits, the run made of them, and who waits for news of it."""

import logging
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import numpy as np

from undertow.app.edits import Edits, Kind, painted
from undertow.app.pictures import Frames
from undertow.backbones import Backbone
from undertow.base import CueError, SettingsError, SilentProgress, UndertowError
from undertow.export import FORMATS, ExportSettings, check_format, export, open_run
from undertow.masks import VOID, LabelMap, object_ids, read_written_map
from undertow.runs import Cue, execute
from undertow.runs.cues import described
from undertow.runs.estimate import check_budget, estimate
from undertow.runs.folder import STAGING
from undertow.runs.journal import JOURNAL, read_lines
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
    """

    def __init__(
        self,
        video: Path | None,
        out: Path,
        model: Callable[[], Backbone],
        settings: TrackSettings | None = None,
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
        if video is None and self.edits.video and Path(self.edits.video).exists():
            video = Path(self.edits.video)
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
        self._scores: dict[int, Mapping[str, Any]] = {}
        self._names: dict[int, str] = {}
        self._reload()
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
        return max(self._names, default=-1) + 1

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
            last, record = self.edits.last(), self.record
            ids: set[int] = {edit.object_id for edit in self.edits.active}
            for row in self._scores.values():
                ids |= {int(number) for number in row}
            return {
                "given": {number: object_ids(read_written_map(self.edits.file(edit))) for number, edit in last.items()},
                "prompts": [
                    {"kind": edit.kind, "frame": edit.frame, "object": edit.object_id, "values": edit.values}
                    for edit in self.edits.active
                    if edit.kind in ("point", "box") and edit in self.edits.prompts(edit.frame, edit.object_id)
                ],
                "objects": sorted(ids),
                "undo": len(self.edits.active),
                "redo": self.edits.undone,
                "done": len(self._names),
                "complete": record is not None and record.complete is not None,
                "stale": record is not None and digests(record.cues) != self._digests(),
                "doing": self.doing,
                "message": self.message,
                "command": self._command(),
            }

    def scores(self) -> dict[int, Mapping[str, Any]]:
        """Returns, by frame and object, area, margin, mass, presence and whether it is lost."""
        with self._lock:
            return dict(self._scores)

    def labels(self, number: int) -> LabelMap | None:
        """Returns the label map to show on a frame: what was drawn there, or what the run made."""
        with self._lock:
            drawn = self.edits.labels(number)
            name = self._names.get(number)
        if drawn is not None or name is None:
            return drawn
        # While a run is changed, what is new lies in a folder of its own.
        for folder in (self.out / STAGING, self.out):
            path = folder / "masks" / f"{name}.png"
            if path.is_file():
                return read_written_map(path)
        return None

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
        with self._lock:
            self._idle()
            before = self.labels(number)
            labels = np.zeros(self.size, np.uint16) if before is None else before
            edit = self.edits.next(kind, number, object_id, values)
            if kind == "clear":
                labels = np.where(labels == object_id, 0, labels).astype(np.uint16)
            elif kind in ("brush", "erase"):
                labels = painted(labels, object_id, values, erase=kind == "erase")
            else:
                earlier = [each for each in self.edits.prompts(number, object_id) if (each.kind, kind) != ("box",) * 2]
                cues = [_cue(each.kind, number, object_id, each.values) for each in (*earlier, edit)]
                found = prompted_masks(cues, self.video, self._prompted)[number]
                labels = np.where(labels == object_id, 0, labels).astype(np.uint16)
                labels[found == object_id] = object_id
            self.edits.add(edit, labels)
            self.message = ""
        self._tell("edit", {"frame": number})

    def move(self, steps: int) -> None:
        """Takes the last edit back (-1) or does it again (1)."""
        with self._lock:
            self._idle()
            edit = self.edits.move(steps)
            self.message = ""
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
            changed = before != now and (earlier is None or earlier.complete is None or not before.keys() <= now.keys())
            if changed and earlier is not None and not self._own:
                raise SettingsError(f"the run in '{self.out}' cannot be changed so; start the app with another --out")
            again = earlier is not None and changed
            if again:
                with self._lock:
                    self._names, self._scores = {}, {}
            progress = _Told(self)
            execute(
                task, self.out, clip, given, backbone, self.settings,
                overwrite=again, progress=progress, state_seconds=STATE_SECONDS,
            )  # fmt: skip
        self.message = "the whole clip is tracked"

    def made(self, line: Mapping[str, Any]) -> None:
        """Notes a frame that was just made, from its line of the journal; stops if that was asked for.

        Raises:
            Stopped: if it was.
        """
        with self._lock:
            self._names[line["frame"]] = line["name"]
            self._scores[line["frame"]] = line["scores"]
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
                    self._reload()
                self._tell("done", {"what": doing})

        with self._lock:
            self._idle()
            self.doing, self.message, self._stop = doing, "", False
            self._thread = Thread(target=run, daemon=True)
            self._thread.start()
        self._tell("edit", {"frame": None})

    def _idle(self) -> None:
        if self.doing:
            raise SettingsError(f"wait for the {self.doing} to end, or stop it")

    def _tell(self, name: str, facts: Any) -> None:
        self.events.append((name, facts))

    def _reload(self) -> None:
        """Reads which frames the run has, and their scores."""
        record = self.record
        self._names, self._scores = {}, {}
        if record is None or record.task != "track":
            return
        if record.complete is None:
            if (self.out / JOURNAL).is_file():
                for line in read_lines(self.out):
                    self._names[line["frame"]], self._scores[line["frame"]] = line["name"], line["scores"]
            return
        run = open_run(self.out)
        self._names = {frame.number: frame.name for frame in run.frames}
        scores: dict[int, dict[str, Any]] = {}
        for row in run.scores():
            figures = [int(row["area"]), *(float(row[name]) for name in ("margin", "mass", "presence"))]
            scores.setdefault(int(row["frame"]), {})[row["object"]] = [*figures, row["lost"] == "1"]
        self._scores = dict(scores)

    def _take_over(self, record: Record) -> None:
        """Makes the masks that a run of the command line was given the first edits, so that it can be corrected."""
        run = open_run(self.out)
        given = [int(cue["frame"]) for cue in record.cues if "sha256" in cue and "frame" in cue]
        for number in sorted({*given} & self._names.keys()) if self.video is not None else ():
            labels = run.masks(number)
            if described(number, labels)["sha256"] == digests(record.cues).get(f"frame {number}"):
                self.edits.add(self.edits.next("brush", number, min(object_ids(labels), default=1)), labels)

    def _cues(self) -> list[Cue]:
        """Returns what was drawn as cues of a run: a mask for each frame that has something on it."""
        found = []
        for number, edit in self.edits.last().items():
            path = self.edits.file(edit)
            if object_ids(read_written_map(path)):
                found.append(Cue("mask", path, number, None, f"{path}@{number}"))
        return found

    def _digests(self) -> Mapping[str, str]:
        return digests(described(cue.frame, read_written_map(cue.value)) for cue in self._cues())

    def _command(self) -> str:
        """Returns the command that does the same."""
        if self.path is None:
            return ""
        masks = [part for cue in self._cues() for part in ("--mask", cue.typed)]
        return shlex.join(["undertow", "track", str(self.path), *masks, "--out", str(self.out)])


class _Told(SilentProgress):
    """Tells a session of each frame, with what the journal says of it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lines: Iterator[dict[str, Any]] = iter(())

    def start(self, stage: str, total: int | None) -> None:
        """Finds the journal that is written now."""
        self._folder = self._session.out / STAGING if stage == "amend" else self._session.out
        self._lines = iter(())

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Reads on to the line of a frame; nothing is read twice while frames come in order."""
        if (number := facts.get("frame")) is None or not (self._folder / JOURNAL).is_file():
            return
        line = next((line for line in self._lines if line["frame"] == number), None)
        if line is None:
            self._lines = read_lines(self._folder)
            line = next((line for line in self._lines if line["frame"] == number), None)
        if line is not None:
            self._session.made(line)


def _cue(kind: Kind, frame: int, object_id: int, values: Sequence[float]) -> Cue:
    if kind == "box":
        x0, y0, x1, y1 = values[:4]
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        return Cue("box", box, frame, object_id)
    return Cue("point", (values[0], values[1], bool(values[2])), frame, object_id)


def _takes_masks(name: str) -> bool:
    try:
        check_format(name, "track")
    except (SettingsError, ImportError):
        return False
    return True
