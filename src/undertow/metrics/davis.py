"""Scores of tracked masks over a sequence and a dataset: which frames, which objects, which mean.

All evaluators measure J and F alike; `MaskRules` says where they differ: which frames of which objects enter the tally,
what void means and how the means are taken. `SequenceEvaluator` keeps the tally of one sequence frame by frame,
`DatasetSummary` takes the means (DAVIS 2017 averages over all objects of all sequences, DAVIS 2016, with one object
each, over sequences), and `YouTubeVosSummary` those of seen and unseen categories, each split counting the same.
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, UInt16

from undertow.metrics.similarity import check_pair, score_objects
from undertow.metrics.statistics import Summary, mean


@dataclass(frozen=True)
class MaskRules:
    """The rules of one evaluator; the defaults are those of DAVIS 2017 with given first masks.

    Attributes:
        start: From where on an object is scored. "sequence": from the sequence's first scored frame. "object": from the
            frame after the first one on which the annotation has it; it is not scored before. "seen": from the first
            scored frame on which the annotation or the prediction has it, that frame included.
        first: Whether the first annotated frame is scored; with start "object" it never is.
        last: Whether the last annotated frame is scored.
        void: "background", so that a prediction is wrong there, or "ignored": cleared from both maps first.
        merged: Whether everything that is not zero counts as one object, whose id is 1.
        proposals: The highest id that a prediction may have if its ids are its own and are to be matched with the
            annotated objects; `None` if ids mean the same on both sides.
        average: What counts once in the dataset's mean: "objects", "sequences", or "splits" (seen and unseen
            categories, see `YouTubeVosSummary`).
    """

    start: Literal["sequence", "object", "seen"] = "sequence"
    first: bool = False
    last: bool = False
    void: Literal["background", "ignored"] = "background"
    merged: bool = False
    proposals: int | None = None
    average: Literal["objects", "sequences", "splits"] = "objects"

    def __post_init__(self) -> None:
        if self.proposals is not None and self.proposals < 1:
            raise ValueError(f"proposals is {self.proposals}; give a number from 1 on, or None")
        if self.proposals is not None and (self.merged or self.start != "sequence"):
            raise ValueError("proposals are matched over whole sequences of several objects; leave start and merged")


#: Rules by name.
#:
#: - "davis-2017": davis2017-evaluation, semi-supervised task: ids 1 to the largest of the first frame (`davis_ids`),
#:   all annotated frames but the first and the last. A higher id in a prediction stops that evaluator: whoever reads
#:   the files has to refuse it, a `SequenceEvaluator` takes it for background.
#: - "davis-2016": the same frames of one object, mean over sequences.
#: - "davis-unsupervised": davis2017-evaluation, unsupervised task: all frames, void ignored, at most 20 proposals.
#: - "youtube-vos": the frames that the YouTube-VOS server scores: each object after its own first mask, to the end. The
#:   server's script is not public, so that how it averages inside a split is not known; here every object counts once.
#: - "long-videos": DAVIS 2017 on the annotated frames alone, so that the first and last of those are dropped.
#: - "late": DAVIS 2017 with objects that enter late: each from the frame after its first mask, not to the last frame.
#:   Where every object is there from the first frame on, it equals "davis-2017".
#: - "once-seen": vos-benchmark: an object counts from when it has been seen on either side, and is averaged only if
#:   the annotation has it on a scored frame. On DAVIS it equals "davis-2017".
MASK_RULES = {
    "davis-2017": MaskRules(),
    "davis-2016": MaskRules(merged=True, average="sequences"),
    "davis-unsupervised": MaskRules(first=True, last=True, void="ignored", proposals=20),
    "youtube-vos": MaskRules(start="object", last=True, average="splits"),
    "long-videos": MaskRules(),
    "late": MaskRules(start="object"),
    "once-seen": MaskRules(start="seen"),
}


VOID = np.iinfo(np.uint16).max


@dataclass(frozen=True, eq=False)
class ObjectScores:
    """One object's J and F, each in [0, 1], on the frames that are scored for it, in order; `MaskRules` says which."""

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
    """Scores one sequence frame by frame, keeping three numbers per object and frame.

    Feed it every annotated frame in order, also those that do not count: it leaves them out of the result.
    """

    def __init__(self, ids: Iterable[int] | None = None, rules: MaskRules = MASK_RULES["davis-2017"]) -> None:
        """Starts a sequence.

        Args:
            ids: The objects to score. `None` for object 1 if the rules merge all objects, and for all objects that
                occur if their start is "object" or "seen".
            rules: Which frames and pixels count.

        Raises:
            ValueError: if ids are missing or other than the rules can have, or if the rules match proposals, which
                takes a `ProposalEvaluator`.
        """
        if rules.proposals is not None:
            raise ValueError("these rules match proposals with objects; use ProposalEvaluator")
        if rules.merged:
            ids = (1,) if ids is None else tuple(ids)
            if ids != (1,):
                raise ValueError(f"these rules merge everything into object 1, found ids {', '.join(map(str, ids))}")
        if ids is None and rules.start == "sequence":
            raise ValueError("these rules score objects from the start; name them with ids")
        self.rules = rules
        self.ids = None if ids is None else tuple(ids)
        self._frames = 0
        self._scores: dict[int, list[tuple[int, float, float]]] = {}
        if rules.start == "sequence":
            self._scores = {number: [] for number in self.ids or ()}
        # The first frame that counts on which the annotation has an object.
        self._annotated: dict[int, int] = {}

    def update(
        self,
        pred: UInt16[np.ndarray, "h w"],
        true: UInt16[np.ndarray, "h w"],
        only: Collection[int] | None = None,
    ) -> dict[int, tuple[float, float]]:
        """Scores one frame and returns (J, F) by object id, for the objects that the rules have let in by then.

        Ids not asked for are background.

        Args:
            pred: Predicted label map; its void pixels are background.
            true: Annotated label map; what its void pixels are, the rules say.
            only: The objects that the dataset lists for this frame, as YouTube-VOS does; `None` for all.

        Raises:
            ValueError: if the maps differ in size.
        """
        pred, true = apply_rules(self.rules, pred, true)
        if self.rules.start == "seen":
            self._admit(pred, true)
        asked = [number for number in self._scores if only is None or number in only]
        scored = score_objects(pred, true, asked)
        for number, (region, contour) in scored.items():
            self._scores[number].append((self._frames, region, contour))
        if self.rules.start == "object":
            for number in self._present(true):
                self._scores.setdefault(number, [])
        self._frames += 1
        return scored

    def result(self) -> dict[int, ObjectScores]:
        """Returns the scores of each object on the frames so far that count.

        With start "object" an object without such a frame is left out, with "seen" one that the annotation has on none.
        """
        end = self._frames if self.rules.last else self._frames - 1
        results = {}
        for number, scores in self._scores.items():
            rows = [row[1:] for row in scores if self._first <= row[0] < end]
            if self.rules.start == "object" and not rows:
                continue
            if self.rules.start == "seen" and self._annotated.get(number, end) >= end:
                continue
            table = np.array(rows, np.float64).reshape(-1, 2)
            results[number] = ObjectScores(table[:, 0].copy(), table[:, 1].copy())
        return results

    @property
    def _first(self) -> int:
        """The first frame that can count."""
        return 0 if self.rules.first else 1

    def _admit(self, pred: UInt16[np.ndarray, "h w"], true: UInt16[np.ndarray, "h w"]) -> None:
        """Lets in the objects that are seen on the frame to come; on a frame that does not count, nothing is seen."""
        if self._frames < self._first:
            return
        annotated = self._present(true)
        for number in annotated:
            self._annotated.setdefault(number, self._frames)
        for number in sorted({*annotated, *self._present(pred)}):
            self._scores.setdefault(number, [])

    def _present(self, labels: UInt16[np.ndarray, "h w"]) -> list[int]:
        """Returns which of the objects to score, or which of all, a label map has."""
        if self.ids is not None:
            return [number for number in self.ids if (labels == number).any()]
        counts = np.bincount(labels.reshape(-1), minlength=VOID + 1)
        counts[[0, VOID]] = 0
        return np.flatnonzero(counts).tolist()


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
    def of(
        cls,
        sequences: Iterable[Mapping[int, ObjectScores]],
        average: Literal["objects", "sequences"] = "objects",
    ) -> "DatasetSummary":
        """Returns the plain mean of mean, recall and decay; NaN if there is nothing to average.

        Args:
            sequences: The objects of each sequence.
            average: "objects" for the mean over all objects of all sequences, each object counting once; "sequences"
                for the mean over sequences of the mean over their objects, as DAVIS 2016 has it. A sequence without
                objects does not count.
        """
        groups = [list(sequence.values()) for sequence in sequences if sequence]
        if average == "objects":
            groups = [[scores] for group in groups for scores in group]
        return cls(
            Summary.average([Summary.average([one.region_summary for one in group]) for group in groups]),
            Summary.average([Summary.average([one.contour_summary for one in group]) for group in groups]),
            sum(map(len, groups)),
        )


