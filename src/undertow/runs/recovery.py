"""state.safetensors: where an unfinished run has come to, and how a folder is brought back to that moment.

Masks, journal lines and states are written in this order, so that a state on disk never speaks of a frame that is not.
Lines and masks after the last state are of frames that will be made again, equal to the last bit.
"""

import json
import os
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from undertow.base import atomic_path

_FRAMES, _DIGEST = "frames", "digest"
# Of a score in a journal line: area, margin, mass, presence, lost.
FIELDS = 5


class SavedState(NamedTuple):
    """What a run goes on from.

    Attributes:
        frames: Number of frames done.
        digest: Of the frames seen, for videos that cannot be read again; else empty.
        tensors: The tracker's state.
    """

    frames: int
    digest: str
    tensors: dict[str, Tensor]


def save_state(path: Path, state: SavedState) -> None:
    """Writes a state atomically."""
    with atomic_path(path) as temporary:
        save_file(state.tensors, temporary, {_FRAMES: str(state.frames), _DIGEST: state.digest})


def load_state(path: Path) -> SavedState | None:
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


def recover(state: Path, journal: Path, masks: Path, fields: int = FIELDS) -> SavedState | None:
    """Cuts a journal to the lines that the last state builds on, and returns that state; without one, all lines go.

    Args:
        state: The file of the state.
        journal: The file with a line for every frame done.
        masks: The folder with a mask for every frame done. Should a mask be gone, the run starts anew.
        fields: How many numbers a line has of each id.
    """
    saved = load_state(state)
    kept = _cut(journal, saved.frames if saved else 0, fields)
    if saved is not None and kept == saved.frames and len(list(masks.glob("*.png"))) >= kept:
        return saved
    _cut(journal, 0, fields)
    return None


def _cut(journal: Path, lines: int, fields: int) -> int:
    """Shortens a file to so many lines, and returns how many whole ones it has then."""
    if not journal.exists():
        return 0
    with journal.open("r+b") as file:
        count = end = 0
        for line in islice(file, lines):
            if not (line.endswith(b"\n") and _is_whole(line, fields)):
                break
            count, end = count + 1, end + len(line)
        file.truncate(end)
        os.fsync(file.fileno())
    return count


def _is_whole(line: bytes, fields: int) -> bool:
    """Returns whether a line of a journal has all that the tables are made of; a damaged disk may have changed it."""
    try:
        row = json.loads(line)
        Fraction(row["time"])
        scores = [[float(figure) for figure in figures] for figures in row["scores"].values()]
        return (
            isinstance(row["frame"], int)
            and all(len(figures) == fields for figures in scores)
            and all(int(object_id) > 0 for object_id in row["rles"])
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, ZeroDivisionError):
        return False
