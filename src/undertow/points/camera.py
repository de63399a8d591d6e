"""Optical flow whose blank places go with the camera.

Where a picture is blank, the search for flow follows noise, blocks of compression and shadows that pass, and a point
that it carries is led astray. Nothing there tells a motion of its own, so the place goes with what most of the picture
does.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from undertow.observing.flow import DETAIL, Grey, fetched, search_flow, slopes

# Corners that the camera's motion is fitted to, at most, their least distance, and how near to it they move, in pixels.
CORNERS, APART, NEAR = 1000, 8, 0.5
# How much better than a camera at rest one that moves has to fit, on average, and at most in any place, in grey levels.
BETTER, MOST = 0.05, 0.5
# How far detail speaks for what is blank (in pixels of half the side), how wide the outline of a blank region is, and
# the share of detail that may move otherwise.
AROUND, OUTLINE, AGAINST = 12, 8, 0.5


def steady_flow(here: Grey, there: Grey) -> Float32[np.ndarray, "h w 2"]:
    """Returns the flow (x, y in pixels) from each pixel of one picture to its place in another.

    Blank places go with the camera where that fits them as well as what the search found, unless most detail moves
    otherwise both around them and along the outline of their blank region; and only if the camera fits most of the
    picture. So the middle of a plain thing moves with it, and a wall stays where something passes in front of it.
    """
    flow = search_flow(here, there)
    small, textures = _half(here), (_texture(_half(here)), _texture(_half(there)))
    camera = np.zeros_like(flow)
    found, fit, moving = _misfit(*textures, flow), _misfit(*textures, camera), _camera(here, flow)
    if moving is not None:
        moved = _misfit(*textures, moving)
        if np.clip(fit - moved, -MOST, MOST).mean() > BETTER:
            camera, fit = moving, moved
    fits = fit < found + DETAIL
    if fits.mean() > 0.5:
        detail = slopes(small)
        empty = cv2.blur(detail, (5, 5)) <= DETAIL
        total, moving_otherwise = detail**2, detail**2 * ~fits
        around = cv2.GaussianBlur(moving_otherwise, (0, 0), AROUND) / (cv2.GaussianBlur(total, (0, 0), AROUND) + 1e-3)
        against = np.minimum(around, _along_outline(empty, moving_otherwise, total))
        blank = (fits & empty & (against < AGAINST)).astype(np.uint8)
        blank = cv2.resize(blank, here.shape[::-1], interpolation=cv2.INTER_NEAREST)
        flow = np.where(blank[..., None] > 0, camera, flow)
    return flow


def _camera(here: Grey, flow: Float32[np.ndarray, "h w 2"]) -> Float32[np.ndarray, "h w 2"] | None:
    """Returns the flow of a camera that turns or sees a plane, as most corners have it; `None` if unknown."""
    corners = cv2.goodFeaturesToTrack(here, CORNERS, 0.01, APART)
    if corners is None or len(corners) < 16:
        return None
    moved = corners + fetched(flow, corners[..., 0], corners[..., 1])
    homography, _ = cv2.findHomography(corners, moved, cv2.RANSAC, NEAR)
    if homography is None:
        return None
    pixels = np.stack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in here.shape[::-1])), -1)
    return np.asarray(cv2.perspectiveTransform(pixels, homography) - pixels)


def _along_outline(
    empty: Bool[np.ndarray, "n m"], part: Float32[np.ndarray, "n m"], total: Float32[np.ndarray, "n m"]
) -> Float32[np.ndarray, "n m"]:
    """Returns for each place which part of the total lies along the outline of the empty region it is nearest to."""
    distance, region = cv2.distanceTransformWithLabels(
        (~empty).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    outline = ~empty & (distance < OUTLINE)
    sums = [np.bincount(region[outline], each[outline], region.max() + 1) for each in (part, total)]
    return np.asarray((sums[0] / (sums[1] + 1e-3)).astype(np.float32)[region])


def _half(picture: np.ndarray) -> np.ndarray:
    """Returns a picture of half the side, where the search ends: beyond it flow is interpolated."""
    return np.asarray(cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA))


def _texture(picture: Grey) -> Float32[np.ndarray, "h w"]:
    """Returns what a picture shows beside noise and light: neither single pixels nor what changes slowly across it."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1)
    return np.asarray(smooth - cv2.blur(smooth, (15, 15)))


def _misfit(
    here: Float32[np.ndarray, "n m"], there: Float32[np.ndarray, "n m"], flow: Float32[np.ndarray, "h w 2"]
) -> Float32[np.ndarray, "n m"]:
    """Returns how much two textures of half the side differ around each place along a flow, in grey levels."""
    across, down = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in here.shape[::-1]))
    x, y = np.moveaxis(_half(flow) / 2, -1, 0)
    return np.asarray(cv2.blur(np.abs(here - fetched(there, across + x, down + y)), (5, 5)))
