"""What clusters are called, in a table that people edit: new names and colours, two ids made one, one id made several.

Nothing here asks a model: names are read from a file, ids are merged by number, and an id is split into the regions it
consists of, which are followed through time by the pixels they share from one frame to the next.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from undertow.base import SettingsError, whole, write_json
from undertow.masks import VOID, LabelMap
from undertow.parsing.regions import RegionTracks

Colour = tuple[int, int, int]
UNKNOWN = "unknown"
_COLOUR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")
MOST_LETTERS = 200
MOST_PARTS = 1024
_FIELDS = {"id", "name", "colour", "merge", "split"}


@dataclass(frozen=True)
class ClassEntry:
    """One row of the table.

    Attributes:
        id: The class, as it is in the masks that the run wrote.
        name: What it is called.
        colour: What it is drawn in, as "#rrggbb"; the default colour if not given.
        merge: The id it becomes part of.
        split: Number of parts it is split into: its largest regions; the largest, and what is left, keeps the id.
    """

    id: int
    name: str
    colour: str | None = None
    merge: int | None = None
    split: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.id < VOID:
            raise SettingsError(f"names: id {self.id} is none; give 0 to {VOID - 1}")
        if not self.name or len(self.name) > MOST_LETTERS or not self.name.isprintable():
            shown = self.name if len(self.name) <= MOST_LETTERS else f"{self.name[:20]}..."
            raise SettingsError(f"names: id {self.id} is called {shown!r}; give up to {MOST_LETTERS} printable letters")
        if self.colour is not None and not _COLOUR.fullmatch(self.colour):
            raise SettingsError(f"names: the colour of id {self.id} is '{self.colour}'; give #rrggbb, such as #d02090")
        if self.split is not None and not 2 <= self.split <= MOST_PARTS:
            raise SettingsError(
                f"names: id {self.id} is split into {self.split}; give 2 to {MOST_PARTS}, or leave split out"
            )
        if self.merge is not None and self.split is not None:
            raise SettingsError(f"names: id {self.id} is both merged and split; choose one")

    def rgb(self) -> Colour | None:
        """Returns the colour as red, green and blue."""
        match = None if self.colour is None else _COLOUR.fullmatch(self.colour)
        return None if match is None else (int(match[1], 16), int(match[2], 16), int(match[3], 16))


@dataclass(frozen=True)
class NameTable:
    """What the user says of the classes of one run.

    Attributes:
        entries: Rows, by ascending id.
    """

    entries: tuple[ClassEntry, ...] = ()

    def __post_init__(self) -> None:
        twice = [number for number, count in Counter(entry.id for entry in self.entries).items() if count > 1]
        if twice:
            raise SettingsError(f"names: id {twice[0]} is listed twice; leave one of them out")
        self.mapping()

    @classmethod
    def of(cls, ids: Iterable[int], prefix: str = "cluster") -> "NameTable":
        """Returns a table that calls ids "cluster 0", "cluster 1" and so on."""
        return cls(tuple(ClassEntry(number, f"{prefix} {number}") for number in sorted(ids)))

    @classmethod
    def read(cls, path: Path | str) -> "NameTable":
        """Returns the table in a JSON file.

        It is `{"classes": [...]}` as `write` writes it, a list of names in the order of their ids, or names by id
        (`{"3": "road"}`).

        Raises:
            SettingsError: naming the file and what is wrong with it.
        """
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"names '{path}' cannot be read ({error.strerror}); check the path") from error
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"names '{path}' are not JSON ({error}); check quotes, commas and brackets") from error
        try:
            return cls(tuple(sorted(_entries(value), key=lambda entry: entry.id)))
        except SettingsError as error:
            raise SettingsError(f"'{path}': {error}") from error

    def write(self, path: Path | str) -> None:
        """Writes the table, atomically."""
        rows = [
            {name: getattr(entry, name) for name in ("id", "name", "colour", "merge", "split")}
            for entry in self.entries
        ]
        write_json(path, {"classes": rows})

    def extended(self, other: "NameTable") -> "NameTable":
        """Returns the table with the rows of `other` for ids that it does not have."""
        known = {entry.id for entry in self.entries}
        added = [entry for entry in other.entries if entry.id not in known]
        return NameTable(tuple(sorted((*self.entries, *added), key=lambda entry: entry.id)))

    def renamed(self, names: Mapping[int, str]) -> "NameTable":
        """Returns the table with other names for some ids."""
        return NameTable(tuple(replace(entry, name=names.get(entry.id, entry.name)) for entry in self.entries))

    @property
    def names(self) -> dict[int, str]:
        """Name by id."""
        return {entry.id: entry.name for entry in self.entries}

    @property
    def colours(self) -> dict[int, Colour]:
        """Colour by id, of those that have one of their own."""
        return {entry.id: rgb for entry in self.entries if (rgb := entry.rgb()) is not None}

    @property
    def splits(self) -> dict[int, int]:
        """Number of parts by id."""
        return {entry.id: entry.split for entry in self.entries if entry.split is not None}

    @property
    def edits(self) -> bool:
        """Whether label maps change, and not only what classes are called."""
        return any(entry.merge is not None or entry.split is not None for entry in self.entries)

    def mapping(self) -> dict[int, int]:
        """Returns the id that each merged id ends up as.

        Raises:
            SettingsError: if ids are merged in a circle.
        """
        into = {entry.id: entry.merge for entry in self.entries if entry.merge is not None}
        ends: dict[int, int] = {}
        for start in into:
            here, passed = start, {start}
            # A chain ends where one begins whose end is known: each is gone through once.
            while here in into and here not in ends:
                here = into[here]
                if here in passed:
                    raise SettingsError(f"names: id {start} is merged into itself; leave the merge of one id out")
                passed.add(here)
            ends |= dict.fromkeys(passed - {here}, ends.get(here, here))
        return ends


def read_vocabulary(path: Path | str) -> list[str]:
    """Returns the words in a text file, one a line; empty lines and those after a # are skipped.

    Raises:
        SettingsError: naming the file, if it cannot be read, or has no words or one twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"vocabulary '{path}' cannot be read; give a text file with one word a line") from error
    words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not words:
        raise SettingsError(f"vocabulary '{path}' has no words; give one per line")
    twice = next((word for word, count in Counter(words).items() if count > 1), None)
    if twice is not None:
        raise SettingsError(f"vocabulary '{path}' has '{twice}' twice; leave one of them out")
    return words


