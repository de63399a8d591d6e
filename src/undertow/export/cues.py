"""Annotations of other tools as cues: which frame each is of, which object, and what was taken."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from undertow.base import CueError, VideoError, whole
from undertow.export.taking import Shape, read_shapes
from undertow.masks import VOID, LabelMap, SoftLabelMap
from undertow.masks.pictures import brightness
from undertow.video import Clip, Video

log = logging.getLogger(__name__)

# A name that ends in a number, or is a time.
_NUMBER, _TIME = re.compile(r"(\d{1,9})$"), re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s$")


@dataclass(frozen=True)
class Taken:
    """What a file of annotations says of a video.

    Attributes:
        path: The file.
        size: Height and width of the video.
        frames: The shapes on each frame, by its number.
        ids: Object ids by what tells objects apart in the file.
        names: What objects are called, by id.
    """

    path: Path
    size: tuple[int, int]
    frames: Mapping[int, list[Shape]]
    ids: Mapping[tuple[str, int], int]
    names: Mapping[int, str]

    def masks(self, *, soft: bool = False) -> dict[int, LabelMap]:
        """Returns the label map of each frame; where shapes overlap, the later one lies on top.

        Args:
            soft: Whether pictures of objects are mattes, whose soft edges are kept.

        Raises:
            CueError: if there is nothing that covers pixels.
        """
        maps, hidden = {}, 0
        for frame, shapes in self.frames.items():
            labels = np.zeros(self.size, np.uint16)
            mattes = {self.ids[_key(each)]: each.packed for each in shapes if soft and isinstance(each.packed, Path)}
            if mattes:
                labels = SoftLabelMap({number: brightness(path, self.size) for number, path in mattes.items()})
            for shape in shapes if not mattes else ():
                if shape.kind != "points":
                    number, inside = self.ids[_key(shape)], shape.mask(self.size)
                    hidden += int(np.count_nonzero(inside & (labels > 0) & (labels != number)))
                    labels[inside] = number
            if labels.any():
                maps[frame] = labels
        if not maps:
            raise CueError(f"'{self.path}' has no mask, polygon or box that covers a pixel; annotate objects in it")
        self._say("masks", maps)
        if hidden:
            log.info("shapes overlap in %d pixels, which go to the later shape", hidden)
        return maps

    def boxes(self) -> dict[int, dict[int, tuple[float, float, float, float]]]:
        """Returns the box (x0, y0, x1, y1) around each object, by frame and id.

        Raises:
            CueError: if there is none.
        """
        found: dict[int, dict[int, tuple[float, float, float, float]]] = {}
        for frame, shapes in self.frames.items():
            for shape in shapes:
                points = shape.points
                if shape.packed is not None:
                    rows, columns = np.nonzero(shape.mask(self.size))
                    points = np.stack([np.append(columns, columns + 1), np.append(rows, rows + 1)], axis=1)
                if shape.kind == "points" or not len(points):
                    continue
                number, known = self.ids[_key(shape)], found.setdefault(frame, {})
                if number in known:
                    points = np.concatenate([points, np.reshape(known[number], (2, 2))])
                (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
                known[number] = (left, top, right, bottom)
        if not found:
            raise CueError(f"'{self.path}' has no box, polygon or mask; annotate objects in it")
        self._say("boxes", found)
        return found

    def points(self) -> Float64[np.ndarray, "q 3"]:
        """Returns all points as (frame, x, y).

        Raises:
            CueError: if there is none.
        """
        rows = [
            (frame, x, y)
            for frame, shapes in self.frames.items()
            for shape in shapes
            if shape.kind == "points"
            for x, y in shape.points.tolist()
        ]
        if not rows:
            raise CueError(f"'{self.path}' has no points; annotate some in it")
        log.info("%s: took %d points on %d frames", self.path, len(rows), len({row[0] for row in rows}))
        return np.array(rows, np.float64)

    def _say(self, what: str, frames: Iterable[int]) -> None:
        numbers = sorted(frames)
        shown = ", ".join(map(str, numbers[:6])) + (f" and {len(numbers) - 6} more" if len(numbers) > 6 else "")
        named = [f"{number} is {name}" for number, name in sorted(self.names.items())]
        more = f" and {len(named) - 8} more" if len(named) > 8 else ""
        of = f"frame{'s' * (len(numbers) > 1)} {shown}"
        log.info("%s: took %s of %s; %s%s", self.path, what, of, ", ".join(named[:8]), more)


def take(path: Path, clip: Clip | Video, at: int | None = None) -> Taken:
    """Returns what a file or folder of annotations says of a video.

    A picture is the frame whose number the file states; or whose name it has; or whose number, or time such as 1.5s,
    its name ends in. Frames that the clip does not look at are left out, and that is said.

    Objects have the ids of the file, of its tracks or groups; without any, what is called alike is one object, or, in a
    file of one frame, each shape.

    Args:
        path: The file or folder.
        clip: The video.
        at: The frame that the annotations are on, for a file of one picture; `None` to find out.

    Raises:
        CueError: if it cannot be read, names no frame of the video, or does not tell objects apart.
    """
    video, size = clip.video if isinstance(clip, Clip) else clip, (clip.height, clip.width)
    shapes = list(read_shapes(path, size))
    pictures = list(dict.fromkeys((shape.name, shape.frame) for shape in shapes))
    if not pictures:
        raise CueError(f"'{path}' has no annotations; annotate objects in it")
    if at is not None:
        if len(pictures) > 1:
            raise CueError(f"'{path}' is of {len(pictures)} pictures, and @{at} is one frame; leave @{at} out")
        places: dict[tuple[str, int], int | None] = {pictures[0]: at}
    else:
        names = {video.name_of(number): number for number in video.numbers or ()}
        places = {each: _frame_of(each, video, names) for each in pictures}
    looked_at = clip.numbers
    chosen = {each: n for each, n in places.items() if n is not None and (looked_at is None or n in looked_at)}
    if not chosen:
        shown = pictures[0][0] or f"frame {pictures[0][1]}"
        raise CueError(
            f"'{path}' is of '{shown}', which is not among the frames in use; name pictures like the frames, or give "
            "FILE@F for a file of one picture"
        )
    if len(chosen) < len(places):
        left_out = len(places) - len(chosen)
        log.warning("%s: %d of its %d pictures are not among the frames in use", path, left_out, len(places))
    frames: dict[int, list[Shape]] = {}
    for shape in shapes:
        number = chosen.get((shape.name, shape.frame))
        if number is not None:
            frames.setdefault(number, []).append(shape)
    if len(frames) == 1 and not any(shape.group for (only,) in [frames.values()] for shape in only):
        # In one picture each shape is an object of its own.
        frames = {n: [replace(shape, group=place) for place, shape in enumerate(each, 1)] for n, each in frames.items()}
    ids, called = _identities(path, frames)
    return Taken(path, size, dict(sorted(frames.items())), ids, called)


def _key(shape: Shape) -> tuple[str, int]:
    """Returns what tells an object from others: its id, or what it is called."""
    return ("", shape.group) if shape.group else (shape.label, 0)


def _identities(path: Path, frames: Mapping[int, list[Shape]]) -> tuple[dict[tuple[str, int], int], dict[int, str]]:
    """Returns the ids of objects, those of the file if they can be, and their names."""
    labels = {_key(shape): shape.label for shapes in frames.values() for shape in shapes if shape.kind != "points"}
    whole(len(labels), "the number of its objects", most=VOID - 1, source=path)
    own = all(0 < group < VOID for _, group in labels)
    ids = {key: key[1] if own else place for place, key in enumerate(labels, start=1)}
    return ids, {ids[key]: label for key, label in labels.items()}


def _frame_of(picture: tuple[str, int], video: Video, names: Mapping[str, int]) -> int | None:
    """Returns the number of the frame that a picture is, `None` if it is none."""
    name, frame = picture
    count = video.frame_count
    if frame >= 0:
        return frame if count is None or frame < count else None
    if name in names:
        return names[name]
    if match := _TIME.search(name):
        try:
            return video.index_of_time(Fraction(match[1]))
        except VideoError:
            return None
    match = _NUMBER.search(name)
    return int(match[1]) if match and (count is None or int(match[1]) < count) else None
