"""The class of every pixel: anchors are painted, or clusters are found, and then named, merged and coloured."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from undertow.app.edits import Edit, Kind
from undertow.app.painting import erased, painted, region, stroke
from undertow.app.pictures import mask_png
from undertow.app.session import Session
from undertow.app.work import opened
from undertow.base import CueError, SilentProgress
from undertow.drawing import class_colour, class_palette
from undertow.masks import VOID, LabelMap
from undertow.masks.colours import hex_of
from undertow.parsing.labels import NAMES
from undertow.parsing.naming import ClassEntry, NameTable
from undertow.runs import Cue
from undertow.tasks import TASKS


class ClassSession(Session):
    """Classes that are painted on some frames, or clusters, of all frames."""

    task = "parse"
    background = VOID
    kinds: ClassVar[Mapping[Kind, int]] = {
        "brush": 3, "erase": 3, "fill": 2, "clear": 0, "name": 0, "colour": 0, "merge": 1, "range": 2,
    }  # fmt: skip

    def made_of(self, edit: Edit, locked: Collection[int]) -> Mapping[int, LabelMap]:
        """Returns the anchor that a tool makes of its frame; of a name, colour or merge, that it can be one."""
        if edit.kind in ("name", "colour", "merge"):
            known = self._ids()
            if edit.kind != "name" and not {edit.object_id, *(edit.values if edit.kind == "merge" else ())} <= known:
                raise CueError(f"there is no class {edit.object_id} yet; paint it, or let clusters be found")
            # A table that is no use says so before the edit counts.
            self.table(edit)
            return {}
        if edit.kind == "range":
            return {}
        before = self.edits.labels(edit.frame)
        labels = np.full(self.project.size, VOID, np.uint16) if before is None else before
        number = edit.object_id
        if edit.kind == "fill":
            made = painted(labels, region(labels, *edit.values[:2]), number, locked)
        elif edit.kind == "clear":
            made = erased(labels, labels == number, number, VOID)
        else:
            where = stroke(edit.values, labels.shape)
            made = (
                erased(labels, where, number, VOID) if edit.kind == "erase" else painted(labels, where, number, locked)
            )
        return {edit.frame: made}

    def after(self) -> None:
        """Writes names.json, which is what people edit of such a run."""
        record = self.record
        if record is not None and record.complete is not None and self.edits.own:
            self.table().write(self.out / NAMES)

    def counts(self, edit: Edit, frame: int) -> bool:
        """Returns whether anything is painted on a frame."""
        found = self.edits.described(edit, frame)
        return found.zero or bool(found.ids)

    def cues(self) -> list[Cue]:
        """Returns an anchor for each frame that is painted; without any, clusters are found."""
        files = {f: self.edits.file(edit, f) for f, edit in self.edits.last().items() if self.counts(edit, f)}
        return [Cue("anchor", path, frame, None, f"{path}@{frame}") for frame, path in files.items()]

    def call(self) -> tuple[str, str, str] | None:
        """Returns what does the same; see `Session.call`."""
        maps = (f"{cue.frame}: ut.read_label_map({str(cue.value.absolute())!r})" for cue in self.cues())
        return "parse", f"anchors={{{', '.join(maps)}}}", "areas"

    def table(self, more: Edit | None = None) -> NameTable:
        """Returns what classes are called, merged into and drawn in.

        Args:
            more: An edit that is still to be added.

        Raises:
            SettingsError: if that cannot be.
        """
        kind = "class" if self.cues() else "cluster"
        rows = {number: ClassEntry(number, f"{kind} {number}") for number in self._ids()}
        for edit in (*self.edits.active, *([] if more is None else [more])):
            row = rows.get(edit.object_id)
            if row is None or edit.kind not in ("name", "colour", "merge"):
                continue
            changed: dict[str, Any] = {edit.kind: edit.text}
            if edit.kind == "merge":
                changed = {"merge": None if edit.values[0] == row.id else int(edit.values[0])}
            rows[row.id] = ClassEntry(**(vars(row) | changed))
        return NameTable(tuple(rows[number] for number in sorted(rows)))

    def facts(self) -> dict[str, Any]:
        """Returns the classes, which are the objects here."""
        table = self.table()
        mapping = table.mapping()
        return {
            "objects": [
                {
                    "id": row.id, "name": row.name, "merge": row.merge,
                    "colour": hex_of(self._colour(table, mapping.get(row.id, row.id))),
                }
                for row in table.entries
            ],
        }  # fmt: skip

    def labels(self, number: int) -> LabelMap | None:
        """Returns the classes of a frame as names merge them; what is painted stays as it is."""
        drawn = self.edits.labels(number)
        if drawn is not None:
            return drawn
        found, mapping = self.results.labels(number), self.table().mapping()
        if found is None or not mapping:
            return found
        lookup = np.arange(VOID + 1, dtype=np.uint16)
        lookup[list(mapping)] = list(mapping.values())
        return lookup[found]

    def picture(self, labels: LabelMap) -> bytes:
        """Returns a class map in its colours; what is void is transparent."""
        table, colours = self.table(), class_palette().copy()
        for number, colour in table.colours.items():
            if number < 255:
                colours[number] = colour
        return mask_png(labels, colours, clear=255)

    def prepare(self) -> None:
        """Puts merged and renamed classes into the run's files, as exports read them."""
        task = TASKS[self.task]
        assert task.redraw is not None
        if self.edits.own and self.project.path is not None:
            with opened(self) as clip:
                task.redraw(self.out, clip, self.settings, (), SilentProgress())

    def _ids(self) -> set[int]:
        """Returns the classes that are painted, found, or named."""
        painted_on = {n for f, edit in self.edits.last().items() for n in self.edits.described(edit, f).ids}
        zero = {0 for f, edit in self.edits.last().items() if self.edits.described(edit, f).zero}
        found = {int(number) for row in self.results.scores.values() for number in row}
        return painted_on | zero | found | {edit.object_id for edit in self.edits.of("name")}

    @staticmethod
    def _colour(table: NameTable, number: int) -> tuple[int, int, int]:
        return table.colours.get(number, class_colour(number))
