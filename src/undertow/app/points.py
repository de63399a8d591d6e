"""Points through a video: they are dropped one by one or as a grid, dragged where they are wrong, and followed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from undertow.app.edits import Edit, Kind
from undertow.app.session import Session
from undertow.base import CueError, SettingsError
from undertow.drawing.tracks import point_colours
from undertow.export import RunTracks, open_run
from undertow.masks import VOID
from undertow.masks.colours import hex_of
from undertow.points.job import TRACKS
from undertow.points.queries import gather, grid_points
from undertow.runs import Cue
from undertow.runs.record import Record, digests
from undertow.runs.task import Given
from undertow.video import Clip

# Frames behind the one that is shown, on which a point's tail lies.
TAIL = 12
MOST_ACROSS = 60
# Points of grids have numbers from here on, one grid after the other.
_GRIDS = 10**4


@dataclass
class Query:
    """A point as it is asked for.

    Attributes:
        frame: Where it was put last.
        x: Pixels to the right.
        y: Pixels down.
        grid: Number of the edit whose grid it is of, as long as it lies where that put it; 0 for others.
        hidden: Whether it is not shown.
    """

    frame: int
    x: float
    y: float
    grid: int = 0
    hidden: bool = False


class PointSession(Session):
    """Points that are put on some frames and followed through all."""

    task = "points"
    kinds: ClassVar[Mapping[Kind, int]] = {"drop": 2, "drag": 2, "grid": 1, "hide": 0, "remove": 0, "range": 2}

    def edit(self, kind: Kind, number: int, object_id: int, *rest: Any, **more: Any) -> None:
        """Does what a person did, if there is such a point; see `Session.edit`."""
        if kind in ("drag", "hide", "remove") and object_id not in self.queries():
            raise CueError(f"there is no point {object_id}; choose another")
        super().edit(kind, number, object_id, *rest, **more)

    def made_of(self, edit: Edit, locked: Any) -> Mapping[int, Any]:
        """Checks that a point lies on the frame; no label map comes of it."""
        height, width = self.project.size
        if edit.kind in ("drop", "drag") and not (0 <= edit.values[0] <= width and 0 <= edit.values[1] <= height):
            raise CueError("the point lies outside the frame; put it inside")
        if edit.kind == "grid":
            if not 1 <= edit.values[0] <= MOST_ACROSS:
                raise CueError(f"a grid has 1 to {MOST_ACROSS} points across; choose another number")
            if _GRIDS + sum(int(each.values[0]) ** 2 for each in (*self.edits.of("grid"), edit)) > VOID:
                raise CueError("the grids have too many points together; choose fewer across")
        return {}

    def queries(self) -> dict[int, Query]:
        """Returns the points that there are, by number, in the order in which they were put."""
        found: dict[int, Query] = {}
        start = _GRIDS
        for edit in self.edits.active:
            if edit.kind == "drop":
                found[edit.object_id] = Query(edit.frame, round(edit.values[0], 2), round(edit.values[1], 2))
            elif edit.kind == "grid":
                across = grid_points(int(edit.values[0]), self.project.size, edit.frame)
                for place, (_, x, y) in enumerate(across.tolist()):
                    found[start + place] = Query(edit.frame, x, y, edit.number)
                start += len(across)
            elif edit.kind == "drag" and edit.object_id in found:
                found[edit.object_id] = Query(edit.frame, round(edit.values[0], 2), round(edit.values[1], 2))
            elif edit.kind == "hide" and edit.object_id in found:
                found[edit.object_id].hidden = not found[edit.object_id].hidden
            elif edit.kind == "remove":
                found.pop(edit.object_id, None)
        return found

    def cues(self) -> list[Cue]:
        """Returns points and grids; a grid of which a point was moved or removed is points."""
        found, cues = self.queries(), []
        whole = {edit.number: edit for edit in self.edits.of("grid")}
        there = [query.grid for query in found.values()]
        grids = {n: edit for n, edit in whole.items() if there.count(n) == int(edit.values[0]) ** 2}
        for edit in grids.values():
            across = int(edit.values[0])
            cues.append(Cue("grid", across, edit.frame, None, f"{across}@{edit.frame}"))
        for query in found.values():
            if query.grid not in grids:
                typed = f"{query.x:.2f},{query.y:.2f}@{query.frame}"
                cues.append(Cue("point", (query.x, query.y, True), query.frame, None, typed))
        return cues

    def call(self) -> tuple[str, str, str] | None:
        """Returns what does the same; see `Session.call`."""
        # In the order of a run, which has grids first.
        first, found = self.range[0], sorted(self.queries().items(), key=lambda each: each[0] < _GRIDS)
        asked = [(query.frame - first, round(query.x, 3), round(query.y, 3)) for _, query in found]
        return ("track_points", repr(asked), "tracks") if asked else None

    def run(self) -> None:
        """Queues a run; see `Session.run`."""
        if not self.cues():
            raise CueError("there is no point yet; click where one is to be")
        super().run()

    def digests(self) -> Mapping[str, str]:
        """Returns what run.json would keep of the points."""
        cues, video, (first, last) = self.cues(), self.project.video, self.range
        if not cues or video is None:
            return {}
        try:
            asked = gather(cues, Clip(video, first, last + 1), lambda: self.project.model(self.task), self.settings)
            return digests(asked.log)
        except CueError:
            # A point lies before or after the part that is chosen.
            return {}

    def amends(self, earlier: Record, given: Given[Any]) -> bool:
        """Returns whether all points of the run are asked for still: then new ones are added to it."""
        asked = {tuple(row) for row in np.round(given.value, 3).tolist()}
        return {tuple(row) for row in np.round(open_run(self.out).tracks.queries, 3).tolist()} <= asked

    def facts(self) -> dict[str, Any]:
        """Returns the points, which are the objects here."""
        found = self.queries()
        places = np.array([(query.x, query.y) for query in found.values()]).reshape(-1, 2)
        colours = point_colours(places, self.project.size)
        return {
            "objects": [
                {
                    "id": number, "name": _name(number), "hidden": query.hidden,
                    "colour": hex_of(colour),
                    "frame": query.frame, "x": query.x, "y": query.y,
                }
                for (number, query), colour in zip(found.items(), colours, strict=True)
            ],
            "given": self._asked_on(found),
        }  # fmt: skip

    def layer(self, number: int) -> list[list[Any]]:
        """Returns of each point that is followed its number, place, whether it is seen, confidence, and its tail."""
        tracks = self._tracks()
        if tracks is None or number not in self.results.names:
            return []
        place = list(self.results.names).index(number)
        layer = []
        for point, at in self._followed(tracks):
            x, y = np.round(tracks.positions[at, place], 1).tolist()
            tail = np.round(tracks.positions[at, max(0, place - TAIL) : place + 1], 1).tolist()
            seen, sure = bool(tracks.visible[at, place]), round(float(tracks.confidence[at, place]), 3)
            layer.append([point, x, y, seen, sure, tail])
        return layer

    def scores(self) -> dict[int, Mapping[str, Any]]:
        """Returns, by frame and point that was put one by one, its confidence, and whether it is hidden there."""
        tracks, names = self._tracks(), list(self.results.names)
        if tracks is None:
            return {}
        rows: dict[int, dict[str, Any]] = {number: {} for number in names}
        for point, at in self._followed(tracks):
            if point >= _GRIDS:
                continue
            for place, number in enumerate(names):
                sure = round(float(tracks.confidence[at, place]), 3)
                rows[number][str(point)] = [0, sure, sure, sure, not bool(tracks.visible[at, place])]
        return dict(rows)

    def _followed(self, tracks: RunTracks) -> Iterator[tuple[int, int]]:
        """Yields the number of each point that the run followed, and its row in the tracks."""
        rows = {tuple(row): at for at, row in enumerate(np.round(tracks.queries, 3).tolist())}
        for point, query in self.queries().items():
            asked = np.round((query.frame - self.range[0], query.x, query.y), 3)
            if (at := rows.get(tuple(asked.tolist()))) is not None:
                yield point, at

    def _tracks(self) -> RunTracks | None:
        """Returns the tracks of the run; `None` while there are none."""
        path = self.out / TRACKS
        if self.record is None or not path.is_file():
            return None
        key = path.stat().st_mtime_ns, path.stat().st_size
        if getattr(self, "_kept", (None, None))[0] != key:
            try:
                self._kept: tuple[Any, RunTracks | None] = key, open_run(self.out).tracks
            except SettingsError:
                return None
        return self._kept[1]

    @staticmethod
    def _asked_on(found: Mapping[int, Query]) -> dict[int, Sequence[int]]:
        asked: dict[int, list[int]] = {}
        for number, query in found.items():
            asked.setdefault(query.frame, []).append(number)
        return dict(sorted(asked.items()))


def _name(number: int) -> str:
    return f"Point {number}" if number < _GRIDS else f"Grid {1 + number - _GRIDS}"
