"""J and F of masks: the masks or outlines of one object, and every object of a frame at once, equal to the last bit.

F is how much of two outlines lies near the other one. The official evaluators dilate each outline with a disc and count
the pixels of the other outline it covers. The disc is symmetric, so a pixel is covered exactly when its own disc holds
an outline pixel, and only outline pixels ever need asking. Each row of the disc is an interval, so the question is a
difference of two cumulative sums.

Of all objects at once, nothing is done at full size but finding where an object is: its outlines are drawn in its own
box, and a box needs only one pixel more than the object, because that is how far an outline lies outside. Whether an
outline pixel has another outline near it is asked of all pixels together: the box becomes one long Python integer with
a bit for each pixel, and moving an outline by some pixels is a shift of that integer.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt16


def check_pair(pred: np.ndarray, true: np.ndarray, void: np.ndarray | None) -> None:
    """Raises `ValueError` unless the masks (and `void`, if given) are two-dimensional and of one size."""
    shapes = [mask.shape for mask in (pred, true, void) if mask is not None]
    if len(shapes[0]) != 2 or len(set(shapes)) != 1:
        raise ValueError(f"masks must be two-dimensional and of one size, found {', '.join(map(str, shapes))}")


def region_similarity(
    pred: Bool[np.ndarray, "h w"], true: Bool[np.ndarray, "h w"], void: Bool[np.ndarray, "h w"] | None = None
) -> float:
    """Returns the Jaccard index, intersection over union, of one object's masks; 1 if both are empty.

    Args:
        pred: Where the prediction has the object; any non-zero value counts.
        true: Where the annotation has it.
        void: Pixels to leave out of both. DAVIS scores given-mask (semi-supervised) tracking without it.

    Raises:
        ValueError: if the masks differ in size.

    Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016.
    """
    check_pair(pred, true, void)
    pred, true = pred.astype(bool, copy=False), true.astype(bool, copy=False)
    if void is not None:
        kept = ~void.astype(bool, copy=False)
        pred, true = pred & kept, true & kept
    union = np.count_nonzero(pred | true)
    return np.count_nonzero(pred & true) / union if union else 1.0


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
    """Returns how many pixels apart two outlines may run: `bound` of the diagonal, rounded up; from 1 on, pixels.

    >>> contour_radius(480, 854)
    8
    """
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
        pred: Where the prediction has the object; any non-zero value counts.
        true: Where the annotation has it.
        void: Pixels cleared from both masks before their outlines are drawn.
        bound: The tolerance, see `contour_radius`.

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


Box = tuple[slice, slice]


@dataclass(frozen=True)
class _Outline:
    """An object's outline in a box and everything within the radius of it, one bit for each pixel."""

    edge: int
    length: int
    near: int


def score_objects(
    pred: UInt16[np.ndarray, "h w"], true: UInt16[np.ndarray, "h w"], ids: Iterable[int], bound: float = 0.008
) -> dict[int, tuple[float, float]]:
    """Returns (J, F) by object id, each in [0, 1] and equal to `region_similarity` and `contour_accuracy` of its masks.

    Args:
        pred: Predicted label map.
        true: Annotated label map.
        ids: The objects; every other value of either map, void too, is background to them.
        bound: The tolerance of F, see `contour_radius`.

    Raises:
        ValueError: if the maps differ in size.
    """
    check_pair(pred, true, None)
    radius = contour_radius(pred.shape[0], pred.shape[1], bound)
    scores = {}
    for number in ids:
        masks = pred == number, true == number
        box = _box(masks[0] | masks[1])
        if box is None:
            scores[number] = 1.0, 1.0
            continue
        inside, asked = masks[0][box], masks[1][box]
        union, common = (int(np.count_nonzero(both)) for both in (inside | asked, inside & asked))
        contour = 1.0 if common == union else _contour(_draw(inside, radius), _draw(asked, radius))
        scores[number] = common / union, contour
    return scores


