"""What a person did, in order, on disk after each step: every edit can be taken back and done again.

    edits.json        the video, the edits, and how many of them count
    maps/000012.png   the label map of a frame after edit 12

An edit keeps the whole label map that came of it: taking one back asks no model, and what is on the page is what the
tracker is given.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

from undertow.base import SettingsError, inside, whole, write_json
from undertow.masks import VOID, LabelMap, read_written_map, write_label_map
from undertow.runs import Cue

Kind = Literal["point", "box", "brush", "erase", "clear"]
LOG = "edits.json"


@dataclass(frozen=True)
class Edit:
    """One step.

    Attributes:
        number: Names its label map; never used twice.
        kind: What was done.
        frame: Number of the frame.
        object_id: The object it was done to.
        values: (x, y, inside) of a point, (x0, y0, x1, y1) of a box, and of a stroke its radius and then x and y of
            each place, in pixels.
    """

    number: int
    kind: Kind
    frame: int
    object_id: int
    values: tuple[float, ...] = ()

    @property
    def cue(self) -> Cue:
        """What a point or a box says, as a run takes it."""
        if self.kind == "box":
            x0, y0, x1, y1 = self.values[:4]
            return Cue("box", (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), self.frame, self.object_id)
        x, y, inside = self.values[:3]
        return Cue("point", (x, y, bool(inside)), self.frame, self.object_id)


class Edits:
    """The edits of a session in a folder.

    Attributes:
        folder: Where they are kept.
        video: What the video is called in it.
    """

    def __init__(self, folder: Path, video: str = "") -> None:
        """Reads the edits that are there.

        Raises:
            SettingsError: if they are damaged.
        """
        self.folder, self.video = folder, video
        self._edits: list[Edit] = []
        self._done = 0
        path = folder / LOG
        if not path.is_file():
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            self._edits = [_edit(row) for row in found["edits"]]
            self._done = whole(found["done"], "done", most=len(self._edits))
            self.video = video or str(found["video"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError, SettingsError) as error:
            raise SettingsError(f"'{path}' is damaged ({error}); move it away to start anew") from error

    @property
    def active(self) -> Sequence[Edit]:
        """The edits that count, in order."""
        return self._edits[: self._done]

    @property
    def undone(self) -> int:
        """Number of edits that were taken back and can be done again."""
        return len(self._edits) - self._done

    def last(self) -> Mapping[int, Edit]:
        """Returns the last edit of each frame that has any, in the order of frames."""
        return dict(sorted({edit.frame: edit for edit in self.active}.items()))

    def file(self, edit: Edit) -> Path:
        """Returns the path of the label map that came of an edit."""
        return inside(self.folder, f"maps/{edit.number:06d}", suffix=".png", links=False)

    def labels(self, frame: int) -> LabelMap | None:
        """Returns what the edits made of a frame; `None` if there are none on it."""
        edit = self.last().get(frame)
        return None if edit is None else read_written_map(self.file(edit))

    def prompts(self, frame: int, object_id: int) -> Sequence[Edit]:
        """Returns the points and boxes of an object on a frame since it was last cleared."""
        found: list[Edit] = []
        for edit in self.active:
            if (edit.frame, edit.object_id) == (frame, object_id):
                found = [] if edit.kind == "clear" else [*found, edit]
        return [edit for edit in found if edit.kind in ("point", "box")]

    def next(self, kind: Kind, frame: int, object_id: int, values: Sequence[float] = ()) -> Edit:
        """Returns an edit that is not added yet."""
        number = 1 + max((edit.number for edit in self._edits), default=0)
        return Edit(number, kind, frame, object_id, tuple(values))

    def add(self, edit: Edit, labels: LabelMap) -> None:
        """Adds an edit with the label map that came of it; those that were taken back are gone then."""
        gone = self._edits[self._done :]
        self.file(edit).parent.mkdir(parents=True, exist_ok=True)
        write_label_map(self.file(edit), labels)
        self._edits = [*self.active, edit]
        self._done += 1
        self._save()
        for old in gone:
            self.file(old).unlink(missing_ok=True)

    def move(self, steps: int) -> Edit | None:
        """Takes an edit back (-1) or does it again (1), and returns it; `None` if there is none."""
        if not 0 <= self._done + steps <= len(self._edits):
            return None
        edit = self._edits[min(self._done, self._done + steps)]
        self._done += steps
        self._save()
        return edit

    def _save(self) -> None:
        rows = [asdict(edit) for edit in self._edits]
        write_json(self.folder / LOG, {"video": self.video, "done": self._done, "edits": rows})


def _edit(row: Mapping[str, Any]) -> Edit:
    if row["kind"] not in get_args(Kind):
        raise ValueError(f"{row['kind']!r} is no kind of edit")
    number, frame = (whole(row[name], name, most=10**9) for name in ("number", "frame"))
    object_id = whole(row["object_id"], "object_id", least=1, most=VOID - 1)
    return Edit(number, row["kind"], frame, object_id, tuple(map(float, row["values"])))


def painted(labels: LabelMap, object_id: int, values: Sequence[float], *, erase: bool) -> LabelMap:
    """Returns a label map after a stroke.

    Args:
        labels: The map before.
        object_id: The object painted, or the one erased.
        values: Radius, and x and y of each place, in pixels.
        erase: Whether the object is taken away where the stroke is.
    """
    radius, places = values[0], [(values[i], values[i + 1]) for i in range(1, len(values) - 1, 2)]
    height, width = labels.shape
    stroke = Image.new("1", (width, height))
    draw = ImageDraw.Draw(stroke)
    # Pillow counts from the centre of the first pixel, undertow from its corner.
    for x, y in places:
        draw.ellipse((x - 0.5 - radius, y - 0.5 - radius, x - 0.5 + radius, y - 0.5 + radius), fill=1)
    draw.line([(x - 0.5, y - 0.5) for x, y in places], fill=1, width=max(1, round(2 * radius)))
    inside_stroke = np.asarray(stroke, bool)
    if erase:
        return np.where(inside_stroke & (labels == object_id), 0, labels).astype(np.uint16)
    return np.where(inside_stroke, object_id, labels).astype(np.uint16)
