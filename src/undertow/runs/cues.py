"""Cues as people type them, the same for every task: what is said, on which frame, of which object.

    mask, anchor  FILE[@F]                  grid     N[@F]
    box           x0,y0,x1,y1[@F][#ID]      queries  FILE
                  FILE[@F]
    point         x,y[,+|-][@F][#ID]        text     WORD[@F][#ID]

F is a frame number, or seconds with the suffix s; without it, the first frame of the clip is meant. Coordinates are
pixels of the video, x to the right and y down.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

from undertow.base import CueError, VideoError
from undertow.masks import LabelMap, SoftLabelMap
from undertow.video import Clip, Video

Kind = Literal["mask", "anchor", "box", "point", "text", "grid", "queries"]

_AT = re.compile(r"^(?P<file>.+)@(?P<frame>\d{1,18}|\d{1,18}(\.\d{1,18})?s)$", re.DOTALL)
_NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+))"
# How the value of a kind is written, and what to say of one that is written otherwise.
_FORMS = {
    "box": (
        re.compile(",".join([_NUMBER] * 4)),
        "give x0,y0,x1,y1 in pixels, such as 120,80,260,300 or 120,80,260,300@4#2",
    ),
    "point": (
        re.compile(rf"{_NUMBER},{_NUMBER}(?:,([+-]))?"),
        "give x,y in pixels, such as 190,200 or 190,200@4, or 190,200,-@4#2 for one outside an object",
    ),
    "text": (
        re.compile(r"\s*(\S.*?)\s*", re.DOTALL),
        'give what the object is called, such as disc or "the red disc"@4#2',
    ),
    "grid": (re.compile(r"(\d{1,5})"), "give the number of points across, such as 20 or 20@4"),
}


@dataclass(frozen=True)
class Cue:
    """One thing that a user says.

    Attributes:
        kind: What it is.
        value: The path of a file, (x0, y0, x1, y1) of a box, (x, y, inside) of a point, a word, or the number of points
            across a grid.
        frame: Number of the frame it is on, in the whole video.
        object_id: The object it is of; `None` if not said.
        typed: The text it was read from.
    """

    kind: Kind
    value: Any
    frame: int
    object_id: int | None = None
    typed: str = ""

    @property
    def at(self) -> int | None:
        """The frame that was named with the file; `None` if none was."""
        return None if _AT.match(self.typed) is None or Path(self.typed).exists() else self.frame

    @property
    def log(self) -> Mapping[str, Any]:
        """What run.json keeps of it."""
        return {self.kind: self.typed}


def read_cue(kind: str, text: str, video: Video | Clip) -> Cue:
    """Returns what a text such as "120,80,260,300@4#2" says; files are not opened.

    Args:
        kind: What it is of, such as "box".
        text: As it was typed.
        video: The video, which knows its frames.

    Raises:
        CueError: if it is not written as it should be, or the video has no such frame.
    """
    known: Any = kind
    if kind not in get_args(Kind):
        raise CueError(f"'{kind}' is not a kind of cue; give one of {', '.join(get_args(Kind))}")
    if kind == "queries":
        return Cue(known, Path(text), video.start if isinstance(video, Clip) else 0, None, text)
    if kind in ("mask", "anchor"):
        name, frame = split_cue(text, video)
        return Cue(known, Path(name), frame, None, text)
    if kind == "box" and Path(split_cue(text, video)[0]).is_file():
        name, frame = split_cue(text, video)
        return Cue(known, Path(name), frame, None, text)
    form, remedy = _FORMS[kind]
    body, mark, number = text.partition("#") if kind != "grid" else (text, "", "")
    if mark and not re.fullmatch(r"\d{1,5}", number):
        raise CueError(f"'{text}' has '#{number}' for an object; give a number from 1 on")
    body, frame = split_cue(body, video)
    match = form.fullmatch(body)
    if match is None:
        raise CueError(f"--{kind} is '{text}'; {remedy}")
    value: Any = match[1]
    if kind == "box":
        value = tuple(map(float, match.groups()))
    elif kind == "point":
        value = float(match[1]), float(match[2]), match[3] != "-"
    elif kind == "grid":
        value = int(value)
    return Cue(known, value, frame, int(number) if mark else None, text)


def split_cue(cue: str, video: Video | Clip) -> tuple[str, int]:
    """Returns what stands before the `@` of a cue, and the frame number it names (the first one without).

    Raises:
        CueError: if the video has no such frame.
    """
    match = _AT.match(cue)
    if match is None or Path(cue).exists():
        return cue, video.start if isinstance(video, Clip) else 0
    at = match["frame"]
    try:
        index = video.index_of_time(Fraction(at[:-1])) if at.endswith("s") else int(at)
        video.name_of(index)
    except VideoError as error:
        raise CueError(f"cue '{cue}' cannot be used: {error}") from error
    return match["file"], index


def described(index: int, labels: LabelMap) -> dict[str, Any]:
    """Returns what run.json keeps of a map: its frame, and the SHA-256 of its ids and soft edges if it has them."""
    height, width = labels.shape
    digest = hashlib.sha256(f"{width}x{height}".encode() + labels.tobytes())
    for cover in labels.cover.values() if isinstance(labels, SoftLabelMap) else ():
        digest.update(cover.tobytes())
    return {"frame": index, "sha256": digest.hexdigest()}
