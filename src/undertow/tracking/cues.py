"""From what people say of objects to label maps: masks as they are, boxes and points through a segmenter, words."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from undertow.backbones import Backbone
from undertow.base import CueError
from undertow.export.cues import take
from undertow.export.taking import is_annotations
from undertow.masks import VOID, LabelMap, colour_table, object_ids, read_label_map, read_mattes, read_object_masks
from undertow.refinement import (
    ObjectCue,
    OneFrame,
    PointCue,
    cuts_out,
    load_segmenter,
    segment,
    segment_grabcut,
)
from undertow.refinement.prompts import check_cues
from undertow.runs.cues import Cue, described
from undertow.runs.task import Given
from undertow.tracking import TrackSettings, check_masks
from undertow.video import Clip, Video

log = logging.getLogger(__name__)

Masks = Mapping[int, LabelMap]
Prompted = Callable[[UInt8[np.ndarray, "h w 3"], Sequence[ObjectCue]], LabelMap]
"""From a frame and what is said of its objects to a label map."""
Found = Callable[[UInt8[np.ndarray, "h w 3"], str], LabelMap]
"""From a frame and a word to a label map in which 1 is what the word names."""


def gather(cues: Sequence[Cue], clip: Clip, model: Callable[[], Backbone], settings: TrackSettings) -> Given[Masks]:
    """Returns the label map of each frame that cues name.

    Args:
        cues: Masks, boxes, points and words.
        clip: The video.
        model: Returns the model; it is asked where words are.
        settings: Which segmenter boxes and points go to, and whether masks are RGB-coded.

    Raises:
        CueError: if there is none, a frame has cues of several kinds, or one is of no use.
        MaskError: if a file is not a label map of the video's size.
    """
    painted = [cue for cue in cues if cue.kind == "mask"]
    clicks = [each for cue in cues if cue.kind in ("box", "point") for each in _single(cue, clip)]
    words = [cue for cue in cues if cue.kind == "text"]
    if not (painted or clicks or words):
        raise CueError(
            "no mask was given; add --mask FILE with objects painted on the first frame, or --box or --point"
        )
    masks = read_masks(
        painted, clip, mask_colors=settings.mask_colors, threshold=settings.mask_threshold, soft=settings.soft
    )
    if both := sorted(masks.keys() & {cue.frame for cue in clicks}):
        raise CueError(f"frame {both[0]} has a mask, and boxes or points too; give one of them")
    if clicks:
        made = prompted_masks(clicks, clip, lambda: prompter(settings, model))
        for frame, labels in made.items():
            log.info("frame %d: made object %s", frame, _counted(labels))
        masks |= made
    if both := sorted(masks.keys() & {cue.frame for cue in words}):
        raise CueError(f"frame {both[0]} has a word, and a mask, boxes or points too; give one of them")
    if words:
        named = numbered(words)
        made = worded_masks(named, clip, _finder(settings, model(), (clip.height, clip.width)))
        for frame, labels in made.items():
            texts = ", ".join(cue.value for cue in named if cue.frame == frame)
            log.info("frame %d: %s is object %s", frame, texts, _counted(labels))
        masks |= made
    return given_masks(clip, masks, [cue.log for cue in cues])


def _single(cue: Cue, clip: Clip) -> Iterator[Cue]:
    """Yields a cue, or the boxes in the file of annotations that it names."""
    if not isinstance(cue.value, Path):
        yield cue
        return
    for frame, boxes in take(cue.value, clip, cue.at).boxes().items():
        yield from (replace(cue, value=box, frame=frame, object_id=number) for number, box in boxes.items())


def given_masks(video: Video | Clip, masks: Masks, typed: Sequence[Mapping[str, Any]] = ()) -> Given[Masks]:
    """Returns label maps by frame number as cues of a run.

    Args:
        video: The video.
        masks: The label maps.
        typed: What the user typed, for the log in run.json.

    Raises:
        CueError, MaskError: if there is none, or one does not fit the video.
    """
    checked = check_masks(video, masks)
    digests = (described(index, labels) for index, labels in checked.items())
    return Given(checked, (*typed, *digests), tuple(sorted(checked)))


def read_masks(
    cues: Sequence[Cue],
    clip: Video | Clip,
    *,
    mask_colors: bool = False,
    threshold: int | None = None,
    soft: bool = False,
) -> dict[int, LabelMap]:
    """Returns the label map of each frame that masks are on; several files for one frame are one object each.

    A file or folder of another tool's annotations has all frames that it names (see `undertow.export.cues`).

    Args:
        cues: Masks.
        clip: The video.
        mask_colors: Whether colours stand for ids; which for which is logged.
        threshold: Grey level from which on a pixel belongs to the object of a file.
        soft: Whether files are mattes, whose soft edges are kept.

    Raises:
        MaskError: if a file is not a label map of the video's size.
        CueError: if a frame has masks of two files of annotations.
    """
    files: dict[int, list[Any]] = {}
    maps: dict[int, LabelMap] = {}
    for cue in cues:
        if not is_annotations(cue.value):
            files.setdefault(cue.frame, []).append(cue.value)
            continue
        for frame, labels in take(cue.value, clip, cue.at).masks(soft=soft).items():
            if frame in maps:
                raise CueError(f"frame {frame} has masks in two files of annotations; give one of them")
            maps[frame] = labels
    if both := sorted(maps.keys() & files.keys()):
        raise CueError(f"frame {both[0]} has a mask, and one in a file of annotations too; give one of them")
    table = colour_table(*[file for group in files.values() for file in group]) if mask_colors and files else {}
    size = (clip.height, clip.width)
    for index, group in files.items():
        if soft:
            maps[index] = read_mattes(group, size=size)
        elif len(group) == 1:
            maps[index] = read_label_map(group[0], size=size, mask_colors=table or False, threshold=threshold)
        else:
            maps[index] = read_object_masks(group, size=size, threshold=threshold)
    for colour, object_id in table.items():
        log.info("colour %s is object %d", colour, object_id)
    return maps


def object_cues(cues: Sequence[Cue]) -> dict[int, list[ObjectCue]]:
    """Returns what boxes and points say of each object, by frame; those of one object on one frame belong together.

    Boxes without an id are objects of their own, numbered in order; points without one are all of object 1.

    Raises:
        CueError: if an object has two boxes on a frame.
    """
    taken = {cue.object_id for cue in cues}
    if any(cue.kind == "point" and cue.object_id is None for cue in cues):
        taken.add(1)
    found: dict[int, dict[int, ObjectCue]] = {}
    for cue in cues:
        number = cue.object_id
        if number is None:
            # A lone box is a new object, unless it surrounds the points that have no id either.
            number = 1 if cue.kind == "point" else next(each for each in range(1, len(cues) + 2) if each not in taken)
            taken.add(number)
        on_frame = found.setdefault(cue.frame, {})
        known = on_frame.get(number, ObjectCue(number))
        if cue.kind == "point":
            on_frame[number] = replace(known, points=(*known.points, PointCue(*cue.value)))
        elif known.box is not None:
            raise CueError(f"object {number} has two boxes on frame {cue.frame}; give one, or another #ID")
        else:
            on_frame[number] = replace(known, box=cue.value)
    return {frame: list(on_frame.values()) for frame, on_frame in found.items()}


def prompted_masks(cues: Sequence[Cue], clip: Video | Clip, load: Callable[[], Prompted]) -> dict[int, LabelMap]:
    """Returns the label map that is made of the boxes and points of each frame.

    Args:
        cues: Boxes and points.
        clip: The video; its frames must be there to be read at any place.
        load: Returns what makes a label map of a frame and its cues, such as `segment_grabcut`, or `segment` with a
            segmenter; called once everything that can be checked without it has been.

    Raises:
        CueError: if the video cannot be read at a place, or a cue is of no use (see `undertow.refinement`).
    """
    whole = _rereadable(clip, "boxes and points")
    asked = object_cues(cues)
    for frame, objects in asked.items():
        with _named(frame):
            check_cues(objects, whole.width, whole.height)
    make, masks = load(), {}
    for found in whole.frames(sorted(asked)):
        with _named(found.index):
            masks[found.index] = make(found.image, asked[found.index])
    return masks


def numbered(words: Sequence[Cue]) -> list[Cue]:
    """Returns words each of an object of its own: those without an id get the free ones in order.

    Raises:
        CueError: if two words are of one object, or an id cannot be used.
    """
    taken = [cue.object_id for cue in words if cue.object_id is not None]
    twice = sorted({number for number in taken if taken.count(number) > 1})
    if twice:
        raise CueError(f"object {twice[0]} has two words; give one, or another #ID")
    if any(not 0 < number < VOID for number in taken):
        raise CueError(f"object ids of --text are {taken}; give 1 to {VOID - 1}")
    free = iter(number for number in range(1, 2 * len(words) + 1) if number not in taken)
    return [cue if cue.object_id is not None else replace(cue, object_id=next(free)) for cue in words]


def worded_masks(words: Sequence[Cue], clip: Video | Clip, find: Found) -> dict[int, LabelMap]:
    """Returns the label map of each frame that words are on; a pixel that several words claim goes to the earlier.

    Args:
        words: Words, each of an object of its own.
        clip: The video; its frames must be there to be read at any place.
        find: What makes a mask of a frame and a word, such as a `Grounder`.

    Raises:
        CueError: if the video cannot be read at a place, or a word finds nothing.
    """
    whole = _rereadable(clip, "words")
    masks: dict[int, LabelMap] = {}
    for found in whole.frames(sorted({cue.frame for cue in words})):
        labels = np.zeros((whole.height, whole.width), np.uint16)
        for cue in (each for each in words if each.frame == found.index):
            with _named(found.index):
                inside = (find(found.image, cue.value) > 0) & (labels == 0)
                if not inside.any():
                    raise CueError(f"'{cue.value}' lies under what other words name; give other words, or a --box")
            labels[inside] = cue.object_id or 0
        masks[found.index] = labels
    return masks


def prompter(settings: TrackSettings, model: Callable[[], Backbone]) -> Prompted:
    """Returns what makes masks of boxes and points."""
    if settings.segmenter is None or not cuts_out(settings.segmenter):
        return segment_grabcut
    return partial(segment, OneFrame(load_segmenter(settings.segmenter, device=str(model().device))))


def _finder(settings: TrackSettings, backbone: Backbone, size: tuple[int, int]) -> Found:
    """Returns what makes masks of words: a model's attention to them."""
    # Its models bring libraries that take seconds to import, and most cues are not words.
    from undertow.grounding import finder_of, frames_of, make_proposer, reader_of, tell_limits

    reader = reader_of(backbone)
    tell_limits(reader)
    frames = frames_of(settings, own=reader is backbone)
    grounder = finder_of(reader, size, frames=frames, propose=make_proposer(settings.segmenter, reader.device))

    def find(image: UInt8[np.ndarray, "h w 3"], text: str) -> LabelMap:
        [sight] = grounder.look(image, text)
        if not sight.found:
            raise CueError(f"'{text}' was found nowhere; use other words, or give a --box or a --point")
        return sight.mask.astype(np.uint16)

    return find


def _counted(labels: LabelMap) -> str:
    """Returns how many pixels each object of a label map has."""
    return ", ".join(f"{number} of {int((labels == number).sum())} pixels" for number in object_ids(labels))


def _rereadable(video: Video | Clip, what: str) -> Video:
    whole = video.video if isinstance(video, Clip) else video
    if not whole.again:
        raise CueError(f"{what} need a video that can be read again; give a mask of the first frame instead")
    return whole


@contextmanager
def _named(frame: int) -> Iterator[None]:
    """Says which frame a cue is on that is of no use."""
    try:
        yield
    except CueError as error:
        raise CueError(f"on frame {frame}: {error}") from error
