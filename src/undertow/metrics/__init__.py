"""Scores equal to those of the official evaluators: pure functions on arrays, and thin accumulators over frames."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
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
    from undertow.metrics.confusion import ConfusionMatrix, SemanticScores
    from undertow.metrics.consistency import Consistency, ConsistencyEvaluator
    from undertow.metrics.davis import (
        MASK_RULES,
        DatasetSummary,
        MaskRules,
        ObjectScores,
        SequenceEvaluator,
        YouTubeVosSummary,
        davis_ids,
        merge_objects,
    )
    from undertow.metrics.matching import (
        UNMATCHED,
        MatchingMode,
        apply_mapping,
        best_assignment,
        count_overlaps,
        match_clusters,
        match_hungarian,
        match_majority,
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
    from undertow.metrics.similarity import (
        contour_accuracy,
        contour_radius,
        outline,
        region_similarity,
        score_objects,
        score_pairs,
    )
    from undertow.metrics.statistics import (
        Summary,
        decay,
        frame_change,
        mean,
        paired_bootstrap,
        recall,
        temporal_consistency,
    )
    from undertow.metrics.tapvid import (
        Queries,
        QueryMode,
        TapVidCounts,
        TapVidScores,
        VideoAverages,
        count_tapvid,
        flip_queries,
        sample_queries_first,
        sample_queries_strided,
        scale_points,
        tapvid_metrics,
    )
    from undertow.metrics.unsupervised import ProposalEvaluator

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "MASK_RULES",
    "UNMATCHED",
    "BadjaCounts",
    "BadjaScores",
    "ConfusionMatrix",
    "Consistency",
    "ConsistencyEvaluator",
    "DatasetSummary",
    "MaskReconstruction",
    "MaskRules",
    "MatchingMode",
    "ObjectScores",
    "ProposalEvaluator",
    "Queries",
    "QueryMode",
    "RefDavisEvaluator",
    "RefDavisSummary",
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
    "score_objects",
    "score_pairs",
    "separate",
    "summarise_annotators",
    "tapvid_metrics",
    "temporal_consistency",
]
