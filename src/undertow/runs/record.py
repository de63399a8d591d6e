"""run.json: what was run, by which a run is known again, and which files are its own."""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from itertools import chain
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np

from undertow.base import SettingsError, write_json

FORMAT, VERSION, RECORD, FRAMES = "undertow run", 2, "run.json", "frames.json"
# A file in the run's own folder, or all files of a kind in a folder of it: other people's files are never meant.
_PATTERN = re.compile(r"[a-z0-9_]+(/\*)?\.(png|npz|json|csv|mp4|txt|html|safetensors)")
_OF_TORCH = ("torch.device", "torch.dtype")
# What the first version wrote, which did not say so in run.json; points had a format of their own.
_EARLIER = {
    FORMAT: (
        *("masks/*.png", "masks.json", "scores.csv", "overlay.mp4"),
        *("edited/*.png", "soft/*.npz", "labels.json", "names.json", "contours.mp4", "sidebyside.mp4"),
    ),
    "undertow points run": (
        *("tracks.npz", "tracks.csv", "tapvid.npz", "overlay.mp4", "trajectories.png", "features/*.safetensors"),
        ".unfinished",
    ),
}


@dataclass(frozen=True)
class Record:
    """What run.json holds.

    Attributes:
        task: Name of the task.
        video: What `Video.fingerprint` says.
        model: Name and fingerprint of the model.
        settings: All numbers of the run, as plain values (see `plain`).
        cues: An append-only log: what was typed, and of what became of it a `sha256` with the `frame` it is on, if it
            is on one.
        files: Patterns of the files that a run of the task owns: a name, or a folder and a suffix ("masks/*.png").
        complete: How many files of a pattern a run cannot do without, once it is complete; `None` before.
        source: What the video is called: the name of its file or folder without suffix; empty for others.
        size: Height and width of its frames.
    """

    task: str
    video: str
    model: str
    settings: Mapping[str, Any]
    cues: tuple[Mapping[str, Any], ...]
    files: tuple[str, ...]
    complete: Mapping[str, int] | None = field(default=None, compare=False)
    source: str = field(default="", compare=False)
    size: tuple[int, int] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", plain(self.settings))
        object.__setattr__(self, "cues", tuple(plain(self.cues)))
        if not _are_patterns(list(self.files)):
            raise SettingsError(f"a run cannot own files called {self.files}; name files, or folder/*.suffix")

    def write(self, folder: Path) -> None:
        """Writes run.json, atomically."""
        write_json(folder / RECORD, {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)})

    def differences(self, now: "Record") -> list[str]:
        """Returns what makes another run a different one, such as "topk was 15 and is 10", options by their names."""

        def contents(record: Record) -> Iterator[dict[str, Any]]:
            asked = record.settings.get("settings")
            options = asked if isinstance(asked, dict) else {}
            yield {"video": record.video, "model": record.model}
            yield options
            yield {name: value for name, value in record.settings.items() if value is not options}
            yield {"cues": digests(record.cues)}

        pairs = zip(contents(self), contents(now), strict=True)
        told: dict[str, str] = {}
        for text in chain.from_iterable(differences(*pair) for pair in pairs):
            # What was asked for may be a number of the run too: told once.
            told.setdefault(text.partition(" was ")[0], text)
        return list(told.values())

    def left_out(self, now: "Record") -> list[str]:
        """Returns the cues that another run lacks, if it has none of their frames: as options, if they were typed."""
        lacking = digests(self.cues).keys() - digests(now.cues).keys()
        typed = [cue for cue in self.cues if cue not in now.cues and not {"sha256", "corrected"} & cue.keys()]
        options = [f"--{kind} {value}" for cue in typed for kind, value in cue.items()]
        return (options or sorted(f"a cue of {each}" for each in lacking)) if lacking else []


def read_record(folder: Path) -> Record | None:
    """Returns the record of the run in a folder; `None` if it has no run.json of ours.

    Raises:
        SettingsError: if the record is damaged, or of another version of undertow.
    """
    value = _read(folder)
    if value is None:
        return None
    if value.get("version") != VERSION:
        raise SettingsError(
            f"--out '{folder}' holds a run by another version of undertow ('version' in its {RECORD} is "
            f"{_short(value.get('version'))}, not {VERSION}); add --overwrite to replace it, or choose another --out"
        )
    if problem := _problem(value):
        raise SettingsError(
            f"'{folder / RECORD}' is damaged ({problem}); add --overwrite to make the run again, or choose another "
            "--out"
        )
    fields: dict[str, Any] = {name: value.get(name) for name in Record.__dataclass_fields__}
    size: Any = value.get("size")
    sized = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    fields |= {"cues": tuple(value["cues"]), "files": tuple(value["files"]), "source": str(value.get("source") or "")}
    fields["size"] = (size[0], size[1]) if sized else None
    return Record(**fields)


