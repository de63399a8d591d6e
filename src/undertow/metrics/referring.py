"""Referring expressions on images and on videos, and what an autoencoder makes of the masks that answer them.

Images (RefCOCO, RefCOCO+, RefCOCOg): one mask per expression, at the image's own size. Videos (Ref-YouTube-VOS, MeViS,
Ref-VPS): frames are averaged, then expressions; a prediction that is missing scores 0, be it a frame, an expression or
a video. It is not the same as an empty mask, which is right where the truth is empty too.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from undertow.metrics.similarity import check_pair, contour_accuracy, region_similarity
from undertow.metrics.statistics import mean

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class ReferringImageSummary:
    """What a table of RefCOCO prints.

    Attributes:
        overall_iou: OIoU (also cIoU): sum of intersections over sum of unions, so that large objects count more; NaN
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


Mask = Bool[np.ndarray, "h w"]
IGNORE = 255


@dataclass(frozen=True)
class ExpressionScores:
    """The mean over the annotated frames of one expression."""

    region: float
    contour: float
    frames: int

    @property
    def combined(self) -> float:
        """J&F: the mean of J and F."""
        return (self.region + self.contour) / 2


@dataclass(frozen=True)
class ReferringVideoSummary:
    """The mean over expressions, each counting once, however long its video is."""

    region: float
    contour: float
    expressions: int
    missing: int

    @property
    def combined(self) -> float:
        """J&F: the mean of mean J and mean F."""
        return (self.region + self.contour) / 2


def score_expression(
    pred: Iterable[Mask | None] | None, true: Iterable[Mask], void: Iterable[Mask | None] | None = None
) -> ExpressionScores:
    """Returns the mean J and F of one expression over its annotated frames; an empty mask for an empty truth scores 1.

    Args:
        pred: A mask for each annotated frame, None for a frame that is missing; None if all are.
        true: The annotated masks. For MeViS they are unions, see `union_mask`. It may be an iterator: one frame is
            looked at at a time.
        void: Pixels to leave out, for each frame, see `split_ignore`.

    Raises:
        ValueError: if there are no annotated frames, lengths differ, or masks of a frame differ in size.

    Source: Seo et al., "URVOS", ECCV 2020 (Ref-YouTube-VOS); Ding et al., "MeViS", ICCV 2023, whose own tool scores
    only a missing video as 0 and stops at a missing frame.
    """
    truths = iter(true)
    if pred is None:
        count = sum(1 for _ in truths)
        _some(count)
        return ExpressionScores(0.0, 0.0, count)
    scores = []
    for own, truth, blank in _aligned(pred, truths, void):
        check_pair(truth, truth, blank)
        scores.append((0.0, 0.0) if own is None else _pair(own, truth, blank))
    _some(len(scores))
    region, contour = zip(*scores, strict=True)
    return ExpressionScores(mean(region), mean(contour), len(scores))


def summarise_expressions(
    scores: Mapping[Hashable, ExpressionScores], expected: Iterable[Hashable] | None = None
) -> ReferringVideoSummary:
    """Returns the mean over expressions; NaN if there are none.

    Shards are merged by putting their mappings together.

    Args:
        scores: By expression, for instance by (video, number).
        expected: All expressions of the split; those without scores count as 0.

    Raises:
        ValueError: if there are scores of an expression that is not expected.
    """
    wanted = list(scores if expected is None else dict.fromkeys(expected))
    strange = [key for key in scores if key not in set(wanted)]
    if strange:
        raise ValueError(f"expression {strange[0]!r} is scored but not in the split; give the split's expressions")
    found = [scores[key] for key in wanted if key in scores]
    absent = [0.0] * (len(wanted) - len(found))
    return ReferringVideoSummary(
        mean([one.region for one in found] + absent),
        mean([one.contour for one in found] + absent),
        len(wanted),
        len(absent),
    )


