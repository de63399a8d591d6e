"""Referring expressions on videos (Ref-YouTube-VOS, MeViS, Ref-VPS): frames are averaged, then expressions.

A prediction that is missing scores 0, be it a frame, an expression or a video. It is not the same as an empty mask,
which is right where the truth is empty too.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from undertow.metrics.contour import contour_accuracy
from undertow.metrics.region import check_pair, region_similarity
from undertow.metrics.statistics import mean

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
