"""Objects that are to be followed: samples of a video and label maps, what a method is given of them, and their scores.

Scores of one video by one set of rules are fed frame by frame, in the order in which predictions come.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from undertow.base import MaskError
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import Measurement
from undertow.masks import LabelMap, read_label_map
from undertow.metrics import MaskRules, ProposalEvaluator, SequenceEvaluator, merge_objects


@dataclass(frozen=True, kw_only=True)
class MaskSample(Sample):
    """A video whose objects are to be followed from the mask each has at first.

    Attributes:
        masks: Annotation file of each annotated frame, by frame name.
        ids: Object ids that are scored.
        merged: Whether all objects count as one, as in DAVIS 2016.
        starts: Frame number of each object's first mask, for those that do not start at frame 0.
        groups: A word for each object by which its scores are averaged apart, such as "seen" and "unseen".
        asked: Frame numbers that count at most, for each object that does not count on all annotated frames.
        private: Whether the truth is kept by a server: there are first masks and nothing to score.
    """

    task: ClassVar[str] = "masks"
    masks: Mapping[str, Path]
    ids: tuple[int, ...]
    merged: bool = False
    starts: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    asked: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    private: bool = False

    @property
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames that have an annotation."""
        return tuple(index for index, name in enumerate(self.frames) if name in self.masks)

    def truth_files(self) -> Iterable[Path]:
        """Returns the annotations in the order of their frames."""
        return [path for _, path in sorted(self.masks.items())]

    def fingerprint(self) -> str:
        """Returns a sha256 hex digest of the frames, the annotations, and which objects count where."""
        facts = [self.ids, *(sorted(each.items()) for each in (self.starts, self.groups, self.asked))]
        return hashlib.sha256(f"{super().fingerprint()} {facts}".encode()).hexdigest()

    def load_mask(self, index: int) -> LabelMap:
        """Returns the annotation of frame `index`.

        Raises:
            MaskError: if the file is not a label map of the video's size.
        """
        return self.read(self.masks[self.frames[index]])

    def read(self, path: Path) -> LabelMap:
        """Returns a label map file of this video, an annotation or a prediction.

        Raises:
            MaskError: if the file is not a label map of the video's size.
        """
        if not self.merged:
            try:
                return read_label_map(path, size=self.size)
            except MaskError as error:
                # What `track` would take is no way out here: colours say nothing of the truth's ids.
                if "--mask-colors" not in str(error):
                    raise
                raise MaskError(f"mask '{path}' is RGB-coded; save it as a palette PNG with the truth's ids") from error
        # Some annotations of DAVIS 2016 are black and white stored as colour.
        return merge_objects(read_label_map(path, size=self.size, mask_colors=True))

    def cues(self) -> dict[int, LabelMap]:
        """Returns what a method is given: by frame number, the label map of the objects that start there."""
        starts = {number: self.starts.get(number, 0) for number in self.ids}
        given: dict[int, LabelMap] = {}
        for index in sorted(set(starts.values())):
            labels = self.load_mask(index)
            if index:
                here = [number for number, start in starts.items() if start == index]
                labels = np.where(np.isin(labels, here), labels, 0).astype(labels.dtype)
            given[index] = labels
        return given


class MaskEvaluator:
    """Scores one sample by one set of rules, see `undertow.metrics`; only the frames asked for count."""

    def __init__(self, sample: MaskSample, rules: MaskRules, asked: Sequence[int], annotated: Sequence[int]) -> None:
        """Starts a sample.

        Args:
            sample: What is scored.
            rules: Which objects count where.
            asked: Frames whose prediction counts.
            annotated: Frames with an annotation, out of those that are shown.
        """
        self._sample, self._asked, self._counted = sample, list(asked), frozenset(asked)
        # Frames that do not count are not fed, but for those that tell when an object begins.
        late = rules.start == "object"
        self._fed = replace(rules, last=True) if late else replace(rules, first=True, last=True)
        self._waiting = list(annotated) if late else list(asked)
        self._scores: dict[int, Mapping[int, tuple[float, float]]] = {}
        self._evaluator: SequenceEvaluator | ProposalEvaluator
        if rules.proposals is None:
            self._evaluator = SequenceEvaluator((1,) if rules.merged else sample.ids, self._fed)
        else:
            self._evaluator = ProposalEvaluator(sample.ids, self._fed)

    def update(self, index: int, prediction: LabelMap) -> Mapping[str, float]:
        """Takes the label map of frame `index`; one that is not asked for is only checked.

        Raises:
            MaskError: if it is not of the video's size, or has more objects than the rules allow.
        """
        sample = self._sample
        if prediction.shape != sample.size:
            raise MaskError(
                f"the label map for frame '{sample.frames[index]}' of '{sample.name}' has shape {prediction.shape}, "
                f"the video {sample.size}"
            )
        if index not in self._counted:
            return {}
        while self._waiting and self._waiting[0] < index:
            self._pass_over(self._waiting.pop(0))
        if self._waiting:
            self._waiting.pop(0)
        truth = sample.load_mask(index)
        if isinstance(self._evaluator, ProposalEvaluator):
            try:
                self._evaluator.update(prediction, truth)
            except ValueError as error:
                raise MaskError(f"frame '{sample.frames[index]}' of '{sample.name}': {error}") from error
            return {}
        scores = self._evaluator.update(prediction, truth, asked_objects(sample, index))
        self._scores[index] = scores
        return {"J&F": float(np.mean(list(scores.values())))} if scores else {}

    def result(self) -> Measurement:
        """Returns J and F by object on the frames asked for, NaN where an object does not count."""
        names = tuple(self._sample.frames[index] for index in self._asked)
        groups = self._sample.groups
        facts: dict[str, Any] = {"groups": {str(number): word for number, word in groups.items()}} if groups else {}
        if isinstance(self._evaluator, ProposalEvaluator):
            facts["matches"] = {str(number): match for number, match in self._evaluator.matches().items()}
            scored = self._evaluator.result().items()
            return Measurement(
                names, {str(number): {"J": each.region, "F": each.contour} for number, each in scored}, facts=facts
            )
        series = {}
        for number in self._evaluator.result():
            rows = [self._scores.get(index, {}).get(number, (np.nan, np.nan)) for index in self._asked]
            table = np.array(rows, np.float64).reshape(-1, 2)
            # An object without a frame that counts would be a mean of nothing.
            if not np.isnan(table).all():
                series[str(number)] = {"J": table[:, 0].copy(), "F": table[:, 1].copy()}
        return Measurement(names, series, facts=facts)

    def _pass_over(self, index: int) -> None:
        """Shows the evaluator which objects an annotated frame has, without scoring anything there."""
        truth = self._sample.load_mask(index)
        if isinstance(self._evaluator, SequenceEvaluator):
            self._evaluator.update(truth, truth, only=())


def asked_objects(sample: MaskSample, index: int) -> tuple[int, ...]:
    """Returns the ids that the dataset lists for a frame; all of them unless it lists frames by object."""
    return tuple(n for n in sample.ids if n not in sample.asked or index in sample.asked[n])
