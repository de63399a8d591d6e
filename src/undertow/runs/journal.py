"""Where an unfinished run has come to: a line for every frame done, and the state that the frames to come depend on.

Files, line and state are written in this order, so that a state on disk never speaks of a frame that is not. Lines
after the last state are of frames that will be made again, equal to the last bit; their files are removed.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from undertow.base import inside, write_tensors

JOURNAL, STATE = ".journal.jsonl", "state.safetensors"
_FRAMES, _DIGEST = "frames", "digest"


class SavedState(NamedTuple):
    """What a run goes on from.

    Attributes:
        frames: Number of frames done.
        digest: Of the frames seen, for videos that cannot be read again; else empty.
        tensors: The job's state.
    """

    frames: int
    digest: str
    tensors: dict[str, Tensor]


def encode_line(line: Mapping[str, Any]) -> str:
    """Returns a line of the journal: JSON after its checksum, which tells whether it is whole."""
    text = json.dumps(line)
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of the journal in a folder, one at a time, up to the first that is not whole."""
    with (folder / JOURNAL).open("rb") as file:
        for raw in file:
            if (line := _decoded(raw)) is None:
                return
            yield line


def save_state(folder: Path, state: SavedState) -> None:
    """Writes a state, atomically."""
    write_tensors(folder / STATE, state.tensors, {_FRAMES: str(state.frames), _DIGEST: state.digest})


def recover(folder: Path, owned: Callable[[str], bool]) -> SavedState | None:
    """Cuts the journal of a folder to the lines that the last state builds on, and returns that state.

    Without a state, or if a line that it builds on is damaged or a file of such a line is gone, all lines go. So do the
    files of lines that go. Files that are not `owned` by the run are left alone.
    """
    saved, journal = _load_state(folder / STATE), inside(folder, JOURNAL, links=False)
    if not journal.exists():
        return None
    with journal.open("r+b") as file:
        kept = end = 0
        for raw in file:
            line = _decoded(raw)
            if saved is None or kept == saved.frames or line is None:
                break
            if not all(owned(name) and (folder / name).is_file() for name in line["files"]):
                break
            kept, end = kept + 1, end + len(raw)
        if saved is not None and kept < saved.frames:
            saved, end = None, 0
        file.seek(end)
        for line in map(_decoded, file):
            for name in [] if line is None else line["files"]:
                if owned(name):
                    (folder / name).unlink(missing_ok=True)
        file.truncate(end)
        os.fsync(file.fileno())
    return saved


def _load_state(path: Path) -> SavedState | None:
    """Returns the state in a file; `None` if there is no such file, or nothing in it that could be gone on from."""
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            names = file.keys()
            # No state is written before the first frame; a count below that is damage.
            frames = int(facts[_FRAMES])
            tensors = {name: file.get_tensor(name) for name in names}
            return SavedState(frames, facts[_DIGEST], tensors) if frames > 0 else None
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _decoded(raw: bytes) -> dict[str, Any] | None:
    """Returns what a line says; `None` if it is damaged."""
    checksum, _, text = raw.removesuffix(b"\n").partition(b" ")
    if not raw.endswith(b"\n") or f"{zlib.crc32(text):08x}".encode() != checksum:
        return None
    try:
        line = json.loads(text)
        Fraction(line["time"])
        known = isinstance(line["frame"], int) and isinstance(line["name"], str)
        return line if known and all(isinstance(name, str) for name in line["files"]) else None
    except (ValueError, TypeError, KeyError, RecursionError, ZeroDivisionError):
        return None
