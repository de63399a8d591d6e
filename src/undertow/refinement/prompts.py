"""From boxes and points that a user gives to a label map, through a segmenter or, without a network, GrabCut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from undertow.base import CueError, SettingsError
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
        segmenter: Such as `load_segmenter("sam-vit-b")` returns.
        image: RGB frame.
        cues: One for each object.

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
        inside, outside = ({(p.x, p.y) for p in cue.points if p.inside is side} for side in (True, False))
        for x, y in inside & outside:
            raise CueError(f"point {x:g},{y:g} is said to be in object {cue.object_id} and outside it; leave one out")
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
        raise CueError(f"box {shown} extends beyond the frame of {width}x{height} pixels; give one inside it")


def _place(cue: ObjectCue) -> str:
    if cue.box is not None:
        return f"box {','.join(f'{side:g}' for side in cue.box)}"
    return f"point {cue.points[0].x:g},{cue.points[0].y:g}"


ROUNDS = 2
# Cuts are made on a window around what can belong to the object, larger by a share of its sides, and reduced to about
# so many pixels across and down. Where next to nothing of what can belong to it is left, its inside is taken as
# certain: what is deeper in it than a share of its greatest depth.
MARGIN, SIDE, LEAST, INSIDE = 0.3, 160, 0.02, 0.5
# In shares of the frame's diagonal: how far around itself a point is certain, and how far from all its points an object
# without a box reaches at most.
CLICK, REACH = 0.012, 0.12
SEED = 0


def segment_grabcut(image: UInt8[np.ndarray, "h w 3"], cues: Sequence[ObjectCue]) -> LabelMap:
    """Returns the label map (h, w) of the objects that `cues` point at.

    What is outside a box is background; without a box, what is far from all points inside the object. Objects are cut
    out one after the other, and a pixel that two of them claim goes to the later one.

    Args:
        image: RGB frame.
        cues: One for each object.

    Raises:
        CueError: if a cue is of no use (see `check_cues`), or nothing is found there.
        SettingsError: if OpenCV is not installed.

    Source: Rother et al., "GrabCut", SIGGRAPH 2004, in OpenCV's implementation.
    """
    height, width = image.shape[:2]
    check_cues(cues, width, height)
    labels = np.zeros((height, width), np.uint16)
    for cue in cues:
        found = _cut(image, cue)
        if not found.any():
            raise CueError(f"nothing was found for object {cue.object_id}; give a larger box, more points, or a mask")
        labels[found] = cue.object_id
    for cue in cues:
        if not (labels == cue.object_id).any():
            raise CueError(f"object {cue.object_id} lies under the masks of others; give more points, or a mask")
    return labels


def _cut(image: UInt8[np.ndarray, "h w 3"], cue: ObjectCue) -> np.ndarray:
    """Returns where one object is, by alternating colour models and a minimal cut from what the cue says."""
    cv2 = _opencv()
    whole = _first_guess(image.shape[:2], cue)
    inside = np.isin(whole, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if inside.all() or not inside.any():
        return inside
    window = _window(inside)
    colours, state = cv2.cvtColor(image[window], cv2.COLOR_RGB2BGR), whole[window]
    found = np.zeros_like(inside)
    found[window] = _cut_small(colours, state) & inside[window]
    if found.sum() < LEAST * inside.sum():
        depth = cv2.distanceTransform(np.pad(inside[window], 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        surer = np.where((state == cv2.GC_PR_FGD) & (depth > INSIDE * depth.max()), np.uint8(cv2.GC_FGD), state)
        found[window] = _cut_small(colours, surer) & inside[window]
    return found


def _cut_small(colours: UInt8[np.ndarray, "h w 3"], state: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Returns the minimal cut of a picture that is reduced to `SIDE`^2 pixels, if it has more, as large as it was."""
    cv2 = _opencv()
    height, width = state.shape
    share = min(1.0, SIDE / math.sqrt(height * width))
    size = max(1, round(share * width)), max(1, round(share * height))
    small = cv2.resize(state, size, interpolation=cv2.INTER_NEAREST)
    # Its colour models start from random centres.
    cv2.setRNGSeed(SEED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    reduced = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
    if len(np.unique(small & 1)) == 2:
        cv2.grabCut(reduced, small, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray(cv2.resize((small & 1).astype(np.float32), (width, height)) > 0.5)


def _window(inside: Bool[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Returns rows and columns of what can belong to an object, and of some of its surroundings."""
    sides = []
    for axis, length in ((1, inside.shape[0]), (0, inside.shape[1])):
        (there,) = np.nonzero(inside.any(axis))
        more = int(MARGIN * len(there)) + 4
        sides.append(slice(max(0, int(there[0]) - more), min(length, int(there[-1]) + 1 + more)))
    return sides[0], sides[1]


def _first_guess(size: tuple[int, int], cue: ObjectCue) -> UInt8[np.ndarray, "h w"]:
    """Returns what is certain and what is likely before anything was looked at, in OpenCV's four values."""
    cv2 = _opencv()
    height, width = size
    rows, columns = np.mgrid[:height, :width] + 0.5
    diagonal = float(np.hypot(height, width))

    def near(points: list[tuple[float, float]], reach: float) -> np.ndarray:
        gaps = [np.hypot(columns - x, rows - y) for x, y in points]
        return np.min(gaps, axis=0) <= reach * diagonal if gaps else np.zeros(size, bool)

    inner, outer = ([(p.x, p.y) for p in cue.points if p.inside is side] for side in (True, False))
    state = np.full(size, cv2.GC_BGD, np.uint8)
    if cue.box is not None:
        x0, y0, x1, y1 = cue.box
        state[(columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)] = cv2.GC_PR_FGD
    else:
        state[near(inner, REACH)] = cv2.GC_PR_FGD
    state[near(inner, CLICK)] = cv2.GC_FGD
    state[near(outer, CLICK)] = cv2.GC_BGD
    return state


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise SettingsError(
            "boxes and points need OpenCV or a segmenter; run: pip install opencv-python-headless, or give --segmenter"
        ) from error
    return cv2
