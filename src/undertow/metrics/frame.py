"""J and F of every object of one frame at once, equal to the per-object functions to the last bit.

Nothing is done at full size but finding where an object is: its outlines are drawn in its own box, and a box needs only
one pixel more than the object, because that is how far an outline lies outside. Whether an outline pixel has another
outline near it is asked of all pixels together: the box becomes one long Python integer with a bit for each pixel, and
moving an outline by some pixels is a shift of that integer.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, UInt16

from undertow.metrics.contour import contour_radius, outline
from undertow.metrics.region import check_pair

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
        pred: predicted label map.
        true: annotated label map.
        ids: the objects; every other value of either map, void too, is background to them.
        bound: the tolerance of F, see `contour_radius`.

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
        pred: predicted label map.
        true: annotated label map.
        proposals: ids in `pred`.
        ids: ids in `true`.
        bound: the tolerance of F, see `contour_radius`.

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
