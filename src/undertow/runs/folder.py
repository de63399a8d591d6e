"""The run folder: what a run of any task leaves behind, and the unit of sharing.

    run.json           what was run (see `undertow.runs.record`)
    frames.json        number, exact time and name of each frame
    ...                the task's own files
    overlay.mp4        views (see `undertow.runs.views`)
    state.safetensors  where an unfinished run has come to (see `undertow.runs.journal`)

Results go to disk as they come, each frame's row to a hidden journal, from which the task makes its tables at the end.
So memory does not grow with the video, and tables exist only once they are whole.

A change to a complete run is made in the hidden folder `.amendment` and put in place when all of it is there, by the
command that made it or by whoever opens the run next.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Self, TextIO

from torch import Tensor

from undertow.base import LOCK, SettingsError, atomic_path, check_unwritten, exclusive, inside, write_json
from undertow.runs.journal import JOURNAL, STATE, SavedState, encode_line, read_lines, recover, save_state
from undertow.runs.record import FRAMES, RECORD, Record, mark_unfinished, owned_files, owns, read_record
from undertow.runs.task import Result

STAGING, READY = ".amendment", "ready.json"
# What `atomic_path` calls the temporary file of a name.
_TEMPORARY = re.compile(r"\.(?P<stem>.+)-[a-z0-9_]{8}(?P<suffix>\.[a-z0-9]+)", re.DOTALL)


class Folder:
    """A run being written. Use as a context manager, or call `close` when done.

        with Folder.open(out, record) as run:
            tensors = run.state  # where an interrupted run had come to, if this is one
            for result in results:
                run.note(result, {"files": [...]})
                run.save(tensors)  # now and then
            run.complete()

    Only one process at a time has a folder. Whatever moment it is killed at, opening the folder again goes on from the
    last state: a state is written after everything it builds on, and what was written after it is made again.

    Attributes:
        path: The folder.
        record: What run.json says.
        finished: Whether the run is complete.
        done: Number of frames whose results are there.
        state: Tensors of the last state; `None` if the run begins at its first frame.
        digest: What `save` was given for the frames seen until then.
    """

    def __init__(self, path: Path, record: Record, stack: ExitStack, saved: SavedState | None = None) -> None:
        """Takes a folder that is prepared; users call `open`."""
        self.path, self.record, self.finished = path, record, record.complete is not None
        self.done = saved.frames if saved else 0
        self.state = saved.tensors if saved else None
        self.digest = saved.digest if saved else ""
        self._stack = stack
        self._journal: TextIO | None = None
        if not self.finished:
            self._journal = stack.enter_context(inside(path, JOURNAL, links=False).open("a", encoding="utf-8"))

    @classmethod
    def open(cls, out: Path | str, record: Record, *, overwrite: bool = False, amend: bool = False) -> Self:
        """Returns the run in the folder `out`: a new one, or the same one to be continued.

        Args:
            out: Folder to make; it may exist if it is empty or holds a run.
            record: What is asked for now.
            overwrite: Whether to replace an earlier run of any task. Only files that a run writes are removed.
            amend: Whether a complete run is opened also if it differs in its cues alone, to be amended.

        Raises:
            SettingsError: if `out` holds a run of another task, video, model, settings or cues and `overwrite` is
                false, if it holds something else or a damaged run, or if another process is writing to it or has it
                open in the app.
        """
        path = Path(out)
        check_place(path, overwrite=overwrite)
        path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(exclusive(path))
            check_place(path, overwrite=overwrite)
            if overwrite:
                _clear(path, owned_files(path) or ())
            else:
                _settle(path)
            earlier = None if overwrite else read_record(path)
            if earlier is None:
                record.write(path)
            else:
                check_same(path, earlier, record, cues=not amend or earlier.complete is None)
            return cls._prepared(path, earlier or record, stack)

    @classmethod
    def reopen(cls, out: Path | str, task: str) -> Self:
        """Returns the complete run of a task in a folder, to be looked at or drawn anew.

        Raises:
            SettingsError: if there is no complete run of it, or another process is writing to it or has it open in
                the app.
        """
        path = Path(out)
        found = read_record(path) if path.is_dir() else None
        if found is None or found.task != task:
            raise SettingsError(f"'{out}' holds no run of {task}; name the --out of one")
        with ExitStack() as stack:
            stack.enter_context(exclusive(path))
            _check_app(path)
            _settle(path)
            record = read_record(path)
            if record is None or record.complete is None:
                raise SettingsError(f"the run in '{out}' is not finished; run the command that began it again")
            return cls._prepared(path, record, stack)

    @classmethod
    def _prepared(cls, path: Path, record: Record, stack: ExitStack) -> Self:
        """Returns a run that is locked, after what a process left that was killed has been cleared up."""
        _sweep(path, record.files)
        saved = None
        if record.complete is None:
            saved = recover(path, lambda name: owns(record.files, name))
        else:
            _check_whole(path, record)
            _forget(path)
        return cls(path, record, stack.pop_all(), saved)

    def file(self, folder: str, name: str, suffix: str) -> Path:
        """Returns the path of a file made of a frame, such as the mask of the frame called `name`."""
        return inside(self.path, f"{folder}/{name}", suffix=suffix, links=False)

    def note(self, result: Result, line: Mapping[str, Any]) -> None:
        """Adds a frame to the journal.

        Args:
            result: What the job said of it.
            line: What `finish` needs of it, and under "files" the files written, relative to the folder.
        """
        about = {"frame": result.index, "time": str(result.time), "name": result.name, "files": []}
        self._open_journal.write(encode_line({**about, **line}))
        self._open_journal.flush()
        self.done += 1

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yields what was noted, one frame at a time, with "frame", "time" and "name" of each."""
        self._open_journal.flush()
        return read_lines(self.path)

    def save(self, tensors: Mapping[str, Tensor], digest: str = "") -> None:
        """Writes where the run has come to, atomically; the frames noted so far are then never made again.

        Args:
            tensors: What the job goes on from; without any, nothing is written.
            digest: Tells the frames seen so far from others, for videos that cannot be read again.
        """
        if tensors and self.done:
            # The state must not reach the disk before the lines it builds on.
            os.fsync(self._open_journal.fileno())
            save_state(self.path, SavedState(self.done, digest, dict(tensors)))

    def log(self, entry: Mapping[str, Any]) -> None:
        """Adds an entry to the log of cues; earlier ones are never changed."""
        self.record = replace(self.record, cues=(*self.record.cues, entry))
        self.record.write(self.path)

    def complete(self, tables: Sequence[str] = ()) -> None:
        """Marks the run as complete, `tables` being files it cannot do without, and removes what unfinished runs need.

        Raises:
            SettingsError: if one of them, or a file of a frame, is gone.
        """
        counts: dict[str, int] = {}
        if FRAMES in self.record.files:
            tables = (*tables, FRAMES)
            self._write_frames()
        for name in chain(tables, (name for line in self.lines() for name in line["files"])):
            if not (self.path / name).is_file():
                raise SettingsError(f"'{self.path / name}' was removed during the run; run the command again")
            for pattern in self.record.files:
                if owns((pattern,), name):
                    counts[pattern] = counts.get(pattern, 0) + 1
        self.record = replace(self.record, complete=counts)
        self.record.write(self.path)
        _forget(self.path)
        self.finished = True

    def _write_frames(self) -> None:
        """Writes frames.json, a row for each frame and one to a line."""
        with atomic_path(self.path / FRAMES) as temporary, temporary.open("w", encoding="utf-8") as file:
            separator = "["
            for line in self.lines():
                file.write(f"{separator}\n{json.dumps({name: line[name] for name in ('frame', 'time', 'name')})}")
                separator = ","
            file.write("\n]\n" if separator == "," else "[]\n")

    def stage(self) -> "Folder":
        """Returns an empty folder in which a change to this run is prepared, a run by itself."""
        path = self.path / STAGING
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return self._stack.enter_context(Folder(path, replace(self.record, complete=None), ExitStack()))

    def put_in_place(self, staged: "Folder", outdated: Sequence[str]) -> None:
        """Moves the files of a change into the run, run.json last; what is interrupted is done at the next open.

        Args:
            staged: The change, whole.
            outdated: Names of files that show the run as it was.
        """
        staged.close()
        _forget(staged.path)
        replace(staged.record, complete=self.record.complete).write(staged.path)
        write_json(staged.path / READY, {"outdated": list(outdated)})
        _settle(self.path)
        self.record = read_record(self.path) or self.record

    def close(self) -> None:
        """Lets go of the folder; what was written stays."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def _open_journal(self) -> TextIO:
        if self._journal is None or self.finished:
            raise SettingsError(f"the run in '{self.path}' is complete; choose another --out to run again")
        return self._journal


def check_place(path: Path, *, overwrite: bool = False) -> None:
    """Raises SettingsError unless a run can be written to a folder, or the run there continued or replaced."""
    if path.exists() and not path.is_dir():
        raise SettingsError(f"--out '{path}' is a file; name a folder")
    _check_app(path)
    # A process killed as it began leaves its lock and a run.json under a temporary name.
    if not path.exists() or all(entry.name == LOCK or _temporary((RECORD,), entry.name) for entry in path.iterdir()):
        return
    if owned_files(path) is None if overwrite else read_record(path) is None:
        raise SettingsError(f"--out '{path}' holds files that are not a run; choose an empty or new folder")


def edits_of(out: Path) -> Path:
    """Returns the folder beside a run in which the app keeps its edits, locked for as long as it has the run open."""
    path = out.absolute()
    return path.with_name(f"{path.name}.app")


def _check_app(path: Path) -> None:
    """Raises SettingsError if the app of another process has a run open."""
    check_unwritten(
        edits_of(path), lambda process: f"an app{process} has '{path}' open; end it, or choose another --out"
    )


def check_same(path: Path, earlier: Record, now: Record, *, cues: bool = True) -> None:
    """Raises SettingsError, saying what differs, unless two records are of one run, or the same but for cues."""
    otherwise = "add --overwrite to replace it, or choose another --out"
    if earlier.task != now.task:
        raise SettingsError(f"--out '{path}' holds a run of {earlier.task}; {otherwise}")
    unlike = earlier.differences(now if cues else replace(now, cues=earlier.cues))
    if unlike and all(each.startswith("cues.") for each in unlike) and (left_out := earlier.left_out(now)):
        raise SettingsError(
            f"the run in '{path}' also has {', '.join(left_out)}; give that again beside what is new, "
            "or choose another --out"
        )
    if unlike:
        shown = "; ".join(unlike[:3]) + (f"; and {len(unlike) - 3} more" if len(unlike) > 3 else "")
        raise SettingsError(
            f"--out '{path}' already holds another run ({shown}); give the same to continue it, {otherwise}"
        )


def _check_whole(path: Path, record: Record) -> None:
    """Raises SettingsError if files of a complete run are gone."""
    for pattern, count in (record.complete or {}).items():
        there = sum(1 for _ in path.glob(pattern))
        if there < count:
            raise SettingsError(
                f"the run in '{path}' has {there} of {count} files {pattern}; add --overwrite to make it again, or "
                "choose another --out"
            )


def _settle(path: Path) -> None:
    """Completes a change that was being put in place, and forgets one that was not whole."""
    staging = inside(path, STAGING, links=False)
    if not staging.is_dir():
        return
    try:
        outdated = json.loads((staging / READY).read_text(encoding="utf-8"))["outdated"]
        names = [str(name) for name in outdated]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        names = None
    # Once run.json has been moved all else has.
    record = None if names is None else read_record(staging)
    if record is not None and names is not None:
        for name in names:
            _remove(path, record, name)
        for file in sorted(staging.rglob("*")):
            name = file.relative_to(staging).as_posix()
            if owns(record.files, name) and file.is_file():
                target = inside(path, name, links=False)
                target.parent.mkdir(exist_ok=True)
                os.replace(file, target)
        os.replace(staging / RECORD, path / RECORD)
    shutil.rmtree(staging)


def _remove(path: Path, record: Record, name: str) -> None:
    """Removes a file of a run, and nothing else."""
    if owns(record.files, name):
        inside(path, name, links=False).unlink(missing_ok=True)


def _clear(path: Path, patterns: Sequence[str]) -> None:
    """Removes an earlier run's files, and only these; not run.json, so that a folder half cleared is still a run."""
    # Interrupted after this, nobody takes what is left for a complete run.
    mark_unfinished(path)
    shutil.rmtree(path / STAGING, ignore_errors=True)
    for pattern in patterns:
        for file in path.glob(pattern):
            if not file.parent.is_symlink() or file.parent == path:
                file.unlink()
    _sweep(path, patterns)
    for folder in {(path / pattern).parent for pattern in patterns} - {path}:
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
    _forget(path)


def _forget(path: Path) -> None:
    """Removes what only an unfinished run needs."""
    (path / STATE).unlink(missing_ok=True)
    (path / JOURNAL).unlink(missing_ok=True)


def _sweep(path: Path, patterns: Sequence[str]) -> None:
    """Removes the temporary files of a process that was killed while it wrote."""
    ours = (*patterns, RECORD, STATE)
    for folder in {path, *((path / pattern).parent for pattern in patterns)}:
        for entry in folder.glob(".*"):
            if _temporary(ours, entry.relative_to(path).as_posix()) and not folder.is_symlink():
                entry.unlink()


def _temporary(patterns: Sequence[str], name: str) -> bool:
    """Returns whether a path relative to a run's folder is that of an unfinished file of the run."""
    folder, slash, last = name.rpartition("/")
    match = _TEMPORARY.fullmatch(last)
    return match is not None and owns(patterns, f"{folder}{slash}{match['stem']}{match['suffix']}")
