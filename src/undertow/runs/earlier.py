"""The Run folder: what a run leaves behind, and the unit of sharing.

    run.json           what was run: video fingerprint, model, resolved settings, cues as an append-only log
    masks/             one PNG per frame at native size, named after the source frame
    masks.json         COCO run lengths, a list of rows {frame, time, object, rle}
    scores.csv         frame, time, object, area, margin, mass, presence, lost
    overlay.mp4        the masks over the video (see `undertow.runs.render`)
    state.safetensors  where an unfinished run has come to (see `undertow.runs.recovery`)

Results go to disk as they come, each frame's row to a hidden journal, from which `finish` assembles the two tables.
So memory does not grow with the video, and tables exist only once they are whole.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TextIO

from torch import Tensor

from undertow.base import SettingsError, atomic_path, exclusive, write_json
from undertow.masks import LabelMap, label_map_rles, object_ids, write_label_map
from undertow.runs.record import plain
from undertow.runs.recovery import FIELDS, SavedState, recover, save_state
from undertow.runs.room import FORMAT, JOURNAL, STATE, check_room, check_same, clear, sweep

VERSION = 1
FIGURES = ("margin", "mass", "presence")
COLUMNS = "frame,time,object,area,margin,mass,presence,lost"


class Score(Protocol):
    """What a tracker says of one object in one frame."""

    @property
    def area(self) -> int:
        """Pixels of the object."""

    @property
    def margin(self) -> float:
        """Mean over the object's pixels of best minus second soft label."""

    @property
    def mass(self) -> float:
        """Kernel mass kept before renormalising."""

    @property
    def presence(self) -> float:
        """Probability that the object is where its mask says."""

    @property
    def lost(self) -> bool:
        """Whether the object is not believed to be there."""


class FrameResult(Protocol):
    """What a run stores of one frame; `undertow.tracking.TrackResult` is one."""

    @property
    def index(self) -> int:
        """0-based number of the frame."""

    @property
    def time(self) -> Fraction:
        """Exact time in seconds."""

    @property
    def name(self) -> str:
        """Name of the mask file, without suffix."""

    @property
    def labels(self) -> LabelMap:
        """Label map at native size."""

    @property
    def scores(self) -> Mapping[int, Score]:
        """Scores by object id, also of objects that are out of sight."""