def owned_files(folder: Path) -> tuple[str, ...] | None:
    """Returns the patterns of the files that the run in a folder owns, of any task; `None` if there is no run.

    Raises:
        SettingsError: if run.json does not say.
    """
    value = _read(folder)
    if value is None:
        return None
    if value.get("version") == 1:
        return _EARLIER[value["format"]]
    if not _are_patterns(value.get("files")):
        raise SettingsError(f"'{folder / RECORD}' does not say which files are the run's; choose another --out")
    return tuple(value["files"])


def mark_unfinished(folder: Path) -> None:
    """Marks the run in a folder as not complete, before any of its files is removed."""
    value = _read(folder)
    if value is not None and value.get("complete") is not None:
        write_json(folder / RECORD, value | {"complete": None})


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        value = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and str(value.get("format")) in _EARLIER else None


def _are_patterns(files: Any) -> bool:
    return isinstance(files, list) and all(isinstance(each, str) and _PATTERN.fullmatch(each) for each in files)


def _problem(value: Mapping[str, Any]) -> str:
    """Returns what is wrong with the entries of a record; nothing if they are what `Record` has."""
    kinds: dict[str, type] = {"task": str, "video": str, "model": str, "settings": dict, "cues": list}
    for name, kind in kinds.items():
        if not isinstance(value.get(name), kind):
            return f"'{name}' is {_short(value.get(name))}"
    for cue in value["cues"]:
        if not isinstance(cue, dict):
            return f"a cue is {_short(cue)}"
        for name, kind in {"sha256": str, "frame": int}.items():
            if not isinstance(cue.get(name, kind()), kind):
                return f"'{name}' of a cue is {_short(cue[name])}"
    files, complete = value.get("files"), value.get("complete")
    if not _are_patterns(files):
        return f"'files' is {_short(files)}"
    counts = complete.items() if isinstance(complete, dict) else ()
    known = all(key in value["files"] and isinstance(count, int) for key, count in counts)
    if not (isinstance(complete, dict | None) and known):
        return f"'complete' is {_short(complete)}"
    return ""


def digests(cues: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the SHA-256 of what became of cues, the last one of a frame with two, by "frame 3" or by its kind."""
    found = [cue for cue in cues if "sha256" in cue]
    return {f"frame {cue['frame']}" if "frame" in cue else next(iter(cue)): cue["sha256"] for cue in found}


def differences(earlier: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yields what differs between two plain values, such as "kernel.topk was 15 and is 10"."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in {**earlier, **now}:
            yield from differences(earlier.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif earlier != now:
        yield f"{name} was {_short(earlier)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def plain(value: Any) -> Any:
    """Returns `value` as JSON knows it: dataclasses become objects, fractions "30000/1001", paths and devices text.

    Raises:
        SettingsError: for a kind of value that has no plain form, rather than writing its memory address.
    """
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, Enum)):
        # JSON has no infinities; as text they stay readable everywhere.
        return value if not isinstance(value, float) or math.isfinite(value) else str(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Set):
        return sorted(plain(entry) for entry in value)
    # Not any Sequence: libraries register arrays and tensors as such, which are no settings.
    if isinstance(value, list | tuple | range):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    # Devices and number types; torch itself is not needed to read what a run says.
    if isinstance(value, Fraction | PurePath) or f"{type(value).__module__}.{type(value).__name__}" in _OF_TORCH:
        return str(value).removeprefix("torch.")
    raise SettingsError(f"a setting of type {type(value).__name__} cannot be written to run.json; give text or numbers")


def decimal_seconds(time: Fraction) -> str:
    """Returns a time rounded to nine decimals, by integer arithmetic: exact to half a nanosecond however late it is."""
    nanoseconds = round(time * 10**9)
    sign = "-" if nanoseconds < 0 else ""
    return f"{sign}{abs(nanoseconds) // 10**9}.{abs(nanoseconds) % 10**9:09d}"


def owns(patterns: Iterable[str], name: str) -> bool:
    """Returns whether a path relative to a run's folder is that of a file of the run."""
    path = PurePosixPath(name)
    return any(path.match(pattern) and len(path.parts) == pattern.count("/") + 1 for pattern in patterns)
