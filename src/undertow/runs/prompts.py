"""Boxes, points and words as a user types them, and the masks that are made of them.

    --box x0,y0,x1,y1[@F][#ID]     --point x,y[,+|-][@F][#ID]     --text WORD[@F][#ID]

Coordinates are native pixels, x to the right and y down; F is a frame number or seconds with the suffix s. Boxes and
words without an id are objects of their own, numbered in order; points without one are all of object 1.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from undertow.base import CueError
from undertow.masks import VOID, LabelMap
from undertow.refinement import ObjectCue, PointCue
from undertow.refinement.prompts import check_cues
from undertow.runs.cues import split_cue
from undertow.video import Clip, Video

Prompted = Callable[[UInt8[np.ndarray, "h w 3"], Sequence[ObjectCue]], LabelMap]
"""From a frame and what is said of its objects to a label map."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_WORD = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_BOX = re.compile(rf"({_NUMBER}),({_NUMBER}),({_NUMBER}),({_NUMBER})")
_POINT = re.compile(rf"({_NUMBER}),({_NUMBER})(?:,([+-]))?")


Found = Callable[[UInt8[np.ndarray, "h w 3"], str], LabelMap]
"""From a frame and a word to a label map in which 1 is what the word names."""


@dataclass(frozen=True)
class WordPrompt:
    """A word, the frame it is on, and the object it names."""

    frame: int
    object_id: int
    word: str


@dataclass(frozen=True)
class Prompt:
    """A box or a point, the frame it is on, and the object it is of (`None` if not said)."""

    frame: int
    object_id: int | None
    box: tuple[float, float, float, float] | None = None
    point: PointCue | None = None


def parse_box(text: str, video: Video | Clip) -> Prompt:
    """Returns the box that a text such as "120,80,260,300@4#2" names.

    Raises:
        CueError: if it is no box, or the video has no such frame.
    """
    body, frame, object_id = _parts(text, video)
    match = _BOX.fullmatch(body)
    if match is None:
        raise CueError(f"--box is '{text}'; give x0,y0,x1,y1 in pixels, such as 120,80,260,300 or 120,80,260,300@4#2")
    x0, y0, x1, y1 = (float(each) for each in match.groups())
    return Prompt(frame, object_id, box=(x0, y0, x1, y1))


def parse_point(text: str, video: Video | Clip) -> Prompt:
    """Returns the point that a text such as "190,200,-@4#2" names; "-" says that it is outside the object.

    Raises:
        CueError: if it is no point, or the video has no such frame.
    """
    body, frame, object_id = _parts(text, video)
    match = _POINT.fullmatch(body)
    if match is None:
        raise CueError(f"--point is '{text}'; give x,y in pixels, such as 190,200 or 190,200,-@4#2 for one outside")
    return Prompt(frame, object_id, point=PointCue(float(match[1]), float(match[2]), match[3] != "-"))


def parse_words(texts: Sequence[str], video: Video | Clip) -> list[WordPrompt]:
    """Returns the words that texts such as "disc", "red disc@4" or "star#2" hold, each of an object of its own.

    Raises:
        CueError: if one is no word, the video has no such frame, or two words are of one object.
    """
    parts = [_parts(text, video) for text in texts]
    for text, (word, _, _) in zip(texts, parts, strict=True):
        if not _WORD.fullmatch(word.strip()):
            raise CueError(f"--text is '{text}'; give a word or a few, such as disc, \"red disc\" or disc@4#2")
    taken = [number for _, _, number in parts if number is not None]
    twice = sorted({number for number in taken if taken.count(number) > 1})
    if twice:
        raise CueError(f"object {twice[0]} has two words; give one, or another #ID")
    if any(not 0 < number < VOID for number in taken):
        raise CueError(f"object ids of --text are {taken}; give 1 to {VOID - 1}")
    free = iter(number for number in range(1, 2 * len(texts) + 1) if number not in taken)
    return [WordPrompt(frame, next(free) if number is None else number, word.strip()) for word, frame, number in parts]


