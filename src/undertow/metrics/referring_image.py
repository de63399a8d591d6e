"""Referring expressions on images (RefCOCO, RefCOCO+, RefCOCOg): one mask per expression, at the image's own size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from undertow.metrics.region import check_pair
from undertow.metrics.statistics import mean

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class ReferringImageSummary:
    """What a table of RefCOCO prints.

    Attributes:
        overall_iou: oIoU (also cIoU): sum of intersections over sum of unions, so that large objects count more; NaN
            if all masks were empty.
        mean_iou: mIoU (also gIoU): mean IoU of the expressions.
        precision: P@X: share of expressions of an IoU of at least X, by X.
        point_accuracy: Share of expressions whose point lies in the true mask; NaN if no point was ever given.
        expressions: How many there were.
        missing: How many had no prediction.
    """

    overall_iou: float
    mean_iou: float
    precision: Mapping[float, float]
    point_accuracy: float
    expressions: int
    missing: int


class ReferringImageEvaluator:
    """Collects one IoU per expression; every sentence of every referred object is an expression of its own.

    An expression without a prediction has IoU 0 and its truth is in the unions. (The evaluation of Zero-shot-RIS skips
    images without proposals instead, which raises its averages.)

    Args:
        thresholds: IoUs from which on an expression is right.

    Source: the test script of LAVT (Yang et al., CVPR 2022), whose rules the field uses: an IoU over an empty union is
    0, and P@X counts IoU >= X.
    """

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS) -> None:
        self.thresholds = tuple(thresholds)
        self._ious: list[float] = []
        self._intersection = self._union = self._missing = self._points = self._hits = 0

    def update(
        self,
        pred: Bool[np.ndarray, "h w"] | None,
        true: Bool[np.ndarray, "h w"],
        point: tuple[float, float] | None = None,
    ) -> float:
        """Adds one expression and returns its IoU.

        Args:
            pred: The predicted mask; None if there is no prediction.
            true: The true mask; any non-zero value counts.
            point: Where the method points, as x, y in pixels, the centre of the top-left pixel being (0.5, 0.5).
                Outside the image is a miss; so is None, once any expression has a point.

        Raises:
            ValueError: if the masks differ in size, or the point is not finite.
        """
        true = np.asarray(true).astype(bool, copy=False)
        if pred is None:
            check_pair(true, true, None)
            intersection, union = 0, int(np.count_nonzero(true))
        else:
            check_pair(pred, true, None)
            pred = pred.astype(bool, copy=False)
            intersection, union = int(np.count_nonzero(pred & true)), int(np.count_nonzero(pred | true))
        if point is not None:
            self._hits += _inside(point, true)
            self._points += 1
        self._missing += pred is None
        self._intersection += intersection
        self._union += union
        self._ious.append(intersection / union if union else 0.0)
        return self._ious[-1]

    def merge(self, other: "ReferringImageEvaluator") -> None:
        """Adds the expressions of another evaluator, as if they had been given to this one.

        Raises:
            ValueError: if its thresholds are others.
        """
        if self.thresholds != other.thresholds:
            raise ValueError(f"evaluators with thresholds {self.thresholds} and {other.thresholds} cannot be merged")
        self._ious.extend(other._ious)
        for name in ("_intersection", "_union", "_missing", "_points", "_hits"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def result(self) -> ReferringImageSummary:
        """Returns the scores over all expressions so far; NaN where there are none."""
        ious = np.array(self._ious, np.float64)
        return ReferringImageSummary(
            overall_iou=self._intersection / self._union if self._union else float("nan"),
            mean_iou=math.fsum(self._ious) / len(ious) if len(ious) else float("nan"),
            precision={threshold: mean(ious >= threshold) for threshold in self.thresholds},
            point_accuracy=self._hits / len(ious) if self._points else float("nan"),
            expressions=len(ious),
            missing=self._missing,
        )


def _inside(point: tuple[float, float], mask: Bool[np.ndarray, "h w"]) -> bool:
    """Tells whether a point in pixels lies in a mask."""
    if not all(map(math.isfinite, point)):
        raise ValueError(f"a point must be two finite numbers x, y in pixels, found {point}")
    column, row = map(math.floor, point)
    height, width = mask.shape
    return 0 <= row < height and 0 <= column < width and bool(mask[row, column])
