"""The table of a batch: CSV or JSON lines, a clip to a row, its columns the options of the task's own command.

    clip,mask,start,tokens              {"clip": "bear.mp4", "mask": ["bear.png", "fix.png@30"]}
    bear.mp4,bear.png,,                 {"clip": "camel.mp4", "mask": "camel.png", "tokens": 900}
    camel.mp4,camel.png,4.5s,900

`clip` is the video and `out` the folder of the run, below the batch's; without it, the clip's name. Cues may be
several: lists in JSON lines, in CSV columns of one name. A cell that is empty, or null, is an option that is not given.

A table may come from anyone. Clips and cues are read below one folder, results are written below another, and
whatever is wrong with a row is found before the first clip is begun.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from undertow.base import SettingsError, inside, whole
from undertow.base.options import parse_flag, text_options
from undertow.batches.settings import BatchSettings
from undertow.runs.request import Request

MOST_ROWS, LONGEST_LINE = 10**6, 10**6
# The batch's own files, beside the folders of runs.
OWN = re.compile(r"\.batch|\.lock|failures.*\.jsonl")
_FILES = ("mask", "anchor", "queries")
# A box or point as coordinates; of a box, anything else is a file of annotations.
_NUMBERS = re.compile(r"[0-9+\-.,]+(@[0-9.]+s?)?(#[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Row:
    """A clip of a batch.

    Attributes:
        line: The line of the manifest on which it stands, from 1.
        out: The folder of its run, relative to the batch's.
        request: What is asked for.
    """

    line: int
    out: str
    request: Request

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"line {self.line} ('{self.out}')"


def read_manifest(path: Path | str, settings: BatchSettings) -> list[Row]:
    """Returns the rows of a manifest, all checked; no clip is opened.

    Args:
        path: The file.
        settings: Of the batch; its root is the manifest's folder if none is given.

    Raises:
        SettingsError: if it is no manifest or has no rows; if a column or a value is not one that the task takes, a
            path leads out of the folder it has to be in, or two rows have one folder.
    """
    path = Path(path)
    reader = _Reader(path, settings)
    rows, lines = [], dict[str, int]()
    for number, cells in _cells(path):
        row = reader.row(number, cells)
        if row.out in lines:
            raise SettingsError(
                f"lines {lines[row.out]} and {number} of '{path}' both write to '{row.out}'; give each row an out of "
                "its own"
            )
        lines[row.out] = number
        rows.append(row)
        if len(rows) > MOST_ROWS:
            raise SettingsError(f"'{path}' has more than {MOST_ROWS} rows; split it into several")
    if not rows:
        raise SettingsError(f"'{path}' has no rows; give one for each clip")
    for name, number in lines.items():
        if around := next((each for each in _parents(name) if each in lines), None):
            raise SettingsError(
                f"line {number} of '{path}' writes to '{name}', inside the run of line {lines[around]}; choose another "
                "out"
            )
    return rows


class _Reader:
    """Makes rows of cells."""

    def __init__(self, path: Path, settings: BatchSettings) -> None:
        self._path, self._settings, self._task = path, settings, settings.described
        self._root = (settings.root or path.parent).absolute()
        if not self._root.is_dir():
            raise SettingsError(f"--root '{self._root}' is not a folder; give the one that the clips lie in")
        known = dict(text_options(self._task.settings))
        # What names a file or folder is the user's to give, not the table's.
        self._kept = {name for name, each in known.items() if Path in each.kinds or name == "segmenter"}
        self._methods = known.keys() - self._kept
        self._others = {"clip", "out", "start", "end", "every", "skip_damaged", "views"}
        self._asked = lru_cache(maxsize=1024)(self._request)

    def row(self, line: int, cells: Mapping[str, Any]) -> Row:
        """Returns the row of a line."""
        for name in cells:
            self._check(name, line)
        given = {name: value for name, value in cells.items() if value not in (None, "", [])}
        cues = tuple(
            (kind, self._cue(kind, text, line))
            for kind in self._task.cues
            for text in self._texts(kind, given.pop(kind, []), line)
        )
        texts = {name: self._text(name, value, line) for name, value in given.items()}
        clip, out = texts.pop("clip", None), texts.pop("out", None)
        if clip is None:
            raise SettingsError(f"line {line} of '{self._path}' names no clip; fill in its column 'clip'")
        video = self._located(clip, line)
        out = Path(video).stem if out is None else out
        inside(self._settings.out, out, source=f"{self._path}, line {line}")
        if OWN.fullmatch(out.split("/")[0]):
            raise SettingsError(
                f"line {line} of '{self._path}' writes to '{out}', a name of the batch's own; rename it"
            )
        try:
            asked = self._asked(tuple(sorted(texts.items())))
        except SettingsError as error:
            raise SettingsError(f"line {line} of '{self._path}': {error}") from error
        return Row(line, out, replace(asked, video=video, cues=cues))

    def _check(self, name: str, line: int) -> None:
        """Raises SettingsError if the task's command has no option of a name, or it is not for a table."""
        columns = self._others | self._methods | {*self._task.cues}
        if name in columns:
            return
        where = f"line {line} of '{self._path}' has a column '{name}'"
        if name in self._kept or name in ("model", "device", "dtype", "threads"):
            option = f"--set {name}=..." if name in self._kept else f"--{name}"
            raise SettingsError(f"{where}, which is one for all clips; give {option} instead")
        near = get_close_matches(name, columns, 1)
        hint = f"the nearest is '{near[0]}'" if near else f"`undertow {self._task.name} --help-all` lists the options"
        raise SettingsError(f"{where}, which is no option of {self._task.name}; {hint}")

    def _request(self, texts: tuple[tuple[str, str], ...]) -> Request:
        """Returns what all rows with the same options ask for, but for clip and cues."""
        typed: dict[str, Any] = dict(texts)
        if "every" in typed:
            typed["every"] = whole(typed["every"], "every", least=1, most=10**9)
        if "skip_damaged" in typed:
            typed["skip_damaged"] = parse_flag("skip_damaged", typed["skip_damaged"])
        typed.setdefault("views", self._settings.views)
        own = {name.replace("-", "_") for name in typed}
        usual = [
            each for each in self._settings.assignments if each.partition("=")[0].strip().replace("-", "_") not in own
        ]
        return Request.read(self._task, {"video": "", **typed, "set": usual})

    def _texts(self, name: str, value: Any, line: int) -> Sequence[str]:
        return [self._text(name, each, line) for each in (value if isinstance(value, list) else [value]) if each != ""]

    def _text(self, name: str, value: Any, line: int) -> str:
        """Returns a value as it would be typed."""
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, int | float):
            return str(value)
        if isinstance(value, list) and all(isinstance(each, int | float) for each in value):
            return ",".join(map(str, value))
        raise SettingsError(
            f"line {line} of '{self._path}' has a {type(value).__name__} for '{name}'; give a text or a number"
        )

    def _cue(self, kind: str, text: str, line: int) -> str:
        """Returns a cue whose file, if it has one, is where it is read."""
        file = kind in _FILES or (kind == "box" and not _NUMBERS.fullmatch(text))
        return self._located(text, line) if file else text

    def _located(self, text: str, line: int) -> str:
        """Returns the path of a clip or of a cue's file, which has to lie below the root."""
        own = Path(text)
        name = own.relative_to(self._root).as_posix() if own.is_relative_to(self._root) else text
        source = f"{self._path}, line {line}"
        if own.is_absolute() and name == text:
            raise SettingsError(f"'{source}' names '{text}', outside '{self._root}'; give --root for another folder")
        return str(inside(self._root, name, source=source))


