"""Scores equal to those of the official evaluators: pure functions on arrays, and thin accumulators over frames."""

from undertow.metrics.assignment import best_assignment
from undertow.metrics.badja import BadjaCounts, BadjaScores, badja_metrics, count_badja
from undertow.metrics.calibration import (
    ReliabilityBin,
    area_under_risk_coverage,
    area_under_roc,
    expected_calibration_error,
    rank_correlation,
    reliability_table,
    risk_coverage,
)
from undertow.metrics.class_macro import ClassMacroEvaluator, ClassMacroSummary
from undertow.metrics.confusion import ConfusionMatrix, SemanticScores
from undertow.metrics.consistency import Consistency, ConsistencyEvaluator
from undertow.metrics.contour import contour_accuracy, contour_radius, outline
from undertow.metrics.davis import DatasetSummary, ObjectScores, SequenceEvaluator, davis_ids, merge_objects
from undertow.metrics.frame import score_objects, score_pairs
from undertow.metrics.matching import (
    UNMATCHED,
    MatchingMode,
    apply_mapping,
    count_overlaps,
    match_clusters,
    match_hungarian,
    match_majority,
)
from undertow.metrics.points import (
    Queries,
    QueryMode,
    VideoAverages,
    flip_queries,
    sample_queries_first,
    sample_queries_strided,
    scale_points,
)
from undertow.metrics.reconstruction import MaskReconstruction, mask_reconstruction
from undertow.metrics.ref_davis import (
    RefDavisEvaluator,
    RefDavisSummary,
    annotator_expressions,
    compete,
    compete_by_heat,
    independent,
    separate,
    summarise_annotators,
)
from undertow.metrics.referring_image import ReferringImageEvaluator, ReferringImageSummary
from undertow.metrics.referring_video import (
    ExpressionScores,
    ReferringVideoSummary,
    score_expression,
    split_ignore,
    summarise_expressions,
    union_mask,
)
from undertow.metrics.region import region_similarity
from undertow.metrics.rules import MASK_RULES, MaskRules
from undertow.metrics.statistics import Summary, decay, mean, paired_bootstrap, recall
from undertow.metrics.tapvid import TapVidCounts, TapVidScores, count_tapvid, tapvid_metrics
from undertow.metrics.temporal import frame_change, temporal_consistency
from undertow.metrics.unsupervised import ProposalEvaluator, mask_evaluator
from undertow.metrics.youtube_vos import YouTubeVosSummary

__all__ = [
    "MASK_RULES",
    "UNMATCHED",
    "BadjaCounts",
    "BadjaScores",
    "ClassMacroEvaluator",
    "ClassMacroSummary",
    "ConfusionMatrix",
    "Consistency",
    "ConsistencyEvaluator",
    "DatasetSummary",
    "ExpressionScores",
    "MaskReconstruction",
    "MaskRules",
    "MatchingMode",
    "ObjectScores",
    "ProposalEvaluator",
    "Queries",
    "QueryMode",
    "RefDavisEvaluator",
    "RefDavisSummary",
    "ReferringImageEvaluator",
    "ReferringImageSummary",
    "ReferringVideoSummary",
    "ReliabilityBin",
    "SemanticScores",
    "SequenceEvaluator",
    "Summary",
    "TapVidCounts",
    "TapVidScores",
    "VideoAverages",
    "YouTubeVosSummary",
    "annotator_expressions",
    "apply_mapping",
    "area_under_risk_coverage",
    "area_under_roc",
    "badja_metrics",
    "best_assignment",
    "compete",
    "compete_by_heat",
    "contour_accuracy",
    "contour_radius",
    "count_badja",
    "count_overlaps",
    "count_tapvid",
    "davis_ids",
    "decay",
    "expected_calibration_error",
    "flip_queries",
    "frame_change",
    "independent",
    "mask_evaluator",
    "mask_reconstruction",
    "match_clusters",
    "match_hungarian",
    "match_majority",
    "mean",
    "merge_objects",
    "outline",
    "paired_bootstrap",
    "rank_correlation",
    "recall",
    "region_similarity",
    "reliability_table",
    "risk_coverage",
    "sample_queries_first",
    "sample_queries_strided",
    "scale_points",
    "score_expression",
    "score_objects",
    "score_pairs",
    "separate",
    "split_ignore",
    "summarise_annotators",
    "summarise_expressions",
    "tapvid_metrics",
    "temporal_consistency",
    "union_mask",
]
