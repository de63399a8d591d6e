"""Masks from boxes and points without a network: GrabCut, which knows the colours and edges of one frame, no more."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from undertow.base import CueError, SettingsError
from undertow.masks import LabelMap
from undertow.refinement.prompts import ObjectCue, check_cues

ROUNDS = 6
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
        cues: one for each object.

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
    state = _first_guess(image.shape[:2], cue)
    inside = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if inside.all() or not inside.any():
        return inside
    # Its colour models start from random centres.
    cv2.setRNGSeed(SEED)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), state, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))


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
            "boxes and points need OpenCV or a segmenter; run: pip install 'undertow[bench]', or give --segmenter"
        ) from error
    return cv2
