"""Scores of one video with classes: predictions as they are, and clusters that are matched with classes first."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.task import Measurement
from undertow.benchmarks.parse.sample import SemanticSample
from undertow.masks import VOID, LabelMap
from undertow.metrics import (
    ConfusionMatrix,
    ConsistencyEvaluator,
    MatchingMode,
    apply_mapping,
    count_overlaps,
    match_clusters,
)

WINDOWS = (8, 16)
MOST_CLUSTERS, MOST_CLASSES = 1024, 4096


class ParseEvaluator:
    """Counts what every true class was predicted as on the frames asked for, and how steady predictions are."""

    def __init__(self, sample: SemanticSample, asked: Sequence[int]) -> None:
        """Starts a sample of which the frames `asked` count, in order."""
        self._sample, self._asked = sample, list(asked)
        self._counted = frozenset(asked)
        self._total = ConfusionMatrix(len(sample.classes))
        self._consistency = {
            "": ConsistencyEvaluator(WINDOWS),
            " strict": ConsistencyEvaluator(WINDOWS, "strict", sample.coding.void_numbers),
        }
        self._last: int | None = None
        self._iou: dict[int, np.ndarray] = {}

    def update(self, index: int, prediction: LabelMap) -> Mapping[str, float]:
        """Takes the map of class numbers of frame `index`; one that is not asked for is only checked.

        Raises:
            MaskError: if it is not of the video's size.
        """
        sample = self._sample
        _check_size(sample, index, prediction)
        if index not in self._counted:
            return {}
        self._break_at_anchors(index)
        truth = sample.load_labels(index)
        frame = ConfusionMatrix(len(sample.classes))
        frame.update(prediction, truth)
        self._total = self._total + frame
        scores = frame.scores()
        self._iou[index] = np.where(scores.pixels > 0, scores.iou, np.nan)
        for consistency in self._consistency.values():
            consistency.update(prediction, truth)
        return {"mIoU": self._total.scores().mean_iou(sample.averaged)}

    def result(self) -> Measurement:
        """Returns the IoU of every class by frame (NaN where truth does not have it), and what a split adds up."""
        sample = self._sample
        blank = np.full(len(sample.classes), np.nan)
        table = np.array([self._iou.get(index, blank) for index in self._asked]).reshape(len(self._asked), -1)
        series = {
            name: {"IoU": table[:, number].copy()}
            for number, name in enumerate(sample.classes)
            if not np.isnan(table[:, number]).all()
        }
        totals: dict[str, Any] = {"confusion": _sparse(self._total.counts)}
        for suffix, consistency in self._consistency.items():
            for window, ratios in consistency.result().ratios.items():
                known = ratios[~np.isnan(ratios)]
                totals[f"mVC{window}{suffix}"] = [float(known.sum()), int(known.size)]
        facts = {"classes": list(sample.classes), "averaged": sample.averaged, "pooled": sample.pooled}
        return Measurement(tuple(sample.frames[index] for index in self._asked), series, totals, facts)

    def _break_at_anchors(self, index: int) -> None:
        """Ends all windows at an anchor that lies between the last frame and this one and does not count."""
        for anchor in self._sample.anchors:
            if self._last is not None and self._last < anchor < index:
                truth = self._sample.load_labels(anchor)
                for consistency in self._consistency.values():
                    consistency.update(truth, truth, anchor=True)
        self._last = index


class ClusterEvaluator:
    """Scores clusters without names: keeps them packed, matches them with classes at the end, then scores as usual.

    Anchor frames tell what a cluster is in mode "anchor-majority"; they are scored in no mode.
    """

    def __init__(self, sample: SemanticSample, asked: Sequence[int], mode: MatchingMode) -> None:
        """Starts a sample, of which the frames `asked` are read, in order."""
        self._sample, self._asked, self._mode = sample, list(asked), mode
        self._packed: dict[int, bytes] = {}
        self._overlaps: dict[int, Int64[np.ndarray, "k n"]] = {}

    def update(self, index: int, prediction: LabelMap) -> Mapping[str, float]:
        """Takes the cluster map of frame `index`, 65535 being no cluster.

        Raises:
            MaskError: if it is not of the video's size, or has cluster ids too high to be counts of anything.
        """
        sample = self._sample
        _check_size(sample, index, prediction)
        if index not in self._asked:
            return {}
        count = int(np.max(prediction, initial=0, where=prediction != VOID)) + 1
        if count > MOST_CLUSTERS:
            raise MaskError(
                f"frame '{sample.frames[index]}' of '{sample.name}' has cluster {count - 1}; number them from 0 to "
                f"{MOST_CLUSTERS - 1}"
            )
        self._overlaps[index] = count_overlaps(prediction, sample.load_labels(index), count, len(sample.classes))
        self._packed[index] = zlib.compress(prediction.astype(np.uint16).tobytes(), 1)
        return {"clusters": float(count)}

    def result(self) -> Measurement:
        """Returns what `ParseEvaluator` does, for the classes the clusters were matched with."""
        sample, frames = self._sample, sorted(self._packed)
        scored = [index for index in frames if index not in sample.anchors]
        evaluator = ParseEvaluator(sample, scored)
        if frames:
            anchors = [place for place, index in enumerate(frames) if index in sample.anchors]
            try:
                mapping = match_clusters(self._stacked(frames), self._mode, anchors)
            except ValueError as error:
                raise SettingsError(f"'{sample.name}' cannot be matched: {error}") from error
            for place, index in enumerate(frames):
                if index in sample.anchors:
                    continue
                pixels = np.frombuffer(zlib.decompress(self._packed[index]), np.uint16).reshape(sample.size)
                evaluator.update(index, apply_mapping(pixels, mapping[place]))
        return evaluator.result()

    def _stacked(self, frames: Sequence[int]) -> Int64[np.ndarray, "t k n"]:
        """Returns the overlaps of all frames, clusters that a frame lacks having none."""
        most = max(len(self._overlaps[index]) for index in frames)
        stacked = np.zeros((len(frames), most, len(self._sample.classes)), np.int64)
        for place, index in enumerate(frames):
            stacked[place, : len(self._overlaps[index])] = self._overlaps[index]
        return stacked


def dense_counts(sparse: Mapping[str, Sequence[int]], count: int) -> Int64[np.ndarray, "n n+1"]:
    """Returns the confusion matrix that `_sparse` took apart."""
    if count > MOST_CLASSES:
        raise SettingsError(f"there are {count} classes; {MOST_CLASSES} are counted at most")
    counts = np.zeros((count, count + 1), np.int64)
    counts[list(sparse["rows"]), list(sparse["columns"])] = sparse["counts"]
    return counts


def _check_size(sample: SemanticSample, index: int, prediction: LabelMap) -> None:
    if prediction.shape != sample.size:
        raise MaskError(
            f"the label map for frame '{sample.frames[index]}' of '{sample.name}' has shape {prediction.shape}, "
            f"the video {sample.size}"
        )


def _sparse(counts: Int64[np.ndarray, "n n+1"]) -> dict[str, list[int]]:
    """Returns a confusion matrix as the places and numbers that are not 0; a video has few of all classes."""
    rows, columns = np.nonzero(counts)
    return {"rows": rows.tolist(), "columns": columns.tolist(), "counts": counts[rows, columns].tolist()}
