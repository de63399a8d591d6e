"""Scores equal to those of the official evaluators, in numpy alone, and thin accumulators over frames."""

from undertow.metrics.contour import contour_accuracy, contour_radius, outline
from undertow.metrics.davis import DatasetSummary, ObjectScores, SequenceEvaluator, davis_ids, merge_objects
from undertow.metrics.region import region_similarity
from undertow.metrics.statistics import Summary, decay, mean, paired_bootstrap, recall

__all__ = [
    "DatasetSummary",
    "ObjectScores",
    "SequenceEvaluator",
    "Summary",
    "contour_accuracy",
    "contour_radius",
    "davis_ids",
    "decay",
    "mean",
    "merge_objects",
    "outline",
    "paired_bootstrap",
    "recall",
    "region_similarity",
]