class RunFolder:
    """A run being written. Use as a context manager, or call `close` when done.

        with RunFolder.open(out, video=..., model="tiny", settings={}, cues=[]) as run:
            tensors = run.state  # where an interrupted run had come to, if this is one
            for result in results:
                run.write_result(result)
                run.write_state(tensors)  # now and then
            run.finish()
            run.complete()

    Only one process at a time has a folder. Whatever moment it is killed at, opening the folder again goes on from the
    last state: a state is written after everything it builds on, and what was written after it is made again.

    Attributes:
        path: the folder.
        finished: whether the run was complete already when it was opened.
        frames: number of frames whose results are there.
        state: tensors of the last state, `None` if the run begins at its first frame.
        digest: what `write_state` was told of the frames seen until then.
        TABLE: the last file that `finish` writes; other kinds of runs have others.
        FIELDS: how many numbers a journal line has of each id.
    """

    TABLE: ClassVar[str] = "scores.csv"
    FIELDS: ClassVar[int] = FIELDS

    def __init__(self, path: Path, stack: ExitStack, *, finished: bool, saved: SavedState | None) -> None:
        """Takes a folder that is locked; users call `open`."""
        self.path, self.finished = path, finished
        self.frames = saved.frames if saved else 0
        self.state = saved.tensors if saved else None
        self.digest = saved.digest if saved else ""
        self._stack = stack
        self._journal: TextIO | None = None
        if not finished:
            self._journal = stack.enter_context((path / JOURNAL).open("a", encoding="utf-8"))

    @classmethod
    def open(
        cls,
        out: Path | str,
        *,
        video: str,
        model: str,
        settings: Mapping[str, Any],
        cues: Sequence[Any],
        overwrite: bool = False,
    ) -> Self:
        """Returns the run in the folder `out`: a new one, or the same one to be continued.

        Args:
            out: folder to make; it may exist if it is empty or holds a run.
            video: what `Video.fingerprint` says.
            model: name and fingerprint of the model.
            settings: all settings, resolved; see `plain` for what they may hold.
            cues: what the user gave, in order.
            overwrite: whether to replace an earlier run. Only files a run writes are removed.

        Raises:
            SettingsError: if `out` holds a run of another video, model, settings or cues and `overwrite` is false, if
                it holds something else, or if another process is writing to it.
        """
        path = Path(out)
        record = run_record(video=video, model=model, settings=settings, cues=cues)
        check_room(path)
        path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(exclusive(path))
            earlier = check_room(path)
            if earlier is not None and not overwrite:
                check_same(path, earlier, record)
            else:
                clear(path)
                write_json(path / "run.json", record)
            (path / "masks").mkdir(exist_ok=True)
            sweep(path)
            finished = (path / cls.TABLE).exists() and not (path / JOURNAL).exists()
            saved = None if finished else recover(path / STATE, path / JOURNAL, path / "masks", cls.FIELDS)
            return cls(path, stack.pop_all(), finished=finished, saved=saved)

    def append_cue(self, cue: Any) -> None:
        """Adds a cue to the log in run.json; earlier cues are never changed."""
        record = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        record["cues"].append(plain(cue))
        write_json(self.path / "run.json", record)

    def mask_path(self, name: str) -> Path:
        """Returns where the mask of the frame called `name` is or will be."""
        return self.path / "masks" / f"{name}.png"

    def write_result(self, result: FrameResult) -> None:
        """Writes the mask of one frame exactly as it is, then its journal line: a frame with a line is complete."""
        write_label_map(self.mask_path(result.name), result.labels)
        line = {
            "frame": result.index,
            "time": str(result.time),
            "name": result.name,
            "rles": label_map_rles(result.labels, object_ids(result.labels)),
            "scores": {
                object_id: [int(score.area), *(float(getattr(score, name)) for name in FIGURES), bool(score.lost)]
                for object_id, score in sorted(result.scores.items())
            },
        }
        self._note(line)

    def _note(self, line: Mapping[str, Any]) -> None:
        """Adds a frame's line to the journal."""
        self._lines_out.write(json.dumps(line) + "\n")
        self._lines_out.flush()
        self.frames += 1

    def write_state(self, tensors: Mapping[str, Tensor], digest: str = "") -> None:
        """Writes where the run has come to, atomically; the frames written so far are then never made again.

        Args:
            tensors: what the tracker goes on from, as `MaskTracker.state` gives it.
            digest: tells the frames seen so far from others, for videos that cannot be read again.
        """
        # The state must not reach the disk before the lines it builds on.
        self._lines_out.flush()
        os.fsync(self._lines_out.fileno())
        save_state(self.path / STATE, SavedState(self.frames, digest, dict(tensors)))

    def finish(self) -> None:
        """Assembles masks.json and scores.csv from the journal, in the order the frames were written.

        masks.json has a row for each object seen in a frame, with the time as an exact fraction of seconds
        ("1001/30000"; `Fraction` reads it) and an `rle` that `pycocotools.mask.decode` takes. scores.csv has a row for
        each object tracked, seen or not, with the time in decimal seconds to the nanosecond.
        """
        with atomic_path(self.path / "masks.json") as temporary, temporary.open("w", encoding="utf-8") as table:
            separator = "["
            for line in self._lines():
                for object_id, rle in line["rles"].items():
                    row = {"frame": line["frame"], "time": line["time"], "object": int(object_id), "rle": rle}
                    table.write(separator + "\n" + json.dumps(row))
                    separator = ","
            table.write("\n]\n" if separator == "," else "[]\n")
        with atomic_path(self.path / "scores.csv") as temporary, temporary.open("w", encoding="utf-8") as table:
            table.write(COLUMNS + "\n")
            for line in self._lines():
                for object_id, (area, *figures, lost) in line["scores"].items():
                    seconds = decimal_seconds(Fraction(line["time"]))
                    shown = ",".join(f"{figure:.6f}" for figure in figures)
                    table.write(f"{line['frame']},{seconds},{object_id},{area},{shown},{int(lost)}\n")

    def complete(self) -> None:
        """Removes what only an unfinished run needs; the folder holds a whole run from then on."""
        (self.path / STATE).unlink(missing_ok=True)
        # Last, since a run with a journal is not complete.
        (self.path / JOURNAL).unlink(missing_ok=True)
        self.finished = True

    def close(self) -> None:
        """Lets go of the folder; what was written stays."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _lines_out(self) -> TextIO:
        if self._journal is None:
            raise SettingsError(f"the run in '{self.path}' is complete; choose another --out to track again")
        return self._journal

    def _lines(self) -> Iterator[dict[str, Any]]:
        """Yields the journal, one frame at a time."""
        self._lines_out.flush()
        with (self.path / JOURNAL).open(encoding="utf-8") as journal:
            for line in journal:
                yield json.loads(line)


def run_record(*, video: str, model: str, settings: Mapping[str, Any], cues: Sequence[Any]) -> dict[str, Any]:
    """Returns what run.json says of a run; the arguments are those of `RunFolder.open`."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "video": video,
        "model": model,
        "settings": plain(settings),
        "cues": plain(cues),
    }


def decimal_seconds(time: Fraction) -> str:
    """Returns a time rounded to nine decimals, by integer arithmetic: exact to half a nanosecond however late it is."""
    nanoseconds = round(time * 10**9)
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{abs(nanoseconds) // 10**9}.{abs(nanoseconds) % 10**9:09d}"