def _entries(value: Any) -> Iterator[ClassEntry]:
    """Yields the rows that a JSON value stands for."""
    if isinstance(value, dict) and isinstance(value.get("classes"), list):
        value = value["classes"]
    if isinstance(value, dict):
        value = [{"id": key, "name": name} for key, name in value.items()]
    if not isinstance(value, list):
        raise SettingsError("names: give a list of names, names by id, or the table that a run wrote")
    for place, row in enumerate(value):
        row = {"id": place, "name": row} if isinstance(row, str) else row
        if not isinstance(row, dict) or "id" not in row or not isinstance(row.get("name"), str):
            raise SettingsError(f'names: row {place} has no id and name; write it as {{"id": 3, "name": "road"}}')
        unknown = sorted(row.keys() - _FIELDS)
        if unknown:
            raise SettingsError(
                f"names: row {place} has '{unknown[0]}', which is not one of {', '.join(sorted(_FIELDS))}"
            )
        row = dict(row)
        for name, least, most in (("id", 0, VOID - 1), ("merge", 0, VOID - 1), ("split", 2, MOST_PARTS)):
            if name == "id" or row.get(name) is not None:
                row[name] = whole(row[name], f"names: '{name}' of row {place}", least=least, most=most)
        if not isinstance(row.get("colour"), str | None):
            raise SettingsError(f'names: the colour of row {place} is {row["colour"]!r}; give text such as "#d02090"')
        yield ClassEntry(**row)


@dataclass
class MapEditor:
    """Applies a table to the label maps of a run: first splits, then merges.

    Regions are found in one pass over all maps (`follow`), since which of them are large is known only at the end; maps
    are then edited one by one (`edit`).

    Attributes:
        table: The table.
        ids: Ids that the maps have.
    """

    table: NameTable
    ids: Sequence[int]
    parts: dict[int, tuple[int, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._regions = {number: RegionTracks() for number in self.table.splits}
        self._mapping = self.table.mapping()
        # New ids come after all there are, in the order of the ids that are split.
        free = max([*self.ids, *self._mapping.values(), *self.table.splits], default=-1) + 1
        for number, count in self.table.splits.items():
            if free + count - 1 > VOID:
                raise SettingsError(f"names: splitting makes more than {VOID} ids; make fewer")
            self.parts[number] = (number, *range(free, free + count - 1))
            free += count - 1

    def follow(self, labels: LabelMap) -> None:
        """Takes the next map, in order, to see which regions there are."""
        for number, regions in self._regions.items():
            regions.add(labels == number)

    def edit(self, place: int, labels: LabelMap) -> LabelMap:
        """Returns the map at a place (from 0) as the table wants it; all maps must have been followed."""
        edited = labels.copy()
        for number, regions in self._regions.items():
            for rank, inside in regions.largest(place, labels == number, len(self.parts[number])):
                edited[inside] = self.parts[number][rank]
        if self._mapping:
            lookup = np.arange(VOID + 1, dtype=np.uint16)
            lookup[list(self._mapping)] = list(self._mapping.values())
            edited = lookup[edited]
        return edited

    def names(self) -> dict[int, str]:
        """Returns what the ids of edited maps are called; parts are numbered from 1."""
        names = {number: name for number, name in self.table.names.items() if number not in self._mapping}
        for number, parts in self.parts.items():
            for rank, part in enumerate(parts, start=1):
                names[part] = self.table.names.get(part, f"{self.table.names[number]} {rank}")
        return names