def _cells(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields the number of each line that has a row, and what stands there by column.

    Raises:
        SettingsError: if the file is neither CSV nor JSON lines.
    """
    if not path.is_file():
        raise SettingsError(f"manifest '{path}' is not a file; give a table of clips, CSV or JSON lines")
    try:
        lines = _lines(path)
        first = next(((number, line) for number, line in lines if line.strip()), None)
        if first is not None:
            yield from (_of_json if first[1].lstrip().startswith("{") else _of_csv)(path)
    except UnicodeDecodeError as error:
        raise SettingsError(f"manifest '{path}' is no text in UTF-8; give CSV or JSON lines") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines of a text file, numbered from 1, with their ends."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if "\0" in line:
                raise SettingsError(f"line {number} of '{path}' holds a NUL; give a table that is text")
            if len(line) > LONGEST_LINE:
                raise SettingsError(f"line {number} of '{path}' is longer than {LONGEST_LINE} characters; shorten it")
            yield number, line


def _of_json(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"line {number} of '{path}' is no JSON; write one object to a line") from error
        if not isinstance(value, dict):
            raise SettingsError(f"line {number} of '{path}' is a {type(value).__name__}; write one object to a line")
        yield number, value


def _of_csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if "clip" not in header:
                    raise SettingsError(f"'{path}' has no column 'clip'; name the columns in its first line")
                continue
            if len(cells) != len(header):
                raise SettingsError(
                    f"line {reader.line_num} of '{path}' has {len(cells)} cells where {len(header)} columns are named; "
                    "quote cells that hold commas"
                )
            row: dict[str, Any] = {}
            for name, cell in zip(header, cells, strict=True):
                # Columns of one name are several values of it.
                row[name] = cell.strip() if name not in row else [*_listed(row[name]), cell.strip()]
            yield reader.line_num, row
    except csv.Error as error:
        raise SettingsError(f"line {reader.line_num} of '{path}' is no CSV ({error}); correct it") from error


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _parents(name: str) -> Iterator[str]:
    """Yields the folders that a relative path leads through."""
    parts = name.split("/")
    for count in range(1, len(parts)):
        yield "/".join(parts[:count])
