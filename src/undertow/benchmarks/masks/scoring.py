"""Scores of one video by one set of rules, fed frame by frame in the order in which predictions come."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.base import MaskError
from undertow.benchmarks.core.task import Measurement
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import LabelMap
from undertow.metrics import MaskRules, ProposalEvaluator, SequenceEvaluator


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