def worded_masks(prompts: Sequence[WordPrompt], video: Video | Clip, find: Found) -> dict[int, LabelMap]:
    """Returns the label map of each frame that words are on; a pixel that several words claim goes to the earlier.

    Args:
        prompts: words.
        video: the video; its frames must be there to be read at any place.
        find: what makes a mask of a frame and a word, such as `undertow.tracking.words.word_mask`.

    Raises:
        CueError: if the video cannot be read at a place, or a word finds nothing.
    """
    whole = video.video if isinstance(video, Clip) else video
    if not whole.again:
        raise CueError("words need a video that can be read again; give a mask of the first frame instead")
    masks: dict[int, LabelMap] = {}
    for found in whole.frames(sorted({prompt.frame for prompt in prompts})):
        labels = np.zeros((whole.height, whole.width), np.uint16)
        for prompt in (each for each in prompts if each.frame == found.index):
            with _named(found.index):
                inside = (find(found.image, prompt.word) > 0) & (labels == 0)
                if not inside.any():
                    raise CueError(f"'{prompt.word}' lies under what other words name; give other words, or a --box")
            labels[inside] = prompt.object_id
        masks[found.index] = labels
    return masks


def gather(prompts: Sequence[Prompt]) -> dict[int, list[ObjectCue]]:
    """Returns what is said of each object, by frame; prompts of one object on one frame belong together.

    Raises:
        CueError: if an object has two boxes on a frame.
    """
    taken = {prompt.object_id for prompt in prompts}
    if any(prompt.point and prompt.object_id is None for prompt in prompts):
        taken.add(1)
    cues: dict[int, dict[int, ObjectCue]] = {}
    for prompt in prompts:
        number = prompt.object_id
        if number is None:
            # A lone box is a new object, unless it surrounds the points that have no id either.
            number = 1 if prompt.point else next(each for each in range(1, len(prompts) + 2) if each not in taken)
            taken.add(number)
        on_frame = cues.setdefault(prompt.frame, {})
        cue = on_frame.get(number, ObjectCue(number))
        if prompt.box is not None and cue.box is not None:
            raise CueError(f"object {number} has two boxes on frame {prompt.frame}; give one, or another #ID")
        points = cue.points + ((prompt.point,) if prompt.point else ())
        on_frame[number] = replace(cue, box=prompt.box or cue.box, points=points)
    return {frame: list(on_frame.values()) for frame, on_frame in cues.items()}


def prompted_masks(prompts: Sequence[Prompt], video: Video | Clip, load: Callable[[], Prompted]) -> dict[int, LabelMap]:
    """Returns the label map that is made of the prompts of each frame.

    Args:
        prompts: boxes and points.
        video: the video; its frames must be there to be read at any place.
        load: returns what makes a label map of a frame and its cues, such as `segment_grabcut`, or `segment` with a
            segmenter; called once everything that can be checked without it has been.

    Raises:
        CueError: if the video cannot be read at a place, or a prompt is of no use (see `undertow.refinement`).
    """
    whole = video.video if isinstance(video, Clip) else video
    if not whole.again:
        raise CueError("boxes and points need a video that can be read again; give a mask of the first frame instead")
    cues = gather(prompts)
    for frame, asked in cues.items():
        with _named(frame):
            check_cues(asked, whole.width, whole.height)
    make, masks = load(), {}
    for found in whole.frames(sorted(cues)):
        with _named(found.index):
            masks[found.index] = make(found.image, cues[found.index])
    return masks


@contextmanager
def _named(frame: int) -> Iterator[None]:
    """Says which frame a cue is on that is of no use."""
    try:
        yield
    except CueError as error:
        raise CueError(f"on frame {frame}: {error}") from error


def _parts(text: str, video: Video | Clip) -> tuple[str, int, int | None]:
    """Returns what stands before @ and #, the frame, and the object id."""
    body, mark, number = text.partition("#")
    if mark and not re.fullmatch(r"\d{1,5}", number):
        raise CueError(f"'{text}' has '#{number}' for an object; give a number from 1 on")
    place, frame = split_cue(body, video)
    return place, frame, int(number) if mark else None