def score_pairs(
    pred: UInt16[np.ndarray, "h w"],
    true: UInt16[np.ndarray, "h w"],
    proposals: Sequence[int],
    ids: Sequence[int],
    bound: float = 0.008,
) -> Float64[np.ndarray, "p n 2"]:
    """Returns J and F of every predicted object against every annotated one, as evaluation without given ids needs.

    Args:
        pred: Predicted label map.
        true: Annotated label map.
        proposals: Ids in `pred`.
        ids: Ids in `true`.
        bound: The tolerance of F, see `contour_radius`.

    Raises:
        ValueError: if the maps differ in size.
    """
    check_pair(pred, true, None)
    radius = contour_radius(pred.shape[0], pred.shape[1], bound)
    scores = np.ones((len(proposals), len(ids), 2))
    box = _box((pred != 0) | (true != 0))
    if box is None:
        return scores
    rows, columns = _places(pred[box], proposals), _places(true[box], ids)
    # How many pixels have both labels, for all pairs at once; the first row and column count everything else.
    shape = len(proposals) + 1, len(ids) + 1
    counts = np.bincount((rows * shape[1] + columns).reshape(-1), minlength=shape[0] * shape[1]).reshape(shape)
    common = counts[1:, 1:]
    union = counts.sum(1)[1:, None] + counts.sum(0)[1:] - common
    np.divide(common, union, out=scores[..., 0], where=union > 0)
    asked = [_draw(columns == place, radius) for place in range(1, shape[1])]
    for row in range(shape[0] - 1):
        drawn = _draw(rows == row + 1, radius) if counts[row + 1].any() else _Outline(0, 0, 0)
        scores[row, :, 1] = [_contour(drawn, one) for one in asked]
    return scores


def _places(labels: UInt16[np.ndarray, "h w"], ids: Sequence[int]) -> Int[np.ndarray, "h w"]:
    """Returns for each pixel the place of its label in `ids`, counted from 1; 0 for every other label."""
    table = np.zeros(np.iinfo(np.uint16).max + 1, np.intp)
    table[list(ids)] = np.arange(1, len(ids) + 1)
    places: Int[np.ndarray, "h w"] = table[labels]
    return places


def _box(mask: Bool[np.ndarray, "h w"]) -> Box | None:
    """Returns the rows and columns of a mask and one more on each side if the image has it; `None` if it is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    top, bottom = max(0, int(rows[0]) - 1), int(rows[-1]) + 2
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return slice(top, bottom), slice(max(0, int(columns[0]) - 1), int(columns[-1]) + 2)


def _draw(inside: Bool[np.ndarray, "h w"], radius: int) -> _Outline:
    """Returns an object's outline in a box that ends where the image does, or at least a pixel beyond the object.

    In a last row or column beyond the object nothing is inside, so that there the rule for the edge of an image says
    what the rule for its middle would.
    """
    drawn = outline(inside)
    length = int(np.count_nonzero(drawn))
    if not length:
        return _Outline(0, 0, 0)
    # Empty columns on the right catch what is moved over either end of a row.
    stride = inside.shape[1] + radius
    wide = np.zeros((inside.shape[0], stride), bool)
    wide[:, : inside.shape[1]] = drawn
    edge = int.from_bytes(np.packbits(wide, bitorder="little").tobytes(), "little")
    return _Outline(edge, length, _spread(edge, stride, radius))


def _spread(edge: int, stride: int, radius: int) -> int:
    """Returns every pixel within `radius` of a pixel of `edge`; a disc is a stack of rows, longer near its middle."""
    row, reached, near = edge, 0, 0
    for offset in range(radius, -1, -1):
        reach = math.isqrt(radius * radius - offset * offset)
        for step in range(reached + 1, reach + 1):
            row |= edge << step | edge >> step
        reached = reach
        near |= row << offset * stride | row >> offset * stride
    return near


def _contour(pred: _Outline, true: _Outline) -> float:
    """Returns F of two outlines drawn in the same box."""
    if not pred.length or not true.length:
        return float(pred.length == true.length)
    precision = (pred.edge & true.near).bit_count() / pred.length
    recall = (true.edge & pred.near).bit_count() / true.length
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
