"""What a run has made so far, finished or not, and following it while it is made."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from undertow.base import MaskError, SilentProgress, inside
from undertow.export import open_run
from undertow.masks import LabelMap, read_written_map
from undertow.runs.folder import STAGING
from undertow.runs.journal import JOURNAL, read_lines
from undertow.runs.record import read_record

Row = Mapping[str, Any]
# Least seconds between two reports of progress.
OFTEN = 0.2


class Results:
    """The frames of a run.

    Attributes:
        out: Its folder.
        task: Its task.
        names: Stem of the files of each frame, by its number.
        scores: By number and object or class, area, margin, mass, presence and whether it is lost; of a class,
            confidence stands for the three.
    """

    def __init__(self, out: Path, task: str) -> None:
        """Begins without any; `read` takes what is there."""
        self.out, self.task = out, task
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self.names: dict[int, str] = {}
        self.scores: dict[int, Row] = {}

    def add(self, line: Row) -> Row:
        """Adds a frame from its line of the journal, and returns its scores."""
        classes = {number: [area, sure, sure, sure, False] for number, (area, sure) in line.get("classes", {}).items()}
        self.names[line["frame"]], self.scores[line["frame"]] = line["name"], line.get("scores", classes)
        return self.scores[line["frame"]]

    def read(self) -> None:
        """Reads which frames the run has: of its tables if it is complete, of its journal before.

        Raises:
            SettingsError: if a table is damaged.
        """
        self.forget()
        record = read_record(self.out) if self.out.is_dir() else None
        if record is None or record.task != self.task:
            return
        if record.complete is None:
            for line in read_lines(self.out) if (self.out / JOURNAL).is_file() else ():
                self.add(line)
            return
        run = open_run(self.out)
        self.names = {frame.number: frame.name for frame in run.frames}
        if self.task == "parse":
            self._read_classes()
        elif self.task != "points":
            scores: dict[int, dict[str, Any]] = {}
            for row in run.scores():
                figures = [int(row["area"]), *(float(row[name]) for name in ("margin", "mass", "presence"))]
                scores.setdefault(int(row["frame"]), {})[row["object"]] = [*figures, row["lost"] == "1"]
            self.scores = dict(scores)

    def labels(self, number: int) -> LabelMap | None:
        """Returns the label map of a frame; `None` if there is none yet."""
        # While a run is changed, what is new lies in a folder of its own, from which it may be moved at any moment.
        for folder in (self.out / STAGING, self.out) if number in self.names else ():
            path = inside(folder / "masks", self.names[number], suffix=".png")
            with suppress(OSError, MaskError):
                return read_written_map(path)
        return None

    def _read_classes(self) -> None:
        from undertow.parsing.labels import read_labels

        figures = read_labels(self.out)
        for place, (number, _, _) in enumerate(figures.frames):
            row = {}
            for each, areas in figures.areas.items():
                if area := areas[place]:
                    sure = figures.sure[each][place] / area
                    row[str(each)] = [area, sure, sure, sure, False]
            self.scores[number] = row


class Following(SilentProgress):
    """Gives each frame that a run notes to a function, as the line of the journal that it is."""

    def __init__(self, out: Path, made: Callable[[Row], None], step: Callable[[str, int, int | None], None]) -> None:
        """Takes the folder of the run, the function, and what is called now and then with stage, done and total."""
        self._out = self._folder = out
        self._made, self._step = made, step
        self._lines: Iterator[dict[str, Any]] = iter(())
        self._stage, self._done, self._told = "", 0, 0.0
        self._total: int | None = None

    def start(self, stage: str, total: int | None) -> None:
        """Turns to the journal that is written now."""
        self._folder = self._out / STAGING if stage == "amend" else self._out
        self._lines = iter(())
        self._stage, self._done, self._total, self._told = stage, 0, total, 0.0

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Reads on to the line of a frame; nothing is read twice while frames come in order."""
        self._done += units
        number = facts.get("frame")
        if number is not None and (self._folder / JOURNAL).is_file():
            line = next((line for line in self._lines if line["frame"] == number), None)
            if line is None:
                self._lines = read_lines(self._folder)
                line = next((line for line in self._lines if line["frame"] == number), None)
            if line is not None:
                self._made(line)
        if monotonic() - self._told >= OFTEN or number is not None:
            self._told = monotonic()
            self._step(self._stage, self._done, self._total)
