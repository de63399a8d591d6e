"""A folder of photographs to learn from: which may be used, who made them, and which are kept for validation.

`SOURCES.csv` in the folder names every photograph with its author, licence and address. What is not listed there, or
has a licence that would bind the weights, is left out.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from undertow.base import SettingsError

SOURCES = "SOURCES.csv"
COLUMNS = ("file", "source", "commit_or_version", "path", "author_or_credit", "licence", "url")
# Public domain, CC0, attribution and share-alike; not the licences that forbid commerce or changes.
FREE = re.compile(r"(PD\b|CC0-|CC-BY(-SA)?-\d).*")
HELD_OUT = 0.1


@dataclass(frozen=True)
class Photograph:
    """One row of `SOURCES.csv`.

    Attributes:
        path: The file.
        source: The collection it was found in, with the collection's `version` and its `place` there.
        version: Commit or version of the collection.
        place: Path within the collection.
        author: Whom to credit.
        licence: Its short name.
        url: Address of the original; may be empty.
    """

    path: Path
    source: str
    version: str
    place: str
    author: str
    licence: str
    url: str

    @property
    def held_out(self) -> bool:
        """Whether it is kept for validation; decided by the file's name alone, so that it never changes."""
        return int(sha256(self.path.name.encode()).hexdigest()[:8], 16) < HELD_OUT * 16**8

    @property
    def seed(self) -> int:
        """A number made of the file's name, by which what is drawn from a photograph is the same on every machine."""
        return int(sha256(self.path.stem.encode()).hexdigest()[:8], 16)

    @property
    def usable(self) -> bool:
        """Whether the licence is free, and the author named if the licence asks for it."""
        return bool(FREE.fullmatch(self.licence)) and bool(self.author or not self.licence.startswith("CC-BY"))


def list_photographs(folder: Path) -> list[Photograph]:
    """Returns the photographs of `folder` that may be used, in the order of their names.

    Raises:
        SettingsError: if `SOURCES.csv` cannot be read, lacks a column, names another folder, or lists nothing usable.
    """
    table, columns = folder / SOURCES, ", ".join(COLUMNS)
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{table} cannot be read ({reason}); write a row for each photograph: {columns}") from error
    if missing := [column for column in COLUMNS if rows and column not in rows[0]]:
        raise SettingsError(f"{table} has no column {', '.join(missing)}; it needs {columns}")
    found = []
    for row in rows:
        file, *facts = ((row[column] or "").strip() for column in COLUMNS)
        if Path(file).name != file:
            raise SettingsError(f"{table} names '{file}'; give the plain names of files in the same folder")
        found.append(Photograph(folder / file, *facts))
    usable = [photograph for photograph in found if photograph.usable and photograph.path.is_file()]
    if not usable:
        raise SettingsError(f"{table} lists no photograph there that is public domain, CC0, CC-BY or CC-BY-SA")
    return sorted(usable, key=lambda photograph: photograph.path.name)


def read_photograph(path: Path, shorter: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a photograph whose shorter side has that many pixels.

    Raises:
        SettingsError: if the file is not a picture.
    """
    try:
        with Image.open(path) as opened:
            scale = shorter / min(opened.size)
            width, height = (max(shorter, round(side * scale)) for side in opened.size)
            return np.asarray(opened.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise SettingsError(f"{path} cannot be read as a picture: {error}") from error


def credits(photographs: Sequence[Photograph]) -> str:
    """Returns the credits of photographs as Markdown: what each collection gave, and a row for each photograph."""
    collections: dict[str, Counter[str]] = {}
    for each in photographs:
        collections.setdefault(each.source, Counter())[each.licence] += 1
    lines = ["# Photographs", "", "| collection | photographs | licences |", "|---|---:|---|"]
    for source, licences in sorted(collections.items()):
        named = ", ".join(f"{licence} ({count})" for licence, count in sorted(licences.items()))
        lines.append(f"| {_cell(source)} | {licences.total()} | {_cell(named)} |")
    lines += ["", "| photograph | author | licence | found in | original |", "|---|---|---|---|---|"]
    for each in photographs:
        found = " ".join(part for part in (each.source, each.version[:12], each.place) if part)
        cells = (each.path.name, each.author or "not known", each.licence, found, each.url)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Returns text that cannot leave its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
