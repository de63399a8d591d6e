"""From boxes and points that a user gives to a label map, through a segmenter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from undertow.base import CueError
from undertow.masks import VOID, LabelMap
from undertow.refinement.segmenter import Embedding, Prediction, Segmenter


@dataclass(frozen=True)
class PointCue:
    """A click: place in pixels, x to the right and y down, and whether it is inside the object."""

    x: float
    y: float
    inside: bool = True


@dataclass(frozen=True)
class ObjectCue:
    """What a user says of one object: a box (x0, y0, x1, y1) in pixels, clicks, or both."""

    object_id: int
    box: tuple[float, float, float, float] | None = None
    points: tuple[PointCue, ...] = ()


def segment(segmenter: Segmenter, image: UInt8[np.ndarray, "h w 3"], cues: Sequence[ObjectCue]) -> LabelMap:
    """Returns the label map (h, w) of the objects that `cues` point at.

    A single click may mean an object or a part of it: of the segmenter's three masks, the one it scores highest is
    taken. With a box, or several clicks, there is one mask. A pixel that several objects claim goes to the one whose
    mask the segmenter scores highest.

    Args:
        segmenter: such as `load_segmenter("sam-vit-b")` returns.
        image: RGB frame.
        cues: one for each object.

    Raises:
        CueError: if a cue is empty, is outside the frame, holds numbers that are none, repeats an object, or if the
            segmenter finds nothing there.
    """
    height, width = image.shape[:2]
    check_cues(cues, width, height)
    (embedding,) = segmenter.embed(image[None])
    labels = np.zeros((height, width), np.uint16)
    answers = [_answer(segmenter, embedding, cue) for cue in cues]
    # The surest object is painted last, over the others.
    for cue, answer in sorted(zip(cues, answers, strict=True), key=lambda pair: float(pair[1].scores[0, 0])):
        mask = embedding.fit.to_frame(answer.logits[0])[0].cpu().numpy() > 0
        if not mask.any():
            raise CueError(f"nothing was found at {_place(cue)}; give a box around the object, or a mask")
        labels[mask] = cue.object_id
    for cue in cues:
        if not (labels == cue.object_id).any():
            raise CueError(f"object {cue.object_id} lies under the masks of others; give more points, or a mask")
    return labels


def _answer(segmenter: Segmenter, embedding: Embedding, cue: ObjectCue) -> Prediction:
    points = torch.tensor([[(point.x, point.y) for point in cue.points]]) if cue.points else None
    labels = torch.tensor([[int(point.inside) for point in cue.points]]) if cue.points else None
    boxes = None if cue.box is None else torch.tensor([cue.box])
    ambiguous = cue.box is None and len(cue.points) == 1
    return segmenter.predict(embedding, points=points, labels=labels, boxes=boxes, multimask=ambiguous).best()


def check_cues(cues: Sequence[ObjectCue], width: int, height: int) -> None:
    """Raises CueError unless every cue can be asked of a frame of `width` x `height` pixels."""
    if not cues:
        raise CueError("no box or point was given; say where the objects are")
    seen: set[int] = set()
    for cue in cues:
        if not 0 < cue.object_id < VOID:
            raise CueError(f"object id {cue.object_id} cannot be used; give 1 to {VOID - 1}")
        if cue.object_id in seen:
            raise CueError(f"object {cue.object_id} has two cues; put its box and points into one")
        seen.add(cue.object_id)
        if cue.box is None and not cue.points:
            raise CueError(f"object {cue.object_id} has neither box nor points; give one of them")
        if cue.box is not None:
            _check_box(cue.box, width, height)
        for point in cue.points:
            if not (math.isfinite(point.x) and math.isfinite(point.y)):
                raise CueError(f"point {point.x:g},{point.y:g} is not a place; give two numbers")
            if not (0 <= point.x <= width and 0 <= point.y <= height):
                place = f"{point.x:g},{point.y:g}"
                raise CueError(f"point {place} is outside the frame of {width}x{height}; give one inside")
        if cue.box is None and not any(point.inside for point in cue.points):
            raise CueError(f"object {cue.object_id} has only points outside it; give one inside, or a box")


def _check_box(box: tuple[float, float, float, float], width: int, height: int) -> None:
    shown = ",".join(f"{side:g}" for side in box)
    if not all(math.isfinite(side) for side in box):
        raise CueError(f"box {shown} is not a box; give four numbers x0,y0,x1,y1")
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        raise CueError(f"box {shown} is empty; give its left, top, right and bottom in this order")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise CueError(f"box {shown} reaches out of the frame of {width}x{height} pixels; give one inside it")


def _place(cue: ObjectCue) -> str:
    if cue.box is not None:
        return f"box {','.join(f'{side:g}' for side in cue.box)}"
    return f"point {cue.points[0].x:g},{cue.points[0].y:g}"