def apply_rules(
    rules: MaskRules, pred: UInt16[np.ndarray, "h w"], true: UInt16[np.ndarray, "h w"]
) -> tuple[UInt16[np.ndarray, "h w"], UInt16[np.ndarray, "h w"]]:
    """Returns both maps as the rules compare them: without void pixels, and merged into one object.

    Raises:
        ValueError: if the maps differ in size.
    """
    check_pair(pred, true, None)
    if rules.void == "ignored" and (void := true == VOID).any():
        pred, true = np.where(void, np.uint16(0), pred), np.where(void, np.uint16(0), true)
    return (merge_objects(pred), merge_objects(true)) if rules.merged else (pred, true)


def merge_objects(labels: UInt16[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """Returns the map of DAVIS 2016: 1 wherever `labels` is not zero, whatever the number."""
    return (labels > 0).astype(np.uint16)


def davis_ids(first: UInt16[np.ndarray, "h w"]) -> SequenceOf[int]:
    """Returns the ids DAVIS 2017 scores: 1 up to the largest id of the first annotated frame, void apart.

    >>> list(davis_ids(np.array([[0, 3, VOID]], np.uint16)))
    [1, 2, 3]
    """
    labels = first[first != VOID]
    return range(1, int(labels.max(initial=0)) + 1)


@dataclass(frozen=True)
class YouTubeVosSummary:
    """J and F of both splits, in [0, 1]; NaN for a split without objects, and then `overall` is NaN too.

    G is the mean of the four figures, which holds for published tables. The server's script is not public: that inside
    a split every object counts once, whatever its category and length, is an assumption, so do not claim parity
    without a submission.

    Source: Xu et al., "YouTube-VOS: A Large-Scale Video Object Segmentation Benchmark", 2018.
    """

    region_seen: float
    contour_seen: float
    region_unseen: float
    contour_unseen: float
    objects: int

    @property
    def overall(self) -> float:
        """G, the mean of the four."""
        return mean([self.region_seen, self.contour_seen, self.region_unseen, self.contour_unseen])

    @classmethod
    def of(
        cls, videos: Mapping[str, Mapping[int, ObjectScores]], unseen: Mapping[str, Collection[int]]
    ) -> "YouTubeVosSummary":
        """Returns the summary of a dataset.

        Args:
            videos: Scores by video and object, from `SequenceEvaluator` with the rules "youtube-vos".
            unseen: By video, the objects whose category is not among the training categories; a video that is not
                named has none.

        Raises:
            ValueError: if `unseen` names a video that is not there.
        """
        if stray := sorted(unseen.keys() - videos.keys()):
            raise ValueError(f"objects of unseen categories are named for '{stray[0]}', which has no scores")
        seen: list[ObjectScores] = []
        others: list[ObjectScores] = []
        for name, objects in videos.items():
            for number, scores in objects.items():
                (others if number in unseen.get(name, ()) else seen).append(scores)
        return cls(
            region_seen=mean([mean(scores.region) for scores in seen]),
            contour_seen=mean([mean(scores.contour) for scores in seen]),
            region_unseen=mean([mean(scores.region) for scores in others]),
            contour_unseen=mean([mean(scores.contour) for scores in others]),
            objects=len(seen) + len(others),
        )
