"""Pseudo truth for clips nobody has annotated: points carried along optical flow, and believed where they come back.

DiffTrack takes a trained point tracker for this. Chained dense inverse search needs no weights; what it loses (occluded
points, fast motion) it mostly notices, because a chain of flows back to the first frame then ends elsewhere.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from undertow.analysis.scores import REFERENCE
from undertow.base import SettingsError
from undertow.observing.flow import fetched

# How far from its start a point may come back, in pixels of a frame of 480 x 720: half of what counts as right.
CYCLE = 4.0


def flow_tracks(
    images: UInt8[np.ndarray, "t h w 3"], points: Float[np.ndarray, "q 2"]
) -> tuple[Float32[np.ndarray, "q t 2"], Bool[np.ndarray, "q t"]]:
    """Returns where points of the first frame are on every frame, and whether that is believed.

    A point is believed at frame t if it has been inside the picture all along and the chain of backward flows from t
    takes it back to within `CYCLE` of where it began.

    Args:
        images: RGB frames.
        points: (x, y) in pixels; the centre of the top-left pixel is (0.5, 0.5).

    Raises:
        SettingsError: if OpenCV is not installed.

    Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    """
    forward, backward = flows(images)
    height, width = images.shape[1:3]
    tolerance = CYCLE * (height * width / (REFERENCE[0] * REFERENCE[1])) ** 0.5
    start = np.asarray(points, np.float32).reshape(-1, 2)
    tracks = [start]
    visible = [np.ones(len(start), bool)]
    inside = visible[0]
    for time, flow in enumerate(forward, start=1):
        places = tracks[-1] + at(flow, tracks[-1])
        back = places
        for reverse in backward[time - 1 :: -1]:
            back = back + at(reverse, back)
        inside = inside & ((places >= 0) & (places < (width, height))).all(axis=1)
        tracks.append(places)
        visible.append(inside & (np.linalg.norm(back - start, axis=1) <= tolerance))
    return np.stack(tracks, axis=1), np.stack(visible, axis=1)


def flows(
    images: UInt8[np.ndarray, "t h w 3"],
) -> tuple[list[Float32[np.ndarray, "h w 2"]], list[Float32[np.ndarray, "h w 2"]]]:
    """Returns the flow (x, y in pixels) from each frame to the next, and from each next frame to the one before it.

    Raises:
        SettingsError: if OpenCV is not installed.
    """
    cv2 = opencv()
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in images]
    pairs = list(pairwise(grey))
    return (
        [np.asarray(search.calc(here, there, None)) for here, there in pairs],
        [np.asarray(search.calc(there, here, None)) for here, there in pairs],
    )


def at(field: Float32[np.ndarray, "h w c"], places: Float32[np.ndarray, "q 2"]) -> Float32[np.ndarray, "q c"]:
    """Returns a field, known at pixel centres, at places (x, y) in pixels; bilinear, constant beyond the border."""
    if not len(places):
        return np.zeros((0, field.shape[2]), np.float32)
    x, y = (np.ascontiguousarray(places[:, axis, None], np.float32) - 0.5 for axis in (0, 1))
    return fetched(field, x, y).reshape(len(places), field.shape[2])


def warp_error(images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> float:
    """Returns how much consecutive frames differ where optical flow says that they show the same, of 255.

    Each frame is fetched into the one before it along the flow, and the absolute differences of pixels whose flow
    leads back to within half a pixel are averaged over the clip. NaN if there are none.

    Raises:
        SettingsError: if OpenCV is not installed.

    Source: Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018 (there with other flow and masks).
    """
    stack = np.stack(list(images))
    forward, backward = flows(stack)
    height, width = stack.shape[1:3]
    rows, columns = np.indices((height, width), np.float32)
    pixels = np.stack([columns + 0.5, rows + 0.5], -1).reshape(-1, 2)
    total, count = 0.0, 0
    for here, there, flow, reverse in zip(stack[:-1], stack[1:], forward, backward, strict=True):
        places = pixels + flow.reshape(-1, 2)
        inside = ((places >= 0) & (places < (width, height))).all(axis=1)
        same = inside & (np.linalg.norm(places + at(reverse, places) - pixels, axis=1) <= 0.5)
        error = np.abs(at(there.astype(np.float32), places) - here.reshape(-1, 3)).mean(axis=1)
        total, count = total + float(error[same].sum()), count + int(same.sum())
    return total / count if count else float("nan")


def opencv() -> Any:
    """Returns the OpenCV module, which only flow needs.

    Raises:
        SettingsError: if it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise SettingsError("optical flow needs OpenCV; run: pip install 'undertow[bench]'") from error
    return cv2
