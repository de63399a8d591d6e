"""F, the contour accuracy: how much of two outlines lies near the other one.

The official evaluators dilate each outline with a disc and count the pixels of the other outline it covers. The disc
is symmetric, so a pixel is covered exactly when its own disc holds an outline pixel, and only outline pixels ever
need asking. Each row of the disc is an interval, so the question is a difference of two cumulative sums.
"""

import math

import numpy as np
from jaxtyping import Bool, Int

from undertow.metrics.region import check_pair

# Rows and columns of outline pixels, as `numpy.nonzero` gives them.
Points = tuple[Int[np.ndarray, " points"], ...]


def outline(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Returns the outline of `mask`: pixels that differ from their right, lower or lower-right neighbour.

    The last row compares with the right neighbour only, the last column with the lower one only, and the last pixel
    is never part of it. So an outline lies up and left of the true edge, and an object has none where it touches the
    top or the left of the image.
    """
    mask = mask.astype(bool, copy=False)
    edge = np.zeros_like(mask)
    right, below = mask[:, :-1] ^ mask[:, 1:], mask[:-1] ^ mask[1:]
    edge[:, :-1] = right
    edge[:-1] |= below
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def contour_radius(height: int, width: int, bound: float = 0.008) -> int:
    """Returns how many pixels apart two outlines may run: `bound` of the diagonal, rounded up; from 1 on, pixels."""
    return math.ceil(bound if bound >= 1 else bound * math.hypot(height, width))


def contour_accuracy(
    pred: Bool[np.ndarray, "h w"],
    true: Bool[np.ndarray, "h w"],
    void: Bool[np.ndarray, "h w"] | None = None,
    bound: float = 0.008,
) -> float:
    """Returns the F-measure of one object's outlines, each matched within a disc of the tolerated radius.

    Precision is the share of the predicted outline with true outline near it, recall the reverse. With no outline on
    either side the score is 1, on one side only 0.

    Args:
        pred: where the prediction has the object; any non-zero value counts.
        true: where the annotation has it.
        void: pixels cleared from both masks before their outlines are drawn.
        bound: the tolerance, see `contour_radius`.

    Raises:
        ValueError: if the masks differ in size.

    Source: Perazzi et al., CVPR 2016, in the disc-dilation form that both official DAVIS evaluators use.
    """
    check_pair(pred, true, void)
    if void is not None:
        kept = ~void.astype(bool, copy=False)
        pred, true = pred.astype(bool, copy=False) & kept, true.astype(bool, copy=False) & kept
    points_pred, points_true = np.nonzero(outline(pred)), np.nonzero(outline(true))
    if not len(points_pred[0]) or not len(points_true[0]):
        return float(len(points_pred[0]) == len(points_true[0]))
    radius = contour_radius(pred.shape[0], pred.shape[1], bound)
    precision = float(np.mean(_near(points_pred, points_true, radius)))
    recall = float(np.mean(_near(points_true, points_pred, radius)))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(points: Points, others: Points, radius: int) -> Bool[np.ndarray, " points"]:
    """Tells for each of `points` whether one of `others` (not empty) lies within `radius`, borders included."""
    rows, columns = points[0] - others[0].min(), points[1] - others[1].min()
    crop = others[0] - others[0].min(), others[1] - others[1].min()
    height, width = crop[0].max() + 1, crop[1].max() + 1
    # sums[y, x] counts the others in row y of their bounding box, before column x.
    sums = np.zeros((height, width + 1), np.int32)
    sums[crop[0], crop[1] + 1] = 1
    np.cumsum(sums, axis=1, out=sums)
    near = np.zeros(len(rows), bool)
    for offset in range(-radius, radius + 1):
        reach = math.isqrt(radius * radius - offset * offset)
        row = rows + offset
        inside = (row >= 0) & (row < height)
        row = np.where(inside, row, 0)
        first, last = (np.clip(columns + ends, 0, width) for ends in (-reach, reach + 1))
        near |= inside & (sums[row, last] > sums[row, first])
    return near
