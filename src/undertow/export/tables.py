"""Boxes, areas and scores over time, as CSV."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from undertow.base import atomic_path
from undertow.export.converting import bounds
from undertow.export.exporter import Exporter, Shot
from undertow.runs.record import decimal_seconds

COLUMNS = ("frame", "time", "object", "label", "left", "top", "width", "height", "area", "presence", "lost")


class Boxes(Exporter):
    """boxes.csv: a row for each object and frame; pixels, from the top left corner; without a box where it is not."""

    unit = "numbers"

    def open(self) -> None:
        """Begins to write."""
        super().open()
        temporary = self.stack.enter_context(atomic_path(self.plan.out / "boxes.csv"))
        file = self.stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        self._table = csv.writer(file, lineterminator="\n")
        self._table.writerow(COLUMNS)
        self._scores = _by_frame(self.plan.run.scores())
        self._at: tuple[int, Mapping[int, Any]] = (-1, {})

    def frame(self, shot: Shot) -> None:
        """Writes the rows of a frame."""
        while self._at[0] < shot.frame.number:
            self._at = next(self._scores, (shot.frame.number, {}))
        scores = self._at[1] if self._at[0] == shot.frame.number else {}
        for number, label in self.plan.names.items():
            mask, score = shot.masks.get(number), scores.get(number)
            if mask is None and score is None:
                continue
            box: list[Any] = ["", "", "", ""]
            if mask is not None:
                left, top, right, bottom = bounds(mask)
                box = [left, top, right - left, bottom - top]
            area = 0 if mask is None else int(mask.sum())
            sure = ["", ""] if score is None else [score["presence"], score["lost"]]
            time = decimal_seconds(shot.frame.time)
            self._table.writerow([shot.number, time, number, label, *box, area, *sure])

    def expected(self, shot: Shot) -> Mapping[int, np.ndarray]:
        """Returns left, top, right, bottom and area of each object seen."""
        return {number: np.array([*bounds(mask), mask.sum()]) for number, mask in shot.masks.items()}

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the same of the rows with a box."""
        with (self.plan.out / "boxes.csv").open(encoding="utf-8", newline="") as file:
            rows = dict(_by_frame(csv.DictReader(file)))
        for shot in self.plan.shots():
            found = {}
            for number, row in rows.get(shot.number, {}).items():
                if row["left"]:
                    left, top, width, height, area = (int(row[name]) for name in COLUMNS[4:9])
                    found[number] = np.array([left, top, left + width, top + height, area])
            yield found


def _by_frame(rows: Iterable[Mapping[str, str]]) -> Iterator[tuple[int, dict[int, Mapping[str, str]]]]:
    """Yields the rows of each frame by object."""
    number, found = None, dict[int, Mapping[str, str]]()
    for row in rows:
        at = int(row["frame"])
        if number is not None and at != number:
            yield number, found
            found = {}
        number, found[int(row["object"])] = at, row
    if number is not None:
        yield number, found