def union_mask(masks: Sequence[Mask | None], size: tuple[int, int]) -> Mask:
    """Returns where any of the referred objects is: the truth of a MeViS expression on one frame.

    Args:
        masks: One mask per object, None where it is not on this frame; none at all for an expression without target.
        size: (height, width) of the frame.

    Raises:
        ValueError: if a mask is not of this size.
    """
    union = np.zeros(size, bool)
    for mask in masks:
        if mask is not None:
            check_pair(mask, union, None)
            union |= mask.astype(bool, copy=False)
    return union


def split_ignore(labels: UInt8[np.ndarray, "h w"], ignore: int = IGNORE) -> tuple[Mask, Mask]:
    """Returns truth and void of an annotation with values 0, 1 and `ignore`, as Ref-VPS has it.

    Ignored pixels leave both masks before J is counted; where everything is ignored, J is 1 whatever was predicted.

    Raises:
        ValueError: if there is another value.

    Source: Bagchi et al., "ReferEverything", 2024 (Ref-VPS is scored by J alone).
    """
    strange = np.setdiff1d(labels, [0, 1, ignore])
    if strange.size:
        raise ValueError(f"an annotation with ignored regions has values 0, 1 and {ignore}, found {strange[0]}")
    return labels == 1, labels == ignore


def _aligned(
    pred: Iterable[Mask | None], true: Iterable[Mask], void: Iterable[Mask | None] | None
) -> Iterable[tuple[Mask | None, Mask, Mask | None]]:
    if void is not None:
        return zip(pred, true, void, strict=True)
    return ((own, truth, None) for own, truth in zip(pred, true, strict=True))


def _pair(pred: Mask, true: Mask, void: Mask | None) -> tuple[float, float]:
    return region_similarity(pred, true, void), contour_accuracy(pred, true, void)


def _some(frames: int) -> None:
    if not frames:
        raise ValueError("an expression without annotated frames cannot be scored; leave it out")


@dataclass(frozen=True)
class MaskReconstruction:
    """How well masks survive a round trip.

    Attributes:
        error: MAE: mean absolute difference of the decoded channels' mean and the mask, over all pixels.
        mean_iou: Mean IoU of the masks after the threshold; 1 where both are empty.
        masks: How many there were.
    """

    error: float
    mean_iou: float
    masks: int


def mask_reconstruction(
    decoded: Float[np.ndarray, "n c h w"], masks: Bool[np.ndarray, "n h w"], threshold: float = 0.5
) -> MaskReconstruction:
    """Returns what encoding and decoding masks, without a denoiser in between, leaves of them.

    Args:
        decoded: What the decoder gave, on the scale of the masks: 0 where they are not, 1 where they are; values beyond
            are not clipped. A model fed with -1 and 1 is brought to it by (x + 1) / 2.
        masks: What was encoded, the same in each channel.
        threshold: The decoded mask is where the mean of the channels is above it.

    Raises:
        ValueError: if shapes do not fit, there are no masks, or a decoded value is not finite.

    Source: Bagchi et al., "ReferEverything", 2024, which gives an MAE of 0.0144 and an mIoU of 99.33 % for the
    autoencoder of Stable Diffusion, on one mask of each training video of Ref-YouTube-VOS.
    """
    if decoded.ndim != 4 or masks.ndim != 3 or not len(masks) or (len(decoded), *decoded.shape[2:]) != masks.shape:
        raise ValueError(f"decoded masks (n, c, h, w) and masks (n, h, w) do not fit: {decoded.shape}, {masks.shape}")
    value = decoded.astype(np.float64).mean(axis=1)
    if not np.isfinite(value).all():
        raise ValueError("the decoder gave values that are not finite; decode in a wider number type")
    masks = masks.astype(bool, copy=False)
    ious = [region_similarity(own > threshold, mask) for own, mask in zip(value, masks, strict=True)]
    return MaskReconstruction(float(np.abs(value - masks).mean()), mean(ious), len(masks))
