"""Scores of classes: mIoU and its relatives over a whole split."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from undertow.metrics.statistics import mean

Averaged = Literal["in-truth", "seen", "all"]


class ConfusionMatrix:
    """Counts, pixel by pixel, which class was predicted where which class is true.

    `counts` has a row per true class and a column per predicted one. One more column, the last, holds *unknown*:
    pixels of a valid class whose prediction is none of the classes (void, or a cluster that no label was found for).
    They are missed pixels of their true class and false ones of no class. Evaluators that presume predictions in
    range count them in another class's row, or fail.

    Matrices of several videos add up (`+`), and the mIoU of the sum is that of the split; the mean of the videos'
    mIoUs is another number. To leave out anchor frames, whose truth was given, do not feed them.

    Args:
        classes: How many classes there are; they are numbered from 0.
        ignore: Values of truth that are not scored. If None, everything out of range is ignored, as official
            evaluators do. If given, any other value out of range is an error. A class in range may be ignored too:
            its row then stays empty, while predicting it where another class is true remains a mistake.

    Raises:
        ValueError: if there is no class.
    """

    def __init__(self, classes: int, ignore: Collection[int] | None = None) -> None:
        if classes < 1:
            raise ValueError(f"a confusion matrix needs one class or more, found {classes}")
        self.ignore = None if ignore is None else tuple(ignore)
        self.counts: Int64[np.ndarray, "n n+1"] = np.zeros((classes, classes + 1), np.int64)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.counts)

    def update(self, pred: Integer[np.ndarray, "*pixels"], true: Integer[np.ndarray, "*pixels"]) -> None:
        """Adds the pixels of one frame, or of many.

        Raises:
            ValueError: if the maps differ in size, are not of integers, or truth holds a value that is neither a
                class nor to be ignored.
        """
        _check_maps(pred, true)
        n = self.classes
        scored: Bool[np.ndarray, "*pixels"] = (true >= 0) & (true < n)
        if self.ignore is not None:
            ignored = np.isin(true, self.ignore)
            if not (scored | ignored).all():
                found = np.unique(true[~(scored | ignored)])[:5].tolist()
                raise ValueError(f"truth holds {found}, neither one of {n} classes nor ignored {self.ignore}")
            scored &= ~ignored
        rows, columns = true[scored].astype(np.int64), pred[scored].astype(np.int64)
        columns[(columns < 0) | (columns > n)] = n
        self.counts += np.bincount(rows * (n + 1) + columns, minlength=n * (n + 1)).reshape(n, n + 1)

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Returns the counts of both together.

        Raises:
            ValueError: if they count different numbers of classes or ignore different values.
        """
        if self.classes != other.classes or self.ignore != other.ignore:
            raise ValueError(
                f"cannot add {other.classes} classes (ignoring {other.ignore}) to {self.classes} ({self.ignore})"
            )
        joint = ConfusionMatrix(self.classes, self.ignore)
        joint.counts = self.counts + other.counts
        return joint

    def scores(self) -> "SemanticScores":
        """Returns the scores of everything counted so far."""
        return SemanticScores.of(self.counts)


@dataclass(frozen=True, eq=False)
class SemanticScores:
    """Scores by class, in [0, 1], and their means.

    Attributes:
        iou: True positives over the union of truth and prediction; NaN for a class in neither.
        accuracy: The share of the class's true pixels that were found; NaN for a class that truth does not hold.
        hits: Pixels of the class predicted as the class.
        pixels: True pixels of the class.
        predicted: Valid pixels predicted as the class.
        unknown: Valid pixels predicted as no class.
    """

    iou: Float64[np.ndarray, " n"]
    accuracy: Float64[np.ndarray, " n"]
    hits: Int64[np.ndarray, " n"]
    pixels: Int64[np.ndarray, " n"]
    predicted: Int64[np.ndarray, " n"]
    unknown: int

    @classmethod
    def of(cls, counts: Int64[np.ndarray, "n n+1"]) -> "SemanticScores":
        """Returns the scores of a table as `ConfusionMatrix.counts` is."""
        hits, pixels, predicted = np.diagonal(counts).copy(), counts.sum(axis=1), counts[:, :-1].sum(axis=0)
        iou, accuracy = _ratio(hits, pixels + predicted - hits), _ratio(hits, pixels)
        return cls(iou, accuracy, hits, pixels, predicted, int(counts[:, -1].sum()))

    def mean_iou(self, over: Averaged = "in-truth") -> float:
        """Returns mIoU; NaN if there is no class to average.

        Args:
            over: `in-truth`: classes that occur in the truth of the split (VSPW); `seen`: those predicted on a valid
                pixel too, where they score 0 (the usual `nanmean` over a confusion matrix); `all`: every class, one
                that occurs nowhere scoring 0 (SegNet's CamVid, divided by 11 whatever occurs).

        Raises:
            ValueError: if `over` is none of these.
        """
        if over == "in-truth":
            return mean(self.iou[self.pixels > 0])
        if over == "seen":
            return mean(self.iou[~np.isnan(self.iou)])
        if over == "all":
            return mean(np.nan_to_num(self.iou, nan=0.0))
        raise ValueError(f"mIoU is averaged over in-truth, seen or all classes, found {over!r}")

    @property
    def pixel_accuracy(self) -> float:
        """The share of valid pixels predicted right; NaN if there are none."""
        total = int(self.pixels.sum())
        return int(self.hits.sum()) / total if total else float("nan")


def _check_maps(pred: np.ndarray, true: np.ndarray) -> None:
    """Raises `ValueError` unless both are integer arrays of one shape."""
    if pred.shape != true.shape:
        raise ValueError(f"label maps must be of one size, found {pred.shape} and {true.shape}")
    if not (np.issubdtype(pred.dtype, np.integer) and np.issubdtype(true.dtype, np.integer)):
        raise ValueError(f"label maps must hold integers, found {pred.dtype} and {true.dtype}")


def _ratio(part: Int64[np.ndarray, " n"], whole: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Returns `part / whole`, NaN where `whole` is 0."""
    ratios = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratios, where=whole > 0)
    return ratios
