"""Label maps over images: a tint, a contour that shows on any ground, hatching for void."""

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from undertow.base import MaskError
from undertow.masks import VOID, LabelMap, object_colour, object_ids

CONTOUR = 2
HATCH = 8


def overlay(
    image: UInt8[np.ndarray, "height width 3"], labels: LabelMap, *, alpha: float = 0.5, outline: bool = True
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns a copy of an RGB image with every object tinted in its DAVIS colour.

    The outline is two pixels wide and lies inside the object: dark outside, the lightened colour inside, so that one
    of them contrasts with whatever is around. Void is hatched in grey, background is left as it is.

    Args:
        image: the frame.
        labels: its label map, of the same size.
        alpha: share of the tint, from 0 (invisible) to 1 (opaque).
        outline: whether to draw contours.

    Raises:
        MaskError: if the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise MaskError(f"labels of shape {labels.shape} do not fit an image of shape {image.shape[:2]}")
    result = image.copy()
    edge = border(labels, 1) if outline else None
    rim = border(labels, CONTOUR) if outline else None
    for object_id in object_ids(labels):
        inside = labels == object_id
        colour = np.array(object_colour(object_id))
        result[inside] = np.rint((1 - alpha) * image[inside] + alpha * colour)
        if edge is not None and rim is not None:
            result[inside & rim] = np.rint(0.4 * colour + 0.6 * 255)
            result[inside & edge] = np.rint(0.3 * colour)
    void = labels == VOID
    if void.any():
        rows, columns = (np.arange(length) for length in labels.shape)
        hatch = void & ((rows[:, None] + columns) % HATCH < 2)
        result[hatch] = np.rint((1 - alpha) * image[hatch] + alpha * 230)
    return result


def border(labels: LabelMap, width: int) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels within `width` steps (to the four sides) of a pixel with another label."""
    sides = ((0, 1), (0, -1), (1, 1), (1, -1))
    near = np.zeros(labels.shape, bool)
    for axis, step in sides:
        near |= labels != _neighbour(labels, axis, step)
    for _ in range(width - 1):
        near = near | np.logical_or.reduce([_neighbour(near, axis, step) for axis, step in sides])
    return near


def _neighbour(values: Shaped[np.ndarray, "h w"], axis: int, step: int) -> Shaped[np.ndarray, "h w"]:
    """Returns each pixel's neighbour one step along an axis; at the border it is the pixel itself."""
    return np.take(values, np.clip(np.arange(values.shape[axis]) + step, 0, values.shape[axis] - 1), axis)
