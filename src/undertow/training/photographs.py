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
COLUMNS = ("file", "source", "author_or_credit", "licence", "url")
# Public domain, CC0, attribution and share-alike; not the licences that forbid commerce or changes.
FREE = re.compile(r"(PD\b|CC0-|CC-BY(-SA)?-\d).*")
HELD_OUT = 0.1


@dataclass(frozen=True)
class Photograph:
    """One row of `SOURCES.csv`, and where the file is."""

    path: Path
    source: str
    author: str
    licence: str
    url: str

    @property
    def held_out(self) -> bool:
        """Whether it is kept for validation; decided by the file's name alone, so that it never changes."""
        return int(sha256(self.path.name.encode()).hexdigest()[:8], 16) < HELD_OUT * 16**8


def list_photographs(folder: Path) -> list[Photograph]:
    """Returns the photographs of `folder` that may be used, in the order of their names.

    Raises:
        SettingsError: if `SOURCES.csv` is missing, lacks a column, names another folder, or lists nothing that is free.
    """
    table = folder / SOURCES
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{table} cannot be read ({error}); list the photographs in it: {', '.join(COLUMNS)}") from error
    if missing := [column for column in COLUMNS if rows and column not in rows[0]]:
        raise SettingsError(f"{table} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    found = []
    for row in rows:
        file, *facts = ((row[column] or "").strip() for column in COLUMNS)
        if Path(file).name != file:
            raise SettingsError(f"{table} names '{file}'; give the plain names of files in the same folder")
        if FREE.fullmatch(facts[2]) and (folder / file).is_file():
            found.append(Photograph(folder / file, *facts))
    if not found:
        raise SettingsError(f"{table} lists no photograph in that folder that is public domain, CC0, CC-BY or CC-BY-SA")
    return sorted(found, key=lambda photograph: photograph.path.name)


def read_photograph(path: Path, shorter: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a photograph whose shorter side has that many pixels.

    Raises:
        SettingsError: if the file is not a picture.
    """
    try:
        with Image.open(path) as opened:
            scale = shorter / min(opened.size)
            size = tuple(max(shorter, round(side * scale)) for side in opened.size)
            return np.asarray(opened.convert("RGB").resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise SettingsError(f"{path} cannot be read as a picture: {error}") from error
