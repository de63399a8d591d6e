"""Masks through a video: points, boxes, brush, eraser and fill make the label map of a frame, which is the cue."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from undertow.app.edits import Edit, Kind
from undertow.app.painting import erased, painted, region, stroke
from undertow.app.session import Session
from undertow.base import CueError
from undertow.export import open_run
from undertow.export.mattes import soft_mattes
from undertow.export.run import grid_of
from undertow.masks import LabelMap, object_ids
from undertow.masks.colours import hex_of, object_colour
from undertow.runs import Cue
from undertow.runs.cues import described
from undertow.runs.record import Record, digests
from undertow.runs.task import Given
from undertow.tracking.cues import Prompted, prompted_masks, prompter

# Without one, all frames are tracked, and a correction changes those from its frame on.
WAYS = ("", "forward", "back", "both")


class MaskSession(Session):
    """Objects that are marked on some frames and tracked through the others."""

    task = "track"
    kinds: ClassVar[Mapping[Kind, int]] = {
        "point": 3, "box": 4, "brush": 3, "erase": 3, "fill": 2, "clear": 0, "delete": 0,
        "name": 0, "range": 2, "way": 0,
    }  # fmt: skip

    @property
    def way(self) -> str:
        """The direction that was chosen: one of `WAYS`."""
        return next((edit.text for edit in reversed(self.edits.active) if edit.kind == "way"), "")

    @property
    def part(self) -> tuple[int, int]:
        """First and last frame of a run: forward begins at the first mask, back ends at the last."""
        first, last = self.range
        way = self.way
        if way not in ("forward", "back"):
            return first, last
        drawn = (f for f, edit in self.edits.last().items() if first <= f <= last and self.counts(edit, f))
        given = [*drawn] or [first if way == "forward" else last]
        return (given[0], last) if way == "forward" else (first, given[-1])

    @property
    def chosen(self) -> Any:
        """The options of a run, in which a correction changes the frames before it too if that was chosen."""
        return replace(self.settings, correct_back=self.way in ("back", "both"))

    def call(self) -> tuple[str, str, str] | None:
        """Returns what does the same; see `Session.call`."""
        files = {cue.frame: str(cue.value.absolute()) for cue in self.cues()}
        return ("track", f"mask={files!r}", "scores") if files else None

    def edit(
        self, kind: Kind, number: int, object_id: int, values: Sequence[float] = (), text: str = "",
        locked: Collection[int] = (),
    ) -> None:  # fmt: skip
        """Does what a person did; back after forward, or the reverse, is both, so that what was made stays."""
        if kind == "way" and {text, self.way} == {"forward", "back"}:
            text = "both"
        super().edit(kind, number, object_id, values, text, locked)

    def made_of(self, edit: Edit, locked: Collection[int]) -> Mapping[int, LabelMap]:
        """Returns the label map that a tool makes of its frame; of a deletion, those of all frames with the object."""
        number = edit.object_id
        if edit.kind == "delete":
            given = [f for f, each in self.edits.last().items() if number in self.edits.described(each, f).ids]
            found = {frame: self.edits.labels(frame) for frame in given}
            return {f: erased(labels, labels == number, number) for f, labels in found.items() if labels is not None}
        if edit.kind == "way" and edit.text not in WAYS:
            raise CueError(f"there is no direction '{edit.text}'; choose {', '.join(WAYS[1:])} or none")
        if edit.kind in ("name", "range", "way"):
            return {}
        before = self.labels(edit.frame)
        labels = np.zeros(self.project.size, np.uint16) if before is None else before
        if edit.kind in ("brush", "erase"):
            where = stroke(edit.values, labels.shape)
            made = erased(labels, where, number) if edit.kind == "erase" else painted(labels, where, number, locked)
        elif edit.kind == "fill":
            made = painted(labels, region(labels, *edit.values[:2]), number, locked)
        else:
            seen = None if edit.kind == "clear" else self._found(edit)
            made = erased(labels, labels == number, number)
            if seen is not None:
                made = painted(made, seen == number, number, locked)
        return {edit.frame: made}

    def cues(self) -> list[Cue]:
        """Returns a mask for each frame that has something drawn on it.

        Raises:
            CueError: if there is none.
        """
        files = {f: self.edits.file(edit, f) for f, edit in self.edits.last().items() if self.counts(edit, f)}
        return [Cue("mask", path, frame, None, f"{path}@{frame}") for frame, path in files.items()]

    def run(self) -> None:
        """Queues a run; see `Session.run`."""
        if self.project.video is not None and not self.cues():
            raise CueError("no object is marked yet; click on one, or draw a box around it")
        super().run()

    def facts(self) -> dict[str, Any]:
        """Returns objects, and the points and boxes that they were made of."""
        active, gone = self.edits.active, {edit.object_id for edit in self.edits.of("delete")}
        drawn = {
            number for frame, edit in self.edits.last().items() for number in self.edits.described(edit, frame).ids
        }
        made = {int(number) for row in self.results.scores.values() for number in row}
        ids = drawn | {edit.object_id for edit in active if edit.kind in ("name", "clear", "erase")} | made
        names = self._names()
        return {
            "way": self.way,
            "objects": [
                {"id": n, "name": names.get(n, f"Object {n}"), "colour": hex_of(object_colour(n))}
                for n in sorted(ids - (gone - drawn))
            ],
            "prompts": [
                {"kind": edit.kind, "frame": edit.frame, "object": edit.object_id, "values": edit.values}
                for prompts in self.edits.prompts().values()
                for edit in prompts
            ],
        }

    def called(self) -> str | None:
        """Returns the names that objects of the run were given, as exports take them."""
        there = {int(number) for row in self.results.scores.values() for number in row}
        named = sorted((number, name) for number, name in self._names().items() if number in there)
        return ",".join(f"{number}={name}" for number, name in named) or None

    def soft(self, number: int, object_id: int) -> Float32[np.ndarray, "h w"] | None:
        """Returns the alpha of an object on a frame, in [0, 1], as made of its mask; `None` if it is not there."""
        labels = self.labels(number)
        if labels is None or object_id not in (ids := object_ids(labels)) or self.project.video is None:
            return None
        image = self.project.video.frame(number).image
        record = self.record
        return soft_mattes(labels, ids, image, None if record is None else grid_of(record))[object_id]

    def amends(self, earlier: Record, given: Given[Any]) -> bool:
        """Returns whether all that was given before is given still: then what is new is a correction."""
        return digests(earlier.cues).keys() <= digests(given.log).keys()

    def take_over(self, record: Record) -> None:
        """Makes the masks that a run of the command line was given the first edits, so that it can be corrected."""
        if self.project.video is None:
            return
        run, known = open_run(self.out), digests(record.cues)
        given = [int(cue["frame"]) for cue in record.cues if "sha256" in cue and "frame" in cue]
        for number in sorted({*given} & self.results.names.keys()):
            labels = run.masks(number)
            if described(number, labels)["sha256"] == known.get(f"frame {number}"):
                first = self.edits.next("brush", number, min(object_ids(labels), default=1))
                self.edits.add(first, {number: labels})
        self.kept()

    def _found(self, edit: Edit) -> LabelMap:
        """Returns the mask that points and boxes of an object make, the last of which is an edit to come."""
        assert self.project.video is not None
        earlier = self.edits.prompts().get((edit.frame, edit.object_id), ())
        kept = [each for each in earlier if not each.kind == edit.kind == "box"]
        cues = [each.cue for each in (*kept, edit)]
        return prompted_masks(cues, self.project.video, lambda: self._prompted)[edit.frame]

    @cached_property
    def _prompted(self) -> Prompted:
        return prompter(self.settings, lambda: self.project.model(self.task))

    def _names(self) -> dict[int, str]:
        named = {edit.object_id: edit.text.replace(",", " ") for edit in self.edits.of("name")}
        return {number: name for number, name in named.items() if name}
