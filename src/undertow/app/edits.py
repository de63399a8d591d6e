"""What a person did, in order, on disk after each step: every edit can be taken back and done again.

    edits.json           the video, the edits, and how many of them count
    maps/000012-3.png    the label map that edit 12 made of frame 3
    runs/000013/         the run as it was after edit 13, which made it (see `undertow.app.history`)

An edit keeps the whole label map that came of it: taking one back asks no model, and what is on the page is what the
model is given.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from undertow.base import SettingsError, exclusive, inside, whole, write_json
from undertow.masks import VOID, LabelMap, object_ids, read_written_map, write_label_map
from undertow.runs import Cue
from undertow.runs.cues import described

Kind = Literal[
    "point", "box", "brush", "erase", "fill", "clear", "delete", "name", "range", "run",
    "drop", "drag", "grid", "hide", "remove", "colour", "merge", "word", "way",
]  # fmt: skip
LOG = "edits.json"
MOST_LETTERS = 200


@dataclass(frozen=True)
class Edit:
    """One step.

    Attributes:
        number: Names its label maps; never used twice.
        kind: What was done.
        frame: Number of the frame.
        object_id: The object, class, point or expression it was done to.
        values: (x, y, inside) of a point, (x0, y0, x1, y1) of a box, radius and then x and y of each place of a stroke
            (which are not kept), (x, y) of a place, (points across) of a grid, (first, last) of a range, the id merged
            into; in pixels.
        text: A name, a colour, an expression or a direction.
        frames: The frames that it made label maps of.
    """

    number: int
    kind: Kind
    frame: int
    object_id: int
    values: tuple[float, ...] = ()
    text: str = ""
    frames: tuple[int, ...] = ()

    @property
    def cue(self) -> Cue:
        """What a point or a box says, as a run takes it."""
        if self.kind == "box":
            x0, y0, x1, y1 = self.values[:4]
            return Cue("box", (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), self.frame, self.object_id)
        x, y, inside = self.values[:3]
        return Cue("point", (x, y, bool(inside)), self.frame, self.object_id)


@dataclass(frozen=True)
class Described:
    """What is on a label map.

    Attributes:
        ids: Its ids, without 0 and void.
        zero: Whether 0 is on it.
        log: What run.json keeps of it.
    """

    ids: Sequence[int]
    zero: bool
    log: Mapping[str, Any]


class Edits:
    """The edits of a session in a folder, which this process has to itself until `close`.

    Attributes:
        folder: Where they are kept.
        video: Path of the video.
        own: Whether the run beside them was made by the app, so that it may be replaced.
    """

    def __init__(self, folder: Path, video: str = "", own: bool = True) -> None:
        """Reads the edits that are there.

        Args:
            folder: Where they are kept.
            video: Path of the video, if it is known; without it nothing can be edited, and no folder is made.
            own: What `own` becomes if there are no edits yet.

        Raises:
            SettingsError: if they are damaged, or another process has them.
        """
        self.folder, self.video, self.own = folder, video, own
        self._edits: list[Edit] = []
        self._done = 0
        # By edit and frame: maps never change, and are many.
        self._described: dict[tuple[int, int], Described] = {}
        self._held = ExitStack()
        path = folder / LOG
        if video or path.is_file():
            self._hold()
        if not path.is_file():
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            self._edits = [_edit(row) for row in found["edits"]]
            self._done = whole(found["done"], "done", most=len(self._edits))
            self.video = video or str(found["video"])
            self.own = found.get("own") is not False
        except (OSError, ValueError, TypeError, KeyError, RecursionError, SettingsError) as error:
            self.close()
            raise SettingsError(f"'{path}' is damaged ({error}); move it away to start anew") from error

    def close(self) -> None:
        """Lets other processes have the folder, of which nothing stays if there are no edits."""
        self._held.close()
        with suppress(OSError):
            self.folder.rmdir()

    def _hold(self) -> None:
        """Keeps the folder, and with it the run, for this process."""
        run = self.folder.with_name(self.folder.name.removesuffix(".app"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(
            exclusive(self.folder, lambda process: f"an app{process} has '{run}' open already; use that one, or end it")
        )

    @property
    def active(self) -> Sequence[Edit]:
        """The edits that count, in order."""
        return self._edits[: self._done]

    @property
    def undone(self) -> int:
        """Number of edits that were taken back and can be done again."""
        return len(self._edits) - self._done

    def last(self) -> Mapping[int, Edit]:
        """Returns the edit that made the label map of each frame that has one, in the order of frames."""
        return dict(sorted({frame: edit for edit in self.active for frame in edit.frames}.items()))

    def of(self, *kinds: Kind) -> Iterator[Edit]:
        """Yields the edits that count of some kinds, in order."""
        return (edit for edit in self.active if edit.kind in kinds)

    def file(self, edit: Edit, frame: int) -> Path:
        """Returns the path of the label map that an edit made of a frame."""
        return inside(self.folder, f"maps/{edit.number:06d}-{frame}", suffix=".png", links=False)

    def snapshot(self, edit: Edit) -> Path:
        """Returns the folder of the run as it was after an edit that made it."""
        return inside(self.folder, f"runs/{edit.number:06d}", links=False)

    def labels(self, frame: int) -> LabelMap | None:
        """Returns what the edits made of a frame; `None` if there are none on it."""
        edit = self.last().get(frame)
        return None if edit is None else read_written_map(self.file(edit, frame))

    def described(self, edit: Edit, frame: int) -> Described:
        """Returns what is on the label map that an edit made of a frame."""
        key = edit.number, frame
        if key not in self._described:
            labels = read_written_map(self.file(edit, frame))
            self._described[key] = Described(object_ids(labels), bool((labels == 0).any()), described(frame, labels))
        return self._described[key]

    def prompts(self) -> Mapping[tuple[int, int], Sequence[Edit]]:
        """Returns the points and boxes of each frame and object since it was last cleared there."""
        found: dict[tuple[int, int], list[Edit]] = {}
        for edit in self.active:
            if edit.kind in ("point", "box"):
                found.setdefault((edit.frame, edit.object_id), []).append(edit)
            elif edit.kind == "clear":
                found.pop((edit.frame, edit.object_id), None)
            elif edit.kind == "delete":
                found = {key: prompts for key, prompts in found.items() if key[1] != edit.object_id}
        return found

    def next(self, kind: Kind, frame: int, object_id: int, values: Sequence[float] = (), text: str = "") -> Edit:
        """Returns an edit that is not added yet."""
        number = 1 + max((edit.number for edit in self._edits), default=0)
        return Edit(number, kind, frame, object_id, tuple(values), text)

    def add(self, edit: Edit, maps: Mapping[int, LabelMap] | None = None) -> None:
        """Adds an edit with the label maps that came of it; edits that were taken back are gone then.

        Raises:
            OSError: if it cannot be written; then it has not happened.
        """
        if not self._edits:
            (self.folder / "maps").mkdir(parents=True, exist_ok=True)
            self._held.close()
            self._hold()
        gone = self._edits[self._done :]
        # A stroke has many numbers, and its label map says all of it.
        values = () if edit.kind in ("brush", "erase") else edit.values
        edit = replace(edit, frames=tuple(sorted(maps or ())), values=values)
        for frame, labels in (maps or {}).items():
            write_label_map(self.file(edit, frame), labels)
        self._save([*self.active, edit], self._done + 1)
        for old in gone:
            for frame in old.frames:
                self.file(old, frame).unlink(missing_ok=True)
            if old.kind == "run":
                shutil.rmtree(self.snapshot(old), ignore_errors=True)

    def move(self, steps: int) -> Edit | None:
        """Takes an edit back (-1) or does it again (1), and returns it; `None` if there is none.

        Raises:
            OSError: if that cannot be written; then it has not happened.
        """
        if not 0 <= self._done + steps <= len(self._edits):
            return None
        edit = self._edits[min(self._done, self._done + steps)]
        self._save(self._edits, self._done + steps)
        return edit

    def _save(self, edits: list[Edit], done: int) -> None:
        rows = [asdict(edit) for edit in edits]
        write_json(self.folder / LOG, {"video": self.video, "own": self.own, "done": done, "edits": rows})
        self._edits, self._done = edits, done


def _edit(row: Mapping[str, Any]) -> Edit:
    if row["kind"] not in get_args(Kind):
        raise ValueError(f"{row['kind']!r} is no kind of edit")
    number, frame = (whole(row[name], name, most=10**9) for name in ("number", "frame"))
    object_id = whole(row["object_id"], "object_id", most=VOID - 1)
    frames = tuple(whole(each, "a frame", most=10**9) for each in row.get("frames", ()))
    text = str(row.get("text", ""))[:MOST_LETTERS]
    return Edit(number, row["kind"], frame, object_id, tuple(map(float, row["values"])), text, frames)
