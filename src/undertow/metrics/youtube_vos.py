"""The overall score G of YouTube-VOS: J and F of seen and of unseen categories, each split counting the same."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from undertow.metrics.davis import ObjectScores
from undertow.metrics.statistics import mean


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
            videos: scores by video and object, from `SequenceEvaluator` with the rules "youtube-vos".
            unseen: by video, the objects whose category is not among the training categories; a video that is not
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
