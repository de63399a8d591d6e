"""J averaged over frames, then videos, then classes, so that a rare class weighs as much as a common one."""

from collections import defaultdict
from collections.abc import Collection, Hashable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from undertow.metrics.region import check_pair, region_similarity
from undertow.metrics.statistics import mean


@dataclass(frozen=True)
class ClassMacroSummary:
    """Mean J over classes.

    Attributes:
        mean: The mean of `classes`; NaN if there are none.
        classes: Mean J over the videos of each class, best first.
        videos: How many pairs of video and class there are.
        left_out: How many pairs were left out.
    """

    mean: float
    classes: dict[Hashable, float]
    videos: int
    left_out: int


class ClassMacroEvaluator:
    """Collects the J of one class on one frame of one video at a time, in any order.

    The truth is the union of all instances of the class (BURST), or where the semantic map has it (VSPW); the classes
    asked for are those of the video. This is neither BURST's official HOTA nor VSPW's mean IoU over pixels.

    Source: the evaluation code of REM (Bagchi et al., "ReferEverything", 2024).
    """

    def __init__(self) -> None:
        self._scores: defaultdict[tuple[Hashable, Hashable], list[float]] = defaultdict(list)

    def update(
        self,
        video: Hashable,
        category: Hashable,
        pred: Bool[np.ndarray, "h w"] | None,
        true: Bool[np.ndarray, "h w"],
        void: Bool[np.ndarray, "h w"] | None = None,
    ) -> float:
        """Adds one annotated frame and returns its J: 1 if both masks are empty, 0 if the prediction is missing (None).

        Raises:
            ValueError: if the masks differ in size.
        """
        check_pair(true, true, void)
        score = 0.0 if pred is None else region_similarity(pred, true, void)
        self._scores[video, category].append(score)
        return score

    def merge(self, other: "ClassMacroEvaluator") -> None:
        """Adds what another evaluator has collected, of other frames."""
        for pair, scores in other._scores.items():
            self._scores[pair].extend(scores)

    def result(self, leave_out: Collection[tuple[Hashable, Hashable]] = ()) -> ClassMacroSummary:
        """Returns the mean over frames, then videos, then classes.

        Args:
            leave_out: (video, class) pairs that do not count, for instance those that BURST does not annotate
                exhaustively (`not_exhaustive_category_ids`), where finding an instance nobody drew is punished.
        """
        excluded = set(leave_out)
        by_class: defaultdict[Hashable, list[float]] = defaultdict(list)
        for (video, category), scores in self._scores.items():
            if (video, category) not in excluded:
                by_class[category].append(mean(scores))
        classes = {category: mean(scores) for category, scores in by_class.items()}
        videos = sum(map(len, by_class.values()))
        return ClassMacroSummary(
            mean=mean(list(classes.values())),
            classes=dict(sorted(classes.items(), key=lambda item: -item[1])),
            videos=videos,
            left_out=len(self._scores) - videos,
        )
