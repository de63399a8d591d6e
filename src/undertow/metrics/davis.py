"""The DAVIS protocol for tracking from a given first mask: which frames, which objects, which mean.

DAVIS 2017 averages over all objects of all sequences. DAVIS 2016 has one object per sequence, so that its mean over
sequences is the same formula after `merge_objects`.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt16

from undertow.metrics.contour import contour_accuracy
from undertow.metrics.region import region_similarity
from undertow.metrics.statistics import Summary


@dataclass(frozen=True, eq=False)
class ObjectScores:
    """One object's scores on the scored frames, which are all annotated ones but the first and the last."""

    region: Float64[np.ndarray, " t"]
    contour: Float64[np.ndarray, " t"]

    @property
    def region_summary(self) -> Summary:
        """Mean, recall and decay of J."""
        return Summary.of(self.region)

    @property
    def contour_summary(self) -> Summary:
        """Mean, recall and decay of F."""
        return Summary.of(self.contour)

    @property
    def combined(self) -> Float64[np.ndarray, " t"]:
        """J&F of every scored frame: the mean of J and F."""
        combined: Float64[np.ndarray, " t"] = (self.region + self.contour) / 2
        return combined


class SequenceEvaluator:
    """Scores one sequence frame by frame, keeping two numbers per object and frame.

    Feed it every annotated frame in order, the first and the last included: it leaves those two out of the result.
    """

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = tuple(ids)
        self._scores: dict[int, list[tuple[float, float]]] = {number: [] for number in self.ids}

    def update(
        self, pred: UInt16[np.ndarray, "h w"], true: UInt16[np.ndarray, "h w"]
    ) -> dict[int, tuple[float, float]]:
        """Scores one frame and returns (J, F) by object id.

        Void pixels of either map count as background, as the official evaluator has it in this task. Ids not asked
        for are ignored.

        Raises:
            ValueError: if the maps differ in size.
        """
        scored = {}
        for number in self.ids:
            masks = pred == number, true == number
            scored[number] = region_similarity(*masks), contour_accuracy(*masks)
            self._scores[number].append(scored[number])
        return scored

    def result(self) -> dict[int, ObjectScores]:
        """Returns the scores of each object over all frames so far but the first and the last."""
        results = {}
        for number, scores in self._scores.items():
            table = np.array(scores[1:-1], np.float64).reshape(-1, 2)
            results[number] = ObjectScores(table[:, 0].copy(), table[:, 1].copy())
        return results


@dataclass(frozen=True)
class DatasetSummary:
    """What a leaderboard prints: J and F of a whole dataset, and their mean."""

    region: Summary
    contour: Summary
    objects: int

    @property
    def combined(self) -> float:
        """J&F: the mean of mean J and mean F."""
        return (self.region.mean + self.contour.mean) / 2

    @classmethod
    def of(cls, sequences: Iterable[Mapping[int, ObjectScores]]) -> "DatasetSummary":
        """Returns the plain mean over all objects of all sequences, each object counting once."""
        objects = [scores for sequence in sequences for scores in sequence.values()]
        return cls(
            Summary.average([one.region_summary for one in objects]),
            Summary.average([one.contour_summary for one in objects]),
            len(objects),
        )


def merge_objects(labels: UInt16[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """Returns the map of DAVIS 2016: 1 wherever `labels` is not zero, whatever the number."""
    return (labels > 0).astype(np.uint16)


def davis_ids(first: UInt16[np.ndarray, "h w"]) -> SequenceOf[int]:
    """Returns the ids DAVIS 2017 scores: 1 up to the largest id of the first annotated frame, void apart."""
    labels = first[first != np.iinfo(np.uint16).max]
    return range(1, int(labels.max(initial=0)) + 1)
